#!/usr/bin/env python3
"""Draw the golden pictures of `pitting`: draw.py DIR

Spindles as the photographs of BSData show them, but drawn: slanted threads of
shiny metal, a ball track, rough dark pits in it, nobody's photograph. They are
what every device must see alike before it runs the model (docs/golden-gate.md);
what the model says of them measures nothing.

Needs numpy and opencv-python-headless; written with 2.4 and 5.0.
"""

import pathlib
import sys

import cv2
import numpy as np

WIDTH, HEIGHT, PITCH, SLOPE = 1130, 460, 190, -0.18  # pixels; a thread's height, pixels down a pixel to the right


def spindle(rng):
    """Threads with their shine, brushed along their slope, in BGR."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    across = ((y - SLOPE * x) % PITCH) / PITCH
    flank = 0.35 + 0.45 * np.sin(np.pi * across) ** 2 - 0.25 * np.exp(-(((across - 0.1) / 0.05) ** 2))
    shine = 0.25 * np.exp(-(((x - 0.12 * WIDTH) / 60) ** 2)) + 0.35 * np.exp(-(((x - 0.9 * WIDTH) / 70) ** 2))
    brushed = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), sigmaX=40, sigmaY=0.8)
    grey = flank + shine * flank + 0.5 * brushed
    return np.clip(grey[..., None] * np.array([150, 195, 215]), 0, 255)


def pit(picture, rng, x, along, size):
    """A rough hole in the track, at a column and a share of the thread's height."""
    y = (along * PITCH + SLOPE * x) % PITCH + PITCH
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    ragged = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), size / 6 + 1)
    ragged /= ragged.std()
    inside = np.hypot((xx - x) / 1.5, yy - y) < size * (1 + 0.25 * ragged)
    crumbs = 0.3 + 0.25 * rng.random((HEIGHT, WIDTH)) + 0.15 * ragged
    soft = cv2.GaussianBlur(inside.astype(float), (0, 0), 1)[..., None]
    picture[:] = picture * (1 - soft) + np.clip(picture * crumbs[..., None], 0, 255) * soft


def main(folder):
    out = pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    pits = {"none": [], "small": [(820, 0.45, 9)], "large": [(560, 0.6, 30)], "several": [(350, 0.5, 14), (560, 0.6, 20), (820, 0.45, 11)]}
    for n, (name, where) in enumerate(pits.items()):
        rng = np.random.default_rng(100 + n)
        picture = spindle(rng)
        for p in where:
            pit(picture, rng, *p)
        cv2.imwrite(str(out / f"{name}.jpg"), cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
