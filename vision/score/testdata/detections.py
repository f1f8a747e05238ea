"""Makes detections.json: small sets with what pycocotools' COCOeval says of them,
and its figures for made-up detections on real annotations.

Those detections are computed alike in detections_test.go from the annotations and
a seed. The real sets are named by SIGHTLINE_REALDATA.

pip install numpy==2.4.6 pycocotools==2.0.11
python detections.py > detections.json
"""
import contextlib
import copy
import io
import json
import os
import sys

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def evaluate(truth, results, kind, images=None):
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        results = copy.deepcopy(results)
        if kind == "segm":  # so that the area is the mask's
            results = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
        e = COCOeval(gt, gt.loadRes(results), kind)
        if images is not None:
            e.params.imgIds = images
        e.evaluate()
        e.accumulate()
        e.summarize()
    p = e.eval["precision"][:, :, :, 0, 2]
    return {"stats": e.stats.tolist(), "classes": [float(p[:, :, k].mean()) for k in range(p.shape[2])]}


rng = np.random.default_rng(3)


def polygon(box, w, h):
    x, y, bw, bh = box
    t = np.linspace(0, 2 * np.pi, 9)[:-1]
    p = np.stack([x + bw / 2 + np.cos(t) * bw / 2, y + bh / 2 + np.sin(t) * bh / 2], 1)
    return np.clip(p, 0, (w, h)).round(1).ravel().tolist()


def plain(rle):
    flat, counts, now = mask.decode(rle).T.ravel(), [0], 0
    for v in flat:
        if v != now:
            counts.append(0)
            now = v
        counts[-1] += 1
    return counts


def small_set(pictures, classes, objects, ties, first_id=1, whole=False, sides=((200, 160),), crowd=0.15):
    truth = {"images": [], "annotations": [], "categories": [{"id": 3 * k + 1, "name": f"c{k}"} for k in range(classes)]}
    results = []
    for i in rng.permutation(pictures):
        w, h = sides[i % len(sides)]
        image = {"id": int(i) + 10, "file_name": f"{i}.png", "width": w, "height": h}
        truth["images"].append(image)
        for _ in range(0 if i % 5 == 4 else int(rng.integers(1, objects + 1))):
            side = rng.choice([12, 25, 50, 110]) * rng.uniform(0.6, 1.3, 2)
            side = np.minimum(side, (w - 1, h - 1))
            box = [*(rng.uniform(0, 1, 2) * (np.array([w, h]) - side)), *side]
            box = [float(np.round(v, 0 if whole else 2)) for v in box]
            poly = polygon(box, w, h)
            k = int(rng.integers(0, max(classes - 1, 1)))  # the last class has no truth
            a = {"id": len(truth["annotations"]) + first_id, "image_id": image["id"], "category_id": 3 * k + 1, "bbox": box,
                 "segmentation": [poly], "iscrowd": 0, "ignore": int(rng.random() < 0.1)}
            rle = mask.merge(mask.frPyObjects([poly], h, w))
            a["area"] = float(mask.area(rle)) if rng.random() < 0.8 else box[2] * box[3]
            if rng.random() < crowd:
                a |= {"iscrowd": 1, "segmentation": {"size": [h, w], "counts": plain(rle)}}
            truth["annotations"].append(a)
            for _ in range(0 if i % 7 == 3 else int(rng.integers(0, 4))):
                s = (0, 0.03, 0.1, 0.25)[int(rng.integers(0, 4))]
                near = [box[0] + rng.normal() * s * box[2], box[1] + rng.normal() * s * box[3],
                        box[2] * np.exp(rng.normal() * s), box[3] * np.exp(rng.normal() * s)]
                found(results, image, near, 3 * int(rng.integers(0, classes)) + 1 if rng.random() < 0.1 else a["category_id"], ties, whole)
        for _ in range(int(rng.integers(0, 3))):
            found(results, image, [*(rng.uniform(0, 0.7, 2) * (w, h)), *rng.uniform(5, 90, 2)], 3 * int(rng.integers(0, classes)) + 1, ties, whole)
    rng.shuffle(results)
    return truth, [dict(r) for r in results]


