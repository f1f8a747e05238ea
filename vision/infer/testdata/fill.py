"""Makes fill.json, hashes of input tensors as OpenCV makes them, and
fill_tools.json, hashes of the grey levels before any scaling as OpenCV's other
interpolations, Pillow, torchvision and timm make them.

pip install numpy==2.4.6 pillow==12.3.0 torch==2.15.0 torchvision==0.29.2 timm==1.0.31
pip install --no-deps opencv-python-headless==4.12.0.88
python fill.py
"""
import hashlib
import json
import os

import cv2
import numpy as np
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision import transforms


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


SIZES = [(1920, 1080, 640, 640), (1910, 1075, 640, 640), (1920, 1080, 416, 416), (640, 360, 416, 416),
         (1130, 460, 256, 256), (1280, 720, 640, 640), (640, 640, 640, 640), (333, 517, 352, 352),
         (97, 31, 416, 416), (1, 1, 64, 64), (1, 300, 96, 96), (300, 1, 96, 96), (2, 3, 64, 32),
         (3, 2, 33, 65), (5, 7, 7, 5), (768, 576, 320, 224), (641, 481, 416, 288), (96, 96, 48, 48)]

# Whole factors down, alike and not, broken ones, down one way and up the other, by
# less than a thousandth of a pixel.
MORE = [(96, 96, 32, 32), (128, 96, 32, 24), (96, 60, 48, 20), (90, 200, 30, 25), (640, 480, 128, 96),
        (1000, 37, 10, 40), (37, 1000, 40, 10), (64, 64, 63, 65), (2000, 1500, 112, 112), (1080, 1920, 33, 1),
        (48, 31, 480, 310), (255, 254, 254, 253), (2, 2, 1, 1), (3, 5, 1, 1), (2001, 61, 2000, 60)]

PILLOW = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "nearest": Image.NEAREST}
OPENCV = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


def families():
    made = {"yolox": yolox, "yolov8": yolov8, "fastestdet": fastestdet}
    rows = []
    for seed, (w, h, tw, th) in enumerate(SIZES):
        for name, make in made.items():
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
    return rows


def stretched(img, how, tw, th):
    if how in OPENCV:
        return cv2.resize(img, (tw, th), interpolation=OPENCV[how])
    return np.asarray(Image.fromarray(img).resize((tw, th), PILLOW[how]))


def cropped(img, how, tw, th, share):
    """Pictures as OpenCV reads them: channels don't mix, so their order doesn't matter."""
    if tw == th:  # torchvision's classification presets; share 1 is Ultralytics' classify
        size = int(np.floor(tw / share))
        mode = getattr(transforms.InterpolationMode, how.upper())
        t = transforms.Compose([transforms.Resize(size, mode), transforms.CenterCrop(tw)])
        ours = np.asarray(t(Image.fromarray(img)))
        if how == "nearest":  # timm has none
            return ours
    t = transforms_imagenet_eval((th, tw), crop_pct=share, interpolation=how, use_prefetcher=True)
    timm = np.asarray(t(Image.fromarray(img)))
    timm = timm[0] if timm.shape[0] == 1 else timm.transpose(1, 2, 0)
    assert tw != th or (timm == ours).all()
    return timm


def tools():
    rows = []

    def add(img, t, frame, tensor, seed, colour, how, resize, share=0.0):
        t = t.transpose(2, 0, 1) if t.ndim == 3 else t[None]
        assert t.shape[1:] == (tensor[1], tensor[0]) and t.dtype == np.uint8, t.shape
        rows.append({"frame": frame, "tensor": tensor, "seed": seed, "colour": colour, "interpolation": how,
                     "resize": resize, "share": share, "sha256": hashlib.sha256(t.tobytes()).hexdigest()[:16]})

    for seed, (w, h, tw, th) in enumerate(SIZES + MORE):
        bgr, gray = picture(w, h, 3, seed), picture(w, h, 1, seed)[:, :, 0]
        mixed = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        for how in ("area", "bilinear", "bicubic", "nearest"):
            for img, frame, colour in ((bgr, [w, h, 3], "bgr"), (gray, [w, h, 1], "gray"), (mixed, [w, h, 3], "gray")):
                add(img, stretched(img, how, tw, th), frame, [tw, th], seed, colour, how, "stretch")
    crops = [(1920, 1080, 224, 224), (1080, 1920, 224, 224), (640, 480, 224, 224), (500, 375, 256, 256),
             (333, 500, 224, 224), (225, 224, 224, 224), (224, 224, 224, 224), (97, 31, 96, 96), (31, 97, 65, 65),
             (1, 1, 32, 32), (5, 40, 33, 33), (1920, 1080, 224, 160), (640, 480, 160, 224), (301, 407, 97, 64),
             (64, 64, 96, 33)]
    for seed, (w, h, tw, th) in enumerate(crops):
        bgr, gray = picture(w, h, 3, seed), picture(w, h, 1, seed)[:, :, 0]
        mixed = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        for how in ("bilinear", "bicubic", "nearest"):
            for share in (0.875, 0.95, 0.9, 1.0):
                if how == "nearest" and tw != th:
                    continue
                for img, frame, colour in ((bgr, [w, h, 3], "bgr"), (gray, [w, h, 1], "gray"), (mixed, [w, h, 3], "gray")):
                    add(img, cropped(img, how, tw, th, share), frame, [tw, th], seed, colour, how, "crop", share)
    return rows


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    for name, rows in (("fill.json", families()), ("fill_tools.json", tools())):
        with open(os.path.join(here, name), "w") as f:
            f.write("[" + ",\n".join(json.dumps(r) for r in rows) + "]\n")


if __name__ == "__main__":
    main()
