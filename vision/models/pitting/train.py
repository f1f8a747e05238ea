#!/usr/bin/env python3
"""Train, export and evaluate the model `pitting`.

    train.py cross  --data DIR --work DIR --fold 0..3   trains without a quarter of the places, keeps what it says of them
    train.py choose --work DIR                          figures over all folds: poolings, thresholds, places
    train.py train  --data DIR --work DIR               trains on all of annotations_train.json; run it again to resume
    train.py export --work DIR --out model.onnx         the graph, written node by node; stamps manifest and card
    train.py eval   --data DIR --model model.onnx       figures on annotations_val.json, by ONNX Runtime
    train.py speed  --model model.onnx                  milliseconds a picture on one core

DIR is BSData with COCO annotations (annotations_train.json, annotations_val.json, images/), split by place.
Needs numpy, opencv-python-headless, pycocotools, torch, onnx, onnxruntime; written with 2.4, 5.0, 2.0, 2.15, 1.23 and 1.32.
"""

import argparse
import hashlib
import json
import math
import pathlib
import re
import time

import cv2
import numpy as np
from pycocotools import mask as coco  # polygons become pixels as whoever measures by COCO's tools has them

WIDTH, HEIGHT = 960, 384  # the network's input, the whole picture stretched
MAP = 2  # input pixels a map pixel
CROP_W, CROP_H = 576, 320  # what a step learns from, in input pixels
SLOPE = -0.217  # of the ball track in the network's input, pixels down a pixel to the right
FOLDS = 4

# Chosen on the kept-out folds: added to the map's logit; the map pixels whose mean logit is the score; its shift and gain.
SHIFT, TOP, SCORE_SHIFT, SCORE_GAIN = -1.5, 200, 5.2, 1.0
DESCRIPTION = ("Pitting on ball-screw spindles. Trained on BSData (T. Schlagenhauf, M. Landwehr, KIT, arXiv 2103.13003, "
               "CC BY-SA 4.0).")


