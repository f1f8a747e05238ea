"""Makes fill.json: hashes of input tensors as OpenCV makes them.

pip install numpy==2.4.6 opencv-python-headless==4.12.0.88
python fill.py > fill.json
"""
import hashlib
import json

import cv2
import numpy as np


def picture(w, h, channels, seed):
    """Pixels that fill_test.go computes alike."""
    v = np.arange(w * h * channels, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    v ^= v >> 15
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> 12
    return (v & 255).astype(np.uint8).reshape(h, w, channels)


def yolox(img, w, h):
    r = min(h / img.shape[0], w / img.shape[1])
    nw, nh = max(int(img.shape[1] * r), 1), max(int(img.shape[0] * r), 1)
    out = np.full((h, w, 3), 114, np.uint8)
    out[:nh, :nw] = cv2.resize(img, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return out.transpose(2, 0, 1).astype(np.float32)


def yolov8(img, w, h):
    r = min(h / img.shape[0], w / img.shape[1])
    nw, nh = max(round(img.shape[1] * r), 1), max(round(img.shape[0] * r), 1)
    dw, dh = (w - nw) / 2, (h - nh) / 2
    if (img.shape[1], img.shape[0]) != (nw, nh):
        img = cv2.resize(img, (nw, nh), interpolation=cv2.INTER_LINEAR)
    img = cv2.copyMakeBorder(img, round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1),
                             cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return img[..., ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def fastestdet(img, w, h):
    img = cv2.resize(img, (w, h), interpolation=cv2.INTER_LINEAR)
    return img.transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def main():
    families = {"yolox": yolox, "yolov8": yolov8, "fastestdet": fastestdet}
    sizes = [(1920, 1080, 640, 640), (1910, 1075, 640, 640), (1920, 1080, 416, 416), (640, 360, 416, 416),
             (1130, 460, 256, 256), (1280, 720, 640, 640), (640, 640, 640, 640), (333, 517, 352, 352),
             (97, 31, 416, 416), (1, 1, 64, 64), (1, 300, 96, 96), (300, 1, 96, 96), (2, 3, 64, 32),
             (3, 2, 33, 65), (5, 7, 7, 5), (768, 576, 320, 224), (641, 481, 416, 288), (96, 96, 48, 48)]
    rows = []
    for seed, (w, h, tw, th) in enumerate(sizes):
        for name, make in families.items():
            for channels in (3, 1):
                img = picture(w, h, channels, seed)
                if channels == 1:
                    img = np.repeat(img, 3, axis=2)
                t = np.ascontiguousarray(make(img, tw, th))
                assert t.shape == (3, th, tw), (name, w, h, t.shape)
                rows.append({"family": name, "frame": [w, h, channels], "tensor": [tw, th], "seed": seed,
                             "sha256": hashlib.sha256(t.tobytes()).hexdigest()[:16]})
        gray = cv2.cvtColor(picture(w, h, 3, seed), cv2.COLOR_BGR2GRAY)
        t = cv2.resize(gray, (tw, th), interpolation=cv2.INTER_LINEAR).astype(np.float32) / np.float32(255)
        rows.append({"family": "gray", "frame": [w, h, 3], "tensor": [tw, th], "seed": seed,
                     "sha256": hashlib.sha256(t.tobytes()).hexdigest()[:16]})
    print("[" + ",\n".join(json.dumps(r) for r in rows) + "]")


main()
