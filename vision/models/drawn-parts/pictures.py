"""From drawn pictures to what one step of training looks at."""

import pathlib

import cv2
import numpy as np

from net import KINDS, PAD, letterbox, read

MIN_PART, MIN_DEFECT = 0.35, 0.6  # visible shares from which a box is asked for; less is left open
FAINT = 45.0  # grey levels; a defect of less contrast is looked at twice an epoch


def prepare(shape, data, cache):
    """Writes pictures.npy and rows.npy: picture, label, x0, y0, x1, y1, whether it is asked for, contrast."""
    cache, rows, n = pathlib.Path(cache), [], 0
    cache.mkdir(parents=True, exist_ok=True)
    total = sum(1 for folder in data for _ in read(folder))
    size = (total, shape.height, shape.width, 3)
    pictures = np.lib.format.open_memmap(cache / "pictures.npy", "w+", np.uint8, size)
    for folder in data:
        for path, _, boxes in read(folder):
            pictures[n], s, left, top = letterbox(cv2.imread(str(path)), shape.width, shape.height)
            for a in boxes:
                x, y, w, h = a["bbox"]
                enough = a["visible"] >= (MIN_DEFECT if a["label"] else MIN_PART) and not a["below_floor"]
                rows.append([n, a["label"], x * s + left, y * s + top, (x + w) * s + left, (y + h) * s + top,
                             enough, a.get("contrast", 0)])
            n += 1
    pictures.flush()
    np.save(cache / "rows.npy", np.array(rows, np.float32))
    print(f"{n} pictures, {len(rows)} boxes")


class Batches:
    """Batches without end: views of the cached pictures, each moved, lit and made noisy anew, with their boxes.

    A view is a picture, whole or, if the shape says so, cut out around one of its boxes: every defect has one, a
    faint one two, and a part without a defect one.
    """

    def __init__(self, shape, cache, batch, seed):
        self.pictures = np.load(pathlib.Path(cache) / "pictures.npy", mmap_mode="r")
        rows = np.load(pathlib.Path(cache) / "rows.npy")
        self.own = [rows[rows[:, 0] == i] for i in range(len(self.pictures))]
        self.shape, self.batch, self.rng = shape, batch, np.random.default_rng(seed)
        self.views, self.order = self.all_views(), np.array([], int)
        self.noise = self.rng.standard_normal(1 << 24, np.float32)

    def all_views(self):
        if self.shape.crop == (self.shape.width, self.shape.height):
            return [(i, (0, 0, *self.shape.crop)) for i in range(len(self.pictures))]
        views = []
        for i, rows in enumerate(self.own):
            wanted = rows[(rows[:, 1] > 0) & (rows[:, 6] > 0)]
            for row in wanted:
                views += [(i, row[2:6])] * (2 if row[7] < FAINT else 1)
            for part in rows[(rows[:, 1] == 0) & (rows[:, 6] > 0)]:
                if not any(part[2] <= (r[2] + r[4]) / 2 <= part[4] for r in rows[rows[:, 1] > 0]):
                    views.append((i, part[2:6]))
        return views

    def next(self):
        if len(self.order) < self.batch:
            self.order = self.rng.permutation(len(self.views))
        chosen, self.order = self.order[: self.batch], self.order[self.batch :]
        w, h = self.shape.crop
        x, rows = np.empty((len(chosen), h, w, 3), np.float32), []
        for b, c in enumerate(chosen):
            x[b], own = self.cut(*self.views[c])
            own[:, 0] = b
            rows.append(own)
            at = self.rng.integers(0, len(self.noise) - x[b].size)
            x[b] += self.noise[at : at + x[b].size].reshape(x[b].shape) * np.float32(self.rng.uniform(0, 2))
        return (x[..., ::-1] / 255).clip(0, 1).transpose(0, 3, 1, 2).copy(), np.concatenate(rows)

    def cut(self, picture, around):
        rng, (w, h) = self.rng, self.shape.crop
        dx, dy = rng.integers(-12, 13), rng.integers(-6, 7)  # added to where boxes are
        if (w, h) != (self.shape.width, self.shape.height):
            fits = lambda lo, hi, side, whole: int(np.clip(rng.uniform(hi - side + 8, lo - 8), 0, whole - side))
            dx = -fits(around[0], around[2], w, self.shape.width)
            dy = -fits(around[1], around[3], h, self.shape.height)
        out = np.full((h, w, 3), PAD, np.float32)  # what lies outside of the picture is padding
        x0, y0, x1, y1 = max(0, dx), max(0, dy), min(w, self.shape.width + dx), min(h, self.shape.height + dy)
        out[y0:y1, x0:x1] = self.pictures[picture, y0 - dy : y1 - dy, x0 - dx : x1 - dx]
        own = inside(self.own[picture].copy(), dx, dy, w, h)
        if rng.random() < 0.25:
            out = out[:, ::-1]
            own[:, [2, 4]] = w - own[:, [4, 2]]
        return out * np.float32(rng.uniform(0.88, 1.12)), own


def inside(rows, dx, dy, width, height):
    """The boxes moved and cut to a view; what is left of them decides whether they are still asked for."""
    before = (rows[:, 4] - rows[:, 2]) * (rows[:, 5] - rows[:, 3])
    rows[:, [2, 4]] = (rows[:, [2, 4]] + dx).clip(0, width)
    rows[:, [3, 5]] = (rows[:, [3, 5]] + dy).clip(0, height)
    after = (rows[:, 4] - rows[:, 2]) * (rows[:, 5] - rows[:, 3])
    rows[:, 6] *= after >= np.where(rows[:, 1] > 0, MIN_DEFECT, MIN_PART) * before
    return rows[(rows[:, 4] - rows[:, 2] > 2) & (rows[:, 5] - rows[:, 3] > 2)]


def targets(rows, labels, stride, size):
    """Scores wanted, where they count, and boxes (left, top, right, bottom in pixels).

    The cells whose centre is within 0.75 of a box's centre want it, those up to 1.6 are free to
    do what they like: so a centre on the border of two cells leaves no doubt in both.
    """
    batch, height, width = size
    classes, gh, gw = len(labels), height // stride, width // stride
    score = np.zeros((batch, classes, gh, gw), np.float32)
    count = np.ones((batch, classes, gh, gw), np.float32)
    boxes = np.zeros((batch, 4, gh, gw), np.float32)
    gy, gx = np.mgrid[0:gh, 0:gw] + 0.5
    for b, label, x0, y0, x1, y1, enough, _ in rows:
        if int(label) not in labels:
            continue
        b, c = int(b), labels.index(int(label))
        if not enough:
            near = (gx >= x0 / stride - 1) & (gx <= x1 / stride + 1) & (gy >= y0 / stride - 1) & (gy <= y1 / stride + 1)
            count[b][:, near & (score[b].max(0) == 0)] = 0
            continue
        d = np.hypot(gx - (x0 + x1) / 2 / stride, gy - (y0 + y1) / 2 / stride)
        count[b, :, d < 1.6] *= (score[b][:, d < 1.6] > 0).T  # keep what another box already claimed
        core = d < 0.75
        score[b, c, core], count[b, :, core] = 1, 1
        boxes[b][:, core] = np.array([x0, y0, x1, y1], np.float32)[:, None]
    return score, count, boxes