class Picture:
    """One photograph with its pits, at its own resolution."""

    def __init__(self, folder, image, polygons):
        self.name, self.place, self.state = image["file_name"], image["location"], image["state"]
        self.pixels = cv2.imread(str(folder / self.name))
        h, w = self.pixels.shape[:2]
        self.mask, self.centres = np.zeros((h, w), np.uint8), []
        for p in polygons:
            region = coco.decode(coco.merge(coco.frPyObjects([p], h, w))) > 0
            self.mask[region], p = 255, np.array(p).reshape(-1, 2)
            self.centres.append((p.min(0) + p.max(0)) / 2)

    def input(self):
        """The picture as the network gets it, 3×H×W RGB 0 to 1."""
        small = cv2.resize(self.pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        return small[..., ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def read(folder, split):
    folder = pathlib.Path(folder)
    notes = json.loads((folder / f"annotations_{split}.json").read_text())
    polygons = {}
    for a in notes["annotations"]:
        polygons.setdefault(a["image_id"], []).extend(a["segmentation"])
    return [Picture(folder, i, polygons.get(i["id"], [])) for i in notes["images"]]


def is_part(place):
    """Whether a place is a single part (one or two pictures), not a place followed over time."""
    return place.startswith("KGT")


def fold_of(place, places):
    """The fold in which a place is kept out: whole places, the single parts dealt out after them."""
    own = sorted(p for p in places if is_part(p) == is_part(place))
    return own.index(place) % FOLDS


# --- augmentation ------------------------------------------------------------


def placed(rng, picture, centre):
    """An affine map from crop to picture that puts about centre somewhere in the crop."""
    h, w = picture.pixels.shape[:2]
    zoom = math.exp(rng.uniform(math.log(0.7), math.log(1.4)))  # above 1: things look larger
    aspect = math.exp(rng.uniform(-0.15, 0.15))
    turn, shear = rng.normal(0, 0.08), rng.normal(0, 0.05)
    c, s = math.cos(turn), math.sin(turn)
    m = np.array([[c, -s], [s, c]]) @ np.array([[aspect, shear], [0, 1 / aspect]]) / zoom
    m = np.diag([w / WIDTH, h / HEIGHT]) @ m
    at = np.array([rng.uniform(0.1, 0.9) * CROP_W, rng.uniform(0.1, 0.9) * CROP_H])
    middle = np.asarray(centre, float) + m @ (np.array([CROP_W, CROP_H]) / 2 - at)
    reach = np.abs(m) @ (np.array([CROP_W, CROP_H]) / 2) * 0.8
    low, high = np.minimum(reach, [w / 2, h / 2]), np.maximum(np.array([w, h]) - reach, [w / 2, h / 2])
    middle = middle.clip(low, high)
    offset = middle - m @ (np.array([CROP_W, CROP_H]) / 2)
    return np.hstack([m, offset[:, None]])


def cut(picture, m):
    warp = lambda a: cv2.warpAffine(a, m, (CROP_W, CROP_H), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                    borderMode=cv2.BORDER_REFLECT_101)
    return warp(picture.pixels), warp(picture.mask) if picture.centres else np.zeros((CROP_H, CROP_W), np.uint8)


def graft(rng, sources, picture, m, pixels, mask):
    """Lay into the crop what another series shows at about this place: a pit, or as a counter-example none.

    The series are photographed alike, so that a pit comes to lie where pits can be: along the ball track.
    """
    pit = rng.random() < 0.7
    source = sources[rng.integers(len(sources))]
    (h, w), (sh, sw) = picture.mask.shape, source.mask.shape
    along = rng.normal(0, 60)
    shift = np.array([along, SLOPE * along]) + rng.normal(0, 4, 2)
    if not pit:  # the bare surface beside the pit
        shift = shift + np.array([1, SLOPE]) * rng.choice([-1, 1]) * 150
    to = np.diag([sw / w, sh / h])
    m = np.hstack([to @ m[:, :2], (to @ m[:, 2] - shift * [sw / WIDTH, sh / HEIGHT])[:, None]])
    centre = source.centres[rng.integers(len(source.centres))]
    if not pit:
        centre = centre + np.array([1, SLOPE]) * rng.uniform(-100, 100) * [sw / WIDTH, sh / HEIGHT]
    x, y = np.linalg.solve(m[:, :2], centre - m[:, 2]).round().astype(int)
    if not (12 <= x < CROP_W - 12 and 12 <= y < CROP_H - 12):
        return
    other, label = cut(source, m)
    if pit:
        shape = label
    elif label.any():
        return
    else:
        shape = np.zeros_like(label)
        axes = (int(rng.integers(3, 45)), int(rng.integers(3, 25)))
        cv2.ellipse(shape, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    grow = int(rng.integers(2, 9))
    soft = cv2.dilate(shape, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8))
    soft = cv2.GaussianBlur(soft, (0, 0), grow / 2)[..., None].astype(np.float32) / 255
    ring = (soft[..., 0] > 0.05) & (shape < 128)
    if not ring.any():
        return
    gain = (pixels[ring].mean(0) + 8) / (other[ring].mean(0) + 8)  # as bright as its new surroundings
    pixels[:] = (pixels + soft * (other * gain.clip(0.4, 2.5).astype(np.float32) - pixels)).clip(0, 255)
    mask[:] = np.maximum(label, mask * (1 - soft[..., 0]))


def relight(rng, pixels):
    """Brightness, contrast, gamma, colour, a ramp of light, blur and noise."""
    x = np.arange(256, dtype=np.float32) / 255
    gain = math.exp(rng.normal(0, 0.18)) * np.exp(rng.normal(0, 0.05, 3))
    gamma, offset = math.exp(rng.normal(0, 0.18)), rng.normal(0, 0.03)
    table = np.stack([((x**gamma) * g + offset) * 255 for g in gain], 1).clip(0, 255).astype(np.uint8)
    pixels = cv2.LUT(pixels, table[None])
    if rng.random() < 0.25:
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[..., None]
        k = rng.uniform(-0.5, 1)
        pixels = (pixels * np.float32(1 - k) + grey * np.float32(k)).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.3))
    elif rng.random() < 0.2:
        soft = cv2.GaussianBlur(pixels, (0, 0), 1)
        pixels = cv2.addWeighted(pixels, 1.6, soft, -0.6, 0)
    out = pixels.astype(np.float32) / 255
    if rng.random() < 0.3:
        a, b = rng.normal(0, 0.2, 2)
        ramp = 1 + np.linspace(-a, a, CROP_H, dtype=np.float32)[:, None] + np.linspace(-b, b, CROP_W, dtype=np.float32)
        out *= ramp[..., None].clip(0.3, 2)
    if rng.random() < 0.2:
        out += rng.standard_normal(out.shape, dtype=np.float32) * np.float32(rng.uniform(0.005, 0.03))
    return out.clip(0, 1)


