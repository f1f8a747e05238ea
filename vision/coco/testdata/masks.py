"""Makes masks.json: polygons, bitmaps and their run lengths as pycocotools has them.

The sets of real annotations are named by SIGHTLINE_REALDATA; of them the file
holds only digests: SHA-256 over a line "id counts" for every annotation.

pip install numpy==2.4.6 pycocotools==2.0.11
python masks.py > masks.json
"""
import hashlib
import json
import os
import sys

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO

rng = np.random.default_rng(1)


def union(polygons, w, h):
    return mask.merge(mask.frPyObjects(polygons, h, w))


def polygon(w, h, kind):
    n = int(rng.integers(3, 12))
    if kind == "any":  # crosses itself, leaves the picture by up to a tenth
        p = rng.uniform(-0.09, 1.09, (n, 2)) * (w, h)
    elif kind == "whole":  # corners on whole pixels
        p = rng.integers(0, (w + 1, h + 1), (n, 2)).astype(float)
    elif kind == "halves":
        p = rng.integers(0, (2 * w + 1, 2 * h + 1), (n, 2)) / 2
    elif kind == "fifths":  # on the fine grid and between its points
        p = rng.integers(0, (10 * w + 1, 10 * h + 1), (n, 2)) / 10
    elif kind == "sliver":
        a, b = rng.uniform(0, 1, (2, 2)) * (w, h)
        p = np.array([a, b, b + rng.uniform(-0.3, 0.3, 2), a])
    elif kind == "twice":  # a point on its own successor
        p = rng.uniform(0, 1, (n, 2)) * (w, h)
        p = np.repeat(p, 2, axis=0)
    else:  # a blob as people draw it
        t = np.sort(rng.uniform(0, 2 * np.pi, n + 4))
        c, r = rng.uniform(0.2, 0.8, 2) * (w, h), rng.uniform(0.05, 0.3) * min(w, h)
        p = c + r * np.stack([np.cos(t), np.sin(t)], 1) * rng.uniform(0.5, 1, (len(t), 1))
        p = np.clip(p, 0, (w, h)).round(2)
    return [float(v) for v in np.clip(p, (-0.1 * w, -0.1 * h), (1.1 * w, 1.1 * h)).ravel()]


def polygons():
    out = []
    for kind in ("any", "whole", "halves", "fifths", "sliver", "twice", "blob"):
        for i in range(24):
            w, h = (int(v) for v in rng.integers(1, (9, 40, 200)[i % 3], 2))
            ps = [polygon(w, h, kind) for _ in range(1 + i % 3)]
            r = union(ps, w, h)
            out.append({"w": w, "h": h, "polygons": ps, "counts": r["counts"].decode(),
                        "area": int(mask.area(r)), "box": mask.toBbox(r).tolist()})
    return out


def plain(bits):
    """Run lengths of a bitmap as a list, written out."""
    counts, now = [0], 0
    for v in bits.T.ravel():
        if v != now:
            counts.append(0)
            now = v
        counts[-1] += 1
    return counts


def bitmaps():
    out = []
    for i in range(40):
        w, h = (int(v) for v in rng.integers(1, 60, 2))
        bits = (rng.random((h, w)) < (0, 1, 0.5, 0.03, 0.97)[i % 5]).astype(np.uint8)
        if i % 7 == 6:
            bits[:, w // 2:] = 1
        r = mask.encode(np.asfortranarray(bits))
        out.append({"w": w, "h": h, "pixels": "".join(map(str, bits.ravel())), "counts": r["counts"].decode(),
                    "list": plain(bits), "area": int(mask.area(r)), "box": mask.toBbox(r).tolist()})
    return out


def ious():
    out = []
    for i in range(60):
        w, h = (int(v) for v in rng.integers(2, 50, 2))
        a, b = (union([polygon(w, h, "any")], w, h) for _ in range(2))
        out.append({"w": w, "h": h, "a": a["counts"].decode(), "b": b["counts"].decode(),
                    "iou": mask.iou([a], [b], [0])[0, 0], "crowd": mask.iou([a], [b], [1])[0, 0],
                    "union": mask.merge([a, b])["counts"].decode(), "both": int(mask.area(mask.merge([a, b], intersect=1)))})
    return out


def boxes():
    out = []
    for i in range(60):
        a, b = (rng.uniform(0, 20, 4).round(i % 3).tolist() for _ in range(2))
        if i % 10 == 0:
            b = a
        if i % 10 == 1:
            b[2] = 0
        out.append({"a": a, "b": b, "iou": mask.iou(np.array([a]), np.array([b]), [0])[0, 0],
                    "crowd": mask.iou(np.array([a]), np.array([b]), [1])[0, 0]})
    return out


def digests():
    out = []
    for name in ("bsdata/annotations_train.json", "bsdata/annotations_val.json", "coco129/annotations.json", "cookies/annotations.json"):
        real, sys.stdout = sys.stdout, sys.stderr  # COCO prints
        c = COCO(os.path.join(os.environ["SIGHTLINE_REALDATA"], name))
        sys.stdout = real
        digest, area = hashlib.sha256(), 0
        for a in c.dataset["annotations"]:
            r = c.annToRLE(a)
            digest.update(f"{a['id']} {r['counts'].decode()}\n".encode())
            area += int(mask.area(r))
        out.append({"file": name, "images": len(c.imgs), "annotations": len(c.anns), "sha256": digest.hexdigest(), "pixels": area})
    return out


json.dump({"polygons": polygons(), "bitmaps": bitmaps(), "ious": ious(), "boxes": boxes(), "real": digests()}, sys.stdout)
print()
