"""Makes the small models of the tests, seeded and by hand.

pip install numpy==2.4.6 onnx==1.23.2
python models.py
"""
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

OPSET = [h.make_opsetid("", 13)]


def save(name, nodes, inputs, outputs, weights, meta=None, functions=None):
    graph = h.make_graph(nodes, name, inputs, outputs, weights)
    model = h.make_model(graph, opset_imports=OPSET, ir_version=8, producer_name="sightline tests")
    for k, v in (meta or {}).items():
        p = model.metadata_props.add()
        p.key, p.value = k, v
    onnx.save(model, name + ".onnx")


def picture(kind=T.FLOAT, size=64, batch=1):
    return h.make_tensor_value_info("images", kind, [batch, 3, size, size])


def weight(name, a, kind=np.float32):
    return nh.from_array(np.asarray(a, kind), name)


def fastestdet():
    """Objectness follows the mean of a 16×16 block; two classes, blue and red."""
    w = np.zeros((7, 3, 1, 1))
    w[0], w[5, 0], w[6, 2] = 1 / 3, 1, 1
    b = np.array([0, 0, 0, -2, -2, 0, 0])
    nodes = [h.make_node("AveragePool", ["images"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
             h.make_node("Conv", ["p", "w", "b"], ["all"]), h.make_node("Concat", ["all"], ["out"], axis=1)]
    save("fastestdet", nodes, [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])],
         [weight("w", w), weight("b", b)])


def float16():
    nodes = [h.make_node("AveragePool", ["images"], ["out"], kernel_shape=[16, 16], strides=[16, 16])]
    save("float16", nodes, [picture(T.FLOAT16)], [h.make_tensor_value_info("out", T.FLOAT16, [1, 3, 4, 4])], [])


def unknown_operator():
    nodes = [h.make_node("NoSuchOperator", ["images"], ["out"])]
    save("unknown_operator", nodes, [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])], [])


