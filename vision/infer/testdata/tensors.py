"""Makes the small models of the tests of runs on tensors.

pip install numpy==2.4.6 onnx==1.23.2
python tensors.py
"""
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh


def save(name, nodes, inputs, outputs, weights=()):
    graph = h.make_graph(nodes, name, inputs, outputs, list(weights))
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 16)], ir_version=8, producer_name="sightline tests")
    onnx.checker.check_model(model)
    onnx.save(model, name + ".onnx")


def value(name, kind, *shape):
    return h.make_tensor_value_info(name, kind, shape)


KINDS = {"float32": T.FLOAT, "float64": T.DOUBLE, "float16": T.FLOAT16, "bfloat16": T.BFLOAT16, "bool": T.BOOL,
         "uint8": T.UINT8, "uint16": T.UINT16, "uint32": T.UINT32, "uint64": T.UINT64,
         "int8": T.INT8, "int16": T.INT16, "int32": T.INT32, "int64": T.INT64}

# Each type comes out as it went in; rows are open.
save("tensors_types", [h.make_node("Identity", ["in_" + k], ["out_" + k]) for k in KINDS],
     [value("in_" + k, t, "n", 3) for k, t in KINDS.items()], [value("out_" + k, t, "n", 3) for k, t in KINDS.items()])

# x·w + b·k, the largest value as one without dimensions, and where x isn't zero: as
# many places as there are such values.
save("tensors_mixed",
     [h.make_node("MatMul", ["x", "w"], ["p"]), h.make_node("Cast", ["k"], ["f"], to=T.FLOAT),
      h.make_node("Mul", ["b", "f"], ["q"]), h.make_node("Add", ["p", "q"], ["y"]),
      h.make_node("ReduceMax", ["y"], ["most"], keepdims=0), h.make_node("NonZero", ["x"], ["places"])],
     [value("x", T.FLOAT, "n", 4), value("b", T.FLOAT, 2), value("k", T.INT64)],
     [value("y", T.FLOAT, "n", 2), value("most", T.FLOAT), value("places", T.INT64, 2, "found")],
     [nh.from_array(np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32), "w")])

save("tensors_text", [h.make_node("Identity", ["text"], ["same"])], [value("text", T.STRING, 1)], [value("same", T.STRING, 1)])