class Sampler:
    """Draws batches: 45 % of the crops around a pit, 35 % of bad pictures anywhere, 20 % of good ones."""

    def __init__(self, pictures, seed, grafts):
        self.rng, self.grafts = np.random.default_rng(seed), grafts
        self.good = [p for p in pictures if p.state == "good"]
        self.bad = [p for p in pictures if p.centres]
        self.parts = [p for p in self.bad if is_part(p.place)]
        self.series = [p for p in self.bad if not is_part(p.place)]
        
    def crop(self, kind):
        rng = self.rng
        if kind == 2:
            picture = self.good[rng.integers(len(self.good))]
        else:
            own = self.parts if rng.random() < (0.3, 0.5)[kind] and self.parts else self.series
            picture = own[rng.integers(len(own))]
        h, w = picture.pixels.shape[:2]
        centre = picture.centres[rng.integers(len(picture.centres))] if kind == 0 else rng.uniform([0, 0], [w, h])
        m = placed(rng, picture, centre)
        pixels, mask = cut(picture, m)
        if not is_part(picture.place) and rng.random() < self.grafts:
            graft(rng, self.series, picture, m, pixels, mask)
        return relight(rng, pixels)[..., ::-1], mask

    def batch(self, n):
        x, y = np.empty((n, CROP_H, CROP_W, 3), np.float32), np.empty((n, 1, CROP_H // MAP, CROP_W // MAP), np.float32)
        for i in range(n):
            x[i], mask = self.crop(int(self.rng.choice(3, p=[0.45, 0.35, 0.2])))
            y[i, 0] = cv2.resize(mask, (CROP_W // MAP, CROP_H // MAP), interpolation=cv2.INTER_AREA)
        return x.transpose(0, 3, 1, 2), y / 255


# --- network -----------------------------------------------------------------

# name: (inputs, outputs, kernel, stride, kind); kind "add" is x + relu(conv(x)), "bare" a convolution alone
LAYERS = {
    "stem": (3, 16, 3, 2, "relu"),
    "down4": (16, 24, 3, 2, "relu"),
    "fine4": (24, 24, 3, 1, "add"),
    "down8": (24, 48, 3, 2, "relu"),
    "mid8a": (48, 48, 3, 1, "add"),
    "mid8b": (48, 48, 3, 1, "add"),
    "down16": (48, 96, 3, 2, "relu"),
    "wide16a": (96, 96, 3, 1, "add"),
    "wide16b": (96, 96, 3, 1, "add"),
    "down32": (96, 128, 3, 2, "relu"),
    "deep32a": (128, 128, 3, 1, "add"),
    "deep32b": (128, 128, 3, 1, "add"),
    "lift16": (128, 96, 1, 1, "bare"),
    "both16": (96, 96, 3, 1, "add"),
    "lift8": (96, 48, 1, 1, "bare"),
    "both8": (48, 48, 3, 1, "add"),
    "lift4": (48, 24, 1, 1, "bare"),
    "both4": (24, 24, 3, 1, "add"),
    "pit": (24, 4, 1, 1, "bare"),
}


def forward(op, x):
    """The logits of the map. op computes (in training) or writes ONNX nodes (in export)."""
    x4 = op.layer("fine4", op.layer("down4", op.layer("stem", x)))
    x8 = x4
    for name in ("down8", "mid8a", "mid8b"):
        x8 = op.layer(name, x8)
    x16 = x8
    for name in ("down16", "wide16a", "wide16b"):
        x16 = op.layer(name, x16)
    x = x16
    for name in ("down32", "deep32a", "deep32b"):
        x = op.layer(name, x)
    for skip, n in ((x16, "16"), (x8, "8"), (x4, "4")):
        x = op.layer("both" + n, op.merge(skip, op.layer("lift" + n, x)))
    return op.unfold(op.layer("pit", x))


def network():
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, (i, o, k, s, kind) in LAYERS.items():
                last = name == "pit"
                self.add_module(name, nn.Conv2d(i, o, k, s, k // 2, bias=last))
                self.add_module(name + "_bn", nn.Identity() if last else nn.BatchNorm2d(o))
            nn.init.constant_(self.pit.bias, -4)

        def layer(self, name, x):
            y = getattr(self, name + "_bn")(getattr(self, name)(x))
            kind = LAYERS[name][4]
            return y if kind == "bare" else F.relu(y) if kind == "relu" else x + F.relu(y)

        def merge(self, skip, x):
            return F.relu(skip + F.interpolate(x, scale_factor=2, mode="nearest"))

        def unfold(self, x):
            return F.pixel_shuffle(x, MAP)

        def forward(self, x):
            return forward(self, x)

    return Net().to(memory_format=torch.channels_last)


# --- training ----------------------------------------------------------------


def loss_of(torch, logits, wanted):
    """Cross-entropy for the edges, overlap over the batch for IoU, and the picture's own score."""
    from torch.nn import functional as F

    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, wanted)
    both, sizes = (p * wanted).sum((1, 2, 3)), (p + wanted).sum((1, 2, 3))
    has = wanted.amax((1, 2, 3)) > 0.5
    overlap = 1 - (both.sum() + 10) / (sizes.sum() - both.sum() + 10)
    each = (1 - (2 * both + 10) / (sizes + 10))[has].mean() if has.any() else 0
    top = logits.flatten(1).topk(16).values.mean(1)
    return 10 * entropy + overlap + 0.5 * each + 0.1 * F.binary_cross_entropy_with_logits(top, has.float())


def learn(torch, args, pictures, minutes, keep):
    """Train on pictures; minutes is wall-clock time, over which the rate falls as a cosine. keep: where to go on."""
    torch.manual_seed(args.seed)
    sampler = Sampler(pictures, args.seed, args.grafts)
    net, mean = network(), network()
    mean.load_state_dict(net.state_dict())
    decay = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.03}, {"params": plain, "weight_decay": 0}])
    spent, step, shown = 0.0, 0, 0.0
    if keep.exists():
        saved = torch.load(keep, weights_only=True)
        spent, step = saved["spent"], saved["step"]
        for name, what in (("net", net), ("mean", mean), ("opt", opt)):
            what.load_state_dict(saved[name])
        sampler.rng = np.random.default_rng(args.seed + step)
    saved_at = spent
    while spent < minutes:
        began = time.monotonic()
        part = spent / minutes
        for group in opt.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * part)) + 1e-6
        x, y = (torch.from_numpy(a) for a in sampler.batch(args.batch))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        loss = loss_of(torch, logits.float(), y)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5)
        opt.step()
        step += 1
        stay = min(0.998, step / (step + 20))
        with torch.no_grad():
            for a, b in zip(mean.state_dict().values(), net.state_dict().values()):
                a.copy_(stay * a + (1 - stay) * b if a.is_floating_point() else b)
        shown = shown * 0.98 + float(loss.detach()) * 0.02
        spent += min(time.monotonic() - began, 5) / 60  # a machine that stood still does not use up the time
        if step % 100 == 0:
            print(f"{spent:.1f} min, step {step}, loss {shown / (1 - 0.98**min(step, 999)):.3f}", flush=True)
        if spent - saved_at > 2 or spent >= minutes:
            saved_at = spent
            torch.save({"spent": spent, "step": step} | {
                n: w.state_dict() for n, w in (("net", net), ("mean", mean), ("opt", opt))}, keep.with_suffix(".new"))
            keep.with_suffix(".new").replace(keep)
    return mean.eval()


