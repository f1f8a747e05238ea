"""Adds PNGs of the rarer kinds to testdata/golden: few bits, 16 bits, palettes and
keys with transparency, interlaced, one pixel, with a gamma. They are written byte by
byte, as no library writes all of them; beside each is what cv2.imdecode(…,
IMREAD_COLOR) makes of it (.want.png).

    pip install numpy==2.4.6 pillow==12.3.0 && pip install --no-deps opencv-python-headless==4.12.0.88
    python pngs.py

Prints where Pillow's convert("RGB"), which torchvision and timm use, gives others.
"""
import io
import os
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
W, H = 13, 11
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def rows(a, depth):
    """Scan lines without a filter, samples of depth bits."""
    out = b""
    for row in a.reshape(a.shape[0], -1):
        bits = "".join(format(v, f"0{depth}b") for v in row)
        bits += "0" * (-len(bits) % 8)
        out += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return out


def png(kind, depth, seed, extra=b"", colours=0, interlaced=False, size=(W, H)):
    w, h = size
    top = colours or 1 << depth
    a = np.random.RandomState(seed).randint(0, top, (h, w, SAMPLES[kind]))
    if interlaced:
        parts = [a[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b"".join(rows(p, depth) for p in parts if p.size)
    else:
        raw = rows(a, depth)
    head = struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def main():
    palette = chunk(b"PLTE", np.random.RandomState(1).randint(0, 256, 48).astype("uint8").tobytes())
    some = chunk(b"tRNS", bytes([0, 128, 255, 7]))
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    files = {
        "gray2.png": png(GRAY, 2, 1), "gray4.png": png(GRAY, 4, 2), "gray1-1x1.png": png(GRAY, 1, 3, size=(1, 1)),
        "palette1.png": png(PALETTE, 1, 4, chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))),
        "palette2.png": png(PALETTE, 2, 5, chunk(b"PLTE", bytes(range(12, 132, 10)))), "palette4-transparent.png": png(PALETTE, 4, 6, palette + some),
        "palette8-transparent.png": png(PALETTE, 8, 7, palette + some, colours=16),
        "rgb-key.png": png(RGB, 8, 8, chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])), colours=5),
        "rgb16-key.png": png(RGB, 16, 9, chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])), colours=5000),
        "gray16-key.png": png(GRAY, 16, 10, chunk(b"tRNS", bytes([1, 1])), colours=600),
        "gray16-alpha.png": png(GRAY_ALPHA, 16, 11), "gray16-1x1.png": png(GRAY, 16, 12, size=(1, 1)),
        "rgba16-interlaced.png": png(RGBA, 16, 13, interlaced=True), "rgb-interlaced.png": png(RGB, 8, 14, interlaced=True),
        "gray2-interlaced.png": png(GRAY, 2, 15, interlaced=True), "gray16-interlaced.png": png(GRAY, 16, 16, interlaced=True),
        "palette4-interlaced.png": png(PALETTE, 4, 17, palette + some, interlaced=True),
        "rgb-gamma.png": png(RGB, 8, 18, gamma), "rgb16-gamma.png": png(RGB, 16, 19, gamma),
    }
    for name, data in files.items():
        with open(os.path.join(OUT, name), "wb") as f:
            f.write(data)
        want = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert want is not None and want.dtype == np.uint8, name
        cv2.imwrite(os.path.join(OUT, name + ".want.png"), want, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[:, :, ::-1].astype(int)
        if (d := np.abs(pillow - want).max()) > 0:
            print(f"{name}: Pillow differs by up to {d}")


main()
