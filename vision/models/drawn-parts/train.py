#!/usr/bin/env python3
"""Train, export and evaluate the model `drawn-parts`.

    train.py prepare --data DIR... --cache FILE.npz     pictures -> arrays of the network's size
    train.py train   --cache FILE.npz --work DIR        --minutes of training on two cores; run it again to resume
    train.py export  --work DIR --out model.onnx        the graph, written node by node; stamps manifest and card
    train.py ap      --model model.onnx --data DIR...   average precision on unseen pictures
    train.py parts   --model model.onnx --data DIR...   what a station would decide, on unbroken runs

DIR is what `sightline scene write` wrote. docs/scene.md has the whole recipe.
Needs numpy, opencv-python-headless, torch, onnx, onnxruntime.
"""

import argparse
import hashlib
import json
import pathlib
import re
import time

import cv2
import numpy as np

WIDTH, HEIGHT, PAD = 384, 224, 114
LABELS = ["part", "chip", "dent", "stain", "scratch", "crack"]
KINDS = len(LABELS) - 1
PART_STRIDE, KIND_STRIDE = 16, 8
MIN_PART, MIN_DEFECT = 0.35, 0.6  # visible shares from which a box is asked for; less is left open


def letterbox(picture):
    """Resize and pad as the yolov8 family does; returns the picture, scale and offsets."""
    h, w = picture.shape[:2]
    scale = min(WIDTH / w, HEIGHT / h)
    nw, nh = round(w * scale), round(h * scale)
    if (nw, nh) != (w, h):
        picture = cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)
    left, top = round((WIDTH - nw) / 2 - 0.1), round((HEIGHT - nh) / 2 - 0.1)
    out = np.full((HEIGHT, WIDTH, 3), PAD, np.uint8)
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


def prepare(args):
    pictures, rows = [], []
    for folder in args.data:
        for path, _, boxes in read(folder):
            picture, s, left, top = letterbox(cv2.imread(str(path)))
            for a in boxes:
                x, y, w, h = a["bbox"]
                enough = a["visible"] >= (MIN_DEFECT if a["label"] else MIN_PART) and not a["below_floor"]
                rows.append([len(pictures), a["label"], x * s + left, y * s + top,
                             (x + w) * s + left, (y + h) * s + top, enough])
            pictures.append(picture)
    np.savez(args.cache, pictures=np.stack(pictures), rows=np.array(rows, np.float32))
    print(f"{len(pictures)} pictures, {len(rows)} boxes")


# --- network -----------------------------------------------------------------

# name: (inputs, outputs, kernel, stride, kind); kind "add" is x + relu(conv(x)), "head" a bare
# convolution. Parts are found on the coarse grid, defects on the fine one with the coarse one's view.
LAYERS = {
    "stem": (3, 16, 3, 2, "relu"),
    "down4": (16, 24, 3, 2, "relu"),
    "fine4": (24, 24, 3, 1, "add"),
    "down8": (24, 48, 3, 2, "relu"),
    "mid8a": (48, 48, 3, 1, "add"),
    "mid8b": (48, 48, 3, 1, "add"),
    "down16": (48, 64, 3, 2, "relu"),
    "wide16a": (64, 64, 3, 1, "add"),
    "wide16b": (64, 64, 3, 1, "add"),
    "wide16c": (64, 64, 3, 1, "add"),
    "part": (64, 5, 1, 1, "head"),
    "lift": (64, 48, 1, 1, "head"),
    "both8": (48, 48, 3, 1, "add"),
    "kind": (48, KINDS + 4, 1, 1, "head"),
}
TRUNK = ["stem", "down4", "fine4", "down8", "mid8a", "mid8b"]
COARSE = ["down16", "wide16a", "wide16b", "wide16c"]