def train(args):
    """Train on all pictures, or without one fold; then keep what the network says of that fold."""
    import torch

    torch.set_num_threads(1)
    work = pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    pictures = read(args.data, "train")
    places = {p.place for p in pictures}
    out = [p for p in pictures if args.what == "cross" and fold_of(p.place, places) == args.fold]
    name = f"fold{args.fold}" if out else "last"
    net, rows = learn(torch, args, [p for p in pictures if p not in out], args.minutes, work / f"{name}.pt"), []
    with torch.inference_mode():
        for p in out:
            x = torch.from_numpy(p.input()[None]).contiguous(memory_format=torch.channels_last)
            rows.append([p.place, p.state, *pooled(net(x)[0, 0].float().numpy(), p.mask > 127)])
    if out:
        (work / f"{name}.json").write_text(json.dumps(rows))
        choose(args)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float32)))


def full(logits, shift, size):
    """The map as a reader sees it: probability, brought to the picture's own size."""
    return cv2.resize(sigmoid(logits + np.float32(shift)), size[::-1], interpolation=cv2.INTER_LINEAR)


def auroc(scores, bad):
    """The share of (bad, good) pairs in the right order."""
    scores, bad = np.asarray(scores), np.asarray(bad, bool)
    up, down = scores[bad], scores[~bad]
    return float(((up[:, None] > down).mean() + (up[:, None] >= down).mean()) / 2) if len(up) and len(down) else math.nan


