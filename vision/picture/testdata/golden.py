"""Writes testdata/golden: pictures of every kind that package picture reads,
each beside what cv2.imdecode(…, IMREAD_COLOR) makes of it, as a PNG (.want.png).

    python -m venv v && v/bin/pip install opencv-python-headless numpy pillow
    v/bin/python golden.py
"""
import os

import cv2
import numpy as np
from PIL import Image

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
W, H = 37, 27


def drawn(w, h):
    """Gradients, a sharp coloured edge, and some noise."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([x * 255 // max(w - 1, 1), y * 255 // max(h - 1, 1), (x * 7 + y * 13) % 256], -1)
    a[h // 3 : h // 2, w // 4 : w // 2] = (250, 20, 30)
    a += np.random.RandomState(1).randint(-6, 7, a.shape)
    return Image.fromarray(a.clip(0, 255).astype("uint8"))


def save(img, name, **how):
    img.save(os.path.join(OUT, name), **how)


def main():
    os.makedirs(OUT, exist_ok=True)
    src = drawn(W, H)
    gray = src.convert("L")
    alpha = Image.fromarray((np.indices((H, W)).sum(0) * 9 % 256).astype("uint8"))
    rgba = src.copy()
    rgba.putalpha(alpha)
    for n, name in enumerate(("444", "422", "420")):
        save(src, f"{name}.jpg", quality=92, subsampling=n)
        save(src, f"{name}-progressive.jpg", quality=92, subsampling=n, progressive=True)
    for w, h in ((1, 1), (2, 3), (3, 2), (5, 5), (4, 17)):
        save(drawn(w, h), f"420-{w}x{h}.jpg", quality=95, subsampling=2)
        save(drawn(w, h), f"422-{w}x{h}.jpg", quality=95, subsampling=1)
        save(drawn(w, h), f"lossy-{w}x{h}.webp", quality=90)
    factor = {"440": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, "411": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411}
    for name, f in factor.items():
        cv2.imwrite(os.path.join(OUT, f"{name}.jpg"), np.array(src)[:, :, ::-1], [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, f])
    save(gray, "gray.jpg")
    save(src.convert("CMYK"), "cmyk.jpg", quality=95)
    save(src, "rgb.jpg", quality=95, keep_rgb=True)
    save(src, "rgb.png")
    save(rgba, "rgba.png")
    save(gray, "gray.png")
    save(gray.convert("1"), "bits.png")
    save(src.quantize(17), "palette.png")
    save(src.quantize(30), "palette-transparent.png", transparency=3)
    save(gray, "gray-transparent.png", transparency=100)
    save(Image.merge("LA", (gray, alpha)), "gray-alpha.png")
    deep = np.random.RandomState(2).randint(0, 65536, (13, 17, 4)).astype(np.uint16)
    cv2.imwrite(os.path.join(OUT, "rgb16.png"), deep[:, :, :3])
    cv2.imwrite(os.path.join(OUT, "rgba16.png"), deep)
    cv2.imwrite(os.path.join(OUT, "gray16.png"), deep[:, :, 0])
    save(src, "rgb.bmp")
    save(gray, "gray.bmp")
    save(src.quantize(17), "palette.bmp")
    save(src, "lossy.webp", quality=80)
    save(rgba, "lossy-alpha.webp", quality=80)
    save(src, "lossless.webp", lossless=True)
    for k in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = k
        save(src, f"exif{k}.jpg", exif=exif, quality=95, subsampling=0)
        save(src, f"exif{k}.webp", exif=exif, lossless=True)
    save(src, "exif6.png", exif=exif)
    for name in sorted(os.listdir(OUT)):
        if not name.endswith(".want.png"):
            with open(os.path.join(OUT, name), "rb") as f:
                want = cv2.imdecode(np.frombuffer(f.read(), np.uint8), cv2.IMREAD_COLOR)
            cv2.imwrite(os.path.join(OUT, name + ".want.png"), want, [cv2.IMWRITE_PNG_COMPRESSION, 9])


main()
