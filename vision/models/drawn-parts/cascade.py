"""Two sizes together: what one picture a part decides by the small network, by the large one, and by the large one
where the small one is in doubt, and what that costs on one core."""

import hashlib
import json
import math
import pathlib
import time

import numpy as np

from measure import detect, read, session

FAINT = 1.5  # times the floor: bad parts without a stronger contrast make the hard set
LOWS, HIGHS = (0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15, 0.2), (0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
COST = 0.4  # the most that the cascade may cost, of the large one alone


def middle_pictures(folder):
    """For each part the picture in which it is nearest to the middle: path, box and its truth.

    Parts that no picture shows whole are left out, as are those with a defect under the floor and no other.
    """
    truth = json.loads((pathlib.Path(folder) / "truth.json").read_text())
    best = {}
    for path, image, notes in read(folder):
        for a in notes:
            if a["label"] == 0 and a["visible"] > 0.999:
                off = abs(a["bbox"][0] + a["bbox"][2] / 2 - image["width"] / 2)
                if a["part_id"] not in best or off < best[a["part_id"]][0]:
                    best[a["part_id"]] = (off, path, a["bbox"])
    for p in truth["parts"]:
        if p["id"] in best and (p["bad"] or not p["defects"]):
            contrast = max([d["contrast"] for d in p["defects"] if not d["below_floor"]], default=0)
            yield *best[p["id"]][1:], p["bad"], contrast < FAINT * truth["floor_contrast"]


def strongest(run, path, part):
    """The score of the strongest defect on the part."""
    x, y, w, h = part
    inside = lambda b: x <= (b[0] + b[2]) / 2 < x + w and y <= (b[1] + b[3]) / 2 < y + h
    return max([score for label, score, box in detect(run, path, 0.01) if label and inside(box)], default=0.0)


def scores(folders, small, large, kept):
    """One row a part: the small one's score, the large one's, whether it is bad, whether only faintly so.

    kept is a file that remembers them by networks and folder, or None.
    """
    kept = pathlib.Path(kept) if kept else None
    known, rows = json.loads(kept.read_text()) if kept and kept.exists() else {}, []
    digests = [hashlib.sha256(pathlib.Path(m).read_bytes()).hexdigest()[:16] for m in (small, large)]
    runs = [session(m) for m in (small, large)]
    for folder in folders:
        key = " ".join([*digests, str(folder)])
        if key not in known:
            known[key] = [[*(strongest(run, path, box) for run in runs), bool(bad), bool(faint)]
                          for path, box, bad, faint in middle_pictures(folder)]
            if kept:
                kept.write_text(json.dumps(known))
        rows += known[key]
    return np.array(rows, np.float64)


def cost(small, large, runs=200):
    """Milliseconds of one run of each: the best of runs that take turns, for other programs make no run shorter."""
    took = [[], []]
    inputs = [np.random.default_rng(1).random(s.get_inputs()[0].shape, np.float32) for s in (small, large)]
    for _ in range(runs):
        for times, s, x in zip(took, (small, large), inputs):
            began = time.perf_counter()
            s.run(None, {"images": x})
            times.append(1e3 * (time.perf_counter() - began))
    return [min(t) for t in took]


def bound(k, n):
    """The share that k of n leaves possible at 95 %, one-sided (Clopper and Pearson)."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(50):
        p = (low + high) / 2
        logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p)
                + (n - i) * math.log1p(-p) for i in range(k + 1)]
        low, high = (p, high) if sum(map(math.exp, logs)) > 0.05 else (low, p)
    return high


def decide(rows, band, limit):
    """Whether each part is rejected, and whether the large one looked; no band means that it never does."""
    doubt = (rows[:, 0] >= band[0]) & (rows[:, 0] < band[1])
    return np.where(doubt, rows[:, 1], rows[:, 0]) >= limit, doubt


def worse(rows, verdict, limit):
    """Escapes and false rejects that the large one alone wouldn't have made."""
    alone, bad = rows[:, 1] >= limit, rows[:, 2] > 0
    return int((bad & ~verdict & alone).sum()), int((~bad & verdict & ~alone).sum())


def tell(title, rows, verdict, doubt, limit, price):
    bad, good = rows[:, 2] > 0, rows[:, 2] == 0
    esc, rej = int((bad & ~verdict).sum()), int((good & verdict).sum())
    more = worse(rows, verdict, limit)
    print(f"| {title} | {esc} of {bad.sum()} = {esc / bad.sum():.2%} (≤ {bound(esc, bad.sum()):.2%}) | {more[0]} "
          f"| {rej} of {good.sum()} = {rej / good.sum():.2%} (≤ {bound(rej, good.sum()):.2%}) | {more[1]} "
          f"| {doubt.mean():.1%} | {price:.2f} |")


def table(title, rows, bands, limit, ratio):
    bad = rows[:, 2] > 0
    print(f"\n{title}: {len(rows)} parts, one picture each, {bad.sum()} bad\n")
    print("| who decides | escapes | not the large one's | false rejects | not the large one's | large looks | cost |")
    print("|---|---|---|---|---|---|---|")
    never, always = (2.0, 2.0), (0.0, 2.0)
    tell("small", rows, *decide(rows, never, limit), limit, ratio)
    for band in bands:
        verdict, doubt = decide(rows, band, limit)
        tell(f"cascade, {band[0]:g} to {band[1]:g}", rows, verdict, doubt, limit, ratio + doubt.mean())
    tell("large", rows, *decide(rows, always, limit), limit, 1)


def choose(rows, limit, ratio):
    """Of the bands that cost at most COST, the one with the fewest errors that the large one wouldn't have made; of
    such the cheapest."""
    found = []
    for low in LOWS:
        for high in HIGHS:
            verdict, doubt = decide(rows, (low, high), limit)
            if ratio + doubt.mean() <= COST:
                found.append((sum(worse(rows, verdict, limit)), doubt.mean(), low, high))
    return min(found)[2:] if found else (LOWS[-1], HIGHS[0])


def cascade(args):
    """Choose the band on --data, tell it on --unseen; both also for their hard halves."""
    ms = cost(session(args.small), session(args.large))
    ratio = ms[0] / ms[1]
    print(f"one run: small {ms[0]:.2f} ms, large {ms[1]:.2f} ms, {ratio:.3f} of it; rejected at {args.limit:g}")
    rows = [scores(folders, args.small, args.large, args.scores) for folders in (args.data, args.unseen)]
    hard = [r[(r[:, 2] == 0) | (r[:, 3] > 0)] for r in rows]
    band = choose(hard[0], args.limit, ratio)
    around = sorted({(low, high) for low in LOWS for high in HIGHS
                     if low == band[0] or high == band[1]} | {band})
    table("Chosen on, hard", hard[0], around, args.limit, ratio)
    table("Unseen, hard", hard[1], [band], args.limit, ratio)
    table("Unseen, all", rows[1], [band], args.limit, ratio)
