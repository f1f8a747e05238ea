"""Writes testdata/jpeg: small JPEGs of every layout that the decoder reads, and
testdata/jpeg.sha256 with the digest of cv2.imdecode(…, IMREAD_COLOR) of each.
With a folder as argument it writes testdata/coco129.sha256 for its pictures.

    apt-get install libjpeg-turbo-progs
    python -m venv v && v/bin/pip install opencv-python-headless==4.12.0.88
    v/bin/python jpeg.py [coco129/images]
"""
import glob
import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "jpeg")
SAMPLING = {
    "444": "1x1,1x1,1x1", "422": "2x1,1x1,1x1", "420": "2x2,1x1,1x1",
    "440": "1x2,1x1,1x1", "411": "4x1,1x1,1x1", "410": "4x2,1x1,1x1",
    "422-tall": "2x2,1x2,1x2", "440-wide": "2x2,2x1,2x1", "444-tall": "1x2,1x2,1x2",
}
# One scan for each component, DC and AC alike, in an order of its own.
APART = "2;\n0;\n1;\n"
# Bands and bits in more steps than the default has.
STEPS = "0,1,2: 0-0,0,2;\n0: 1-9,0,3;\n1: 1-63,0,1;\n2: 1-63,0,1;\n0: 10-63,0,3;\n" \
    "0,1,2: 0-0,2,1;\n0: 1-63,3,2;\n0,1,2: 0-0,1,0;\n0: 1-63,2,1;\n1: 1-63,1,0;\n2: 1-63,1,0;\n0: 1-63,1,0;\n"


def drawn(w, h, noise):
    """Gradients, a sharp coloured edge, and noise."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([x * 255 // max(w - 1, 1), y * 255 // max(h - 1, 1), (x * 7 + y * 13) % 256], -1)
    a[h // 3 : h // 2, w // 4 : w // 2] = (250, 20, 30)
    a += np.random.RandomState(w * 1000 + h).randint(-noise, noise + 1, a.shape)
    return a.clip(0, 255).astype("uint8")


def cjpeg(name, pixels, *how):
    h, w = pixels.shape[:2]
    ppm = b"P6 %d %d 255\n" % (w, h) + pixels.tobytes()
    done = subprocess.run(["cjpeg", *how], input=ppm, capture_output=True, check=True)
    with open(os.path.join(OUT, name + ".jpg"), "wb") as f:
        f.write(done.stdout)


def scans(text):
    path = os.path.join("/tmp", "scans-%d.txt" % os.getpid())
    with open(path, "w") as f:
        f.write(text)
    return path


def digest(path):
    with open(path, "rb") as f:
        m = cv2.imdecode(np.frombuffer(f.read(), np.uint8), cv2.IMREAD_COLOR)
    return "%s  %s\n" % (hashlib.sha256(m.tobytes()).hexdigest(), os.path.basename(path))


def digests(name, folder):
    with open(os.path.join(HERE, name), "w") as f:
        f.writelines(digest(p) for p in sorted(glob.glob(os.path.join(folder, "*.jpg"))))


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, factors in SAMPLING.items():
        for w, h in ((37, 27), (65, 17)):
            how = ("-sample", factors, "-quality", "90")
            cjpeg(f"{name}-{w}x{h}", drawn(w, h, 6), "-baseline", *how)
            cjpeg(f"{name}-progressive-{w}x{h}", drawn(w, h, 6), "-progressive", *how)
        cjpeg(f"{name}-apart", drawn(35, 21, 6), "-scans", scans(APART), "-sample", factors)
        cjpeg(f"{name}-restarts", drawn(70, 30, 6), "-restart", "2B", "-sample", factors)
        cjpeg(f"{name}-steps", drawn(45, 35, 40), "-progressive", "-restart", "3B", "-scans", scans(STEPS), "-sample", factors)
    for w, h in ((1, 1), (2, 2), (3, 5), (6, 3), (8, 8), (9, 16), (16, 9), (17, 33), (5, 40)):
        for name in ("444", "422", "420", "440", "411"):
            cjpeg(f"{name}-{w}x{h}", drawn(w, h, 6), "-sample", SAMPLING[name], "-quality", "95")
    noise = drawn(40, 40, 255)
    for q in ("1", "5", "30", "75", "100"):  # 1 needs tables of 16 bits, so SOF1
        cjpeg(f"noise-{q}", noise, "-quality", q, "-sample", "1x1")
        cjpeg(f"noise-{q}-progressive", noise, "-quality", q, "-sample", "2x2", "-progressive")
    cjpeg("optimized", drawn(40, 40, 60), "-optimize", "-quality", "97")
    cjpeg("gray", drawn(37, 27, 6), "-grayscale")
    cjpeg("gray-progressive", drawn(37, 27, 6), "-grayscale", "-progressive")
    cjpeg("gray-2x2", drawn(37, 27, 6), "-grayscale", "-sample", "2x2")
    cjpeg("rgb", drawn(37, 27, 6), "-rgb")
    cjpeg("rgb-progressive", drawn(37, 27, 6), "-rgb", "-progressive")
    os.remove(scans(""))
    digests("jpeg.sha256", OUT)
    if len(sys.argv) > 1:
        digests("coco129.sha256", sys.argv[1])


main()