def found(results, image, box, category, ties, whole):
    w, h = image["width"], image["height"]
    box = [float(np.round(v, 0 if whole else 2)) for v in box]
    box[2:] = [max(v, 1.0) for v in box[2:]]
    poly = polygon([min(max(box[0], 0), w - 2), min(max(box[1], 0), h - 2), *box[2:]], w, h)
    rle = mask.merge(mask.frPyObjects([poly], h, w))
    results.append({"image_id": image["id"], "category_id": category, "bbox": box, "score": float(np.round(rng.random(), ties)),
                    "segmentation": {"size": [h, w], "counts": rle["counts"].decode()}})


def crowded():
    """More than a hundred detections of a class in one picture."""
    truth, results = small_set(2, 2, 8, 2)
    image = truth["images"][0]
    for _ in range(160):
        a = truth["annotations"][int(rng.integers(0, len(truth["annotations"])))]
        found(results, image, [v + rng.normal() * 4 for v in a["bbox"]], 1, 2, False)
    return truth, results


def cases():
    sets = {
        "many": small_set(14, 6, 7, 4), "ties": small_set(12, 3, 8, 1), "whole pixels": small_set(12, 2, 8, 1, whole=True),
        "one class": small_set(5, 1, 5, 3), "id 0": small_set(4, 2, 4, 3, first_id=0, crowd=0),
        "crowds alone": small_set(5, 2, 4, 3, crowd=1), "sizes": small_set(6, 2, 6, 2, sides=((320, 240), (64, 48), (150, 150))),
        "crowded": crowded(),
    }
    for name, (truth, results) in sets.items():
        images = sorted(i["id"] for i in truth["images"])[::2]
        yield {"name": name, "truth": truth, "results": results, "bbox": evaluate(truth, results, "bbox"), "segm": evaluate(truth, results, "segm"),
               "images": images, "some": evaluate(truth, results, "bbox", images)}


def noise(n, seed):
    """Numbers in [0, 1) that detections_test.go computes alike."""
    v = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    v ^= v >> 15
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> 12
    return (v >> 8).astype(np.float64) / (1 << 24)


def made_up(truth, seed):
    """Two detections for every polygon: moved, stretched, sometimes of the wrong class."""
    sizes = {i["id"]: (i["width"], i["height"]) for i in truth["images"]}
    categories = sorted(c["id"] for c in truth["categories"])
    out = []
    for n, a in enumerate(a for a in truth["annotations"] if not a["iscrowd"] for _ in range(2)):
        r = noise(8, seed + 97 * n)
        if r[0] < 0.2:
            continue
        s = 0.25 * r[1]
        x, y, w, h = a["bbox"]
        dx, dy = s * (r[2] - 0.5) * w, s * (r[3] - 0.5) * h
        sx, sy = 1 + s * (r[4] - 0.5), 1 + s * (r[5] - 0.5)
        category = a["category_id"]
        if r[6] < 0.1:
            category = categories[n % len(categories)]
        pw, ph = sizes[a["image_id"]]
        moved = []
        for p in a["segmentation"]:
            q = []
            for i in range(0, len(p), 2):
                q += [min(max((p[i] - x) * sx + x + dx, 0.0), float(pw)), min(max((p[i + 1] - y) * sy + y + dy, 0.0), float(ph))]
            moved.append(q)
        rle = mask.merge(mask.frPyObjects(moved, ph, pw))
        out.append({"image_id": a["image_id"], "category_id": category, "bbox": [x + dx, y + dy, w * sx, h * sy],
                    "score": float(np.floor(r[7] * 64) / 64), "segmentation": {"size": [ph, pw], "counts": rle["counts"].decode()}})
    return out


def real():
    for name in ("coco129/annotations.json", "bsdata/annotations_train.json", "bsdata/annotations_val.json", "cookies/annotations.json"):
        with open(os.path.join(os.environ["SIGHTLINE_REALDATA"], name)) as f:
            truth = json.load(f)
        results = made_up(truth, 5)
        yield {"file": name, "found": len(results), "bbox": evaluate(truth, results, "bbox"), "segm": evaluate(truth, results, "segm")}


json.dump({"cases": list(cases()), "real": list(real())}, sys.stdout)
print()
