#!/usr/bin/env python3
"""Train, export and evaluate the models `drawn-parts` and, with --shape drawn-parts-large, its large sibling.

    train.py prepare --data DIR... --cache DIR          pictures -> arrays of the network's size
    train.py train   --cache DIR --work DIR             --minutes of training on two cores; run it again to resume
    train.py export  --work DIR --out model.onnx        the graph, written node by node; stamps manifest and card
    train.py ap      --model model.onnx --data DIR...   average precision on unseen pictures
    train.py parts   --model model.onnx --data DIR...   what a station would decide, on unbroken runs
    train.py cascade --small model.onnx --large model.onnx --data DIR... --unseen DIR...
                                                        both together, one picture a part: escapes against cost

DIR is what `sightline scene write` wrote. docs/scene.md has the whole recipe.
Needs numpy, opencv-python-headless, torch, onnx, onnxruntime.
"""

import argparse
import pathlib
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cascade import cascade
from export import export, folded
from measure import ap, parts
from net import KIND_STRIDE, KINDS, PART_STRIDE, SHAPES, network, widen
from pictures import Batches, prepare, targets


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


def train(args):
    """Learn for --minutes of two cores' time, the first --normed of it with normalisation.

    Normalisation costs 40 % of a step on a CPU; once the network has found its scale, it is folded into
    the weights and the rest is learnt without.
    """
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(2)
    shape, work = SHAPES[args.shape], pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    saved = torch.load(work / "last.pt", weights_only=True) if (work / "last.pt").exists() else None
    run = Run(torch, shape, saved["normed"] if saved else not args.start)
    if saved:
        run.load(saved)
    elif args.start:
        run.begin(torch, widen(shape, args.start))
    batches = Batches(shape, args.cache, args.batch, 1 + run.step)
    began, limit = time.process_time() - run.spent, args.minutes * 120
    sums, told = [], time.monotonic()
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(batches.next)
        while run.spent < limit:
            if run.normed and run.spent > args.normed * limit:
                run = run.folded(torch)
                print("normalisation folded into the weights", flush=True)
            x, own = coming.result()
            coming = ahead.submit(batches.next)
            rate = args.rate * min(1, (run.since + 1) / 150) * (0.01 + 0.99 * (1 + np.cos(np.pi * run.spent / limit)) / 2)
            sums.append(run.learn(torch, float(rate), x, own, args.bf16))
            run.spent = time.process_time() - began
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"{run.spent / 120:5.1f} min  step {run.step}  {run.step * args.batch / len(batches.views):.1f} epochs"
                      f"  loss {np.mean(sums):.4f}  rate {rate:.5f}", flush=True)
                sums.clear()
                run.save(torch, work)
    run.save(torch, work)


class Run:
    """The state of a training: weights, their running mean (which is exported), optimiser, time spent."""

    def __init__(self, torch, shape, normed):
        self.shape, self.normed, self.spent, self.step, self.since = shape, normed, 0.0, 0, 0
        self.net, self.mean = network(shape, normed), network(shape, normed)
        self.mean.load_state_dict(self.net.state_dict())
        decay = [p for p in self.net.parameters() if p.ndim > 1]
        plain = [p for p in self.net.parameters() if p.ndim <= 1]
        self.opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0}])

    def begin(self, torch, state):
        for net in (self.net, self.mean):
            net.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})

    def learn(self, torch, rate, x, own, bf16):
        for group in self.opt.param_groups:
            group["lr"] = rate
        size, loss = (len(x), *x.shape[2:]), 0
        x = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            part, kind = self.net(x)
        for out, labels, stride in ((part, [0], PART_STRIDE), (kind, list(range(1, KINDS + 1)), KIND_STRIDE)):
            wanted = [torch.from_numpy(a) for a in targets(own, labels, stride, size)]
            loss = loss + loss_of(torch, out.float(), *wanted, stride)
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
        new = Run(torch, self.shape, False)
        state = {}
        for name in self.shape.layers:
            w, b = folded(self.mean.state_dict(), name)
            state[f"{name}.weight"], state[f"{name}.bias"] = w, b
        new.begin(torch, state)
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


def main():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = cli.add_subparsers(dest="what", required=True)
    for name, flags in {"prepare": "data cache", "train": "cache work", "export": "work out", "ap": "model data",
                        "parts": "model data", "cascade": "small large data unseen"}.items():
        p = sub.add_parser(name)
        for flag in flags.split():
            p.add_argument("--" + flag, required=True, nargs="+" if flag in ("data", "unseen") else None)
        if name in ("prepare", "train", "export"):
            p.add_argument("--shape", choices=SHAPES, default="drawn-parts")
        if name == "parts":
            p.add_argument("--whole", type=int, default=30, help="count parts wholly in view for this many frames")
        if name == "cascade":
            p.add_argument("--limit", type=float, default=0.3, help="a part with a defect of this score is rejected")
            p.add_argument("--scores", help="file that keeps the scores, so that another limit is told at once")
        if name == "train":
            p.add_argument("--minutes", type=float, default=28, help="of two cores' time")
            p.add_argument("--normed", type=float, default=0.3, help="share of it with normalisation")
            p.add_argument("--start", help="exported smaller network to widen, instead of random weights; not normed")
            p.add_argument("--rate", type=float, default=2.5e-3, help="of learning, at its highest")
            p.add_argument("--batch", type=int, default=16)
            p.add_argument("--bf16", action="store_true", help="for CPUs that multiply bfloat16: half the time")
    args = cli.parse_args()
    if args.what == "prepare":
        prepare(SHAPES[args.shape], args.data, args.cache)
    elif args.what == "export":
        export(SHAPES[args.shape], args.work, args.out)
    else:
        {"train": train, "ap": ap, "parts": parts, "cascade": cascade}[args.what](args)


if __name__ == "__main__":
    main()
