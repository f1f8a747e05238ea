"""Makes curves.json: what scikit-learn says of scores of pictures and of pixels,
statsmodels of intervals, and a plain reading of Bergmann's definition of AU-PRO.

The maps are computed alike in maps_test.go from a seed.

pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 statsmodels==0.15.0
python curves.py > curves.json
"""
import json
import sys

import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_auc_score, roc_curve
from statsmodels.stats.proportion import proportion_confint

rng = np.random.default_rng(9)


def noise(n, seed):
    """Numbers in [0, 1) that maps_test.go computes alike."""
    v = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    v ^= v >> 15
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> 12
    return (v >> 8).astype(np.float64) / (1 << 24)


def f1_max(bad, scores):
    p, r, t = precision_recall_curve(bad, scores)
    f = 2 * p * r / np.maximum(p + r, 1e-300)
    return float(f.max()), float(t[np.flatnonzero(f[:-1] >= f.max() - 1e-12)[0]])


def pictures():
    for i, (n, digits, apart) in enumerate([(20, 1, 0.2), (60, 2, 0.3), (400, 1, 0.1), (400, 9, 0.4), (7, 3, 0), (50, 9, -0.2), (300, 0, 0.5), (120, 3, 2)]):
        bad = rng.random(n) < 0.3
        bad[0], bad[1] = True, False
        scores = np.round(rng.random(n) + apart * bad, digits)
        fpr, tpr, _ = roc_curve(bad, scores, drop_intermediate=False)
        f1, at = f1_max(bad, scores)
        yield {"scores": scores.tolist(), "bad": bad.tolist(), "auroc": roc_auc_score(bad, scores), "ap": average_precision_score(bad, scores),
               "f1": f1, "f1_threshold": at, "recall": [float(tpr[fpr <= x].max()) for x in (0.001, 0.01, 0.05)]}


def maps(seed, n, w, h, levels):
    """Squares, some touching at a corner, some a single pixel, over noise."""
    out = []
    for i in range(n):
        r = noise(w * h + 40, seed + 1000003 * i)
        bad = np.zeros((h, w), bool)
        for k in range(5 if i % 3 else 0):
            a = r[w * h + 4 * k:]
            x, y = int(a[0] * w), int(a[1] * h)
            bad[y:y + int(a[2] * h / 4) + 1, x:x + int(a[3] * w / 4) + 1] = True
        score = r[:w * h].reshape(h, w) * 0.5 + bad * 0.25
        if levels:
            score = np.floor(score * levels) / levels
        out.append((score.astype(np.float32), bad))
    return out


def aupro(pictures, limit):
    """For every threshold: the share of good pixels at or above it, and the mean
    over the regions of the share of their pixels at or above it."""
    regions = []
    for score, bad in pictures:
        label, n = ndimage.label(bad, np.ones((3, 3), int))
        regions += [np.sort(score[label == k]) for k in range(1, n + 1)]
    good = np.sort(np.concatenate([s[~b] for s, b in pictures]))
    thresholds = np.unique(np.concatenate([s.ravel() for s, _ in pictures]))[::-1]
    over = lambda values: 1 - np.searchsorted(values, thresholds, side="left") / len(values)
    x = np.concatenate([[0], over(good)])
    y = np.concatenate([[0], np.mean([over(r) for r in regions], axis=0)])
    inside = x < limit
    xs = np.concatenate([x[inside], [limit]])
    first = np.flatnonzero(~inside)[0]
    at = y[first - 1] + (y[first] - y[first - 1]) * (limit - x[first - 1]) / (x[first] - x[first - 1])
    return float(np.trapezoid(np.concatenate([y[inside], [at]]), xs) / limit), len(regions)


def pixels():
    for seed, n, w, h, levels in ((1, 4, 40, 30, 0), (2, 6, 64, 48, 16), (3, 3, 9, 70, 0), (4, 8, 50, 50, 200)):
        ms = maps(seed, n, w, h, levels)
        score, bad = (np.concatenate([m[k].ravel() for m in ms]) for k in (0, 1))
        f1, at = f1_max(bad, score)
        pros = [aupro(ms, limit) for limit in (0.3, 0.05, 1.0)]
        yield {"seed": seed, "n": n, "w": w, "h": h, "levels": levels, "auroc": roc_auc_score(bad, score), "ap": average_precision_score(bad, score),
               "f1": f1, "f1_threshold": at, "aupro": [p for p, _ in pros], "regions": pros[0][1], "bad": int(bad.sum())}


def intervals():
    for k, n in ((0, 412), (0, 48), (0, 1), (1, 10), (5, 10), (10, 10), (3, 1000), (500, 1000), (0, 100000), (17, 13937), (12345, 100000), (99999, 100000)):
        two, one = proportion_confint(k, n, 0.05, "beta"), proportion_confint(k, n, 0.10, "beta")
        yield {"k": k, "n": n, "low": two[0], "high": two[1], "at_least": one[0], "at_most": one[1]}


def semantic():
    r = noise(2000, 77)
    truth, found = np.floor(r[:1000] * 5).astype(int), np.floor(r[1000:] * 5).astype(int)
    found = np.where(noise(1000, 78) < 0.6, truth, found)
    truth = np.where(noise(1000, 79) < 0.05, 255, truth)
    m = confusion_matrix(truth[truth != 255], found[truth != 255], labels=range(7))
    union = m.sum(0) + m.sum(1) - np.diag(m)
    iou = np.diag(m)[union > 0] / union[union > 0]
    return {"iou": iou.tolist(), "mean": float(iou.mean()), "accuracy": float(np.trace(m) / m.sum())}


json.dump({"pictures": list(pictures()), "maps": list(pixels()), "intervals": list(intervals()), "semantic": semantic()}, sys.stdout)
print()
