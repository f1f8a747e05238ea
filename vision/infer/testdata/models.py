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
             h.make_node("Conv", ["p", "w", "b"], ["out"])]
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
             h.make_node("Conv", ["p", "w"], ["out"])]
    save("slow", nodes, [picture()], [h.make_tensor_value_info("out", T.FLOAT, [1, 7, 4, 4])],
         [weight("w", np.zeros((7, 3, 1, 1))), weight("many", 1e8), weight("yes", True, np.bool_)])


for make in (fastestdet, float16, unknown_operator, rows, regions, slow):
    make()