def rows():
    """Ultralytics' form with NMS inside; as many rows as blocks are bright."""
    boxes = [[x * 16, y * 16, x * 16 + 16, y * 16 + 16] for y in range(4) for x in range(4)]
    nodes = [h.make_node("AveragePool", ["images"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
             h.make_node("ReduceMean", ["p"], ["m"], axes=[1]),
             h.make_node("Reshape", ["m", "flat"], ["s"]),
             h.make_node("Greater", ["s", "half"], ["bright"]),
             h.make_node("Reshape", ["bright", "line"], ["keep"]),
             h.make_node("Mul", ["s", "zero"], ["class"]),
             h.make_node("Concat", ["boxes", "s", "class"], ["all"], axis=1),
             h.make_node("Compress", ["all", "keep"], ["some"], axis=0),
             h.make_node("Unsqueeze", ["some", "first"], ["output0"])]
    save("rows", nodes, [picture()], [h.make_tensor_value_info("output0", T.FLOAT, [1, "n", 6])],
         [weight("boxes", boxes), weight("half", 0.5), weight("zero", 0.0), weight("flat", [16, 1], np.int64),
          weight("line", [16], np.int64), weight("first", [0], np.int64)],
         {"task": "detect", "names": "{0: 'it\\'s \"bright\"', 1: \"never\"}", "imgsz": "[64, 64]",
          "license": "none", "args": "{'nms': True, 'half': False}", "end2end": "False"})


def regions():
    """A map that is each pixel's mean, the picture's score, and a map that isn't read."""
    def value(name, *shape):
        return h.make_tensor_value_info(name, T.FLOAT, shape)
    nodes = [h.make_node("ReduceMean", ["images"], ["map"], axes=[1]),
             h.make_node("ReduceMax", ["map"], ["score"], axes=[2, 3], keepdims=0),
             h.make_node("Sub", ["map", "map"], ["aux"])]
    save("regions", nodes, [picture()], [value("aux", 1, 1, 64, 64), value("score", 1, 1), value("map", 1, 1, 64, 64)], [])


def slow():
    """The form of fastestdet after a loop that takes minutes."""
    body = h.make_graph(
        [h.make_node("Conv", ["x", "k"], ["y"], pads=[1, 1, 1, 1]), h.make_node("Identity", ["go"], ["go_on"])], "body",
        [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("go", T.BOOL, []),
         h.make_tensor_value_info("x", T.FLOAT, [1, 3, 64, 64])],
        [h.make_tensor_value_info("go_on", T.BOOL, []), h.make_tensor_value_info("y", T.FLOAT, [1, 3, 64, 64])],
        [weight("k", np.zeros((3, 3, 3, 3)))])
    # A bright picture loops for ever, the empty one of the warm-up doesn't.
    nodes = [h.make_node("ReduceMax", ["images"], ["max"], axes=[0, 1, 2, 3], keepdims=0),
             h.make_node("Mul", ["max", "many"], ["f"]), h.make_node("Cast", ["f"], ["n"], to=T.INT64),
             h.make_node("Loop", ["n", "yes", "images"], ["last"], body=body),
             h.make_node("AveragePool", ["last"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
             h.make_node("Conv", ["p", "w"], ["all"]), h.make_node("Concat", ["all"], ["out"], axis=1)]
    save("slow", nodes, [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])],
         [weight("w", np.zeros((7, 3, 1, 1))), weight("many", 1e8), weight("yes", True, np.bool_)])


def blocks(nodes, source):
    """The form of fastestdet over what nodes make of the picture."""
    w = np.zeros((7, 3, 1, 1))
    w[0], w[5, 0], w[6, 2] = 1 / 3, 1, 1
    nodes = nodes + [h.make_node("AveragePool", [source], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
                     h.make_node("Conv", ["p", "w", "b"], ["all"]), h.make_node("Concat", ["all"], ["out"], axis=1)]
    return nodes, [weight("w", w), weight("b", [0, 0, 0, -2, -2, 0, 0])]


def batch2():
    """A model whose trace fixed the batch at two, as Anomalib's PatchCore has it."""
    nodes, weights = blocks([], "images")
    save("batch2", nodes, [picture(batch=2)], [h.make_tensor_value_info("out", T.FLOAT, [2, 7, 4, 4])], weights)


def dynamic():
    nodes, weights = blocks([], "images")
    save("dynamic", nodes, [h.make_tensor_value_info("images", T.FLOAT, ["batch", 3, "height", "width"])],
         [h.make_tensor_value_info("out", T.FLOAT, ["batch", 7, "rows", "columns"])], weights)


def open_uint8():
    """Any number of pictures in TensorFlow's order."""
    nodes, weights = blocks([h.make_node("Cast", ["images"], ["f"], to=T.FLOAT), h.make_node("Mul", ["f", "scale"], ["g"]),
                             h.make_node("Transpose", ["g"], ["t"], perm=[0, 3, 1, 2])], "t")
    save("open_uint8", nodes, [h.make_tensor_value_info("images", T.UINT8, ["batch", 64, 64, 3])],
         [h.make_tensor_value_info("out", T.FLOAT, ["batch", 7, 4, 4])], weights + [weight("scale", 1 / 255)])


def mixed():
    """Any number of pictures, each seen against the others: a normalisation that was left in training."""
    nodes, weights = blocks([h.make_node("ReduceMean", ["images"], ["mean"], axes=[0]), h.make_node("Sub", ["images", "mean"], ["x"])], "x")
    save("mixed", nodes, [h.make_tensor_value_info("images", T.FLOAT, ["batch", 3, 64, 64])],
         [h.make_tensor_value_info("out", T.FLOAT, ["batch", 7, 4, 4])], weights)


def padded_pool():
    """Zeros around negative values before MaxPool, as YOLOv3-tiny's ZeroPad2d puts them: a black picture's edge must be 0 then."""
    nodes, weights = blocks([h.make_node("Sub", ["images", "one"], ["x"]), h.make_node("Pad", ["x", "sides", "zero"], ["around"]),
                             h.make_node("MaxPool", ["around"], ["most"], kernel_shape=[2, 2], strides=[1, 1])], "most")
    save("padded_pool", nodes, [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])],
         weights + [weight("one", 1.0), weight("sides", [0, 0, 0, 0, 0, 0, 1, 1], np.int64), weight("zero", 0.0)])


def uint8():
    """TensorFlow's order of channels, and levels."""
    nodes, weights = blocks([h.make_node("Cast", ["images"], ["f"], to=T.FLOAT), h.make_node("Mul", ["f", "scale"], ["g"]),
                             h.make_node("Transpose", ["g"], ["t"], perm=[0, 3, 1, 2])], "t")
    save("uint8", nodes, [h.make_tensor_value_info("images", T.UINT8, [1, 64, 64, 3])],
         [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])], weights + [weight("scale", 1 / 255)])


def anomalib():
    """PaDiM's outputs: bools beside floats."""
    nodes = [h.make_node("ReduceMean", ["input"], ["anomaly_map"], axes=[1], keepdims=1),
             h.make_node("ReduceMax", ["anomaly_map"], ["pred_score"], axes=[2, 3], keepdims=0),
             h.make_node("Greater", ["pred_score", "half"], ["pred_label"]), h.make_node("Greater", ["anomaly_map", "half"], ["pred_mask"])]
    out = [("pred_score", T.FLOAT, ["batch", 1]), ("pred_label", T.BOOL, ["batch", 1]),
           ("anomaly_map", T.FLOAT, ["batch", 1, 64, 64]), ("pred_mask", T.BOOL, ["batch", 1, 64, 64])]
    save("anomalib", nodes, [h.make_tensor_value_info("input", T.FLOAT, ["batch", 3, 64, 64])],
         [h.make_tensor_value_info(*o) for o in out], [weight("half", 0.5)])


