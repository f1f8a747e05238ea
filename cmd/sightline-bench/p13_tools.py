"""The peer of P13's rows of other tools: resize, crop and planes of float32 with
opencv-python, or with Pillow and NumPy, one thread.

p13_tools.py ORDER, pixels on stdin; ORDER is JSON as toolCase in p13_tools.go
writes it. Prints a line of JSON, the time of each repetition in ms, then the
tensor's bytes.
"""
import json
import math
import sys
import time

import cv2
import numpy as np
from PIL import Image

OPENCV = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
PILLOW = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "nearest": Image.NEAREST}


def resized(img, o):
    w = h = o["side"]
    if o["resize"] == "crop":  # torchvision's Resize and CenterCrop
        short = math.floor(o["side"] / o["share"])
        ih, iw = img.shape[:2]
        w, h = (short, int(short * ih / iw)) if iw <= ih else (int(short * iw / ih), short)
    if o["how"] in OPENCV:
        img = cv2.resize(img, (w, h), interpolation=OPENCV[o["how"]])
    else:
        img = np.asarray(Image.fromarray(img).resize((w, h), PILLOW[o["how"]]))
    top, left = round((h - o["side"]) / 2), round((w - o["side"]) / 2)
    return img[top:top + o["side"], left:left + o["side"]]


def tensor(img, o):
    if o["gray"]:
        img = cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)
    img = resized(img, o)
    out = np.empty((1 if o["gray"] else 3, o["side"], o["side"]), np.float32)
    for c, plane in enumerate(out):
        np.multiply(img if o["gray"] else img[..., 2 - c], np.float32(1 / 255), out=plane)
        plane -= np.float32(o["mean"][c])
        plane /= np.float32(o["std"][c])
    return out.astype(np.float16) if o["half"] else out


def main():
    o = json.loads(sys.argv[1])
    cv2.setNumThreads(1)
    img = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(o["height"], o["width"], 3)
    each = []
    for _ in range(o["reps"] + 5):
        start = time.perf_counter()
        made = tensor(img, o)
        each.append((time.perf_counter() - start) * 1e3)
    sys.stdout.buffer.write(json.dumps({"each": each[5:]}).encode() + b"\n" + made.tobytes())


main()
