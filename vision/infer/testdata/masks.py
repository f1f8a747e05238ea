"""Makes masks.json: what the reference tools make of outputs that masks_test.go
computes alike from a seed.

yolov8-seg: Ultralytics' non_max_suppression, scale_boxes and process_mask_native
(what predict with retina_masks gives). segmentation: PyTorch's interpolate where
the frame is stretched, grid_sample with the same positions in float64 for
letterboxes and crops; regions by scipy.ndimage.label, over corners too.
classification: PyTorch's softmax and sigmoid.

pip install torch==2.15.0 numpy==2.4.6 scipy==1.17.1 ultralytics==8.4.190
python masks.py > masks.json
"""
import base64
import json
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from ultralytics.utils import nms, ops


def noise(n, seed):
    """Numbers in [0, 1) that decode_test.go computes alike."""
    v = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    v ^= v >> 15
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> 12
    return ((v >> 8).astype(np.float64) / (1 << 24)).astype(np.float32)


def packed(a):
    return base64.b64encode(zlib.compress(np.ascontiguousarray(a).tobytes(), 9)).decode()


def grid_cells(w, h):
    return sum((w // s) * (h // s) for s in (8, 16, 32))


def instances(nc, tensor, frame, conf, thr, seed, rows=0, place=False):
    (tw, th), (fw, fh) = tensor, frame
    protos = torch.from_numpy(noise(32 * (tw // 4) * (th // 4), seed + 1).reshape(32, th // 4, tw // 4) * 2 - 1)
    if rows:
        o = noise(rows * 38, seed).reshape(rows, 38)
        o[:, 2:4] = o[:, :2] + o[:, 2:4] * np.float32(0.7)
        o[:, :4] *= np.array([tw, th, tw, th], np.float32)
        o[:, 5] = np.floor(o[:, 5] * np.float32(nc))
        o[:, 6:] = o[:, 6:] * 2 - 1
        pred = torch.from_numpy(o)
        pred = pred[pred[:, 4] > conf]
        pred = pred[pred[:, 4].argsort(descending=True, stable=True)]
    else:
        n = grid_cells(tw, th)
        o = noise(n * (36 + nc), seed).reshape(36 + nc, n)
        o[:4] *= np.array([[tw], [th], [60], [60]], np.float32)
        o[4 + nc:] = o[4 + nc:] * 2 - 1
        pred = nms.non_max_suppression(torch.from_numpy(o)[None], conf, thr, nc=nc, multi_label=False, max_det=300)[0]
    boxes = ops.scale_boxes((th, tw), pred[:, :4].clone(), (fh, fw))
    masks = ops.process_mask_native(protos, pred[:, 6:], boxes, (fh, fw))
    keep = masks.amax((-2, -1)) > 0
    boxes, pred, masks = boxes[keep], pred[keep], masks[keep]
    dets = [[int(p[5]), round(float(p[4]), 6)] + [round(float(v), 3) for v in (b[0], b[1], b[2] - b[0], b[3] - b[1])] for p, b in zip(pred, boxes)]
    return {"family": "yolov8-seg", "classes": nc, "tensor": tensor, "frame": frame, "confidence": conf, "nms": thr, "seed": seed,
            "rows": rows, "detections": dets, "masks": packed(np.packbits(masks.numpy().astype(bool).reshape(-1)))}


def placement(tensor, frame, resize):
    """Gain and padding as Input.place has them."""
    (tw, th), (w, h) = tensor, frame
    if resize == "stretch":
        return tw / w, th / h, 0, 0
    if resize == "crop":  # the middle, covering
        r = max(tw / w, th / h)
        return r, r, (tw - w * r) / 2, (th - h * r) / 2
    r = min(tw / w, th / h)
    return r, r, round((tw - round(w * r)) / 2 - 0.1), round((th - round(h * r)) / 2 - 0.1)


def to_frame(m, tensor, frame, place, resize):
    """Maps C×h×w in the frame's pixels, and which pixels they reach."""
    (tw, th), (w, h), (gx, gy, px, py) = tensor, frame, place
    inside = np.ones((h, w), bool)
    if resize == "stretch":
        return F.interpolate(m[None], (h, w), mode="bilinear", align_corners=False)[0], inside
    x = ((np.arange(w) + 0.5) * gx + px) / tw * 2 - 1
    y = ((np.arange(h) + 0.5) * gy + py) / th * 2 - 1
    inside = (np.abs(x) <= 1)[None, :] & (np.abs(y) <= 1)[:, None]
    g = torch.from_numpy(np.stack(np.meshgrid(x, y), 2))[None]
    return F.grid_sample(m[None].double(), g, mode="bilinear", padding_mode="border", align_corners=False)[0].float(), inside


def segmentation(form, classes, size, tensor, frame, resize, seed, activation, background=0, area=0, pixel=0.5):
    w, h = size
    values = noise(classes * w * h, seed).reshape(classes, h, w)
    place = placement(tensor, frame, resize)
    layers = []  # of pixels that are of a class, with their scores
    if form == "classes":
        logits = torch.from_numpy(values * np.float32(8))
        up, inside = to_frame(logits, tensor, frame, place, resize)
        probs = to_frame(torch.softmax(logits, 0), tensor, frame, place, resize)[0].numpy()
        best = up.argmax(0).numpy()
        layers = [((best == c) & inside, probs[c], c) for c in range(classes) if c + 1 != background]
    elif form == "each":
        up, inside = to_frame(torch.sigmoid(torch.from_numpy(values * np.float32(8) - np.float32(5))), tensor, frame, place, resize)
        layers = [((up[c].numpy() >= np.float32(pixel)) & inside, up[c].numpy(), c) for c in range(classes) if c + 1 != background]
    elif form == "one":
        up, inside = to_frame(torch.from_numpy(values), tensor, frame, place, resize)
        layers = [((up[0].numpy() >= np.float32(pixel)) & inside, up[0].numpy(), 0)]
    found = []
    for on, score, c in layers:
        label, n = ndimage.label(on, np.ones((3, 3)))
        for k, box in enumerate(ndimage.find_objects(label), 1):
            m = label[box] == k
            if m.sum() >= area:
                found.append((float(score[box][m].max()), c, box, m))
    found.sort(key=lambda f: -f[0])
    picture = np.zeros((frame[1], frame[0]), np.uint16)
    for k, (_, _, box, m) in enumerate(found, 1):
        picture[box][m] += k  # classes that don't exclude each other may lie over each other: their numbers add up
    return {"family": "segmentation", "form": form, "classes": classes, "map": size, "tensor": tensor, "frame": frame, "resize": resize, "seed": seed,
            "activation": activation, "background": background, "area": area, "pixel": pixel, "place": place,
            "regions": [[c, round(s, 6), int(m.sum())] for s, c, _, m in found], "picture": packed(picture)}


def classification(classes, seed, activation):
    v = torch.from_numpy(noise(classes, seed) * np.float32(12))
    p = {"softmax": lambda: torch.softmax(v, 0), "sigmoid": lambda: torch.sigmoid(v - 6)}[activation]()
    top = p.topk(min(5, classes))
    return {"family": "classification", "classes": classes, "seed": seed, "activation": activation,
            "detections": [[int(c), round(float(s), 7)] for s, c in zip(*top) if s > 0.01]}


def main():
    cases = [
        instances(2, [64, 64], [64, 64], 0.95, 0.7, 1),
        instances(3, [128, 96], [256, 192], 0.97, 0.7, 2),
        instances(1, [96, 96], [31, 97], 0.93, 0.5, 3),
        instances(2, [160, 160], [283, 115], 0.985, 0.7, 4),
        instances(2, [160, 160], [115, 283], 0.985, 0.7, 5),
        instances(2, [128, 128], [320, 200], 0.98, 0.7, 6),
        instances(4, [128, 128], [301, 290], 0.6, 0.7, 7, rows=40),
        instances(4, [640, 640], [1130, 460], 0.9985, 0.7, 8),
        segmentation("one", 1, [24, 16], [96, 64], [113, 46], "stretch", 11, "none"),
        segmentation("one", 1, [40, 30], [40, 30], [20, 17], "stretch", 12, "none", pixel=0.7),
        segmentation("one", 1, [32, 32], [128, 128], [200, 90], "letterbox", 13, "none", area=20),
        segmentation("one", 1, [32, 32], [64, 64], [90, 200], "crop", 14, "none"),
        segmentation("one", 1, [1, 1], [64, 64], [9, 7], "stretch", 15, "none", pixel=0.1),
        segmentation("classes", 4, [20, 15], [80, 60], [133, 71], "stretch", 21, "softmax", background=1),
        segmentation("classes", 21, [30, 30], [240, 240], [97, 151], "letterbox", 22, "softmax", background=1, area=4),
        segmentation("classes", 3, [16, 16], [64, 64], [50, 120], "crop", 23, "softmax"),
        segmentation("each", 3, [20, 20], [80, 80], [90, 60], "stretch", 24, "sigmoid", background=2),
        classification(10, 31, "softmax"),
        classification(1000, 32, "softmax"),
        classification(20, 33, "sigmoid"),
        classification(1, 34, "sigmoid"),
    ]
    print("[" + ",\n".join(json.dumps(c) for c in cases) + "]")


main()