def deployed():
    """D-FINE's deploy form: two inputs, int64 labels, boxes scaled to the size that is asked for."""
    nodes = [h.make_node("GlobalMaxPool", ["images"], ["m"]), h.make_node("ReduceMean", ["m"], ["scores"], axes=[2, 3], keepdims=0),
             h.make_node("Mul", ["scores", "zero"], ["z"]), h.make_node("Cast", ["z"], ["labels"], to=T.INT64),
             h.make_node("Cast", ["orig_target_sizes"], ["wh"], to=T.FLOAT), h.make_node("Concat", ["wh", "wh"], ["whwh"], axis=1),
             h.make_node("Unsqueeze", ["whwh", "one"], ["row"]), h.make_node("Mul", ["row", "unit"], ["boxes"])]
    unit = np.array([[[0, 0, .5, .5], [.5, 0, 1, .5], [0, .5, .5, 1]]])
    save("deployed", nodes, [picture(), h.make_tensor_value_info("orig_target_sizes", T.INT64, ["n", 2])],
         [h.make_tensor_value_info("labels", T.INT64, [1, 3]), h.make_tensor_value_info("boxes", T.FLOAT, [1, 3, 4]),
          h.make_tensor_value_info("scores", T.FLOAT, [1, 3])],
         [weight("zero", 0.0), weight("one", [1], np.int64), weight("unit", unit)])


def classifier():
    nodes = [h.make_node("GlobalAveragePool", ["images"], ["p"]), h.make_node("Flatten", ["p"], ["f"]), h.make_node("Gemm", ["f", "w"], ["logits"])]
    save("classifier", nodes, [picture()], [h.make_tensor_value_info("logits", T.FLOAT, [1, 4])],
         [weight("w", np.arange(12).reshape(3, 4) / 12)])


def one_value():
    nodes = [h.make_node("ReduceMean", ["images"], ["score"], keepdims=0)]
    save("one_value", nodes, [picture()], [h.make_tensor_value_info("score", T.FLOAT, [])], [])


def new_opset():
    nodes, weights = blocks([], "images")
    graph = h.make_graph(nodes, "new_opset", [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])], weights)
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 99)], ir_version=8), "new_opset.onnx")


def plugin():
    nodes = [h.make_node("EfficientNMS_TRT", ["images"], ["out"], domain="TRT")]
    save("plugin", nodes, [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 100, 4])], [])


def external():
    """fastestdet with its weights in a second file, one of them in a branch."""
    def outside(name, a, offset):
        t = weight(name, a)
        data = t.raw_data
        t.ClearField("raw_data")
        t.data_location = T.EXTERNAL
        for k, v in (("location", "external.onnx.data"), ("offset", offset), ("length", len(data))):
            e = t.external_data.add()
            e.key, e.value = k, str(v)
        return t, data
    w = np.zeros((7, 3, 1, 1))
    w[0], w[5, 0], w[6, 2] = 1 / 3, 1, 1
    w, first = outside("w", w, 0)
    b, second = outside("b", [0, 0, 0, -2, -2, 0, 0], 512)
    branch = h.make_graph([h.make_node("Identity", ["b"], ["bias"])], "branch", [], [h.make_tensor_value_info("bias", T.FLOAT, [7])], [b])
    other = h.make_graph([h.make_node("Identity", ["zero"], ["bias"])], "other", [], [h.make_tensor_value_info("bias", T.FLOAT, [7])],
                         [weight("zero", np.zeros(7))])
    nodes = [h.make_node("If", ["yes"], ["bias"], then_branch=branch, else_branch=other),
             h.make_node("AveragePool", ["images"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
             h.make_node("Conv", ["p", "w"], ["c"]), h.make_node("Reshape", ["bias", "shape"], ["r"]),
             h.make_node("Add", ["c", "r"], ["all"]), h.make_node("Concat", ["all"], ["out"], axis=1)]
    save("external", nodes, [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])],
         [w, weight("yes", True, np.bool_), weight("shape", [1, 7, 1, 1], np.int64)])
    with open("external.onnx.data", "wb") as f:
        f.write(first.ljust(512, b"\0") + second)


def sums():
    """A map of zeros where sums are kept in float16, else the mean of a pixel; its size needs a scale that float16 hasn't."""
    nodes = [h.make_node("ReduceMean", ["images"], ["m"], axes=[1]), h.make_node("Add", ["m", "large"], ["a"]),
             h.make_node("Sub", ["a", "large"], ["s"]), h.make_node("Resize", ["s", "", "scales"], ["map"], mode="nearest")]
    save("sums", nodes, [picture()], [h.make_tensor_value_info("map", T.FLOAT, [1, 1, 66, 66])],
         [weight("large", [2048]), weight("scales", [1, 1, 1.0468, 1.0468])])


for make in (fastestdet, float16, unknown_operator, rows, regions, slow, batch2, dynamic, uint8, anomalib, deployed, classifier,
             one_value, new_opset, plugin, external, padded_pool, sums, open_uint8, mixed):
    make()