def network(normed):
    """The network; normed with a normalisation behind each convolution, as it starts to learn."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, (i, o, k, s, kind) in LAYERS.items():
                norm = normed and kind != "head"
                self.add_module(name, nn.Conv2d(i, o, k, s, k // 2, bias=not norm))
                self.add_module(name + "_bn", nn.BatchNorm2d(o) if norm else nn.Identity())
            for name, scores in (("part", 1), ("kind", KINDS)):
                nn.init.constant_(getattr(self, name).bias[:scores], -4.0)
                nn.init.constant_(getattr(self, name).bias[scores:], 0.7)

        def step(self, name, x):
            y = getattr(self, name)(x)
            if LAYERS[name][4] == "head":
                return y
            y = torch.relu(getattr(self, name + "_bn")(y))
            return x + y if LAYERS[name][4] == "add" else y

        def forward(self, x):
            for name in TRUNK:
                x = self.step(name, x)
            fine = x
            for name in COARSE:
                x = self.step(name, x)
            lifted = nn.functional.interpolate(self.step("lift", x), scale_factor=2, mode="nearest")
            fine = self.step("both8", torch.relu(fine + lifted))
            return self.step("part", x), self.step("kind", fine)

    return Net().to(memory_format=torch.channels_last)


# --- training ----------------------------------------------------------------


def targets(rows, labels, stride, batch, classes):
    """Scores wanted, where they count, and boxes (left, top, right, bottom in pixels).

    The cells whose centre is within 0.75 of a box's centre want it, those up to 1.6 are free to
    do what they like: so a centre on the border of two cells leaves no doubt in both.
    """
    gh, gw = HEIGHT // stride, WIDTH // stride
    score = np.zeros((batch, classes, gh, gw), np.float32)
    count = np.ones((batch, classes, gh, gw), np.float32)
    boxes = np.zeros((batch, 4, gh, gw), np.float32)
    gy, gx = np.mgrid[0:gh, 0:gw] + 0.5
    for b, label, x0, y0, x1, y1, enough in rows:
        if int(label) not in labels:
            continue
        b, c = int(b), labels.index(int(label))
        if not enough:
            near = (gx >= x0 / stride - 1) & (gx <= x1 / stride + 1) & (gy >= y0 / stride - 1) & (gy <= y1 / stride + 1)
            count[b][:, near & (score[b].max(0) == 0)] = 0
            continue
        d = np.hypot(gx - (x0 + x1) / 2 / stride, gy - (y0 + y1) / 2 / stride)
        count[b, :, d < 1.6] *= (score[b][:, d < 1.6] > 0).T  # keep what another box already claimed
        core = d < 0.75
        score[b, c, core], count[b, :, core] = 1, 1
        boxes[b][:, core] = np.array([x0, y0, x1, y1], np.float32)[:, None]
    return score, count, boxes


def loss_of(torch, out, score, count, boxes, stride):
    classes = score.shape[1]
    logit, reach = out[:, :classes], out[:, classes:]
    p = torch.sigmoid(logit)
    wrong = torch.where(score > 0, 1 - p, p)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logit, score, reduction="none")
    wanted = score.amax(1) > 0
    n = wanted.sum().clamp(min=1)
    scores = (wrong.detach() ** 1.5 * bce * count).sum() / n
    gh, gw = score.shape[2:]
    gy, gx = torch.meshgrid((torch.arange(gh) + 0.5) * stride, (torch.arange(gw) + 0.5) * stride, indexing="ij")
    side = torch.exp(reach.clamp(-3, 4)) * stride
    got = torch.stack([gx - side[:, 0], gy - side[:, 1], gx + side[:, 2], gy + side[:, 3]], -1)[wanted]
    want = boxes.permute(0, 2, 3, 1)[wanted]
    inter = (torch.minimum(got[:, 2:], want[:, 2:]) - torch.maximum(got[:, :2], want[:, :2])).clamp(min=0).prod(1)
    union = (got[:, 2:] - got[:, :2]).prod(1) + (want[:, 2:] - want[:, :2]).prod(1) - inter
    hull = (torch.maximum(got[:, 2:], want[:, 2:]) - torch.minimum(got[:, :2], want[:, :2])).prod(1)
    giou = inter / union - (hull - union) / hull
    return scores + 1.5 * (1 - giou).sum() / n


def batch_of(rng, pictures, by_picture, chosen):
    """Pictures as the network sees them, each shifted, lit and made noisy anew, with their boxes."""
    x = np.empty((len(chosen), HEIGHT, WIDTH, 3), np.float32)
    rows = []
    for b, i in enumerate(chosen):
        dx, dy = rng.integers(-12, 13), rng.integers(-6, 7)
        picture = np.roll(pictures[i], (dy, dx), (0, 1)).astype(np.float32)
        own = by_picture[i].copy()
        own[:, 0] = b
        own[:, [2, 4]] += dx
        own[:, [3, 5]] += dy
        # What the roll carries round the edge is no part of the picture.
        if dx > 0:
            picture[:, :dx] = PAD
        elif dx < 0:
            picture[:, dx:] = PAD
        own[:, [2, 4]] = own[:, [2, 4]].clip(0, WIDTH)
        if rng.random() < 0.25:
            picture = picture[:, ::-1]
            own[:, [2, 4]] = WIDTH - own[:, [4, 2]]
        rows.append(own[own[:, 4] - own[:, 2] > 2])
        x[b] = picture * rng.uniform(0.88, 1.12)
    x += rng.standard_normal(x.shape, np.float32) * rng.uniform(0, 2.0, (len(chosen), 1, 1, 1)).astype(np.float32)
    return (x[..., ::-1] / 255).clip(0, 1).transpose(0, 3, 1, 2).copy(), np.concatenate(rows)


def train(args):
    """Learn for --minutes of two cores' time, the first --normed of it with normalisation.

    Normalisation costs 40 % of a step on a CPU; once the network has found its scale, it is folded into
    the weights and the rest is learnt without.
    """
    import torch

    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    data = np.load(args.cache)
    pictures, rows = data["pictures"], data["rows"]
    by_picture = [rows[rows[:, 0] == i] for i in range(len(pictures))]
    work = pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    saved = torch.load(work / "last.pt", weights_only=True) if (work / "last.pt").exists() else None
    run = Run(torch, True if saved is None else saved["normed"])
    if saved:
        run.load(saved)
    began, limit = time.process_time() - run.spent, args.minutes * 120
    sums, told, order = [], time.monotonic(), np.array([], int)
    while run.spent < limit:
        if run.normed and run.spent > args.normed * limit:
            run = run.folded(torch)
            print("normalisation folded into the weights", flush=True)
        if len(order) < args.batch:
            order = rng.permutation(len(pictures))
        chosen, order = order[: args.batch], order[args.batch :]
        rate = 2.5e-3 * min(1, (run.since + 1) / 150) * (0.01 + 0.99 * (1 + np.cos(np.pi * run.spent / limit)) / 2)
        sums.append(run.learn(torch, float(rate), *batch_of(rng, pictures, by_picture, chosen)))
        run.spent = time.process_time() - began
        if time.monotonic() - told > 20:
            told = time.monotonic()
            print(f"{run.spent / 120:5.1f} min  step {run.step}  {run.step * args.batch / len(pictures):.1f} epochs  "
                  f"loss {np.mean(sums):.4f}  rate {rate:.5f}", flush=True)
            sums.clear()
            run.save(torch, work)
    run.save(torch, work)


class Run:
    """The state of a training: weights, their running mean (which is exported), optimiser, time spent."""

    def __init__(self, torch, normed):
        self.normed, self.spent, self.step, self.since = normed, 0.0, 0, 0
        self.net, self.mean = network(normed), network(normed)
        self.mean.load_state_dict(self.net.state_dict())
        decay = [p for p in self.net.parameters() if p.ndim > 1]
        plain = [p for p in self.net.parameters() if p.ndim <= 1]
        self.opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0}])

    def learn(self, torch, rate, x, own):
        for group in self.opt.param_groups:
            group["lr"] = rate
        part, kind = self.net(torch.from_numpy(x).contiguous(memory_format=torch.channels_last))
        loss = 0
        for out, labels, stride in ((part, [0], PART_STRIDE), (kind, list(range(1, KINDS + 1)), KIND_STRIDE)):
            wanted = [torch.from_numpy(a) for a in targets(own, labels, stride, len(x), len(labels))]
            loss = loss + loss_of(torch, out, *wanted, stride)
        self.opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10)
        self.opt.step()
        self.step, self.since = self.step + 1, self.since + 1
        keep = min(0.998, self.since / (self.since + 20))
        with torch.no_grad():
            for a, b in zip(self.mean.state_dict().values(), self.net.state_dict().values()):
                a.copy_(keep * a + (1 - keep) * b if a.is_floating_point() else b)
        return float(loss.detach())

    def folded(self, torch):
        """The same network without normalisation, from the mean of the weights."""
        new = Run(torch, False)
        state = {}
        for name in LAYERS:
            w, b = folded(self.mean.state_dict(), name)
            state[f"{name}.weight"], state[f"{name}.bias"] = torch.from_numpy(w), torch.from_numpy(b)
        new.net.load_state_dict(state)
        new.mean.load_state_dict(state)
        new.spent, new.step = self.spent, self.step
        return new

    def save(self, torch, work):
        keys = ("normed", "spent", "step", "since")
        torch.save({k: getattr(self, k) for k in keys} | {
            k: getattr(self, k).state_dict() for k in ("net", "mean", "opt")}, work / "new.pt")
        (work / "new.pt").replace(work / "last.pt")

    def load(self, saved):
        for k in ("normed", "spent", "step", "since"):
            setattr(self, k, saved[k])
        for k in ("net", "mean", "opt"):
            getattr(self, k).load_state_dict(saved[k])


# --- export ------------------------------------------------------------------


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


def head(g, x, classes, first, total, stride):
    """One grid's rows of output0: centre and size in pixels, then all labels' scores.

    Only a score that is the highest among its neighbours is kept, so one thing is told once.
    """
    gh, gw = HEIGHT // stride, WIDTH // stride
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
    if total - first - classes:
        rows.append(g.const(np.zeros((1, total - first - classes, gh * gw), np.float32)))
    return g.add("Concat", *rows, axis=1)


def export(args):
    import onnx
    import torch
    from onnx import TensorProto, helper

    state = torch.load(pathlib.Path(args.work) / "last.pt", weights_only=True)["mean"]
    g = Graph()

    def step(name, x):
        _, _, k, s, kind = LAYERS[name]
        w, b = folded(state, name)
        y = g.add("Conv", x, g.const(w, name + ".w"), g.const(b, name + ".b"), kernel_shape=[k, k], strides=[s, s],
                  pads=[k // 2] * 4)
        if kind == "head":
            return y
        y = g.add("Relu", y)
        return g.add("Add", x, y) if kind == "add" else y

    x = "images"
    for name in TRUNK:
        x = step(name, x)
    fine = x
    for name in COARSE:
        x = step(name, x)
    none = g.const(np.array([], np.float32))
    lifted = g.add("Resize", step("lift", x), none, g.const(np.array([1, 1, 2, 2], np.float32)), mode="nearest",
                   coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    fine = step("both8", g.add("Relu", g.add("Add", fine, lifted)))
    parts = head(g, step("part", x), 1, 0, len(LABELS), PART_STRIDE)
    kinds = head(g, step("kind", fine), KINDS, 1, len(LABELS), KIND_STRIDE)
    g.add("Concat", parts, kinds, axis=2, out="output0")
    cells = sum((HEIGHT // s) * (WIDTH // s) for s in (PART_STRIDE, KIND_STRIDE))
    graph = helper.make_graph(
        g.nodes, "drawn-parts",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + len(LABELS), cells])], g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="sightline")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    out = pathlib.Path(args.out)
    out.write_bytes(model.SerializeToString(deterministic=True))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    for name in ("manifest.yaml", "MODEL_CARD.md"):  # beside the network, both tell its digest
        if (out.parent / name).exists():
            text = (out.parent / name).read_text()
            (out.parent / name).write_text(re.sub(r"\b[0-9a-f]{64}\b", digest, text))
    print(f"{out}: {out.stat().st_size} bytes, opset 17, sha256 {digest}")


# --- evaluation --------------------------------------------------------------


def session(path):
    import onnxruntime as ort

    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def iou(box, boxes):
    x0, y0 = np.maximum(box[:2], boxes[:, :2]).T
    x1, y1 = np.minimum(box[2:], boxes[:, 2:]).T
    inter = (x1 - x0).clip(0) * (y1 - y0).clip(0)
    area = lambda b: (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return inter / (area(box) + area(boxes) - inter)


def detect(run, path, least, nms=0.7):
    """Label, score and box (x0, y0, x1, y1 in the picture's pixels), best first."""
    picture = cv2.imread(str(path))
    h, w = picture.shape[:2]
    boxed, s, left, top = letterbox(picture)
    x = np.ascontiguousarray(boxed[..., ::-1].transpose(2, 0, 1)[None]).astype(np.float32) * np.float32(1 / 255)
    out = run.run(None, {"images": x})[0][0]
    label, cell = np.nonzero(out[4:] > least)
    score = out[4 + label, cell]
    cx, cy, bw, bh = out[:4, cell]
    box = np.stack([cx - bw / 2 - left, cy - bh / 2 - top, cx + bw / 2 - left, cy + bh / 2 - top], 1) / s
    box = box.clip(0, [w, h, w, h])
    order, kept = np.argsort(-score), []
    for i in order:
        if all(label[j] != label[i] or iou(box[i], box[j][None])[0] < nms for j in kept):
            kept.append(i)
    return [(int(label[i]), float(score[i]), box[i]) for i in kept]


def average_precision(hits, total):
    """Area under the precision-recall curve at 101 recalls, as COCO takes it."""
    if not total:
        return float("nan")
    tp = np.cumsum([h for _, h in sorted(hits, reverse=True)])
    recall, precision = tp / total, tp / (np.arange(len(tp)) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101))
    return float(np.mean([precision[i] if i < len(precision) else 0 for i in at]))