SHIFTS = np.arange(-3, 3.01, 0.25)
POOLINGS = {f"top {n}": lambda m, n=n: np.sort(m, None)[-n:].mean() for n in (1, 8, 16, 32, 64, 128, 200)} | {
    f"highest {n}×{n}": lambda m, n=n: cv2.blur(m, (n, n)).max() for n in (3, 5, 7)}


def pooled(logits, mask):
    """A picture's score by each pooling, and intersection and union by each shift."""
    over = []
    for s in SHIFTS:
        hit = full(logits, s, mask.shape) > 0.5
        over.append([int((hit & mask).sum()), int((hit | mask).sum())])
    return {k: float(f(logits)) for k, f in POOLINGS.items()}, over


def border(scores, bad):
    """The score that parts bad from good best, both kinds weighing the same, in the middle of its gap."""
    scores, bad = np.asarray(scores), np.asarray(bad, bool)
    at = np.unique(scores)
    at = (at[1:] + at[:-1]) / 2
    right = np.array([(scores[bad] >= a).mean() + (scores[~bad] < a).mean() for a in at])
    return float(at[right == right.max()].mean()), float(right.max() / 2)


def choose(args):
    """Figures over the kept-out folds that are there: poolings by AUROC, shifts of the logit by IoU."""
    rows = [r for file in sorted(pathlib.Path(args.work).glob("fold*.json")) for r in json.loads(file.read_text())]
    known = [r for r in rows if r[1] != "uncertain"]
    bad = [r[1] == "bad" for r in known]
    places = sorted({r[0] for r in rows if not is_part(r[0])})
    print(f"{len(rows)} pictures, {len(known)} of them certain; places {' '.join(places)} and single parts")
    for name in POOLINGS:
        each = [auroc([r[2][name] for r in known if r[0] == p], [r[1] == "bad" for r in known if r[0] == p])
                for p in places]
        scores = [r[2][name] for r in known]
        limit, right = border(scores, bad)
        print(f"  {name:12} AUROC {auroc(scores, bad):.4f}, border {limit:+.2f} right {right:.3f}, by place",
              *(f"{a:.3f}" for a in each))
    for i, s in enumerate(SHIFTS):
        each = [np.sum([r[3][i] for r in rows if (p == "parts" and is_part(r[0])) or r[0] == p], 0)
                for p in places + ["parts"]]
        total = np.sum(each, 0)
        print(f"  shift {s:+.2f} IoU {total[0] / total[1]:.4f}, by place and parts",
              *(f"{a / b if b else 0:.3f}" for a, b in each))


