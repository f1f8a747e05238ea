"""What a drawn-parts model decides on pictures whose truth is known: average precision, and stations' verdicts."""

import json
import pathlib

import cv2
import numpy as np

from net import LABELS, letterbox, read


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
    height, width = run.get_inputs()[0].shape[2:]
    boxed, s, left, top = letterbox(picture, width, height)
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
