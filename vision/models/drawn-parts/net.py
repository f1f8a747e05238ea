"""The networks of the drawn parts, in two sizes, and the pictures that they look at."""

import json
import pathlib
from typing import NamedTuple

import cv2
import numpy as np

PAD = 114
LABELS = ["part", "chip", "dent", "stain", "scratch", "crack"]
KINDS = len(LABELS) - 1
PART_STRIDE, KIND_STRIDE = 16, 8


class Shape(NamedTuple):
    """A network: its input, and its layers in order, name: (inputs, outputs, kernel, stride, kind).

    Kind "add" is x + relu(conv(x)), "head" a bare convolution. Parts are found on the coarse grid,
    defects on the fine one with the coarse one's view.
    """

    name: str
    width: int
    height: int
    crop: tuple  # width and height of what one step of training looks at
    layers: dict
    trunk: list
    coarse: list


def shape(name, width, height, crop, channels, mids):
    """channels: those at strides 2, 4, 8 and 16; mids: layers at stride 8 before the coarse ones."""
    a, b, c, d = channels
    middle, wide = [f"mid8{x}" for x in "abc"[:mids]], [f"wide16{x}" for x in "abc"]
    layers = {"stem": (3, a, 3, 2, "relu"), "down4": (a, b, 3, 2, "relu"), "fine4": (b, b, 3, 1, "add")}
    layers |= {"down8": (b, c, 3, 2, "relu")} | {n: (c, c, 3, 1, "add") for n in middle}
    layers |= {"down16": (c, d, 3, 2, "relu")} | {n: (d, d, 3, 1, "add") for n in wide}
    layers |= {"part": (d, 5, 1, 1, "head"), "lift": (d, c, 1, 1, "head"), "both8": (c, c, 3, 1, "add"),
               "kind": (c, KINDS + 4, 1, 1, "head")}
    return Shape(name, width, height, crop, layers, ["stem", "down4", "fine4", "down8", *middle], ["down16", *wide])


SHAPES = {
    "drawn-parts": shape("drawn-parts", 384, 224, (384, 224), (16, 24, 48, 64), 2),
    "drawn-parts-large": shape("drawn-parts-large", 576, 336, (288, 224), (32, 48, 80, 96), 3),
}


def letterbox(picture, width, height):
    """Resize and pad as the yolov8 family does; returns the picture, scale and offsets."""
    h, w = picture.shape[:2]
    scale = min(width / w, height / h)
    nw, nh = round(w * scale), round(h * scale)
    if (nw, nh) != (w, h):
        picture = cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)
    left, top = round((width - nw) / 2 - 0.1), round((height - nh) / 2 - 0.1)
    out = np.full((height, width, 3), PAD, np.uint8)
    out[top : top + nh, left : left + nw] = picture
    return out, scale, left, top


def read(folder):
    """Yield each picture's path with its annotations."""
    folder = pathlib.Path(folder)
    notes = json.loads((folder / "annotations.json").read_text())
    names = {c["id"]: c["name"] for c in notes["categories"]}
    boxes = {}
    for a in notes["annotations"]:
        boxes.setdefault(a["image_id"], []).append(a | {"label": LABELS.index(names[a["category_id"]])})
    for image in notes["images"]:
        yield folder / image["file_name"], image, boxes.get(image["id"], [])


def network(shape, normed):
    """The network; normed with a normalisation behind each convolution, as it starts to learn."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, (i, o, k, s, kind) in shape.layers.items():
                norm = normed and kind != "head"
                self.add_module(name, nn.Conv2d(i, o, k, s, k // 2, bias=not norm))
                self.add_module(name + "_bn", nn.BatchNorm2d(o) if norm else nn.Identity())
            for name, scores in (("part", 1), ("kind", KINDS)):
                nn.init.constant_(getattr(self, name).bias[:scores], -4.0)
                nn.init.constant_(getattr(self, name).bias[scores:], 0.7)

        def step(self, name, x):
            y = getattr(self, name)(x)
            if shape.layers[name][4] == "head":
                return y
            y = torch.relu(getattr(self, name + "_bn")(y))
            return x + y if shape.layers[name][4] == "add" else y

        def forward(self, x):
            for name in shape.trunk:
                x = self.step(name, x)
            fine = x
            for name in shape.coarse:
                x = self.step(name, x)
            lifted = nn.functional.interpolate(self.step("lift", x), scale_factor=2, mode="nearest")
            fine = self.step("both8", torch.relu(fine + lifted))
            return self.step("part", x), self.step("kind", fine)

    return Net().to(memory_format=torch.channels_last)


def widen(shape, model):
    """Weights for a wider network that begins as the exported one does: what it has in common is copied, the rest
    starts at random and, where it feeds what was copied, at zero."""
    import onnx
    from onnx import numpy_helper

    old = {w.name: numpy_helper.to_array(w) for w in onnx.load(str(model)).graph.initializer}
    rng, state = np.random.default_rng(1), {}
    for name, (i, o, k, _, kind) in shape.layers.items():
        w = rng.standard_normal((o, i, k, k)).astype(np.float32) * np.float32(np.sqrt(2 / (i * k * k)))
        w, b = w * np.float32(0.3 if kind == "add" else 1), np.zeros(o, np.float32)
        if name + ".w" in old:
            have, bias = old[name + ".w"], old[name + ".b"]
            w[: have.shape[0]] = 0
            w[: have.shape[0], : have.shape[1]], b[: len(bias)] = have, bias
        state[f"{name}.weight"], state[f"{name}.bias"] = w, b
    return state
