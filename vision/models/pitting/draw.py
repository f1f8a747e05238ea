#!/usr/bin/env python3
"""Draw the golden pictures of `pitting`, or candidates for them: draw.py DIR [N]

Spindles as the photographs of BSData show them, but drawn: slanted threads of
shiny metal, a ball track, rough dark pits in it, nobody's photograph. They are
what every device must see alike before it runs the model (docs/golden-gate.md);
what the model says of them measures nothing. With N it draws so many candidates.

Needs numpy and opencv-python-headless; written with 2.4 and 5.0.
"""

import pathlib
import sys

import cv2
import numpy as np

WIDTH, HEIGHT, PITCH, SLOPE = 1130, 460, 190, -0.18  # pixels; a thread's height, pixels down a pixel to the right


GOLDEN = {"c18", "c22", "c31", "c46", "c58"}  # of 60 candidates


def spindle(rng):
    """Threads with their shine, brushed along their slope, in BGR."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    across = ((y - SLOPE * x) % PITCH) / PITCH
    flank = 0.35 + 0.45 * np.sin(np.pi * across) ** 2 - 0.25 * np.exp(-(((across - 0.1) / 0.05) ** 2))
    shine = 0.25 * np.exp(-(((x - 0.12 * WIDTH) / 60) ** 2)) + 0.35 * np.exp(-(((x - 0.9 * WIDTH) / 70) ** 2))
    brushed = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), sigmaX=40, sigmaY=0.8)
    grey = flank + shine * flank + 0.5 * brushed
    return np.clip(grey[..., None] * np.array([150, 195, 215]), 0, 255)


def pit(picture, rng, x, along, size, depth=1.0):
    """A rough hole in the track, at a column and a share of the thread's height; of less depth it is paler."""
    y = (along * PITCH + SLOPE * x) % PITCH + PITCH
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    ragged = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), size / 6 + 1)
    ragged /= ragged.std()
    inside = np.hypot((xx - x) / 1.5, yy - y) < size * (1 + 0.25 * ragged)
    crumbs = 0.3 + 0.25 * rng.random((HEIGHT, WIDTH)) + 0.15 * ragged
    soft = depth * cv2.GaussianBlur(inside.astype(float), (0, 0), 1)[..., None]
    picture[:] = picture * (1 - soft) + np.clip(picture * crumbs[..., None], 0, 255) * soft


def candidates(count):
    """Spindles with none to three pits of any size and depth, among which `golden --suggest` chose."""
    for n in range(count):
        rng = np.random.default_rng(1000 + n)
        pits = [(rng.uniform(60, WIDTH - 60), rng.uniform(0.42, 0.63), 8 * 4.5 ** rng.random(), rng.uniform(0.75, 1)) for _ in range(n % 4)]
        yield f"c{n:02d}", rng, pits


def main(folder, count):
    out = pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for name, rng, pits in candidates(count or 60):
        if not count and name not in GOLDEN:
            continue
        picture = spindle(rng)
        for p in pits:
            pit(picture, rng, *p)
        cv2.imwrite(str(out / f"{name}.jpg"), cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 0)
