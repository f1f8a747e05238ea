"""The peer of P13: opencv-python's resize + border + blob, one thread.

p13_peer.py WIDTH HEIGHT SIDE yolox|yolov8 REPETITIONS, pixels on stdin; prints
JSON: the time of each repetition in ms, and the hash of the tensor's 8-bit values.
"""
import hashlib
import json
import sys
import time

import cv2
import numpy as np


def letterbox(img, side, centre):
    h, w = img.shape[:2]
    r = min(side / h, side / w)
    if not centre:
        nw, nh = int(w * r), int(h * r)
        top = left = 0
    else:
        nw, nh = round(w * r), round(h * r)
        top, left = round((side - nh) / 2 - 0.1), round((side - nw) / 2 - 0.1)
    img = cv2.resize(img, (nw, nh), interpolation=cv2.INTER_LINEAR)
    img = cv2.copyMakeBorder(img, top, side - nh - top, left, side - nw - left, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    if centre:
        return cv2.dnn.blobFromImage(img, 1 / 255, swapRB=True)
    return cv2.dnn.blobFromImage(img)


def main():
    w, h, side, family, n = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
    cv2.setNumThreads(1)
    img = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(h, w, 3)
    each = []
    for _ in range(n + 5):
        start = time.perf_counter()
        blob = letterbox(img, side, family == "yolov8")
        each.append((time.perf_counter() - start) * 1e3)
    values = np.rint(blob * (255 if family == "yolov8" else 1)).astype(np.uint8)
    print(json.dumps({"each": each[5:], "sha256": hashlib.sha256(values.tobytes()).hexdigest()}))


main()