def ap(args):
    run = session(args.model)
    hits, totals, pictures = [[] for _ in LABELS], [0] * len(LABELS), 0
    for folder in args.data:
        for path, _, notes in read(folder):
            pictures += 1
            truth = [(a["label"], np.array(a["bbox"]) + [0, 0, *a["bbox"][:2]],
                      a["visible"] >= 0.5 and not a["below_floor"]) for a in notes]
            taken = set()
            for c in range(len(LABELS)):
                totals[c] += sum(1 for t in truth if t[0] == c and t[2])
            for label, score, box in detect(run, path, 0.01):
                own = [(iou(box, t[1][None])[0], i) for i, t in enumerate(truth) if t[0] == label and i not in taken]
                best = max((o for o in own if truth[o[1]][2]), default=(0, -1))
                if best[0] >= 0.5:
                    taken.add(best[1])
                    hits[label].append((score, 1))
                elif not any(o[0] >= 0.3 and not truth[o[1]][2] for o in own):
                    hits[label].append((score, 0))
    values = [average_precision(h, n) for h, n in zip(hits, totals)]
    print(f"{pictures} pictures")
    for name, v, n in zip(LABELS, values, totals):
        print(f"  {name:8} AP50 {v:.4f}  of {n}")
    print(f"  mAP50 {np.mean(values):.4f}")


