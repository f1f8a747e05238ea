"""Writes a trained network as ONNX, node by node, and stamps its digest into the manifest and the card beside it."""

import hashlib
import pathlib
import re

import numpy as np

from net import KIND_STRIDE, KINDS, LABELS, PART_STRIDE


class Graph:
    """Collects ONNX nodes and weights."""

    def __init__(self):
        self.nodes, self.weights, self.n = [], [], 0

    def const(self, value, name=None):
        from onnx import numpy_helper

        self.n += 1
        name = name or f"c{self.n}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op, *inputs, out=None, **attrs):
        from onnx import helper

        self.n += 1
        out = out or f"v{self.n}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attrs))
        return out


def folded(state, name):
    """A layer's weights and bias, its normalisation folded in."""
    w = state[f"{name}.weight"].numpy()
    if f"{name}_bn.weight" not in state:
        return w, state[f"{name}.bias"].numpy()
    bn = {k: state[f"{name}_bn.{k}"].numpy() for k in ("weight", "bias", "running_mean", "running_var")}
    gain = bn["weight"] / np.sqrt(bn["running_var"] + 1e-5)
    return w * gain[:, None, None, None], bn["bias"] - bn["running_mean"] * gain


def head(g, shape, x, classes, first, stride):
    """One grid's rows of output0: centre and size in pixels, then all labels' scores.

    Only a score that is the highest among its neighbours is kept, so one thing is told once.
    """
    gh, gw = shape.height // stride, shape.width // stride
    flat = g.const(np.array([1, -1, gh * gw], np.int64))
    cut = g.const(np.array([classes, 4], np.int64))
    raw, reach = f"raw{stride}", f"reach{stride}"
    from onnx import helper

    g.nodes.append(helper.make_node("Split", [x, cut], [raw, reach], axis=1))
    score = g.add("Sigmoid", raw)
    top = g.add("MaxPool", score, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    peak = g.add("Cast", g.add("Equal", score, top), to=1)
    score = g.add("Reshape", g.add("Mul", score, peak), flat)
    side = g.add("Clip", g.add("Reshape", reach, flat), g.const(np.float32(-3)), g.const(np.float32(4)))
    side = g.add("Mul", g.add("Exp", side), g.const(np.float32(stride)))
    near, far = f"near{stride}", f"far{stride}"
    g.nodes.append(helper.make_node("Split", [side, g.const(np.array([2, 2], np.int64))], [near, far], axis=1))
    gy, gx = np.mgrid[0:gh, 0:gw].astype(np.float32) + 0.5
    grid = g.const(np.stack([gx, gy]).reshape(1, 2, -1) * np.float32(stride))
    half = g.const(np.float32(0.5))
    centre = g.add("Add", grid, g.add("Mul", g.add("Sub", far, near), half))
    size = g.add("Add", near, far)
    rows = [centre, size]
    if first:
        rows.append(g.const(np.zeros((1, first, gh * gw), np.float32)))
    rows.append(score)
    if len(LABELS) - first - classes:
        rows.append(g.const(np.zeros((1, len(LABELS) - first - classes, gh * gw), np.float32)))
    return g.add("Concat", *rows, axis=1)


def export(shape, work, out):
    import onnx
    import torch
    from onnx import TensorProto, helper

    state = torch.load(pathlib.Path(work) / "last.pt", weights_only=True)["mean"]
    g = Graph()

    def step(name, x):
        _, _, k, s, kind = shape.layers[name]
        w, b = folded(state, name)
        y = g.add("Conv", x, g.const(w, name + ".w"), g.const(b, name + ".b"), kernel_shape=[k, k], strides=[s, s],
                  pads=[k // 2] * 4)
        if kind == "head":
            return y
        y = g.add("Relu", y)
        return g.add("Add", x, y) if kind == "add" else y

    x = "images"
    for name in shape.trunk:
        x = step(name, x)
    fine = x
    for name in shape.coarse:
        x = step(name, x)
    none = g.const(np.array([], np.float32))
    lifted = g.add("Resize", step("lift", x), none, g.const(np.array([1, 1, 2, 2], np.float32)), mode="nearest",
                   coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    fine = step("both8", g.add("Relu", g.add("Add", fine, lifted)))
    parts = head(g, shape, step("part", x), 1, 0, PART_STRIDE)
    kinds = head(g, shape, step("kind", fine), KINDS, 1, KIND_STRIDE)
    g.add("Concat", parts, kinds, axis=2, out="output0")
    cells = sum((shape.height // s) * (shape.width // s) for s in (PART_STRIDE, KIND_STRIDE))
    graph = helper.make_graph(
        g.nodes, shape.name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, shape.height, shape.width])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + len(LABELS), cells])], g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="sightline")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    out = pathlib.Path(out)
    out.write_bytes(model.SerializeToString(deterministic=True))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    for name in ("manifest.yaml", "MODEL_CARD.md"):  # beside the network, both tell its digest
        if (out.parent / name).exists():
            text = (out.parent / name).read_text()
            (out.parent / name).write_text(re.sub(r"\b[0-9a-f]{64}\b", digest, text))
    print(f"{out}: {out.stat().st_size} bytes, opset 17, sha256 {digest}")