# --- export ------------------------------------------------------------------


class Graph:
    """Writes the network as ONNX nodes; the same steps as the network's own."""

    def __init__(self, state):
        self.state, self.nodes, self.weights, self.n = state, [], [], 0

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

    def folded(self, name):
        """A layer's weights and bias, its normalisation folded in."""
        w = self.state[f"{name}.weight"].numpy()
        if f"{name}_bn.weight" not in self.state:
            return w, self.state[f"{name}.bias"].numpy()
        bn = {k: self.state[f"{name}_bn.{k}"].numpy() for k in ("weight", "bias", "running_mean", "running_var")}
        gain = bn["weight"] / np.sqrt(bn["running_var"] + 1e-5)
        return w * gain[:, None, None, None], bn["bias"] - bn["running_mean"] * gain

    def layer(self, name, x):
        _, _, k, s, kind = LAYERS[name]
        w, b = self.folded(name)
        y = self.add("Conv", x, self.const(w, name + ".w"), self.const(b, name + ".b"), kernel_shape=[k, k],
                     strides=[s, s], pads=[k // 2] * 4)
        if kind == "bare":
            return y
        y = self.add("Relu", y)
        return self.add("Add", x, y) if kind == "add" else y

    def merge(self, skip, x):
        twice = self.const(np.array([1, 1, 2, 2], np.float32))
        x = self.add("Resize", x, "", twice, mode="nearest", coordinate_transformation_mode="asymmetric",
                     nearest_mode="floor")
        return self.add("Relu", self.add("Add", skip, x))

    def unfold(self, x):
        return self.add("DepthToSpace", x, blocksize=MAP, mode="CRD")


def export(args):
    import onnx
    import torch
    from onnx import TensorProto, helper

    g = Graph(torch.load(pathlib.Path(args.work) / "last.pt", weights_only=True)["mean"])
    logits = forward(g, "image")
    g.add("Sigmoid", g.add("Add", logits, g.const(np.float32(SHIFT))), out="map")
    flat = g.add("Reshape", logits, g.const(np.array([1, -1], np.int64)))
    g.nodes.append(helper.make_node("TopK", [flat, g.const(np.array([TOP], np.int64))], ["top", "where"], axis=1))
    mean = g.add("ReduceMean", "top", axes=[1], keepdims=1)
    mean = g.add("Mul", g.add("Add", mean, g.const(np.float32(SCORE_SHIFT))), g.const(np.float32(SCORE_GAIN)))
    g.add("Sigmoid", mean, out="score")
    graph = helper.make_graph(
        g.nodes, "pitting",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, HEIGHT // MAP, WIDTH // MAP]),
         helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])], g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="sightline")
    model.ir_version = 8
    helper.set_model_props(model, {"license": "CC-BY-SA-4.0", "description": DESCRIPTION})
    onnx.checker.check_model(model, full_check=True)
    out = pathlib.Path(args.out)
    out.write_bytes(model.SerializeToString(deterministic=True))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    for name in ("manifest.yaml", "MODEL_CARD.md"):  # beside the network, both tell its digest
        if (out.parent / name).exists():
            text = (out.parent / name).read_text()
            (out.parent / name).write_text(re.sub(r"\b[0-9a-f]{64}\b", digest, text))
    print(f"{out}: {out.stat().st_size} bytes, opset 17, sha256 {digest}")


def session(path):
    import onnxruntime as ort

    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def speed(args):
    run, x = session(args.model), np.random.default_rng(1).random((1, 3, HEIGHT, WIDTH), np.float32)
    times = []
    for _ in range(args.runs):
        began = time.perf_counter()
        run.run(None, {"image": x})
        times.append((time.perf_counter() - began) * 1e3)
    print(f"{min(times):.1f} ms best, {np.median(times):.1f} ms median of {args.runs}")