def parts(args):
    """Count, for every part of an unbroken run, the frames in which a defect label reaches 0.5."""
    run = session(args.model)
    bad, good, floor, found, asked, false_parts, frames = [], [], [], 0, 0, 0, 0
    for folder in args.data:
        truth = {p["id"]: p for p in json.loads((pathlib.Path(folder) / "truth.json").read_text())["parts"]}
        seen, shown, whole = {}, {}, {}
        for path, image, notes in read(folder):
            frames += 1
            there = [a for a in notes if a["label"] == 0]
            boxes = np.array([np.array(a["bbox"]) + [0, 0, *a["bbox"][:2]] for a in there]).reshape(-1, 4)
            got = detect(run, path, 0.25)
            mine = [d for d in got if d[0] == 0]
            for a, box in zip(there, boxes):
                shown[a["part_id"]] = shown.get(a["part_id"], 0) + 1
                if a["visible"] > 0.999:
                    whole[a["part_id"]] = whole.get(a["part_id"], 0) + 1
                if a["visible"] >= 0.4:
                    asked += 1
                    found += any(iou(box, d[2][None])[0] >= 0.5 for d in mine)
            false_parts += sum(1 for d in mine if not len(boxes) or iou(d[2], boxes).max() < 0.3)
            now = set()
            for label, score, box in got:
                if label == 0 or score < 0.5:
                    continue
                cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                for a, b in zip(there, boxes):
                    if b[0] <= cx < b[2] and b[1] <= cy < b[3]:
                        now.add((a["part_id"], label))
            for key in now:
                seen[key] = seen.get(key, 0) + 1
        for part, p in truth.items():
            if whole.get(part, 0) < args.whole:
                continue  # cut off by the run's start or end
            most = max([(n, LABELS[l]) for (q, l), n in seen.items() if q == part], default=(0, ""))
            note = (most[0], most[1], shown[part], f"{folder} {part}",
                    [f"{d['kind']} {d['contrast']:.0f} {d['size']:.2f}" for d in p["defects"]])
            (bad if p["bad"] else floor if p["defects"] else good).append(note)
    print(f"{frames} frames, {len(bad) + len(good) + len(floor)} parts: {len(bad)} bad, {len(good)} good, "
          f"{len(floor)} under the floor")
    print(f"  parts found in a frame: {found} of {asked} that are visible to 40 %; {false_parts} false")
    print(f"  bad parts with a defect at 0.5 in fewer than 3 frames: {sum(b[0] < 3 for b in bad)} of {len(bad)}")
    print(f"  good parts with one in more than 2 frames: {sum(g[0] > 2 for g in good)} of {len(good)}")
    print(f"  under the floor, rejected all the same: {sum(f[0] > 2 for f in floor)} of {len(floor)}")
    for title, notes in (("weakest bad", sorted(bad)[:8]), ("worst good", sorted(good)[::-1][:8])):
        for n in notes:
            print(f"    {title}: {n[0]} of {n[2]} frames {n[1]}, {n[3]} {n[4]}")


def main():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = cli.add_subparsers(dest="what", required=True)
    for name, flags in {"prepare": "data cache", "train": "cache work", "export": "work out", "ap": "model data",
                        "parts": "model data"}.items():
        p = sub.add_parser(name)
        for flag in flags.split():
            p.add_argument("--" + flag, required=True, nargs="+" if flag == "data" else None)
        if name == "parts":
            p.add_argument("--whole", type=int, default=30, help="count parts wholly in view for this many frames")
        if name == "train":
            p.add_argument("--minutes", type=float, default=28, help="of two cores' time")
            p.add_argument("--normed", type=float, default=0.3, help="share of it with normalisation")
            p.add_argument("--batch", type=int, default=16)
    args = cli.parse_args()
    {"prepare": prepare, "train": train, "export": export, "ap": ap, "parts": parts}[args.what](args)


if __name__ == "__main__":
    main()
