"""Makes decode.json: detections as the reference decoders give them, in NumPy.

The outputs are computed alike in decode_test.go from a seed. The decoders are
written after the published post-processing: YOLOX demo_postprocess and NMS per
class over every class; Ultralytics non_max_suppression (predict: best class,
val: every class) and scale_boxes (8.4, which rounds each side); FastestDet's handle_preds.

pip install numpy==2.4.6
python decode.py > decode.json
"""
import json

import numpy as np


def noise(n, seed):
    """Numbers in [0, 1) that decode_test.go computes alike."""
    v = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    v ^= v >> 15
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> 12
    return ((v >> 8).astype(np.float64) / (1 << 24)).astype(np.float32)


def nms(b, s, thr):
    order, keep = np.argsort(-s, kind="stable"), []
    while order.size:
        i, rest = order[0], order[1:]
        keep.append(i)
        w = np.minimum(b[i, 2], b[rest, 2]) - np.maximum(b[i, 0], b[rest, 0])
        h = np.minimum(b[i, 3], b[rest, 3]) - np.maximum(b[i, 1], b[rest, 1])
        inter = np.maximum(w, 0) * np.maximum(h, 0)
        area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        order = rest[inter / (area[i] + area[rest] - inter) <= thr]
    return keep


def per_class(b, s, c, thr, most):
    keep = []
    for k in np.unique(c):
        m = np.flatnonzero(c == k)
        keep += list(m[nms(b[m], s[m], thr)])
    return sorted(keep, key=lambda i: -s[i])[:most]


def grid(w, h):
    cells, strides = [], []
    for t in (8, 16, 32):
        x, y = np.meshgrid(np.arange(w // t), np.arange(h // t))
        cells.append(np.stack((x, y), 2).reshape(-1, 2))
        strides.append(np.full((cells[-1].shape[0], 1), t))
    return np.concatenate(cells), np.concatenate(strides)


def corners(xy, wh):
    return np.concatenate([xy - wh / 2, xy + wh / 2], 1)


def yolox(nc, tw, th, fw, fh, conf, thr, seed):
    cells, strides = grid(tw, th)
    o = noise(len(cells) * (5 + nc), seed).reshape(-1, 5 + nc)
    b = corners((o[:, :2] + cells) * strides, np.exp(o[:, 2:4]) * strides)
    scores = o[:, 4:5] * o[:, 5:]
    p, c = np.nonzero(scores > np.float32(conf))
    b, s = b[p], scores[p, c]
    keep = per_class(b, s, c, thr, 100)
    return b[keep] / min(tw / fw, th / fh), s[keep], c[keep]


def yolov8(nc, tw, th, fw, fh, conf, thr, seed, multi):
    cells, _ = grid(tw, th)
    n = len(cells)
    o = noise(n * (4 + nc), seed).reshape(4 + nc, n)
    b = corners(o[:2].T * (tw, th), o[2:4].T * 60)
    scores = o[4:].T
    if multi:
        p, c = np.nonzero(scores > np.float32(conf))
    else:
        c = scores.argmax(1)
        p = np.flatnonzero(scores.max(1) > np.float32(conf))
        c = c[p]
    b, s = b[p], scores[p, c]
    keep = per_class(b, s, c, thr, 300)
    r = min(tw / fw, th / fh)
    w, h = round(fw * r), round(fh * r)
    pad = [round((tw - w) / 2 - 0.1), round((th - h) / 2 - 0.1)]
    return (b[keep] - np.array(pad * 2)) / np.array([w / fw, h / fh] * 2), s[keep], c[keep]


def fastestdet(nc, tw, th, fw, fh, conf, thr, seed):
    w, h = tw // 16, th // 16
    o = noise(w * h * (5 + nc), seed).reshape(5 + nc, -1)
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    xy = np.stack([(np.tanh(o[1]) + x.ravel()) / w, (np.tanh(o[2]) + y.ravel()) / h], 1)
    wh = 1 / (1 + np.exp(-o[3:5].T))
    b = corners(xy, wh).clip(0, 1) * (fw, fh, fw, fh)
    s, c = o[0] ** np.float32(0.6) * o[5:].max(0) ** np.float32(0.4), o[5:].argmax(0)
    m = np.flatnonzero(s > np.float32(conf))
    keep = m[per_class(b[m], s[m], c[m], thr, 100)]
    return b[keep], s[keep], c[keep]


def case(name, f, *args):
    b, s, c = f(*args)
    nc, tw, th, fw, fh, conf, thr, seed = args[:8]
    b = b.clip(0, (fw, fh, fw, fh))
    dets = [[int(k), round(float(z), 6)] + [round(float(v), 3) for v in (q[0], q[1], q[2] - q[0], q[3] - q[1])]
            for q, z, k in zip(b, s, c) if q[2] > q[0] and q[3] > q[1]]
    return {"family": name, "classes": nc, "tensor": [tw, th], "frame": [fw, fh], "confidence": conf, "nms": thr,
            "seed": seed, "multi": len(args) > 8 and args[8], "detections": dets}


def main():
    cases = [
        case("yolox", yolox, 3, 128, 96, 640, 360, 0.5, 0.65, 1),
        case("yolox", yolox, 1, 64, 64, 100, 333, 0.3, 0.2, 2),
        case("yolov8", yolov8, 2, 96, 96, 31, 97, 0.9, 0.7, 3, False),
        case("yolov8", yolov8, 2, 96, 96, 96, 96, 0.9, 0.7, 4, False),
        case("yolov8", yolov8, 4, 64, 32, 64, 32, 0.8, 0.45, 5, True),
        case("fastestdet", fastestdet, 2, 96, 64, 640, 480, 0.6, 0.45, 6),
        case("fastestdet", fastestdet, 80, 64, 64, 33, 77, 0.65, 0.3, 7),
        case("fastestdet", fastestdet, 1, 96, 96, 640, 480, 0.1, 0.45, 8),
    ]
    print("[" + ",\n".join(json.dumps(c) for c in cases) + "]")


main()