def looked_at(run, picture):
    """Score, intersection, union and the counts of pits and of spots that meet, for one picture."""
    out, score = run.run(None, {"image": picture.input()[None]})
    h, w = picture.mask.shape
    hit, mask = cv2.resize(out[0, 0], (w, h), interpolation=cv2.INTER_LINEAR) > 0.5, picture.mask > 127
    pits, parts = cv2.connectedComponents(mask.astype(np.uint8))
    spots, found = cv2.connectedComponents(hit.astype(np.uint8))
    met = len(set(np.unique(parts[hit])) - {0})
    right = len(set(np.unique(found[mask])) - {0})
    return float(score[0, 0]), (hit & mask).sum(), (hit | mask).sum(), pits - 1, met, spots - 1, right


def spread(rng, groups, measure, rounds=2000):
    """The 95 % interval of a measure when groups of pictures are drawn again with replacement."""
    values = []
    for _ in range(rounds):
        values.append(measure([r for k in rng.integers(len(groups), size=len(groups)) for r in groups[k]]))
    return "%.3f to %.3f" % tuple(np.nanpercentile(values, [2.5, 97.5]))


def evaluate(args):
    run, rows = session(args.model), []
    for p in read(args.data, args.split):
        rows.append((p, *looked_at(run, p)))
    area = lambda rows: auroc([r[1] for r in rows if r[0].state != "uncertain"],
                              [r[0].state == "bad" for r in rows if r[0].state != "uncertain"])
    iou = lambda rows: sum(r[2] for r in rows) / max(1, sum(r[3] for r in rows))
    places = {}
    for r in rows:
        places.setdefault("single parts" if is_part(r[0].place) else r[0].place, []).append(r)
    rng = np.random.default_rng(1)
    by_place = [[r for r in rows if r[0].place == p] for p in sorted({r[0].place for r in rows})]
    for name, measure in (("image AUROC", area), ("pixel IoU", iou)):
        print(f"{name} {measure(rows):.4f}; drawn again by picture {spread(rng, [[r] for r in rows], measure)}, "
              f"by place {spread(rng, by_place, measure)}")
    for name, own in ({"all": rows} | places).items():
        count = {s: [r for r in own if r[0].state == s] for s in ("bad", "good", "uncertain")}
        print(f"  {name}: {len(own)} pictures, AUROC {area(own):.4f}, IoU {iou(own):.4f}; score under 0.5: "
              f"{sum(r[1] < 0.5 for r in count['bad'])} of {len(count['bad'])} bad; at 0.5 or more: "
              f"{sum(r[1] >= 0.5 for r in count['good'])} of {len(count['good'])} good, "
              f"{sum(r[1] >= 0.5 for r in count['uncertain'])} of {len(count['uncertain'])} uncertain; map: "
              f"{sum(r[5] for r in own)} of {sum(r[4] for r in own)} pits met, "
              f"{sum(r[6] - r[7] for r in own)} of {sum(r[6] for r in own)} spots on no pit, "
              f"{sum(r[6] > 0 for r in count['good'])} good pictures with a spot")


def main():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = cli.add_subparsers(dest="what", required=True)
    for what, flags in {"cross": "data work", "choose": "work", "train": "data work", "export": "work out",
                        "eval": "data model", "speed": "model"}.items():
        p = sub.add_parser(what)
        for flag in flags.split():
            p.add_argument("--" + flag, required=True)
        if what == "eval":
            p.add_argument("--split", default="val")
        if what == "speed":
            p.add_argument("--runs", type=int, default=300)
        if what in ("cross", "train"):
            p.add_argument("--minutes", type=float, default=40, help="of one core's time")
            p.add_argument("--batch", type=int, default=10)
            p.add_argument("--rate", type=float, default=3e-3)
            p.add_argument("--grafts", type=float, default=0.35, help="share of crops with something laid in")
            p.add_argument("--seed", type=int, default=1)
        if what == "cross":
            p.add_argument("--fold", type=int, required=True)
    args = cli.parse_args()
    {"cross": train, "choose": choose, "train": train, "export": export, "eval": evaluate, "speed": speed}[args.what](args)


if __name__ == "__main__":
    main()
