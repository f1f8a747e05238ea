"""Makes families.json.gz: detections as the tools give them.

Outputs are computed from a seed, alike in families_test.go. What makes
detections of them is the tool itself: ultralytics (its NMS, scale_boxes and
RT-DETR's postprocess), the yolov5 package, torchvision (SSD's and RetinaNet's
postprocess_detections with their anchors), transformers (RT-DETR's image
processor) and rfdetr's PostProcess. Where no package can be installed, NumPy
follows what is published: YOLOv7's rule for one class and its finished rows,
pytorch-ssd's hard_nms, YOLO's finished rows, TensorFlow's and mmdeploy's
outputs.

pip install torch==2.15.0 torchvision==0.29.2 ultralytics==8.4.190 \
    transformers==5.24.0 rfdetr==1.11.2 yolov5==7.0.14 "setuptools<80"
python families.py
"""
import gzip
import json
from types import SimpleNamespace

import numpy as np
import torch
import torchvision.models.detection as tv
from rfdetr.models.postprocess import PostProcess
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen
from transformers import RTDetrImageProcessor
from ultralytics.models.rtdetr.predict import RTDETRPredictor
from ultralytics.utils import nms, ops
from yolov5.utils import general as v5


def noise(n, seed):
    """Numbers in [0, 1) that decode_test.go computes alike."""
    v = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    v ^= v >> 15
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> 12
    return ((v >> 8).astype(np.float64) / (1 << 24)).astype(np.float32)


def out(name, shape, axis, *ranges):
    """An output whose columns (along axis) have their own ranges, the last for the rest.

    A range of three is of whole numbers.
    """
    return {"name": name, "shape": list(shape), "axis": axis, "ranges": [list(r) for r in ranges]}


def fill(o, seed):
    n = int(np.prod(o["shape"]))
    v = noise(n, seed).astype(np.float64)
    inner = int(np.prod(o["shape"][o["axis"] + 1:]))
    column = np.minimum(np.arange(n) // inner % o["shape"][o["axis"]], len(o["ranges"]) - 1)
    low, high = np.array([r[:2] for r in o["ranges"]])[column].T
    v = low + v * (high - low)
    whole = np.array([len(r) == 3 for r in o["ranges"]])[column]
    return torch.from_numpy(np.where(whole, np.floor(v), v).astype(np.float32).reshape(o["shape"]))


def cells(w, h):
    return sum((w // s) * (h // s) for s in (8, 16, 32))


def boxes_of(rows):
    """Rows of x1, y1, x2, y2, score, class."""
    return [[int(c), float(s), x, y, u - x, v - y] for x, y, u, v, s, c in rows.tolist()]


def clip(rows, c):
    fw, fh = c["frame"]
    rows = rows.clone()
    rows[:, [0, 2]] = rows[:, [0, 2]].clamp(0, fw)
    rows[:, [1, 3]] = rows[:, [1, 3]].clamp(0, fh)
    return rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]


def ultralytics(c, o):
    p = nms.non_max_suppression(o[0].clone(), c["confidence"], c["nms"], multi_label=c["multi"], max_det=c["most"])[0]
    p = p[p[:, 4].argsort(descending=True, stable=True)]  # finished rows come as they stand
    ops.scale_boxes((c["tensor"][1], c["tensor"][0]), p[:, :4], (c["frame"][1], c["frame"][0]))
    return boxes_of(clip(p, c))


def obb(c, o):
    ends = o[0].shape[-1] == 7
    p = nms.non_max_suppression(o[0].clone(), c["confidence"], c["nms"], nc=c["classes"], multi_label=c["multi"],
                                rotated=True, end2end=ends, max_det=c["most"])[0]
    p = p[p[:, 4].argsort(descending=True, stable=True)]
    r = torch.cat([p[:, :4], p[:, -1:]], -1)
    r[:, :4] = ops.scale_boxes((c["tensor"][1], c["tensor"][0]), r[:, :4], (c["frame"][1], c["frame"][0]), xywh=True)
    corners = ops.xywhr2xyxyxyxy(r)
    rows = torch.cat([corners.amin(1), corners.amax(1), p[:, 4:6]], -1)
    fw, fh = c["frame"]
    got = []
    for q, t in zip(rows, r):
        one = clip(q[None], c)
        got += [b + t.tolist() for b in boxes_of(one)]
    return got


def yolov5(c, o):
    p = o[0].clone()
    if c["family"] == "yolov7" and c["classes"] == 1:
        p[..., 5] = 1  # so that the score is the objectness
    p = v5.non_max_suppression(p, c["confidence"], c["nms"], multi_label=c["multi"], max_det=c["most"])[0]
    v5.scale_boxes((c["tensor"][1], c["tensor"][0]), p[:, :4], (c["frame"][1], c["frame"][0]))
    return boxes_of(clip(p, c))


def best_first(rows, c):
    rows = rows[rows[:, 4] > c["confidence"]]
    return rows[rows[:, 4].argsort(descending=True, stable=True)][:c["most"]]


def end2end(c, o):
    p = best_first(o[0][o[0][:, 0] == 0][:, [1, 2, 3, 4, 6, 5]], c)
    v5.scale_boxes((c["tensor"][1], c["tensor"][0]), p[:, :4], (c["frame"][1], c["frame"][0]))
    return boxes_of(clip(p, c))


def rtdetr(c, o):
    fw, fh = c["frame"]
    p = o[0].clone()
    if "scores" in c:  # before 8.4: the best class of each place
        s, k = p[..., 4:].max(-1, keepdim=True)
        p = torch.cat([p[..., :4], s, k], -1)
    me = SimpleNamespace(args=SimpleNamespace(conf=c["confidence"], classes=None, max_det=10**6), batch=[[""]],
                         model=SimpleNamespace(names={}))
    r = RTDETRPredictor.postprocess(me, p, None, [np.zeros((fh, fw, 3), np.uint8)])[0]
    return boxes_of(clip(best_first(r.boxes.data, c), c))


def detr(c, o):
    fw, fh = c["frame"]
    r = RTDetrImageProcessor().post_process_object_detection(
        SimpleNamespace(logits=o[0], pred_boxes=o[1]), c["confidence"], [(fh, fw)])[0]
    return boxes_of(clip(torch.cat([r["boxes"], r["scores"][:, None], r["labels"][:, None]], -1), c))


def rfdetr(c, o):
    fw, fh = c["frame"]
    r = PostProcess(o[0].shape[1])({"pred_boxes": o[0], "pred_logits": o[1]}, torch.tensor([[fh, fw]]))[0]
    rows = torch.cat([r["boxes"], r["scores"][:, None], r["labels"][:, None]], -1)
    rows = rows[(rows[:, 4] > c["confidence"]) & (rows[:, 5] < c["classes"])]
    return boxes_of(clip(rows, c))


def stretch(c):
    return torch.tensor([c["frame"][0] / c["tensor"][0], c["frame"][1] / c["tensor"][1]] * 2)


def finished(c, o):
    """Corners in the tensor's pixels; boxes, classes, scores."""
    b, k, s = (o[i] for i in c["order"])
    b, k, s = b.reshape(-1, b.shape[-1]), k.flatten(), s.flatten()
    rows = torch.cat([b[:, :4], s[:, None], k[:, None] - c["first"]], -1)
    rows = best_first(rows[(rows[:, 5] >= 0) & (rows[:, 5] < c["classes"])], c)
    return boxes_of(clip(torch.cat([rows[:, :4] * stretch(c), rows[:, 4:]], -1), c))


def scored(c, o):
    rows = best_first(torch.cat([o[0][0], o[1][0][:, None]], -1), c)
    return boxes_of(clip(torch.cat([rows[:, :4] * stretch(c), rows[:, 4:]], -1), c))


def tensorflow(c, o):
    n = int(o[3].item())
    fw, fh = c["frame"]
    b = o[0][0, :n][:, [1, 0, 3, 2]] * torch.tensor([fw, fh, fw, fh])
    return boxes_of(clip(best_first(torch.cat([b, o[2][0, :n, None], o[1][0, :n, None] - 1], -1), c), c))


def ssd(c, o):
    """pytorch-ssd's Predictor: each class, hard_nms with its 1e-5."""
    scores, boxes = o[0][0].numpy(), o[1][0].numpy()
    rows = []
    for k in range(1, scores.shape[1]):
        p = np.flatnonzero(scores[:, k] > np.float32(c["confidence"]))
        order = p[np.argsort(-scores[p, k], kind="stable")]
        while order.size:
            i, order = order[0], order[1:]
            rows.append([*boxes[i], scores[i, k], k - 1])
            low, high = np.maximum(boxes[i, :2], boxes[order, :2]), np.minimum(boxes[i, 2:], boxes[order, 2:])
            both = np.clip(high - low, 0, None).prod(1)
            area = lambda b: np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1)
            order = order[both / (area(boxes[i]) + area(boxes[order]) - both + 1e-5) <= c["nms"]]
    rows = best_first(torch.tensor(np.array(rows)), c)
    fw, fh = c["frame"]
    return boxes_of(clip(torch.cat([rows[:, :4] * torch.tensor([fw, fh, fw, fh]), rows[:, 4:]], -1), c))


def torchvision(c, o):
    tw, th = c["tensor"]
    image = ImageList(torch.zeros(1, 3, th, tw), [(th, tw)])
    me = SimpleNamespace(score_thresh=c["confidence"], nms_thresh=c["nms"], detections_per_img=c["most"])
    if c["family"] == "ssd300":
        me.box_coder, me.topk_candidates = tv._utils.BoxCoder((10.0, 10.0, 5.0, 5.0)), 400
        anchors = DefaultBoxGenerator([[2], [2, 3], [2, 3], [2, 3], [2], [2]],
                                      scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05], steps=[8, 16, 32, 64, 100, 300])
        a = anchors(image, [torch.zeros(1, 1, n, n) for n in (38, 19, 10, 5, 3, 1)])
        r = tv.ssd.SSD.postprocess_detections(me, {"cls_logits": o[0], "bbox_regression": o[1]}, a, [(th, tw)])[0]
        labels = r["labels"] - 1
    else:
        me.box_coder, me.topk_candidates = tv._utils.BoxCoder((1.0, 1.0, 1.0, 1.0)), 1000
        h, w, maps = -(-th // 8), -(-tw // 8), []
        for _ in range(5):
            maps.append(torch.zeros(1, 1, h, w))
            h, w = -(-h // 2), -(-w // 2)
        a = _default_anchorgen()(image, maps)[0]
        each = [m.shape[2] * m.shape[3] * 9 for m in maps]
        heads = {"cls_logits": o[0].split(each, 1), "bbox_regression": o[1].split(each, 1)}
        r = tv.retinanet.RetinaNet.postprocess_detections(me, heads, [a.split(each)], [(th, tw)])[0]
        labels = r["labels"]
    rows = torch.cat([r["boxes"] * stretch(c), r["scores"][:, None], labels[:, None]], -1)
    return boxes_of(clip(rows, c))


def case(family, f, outs, classes, tensor, frame, conf, thr, seed, multi=False, most=300, **more):
    c = {"family": family, "classes": classes, "tensor": tensor, "frame": frame, "confidence": conf, "nms": thr,
         "seed": seed, "multi": multi, "most": most, "outputs": outs}
    got = f({**c, **more}, [fill(o, seed + n) for n, o in enumerate(outs)])
    c["detections"] = [[d[0], float(f"{d[1]:.9g}")] + [round(v, 4) for v in d[2:]] for d in got]
    if "labels" in more:
        c["labels"] = more["labels"]
    print(family, f.__name__, len(got))
    return c


def planes(w, h, nc, side, extra=()):
    return out("output0", (1, 4 + nc + len(extra), cells(w, h)), 1, (0, w), (0, h), (side / 3, side), (side / 3, side),
               *[(0, 1)] * nc, *extra)


def rows(name, n, w, h, nc, conf=(0, 1)):
    return out(name, (1, n, 6), 2, (0, w / 2), (0, h / 2), (w / 2, w * 1.1), (h / 2, h * 1.1), conf, (0, nc, 1))


def objects(w, h, nc, side, n):
    return out("output0", (1, n, 5 + nc), 2, (0, w), (0, h), (side / 3, side), (side / 3, side), (0, 1), (0, 1))


def cases():
    turn = (-0.78, 2.35)
    share = [(0, 1), (0, 1), (0.1, 0.5), (0.1, 0.5)]
    corner = lambda w, h: [(-5, w / 2), (-5, h / 2), (w / 2, w + 5), (h / 2, h + 5)]
    yield case("yolov8", ultralytics, [planes(320, 320, 80, 90)], 80, [320, 320], [333, 500], 0.996, 0.7, 11)
    yield case("yolov8", ultralytics, [planes(320, 320, 80, 190)], 80, [320, 320], [1920, 1080], 0.9985, 0.3, 12, True)
    yield case("yolov8", ultralytics, [planes(160, 96, 3, 60)], 3, [160, 96], [321, 200], 0.001, 0.7, 13, True)
    yield case("yolov8", ultralytics, [rows("output0", 40, 160, 96, 2)], 2, [160, 96], [321, 200], 0.25, 0.7, 14)
    yield case("yolov8-obb", obb, [planes(160, 96, 3, 60, [turn])], 3, [160, 96], [640, 481], 0.25, 0.7, 21)
    yield case("yolov8-obb", obb, [planes(320, 320, 15, 120, [turn])], 15, [320, 320], [333, 500], 0.97, 0.3, 22, True)
    yield case("yolov8-obb", obb, [planes(96, 96, 1, 80, [turn])], 1, [96, 96], [96, 96], 0.01, 0.5, 23)
    yield case("yolov8-obb", obb, [out("output0", (1, 30, 7), 2, (0, 160), (0, 96), (10, 60), (10, 60), (0, 1), (0, 3, 1), turn)],
               3, [160, 96], [321, 200], 0.25, 0.7, 24)
    yield case("yolov5", yolov5, [objects(160, 96, 3, 60, 3 * cells(160, 96))], 3, [160, 96], [321, 200], 0.6, 0.45, 31)
    yield case("yolov5", yolov5, [objects(160, 96, 3, 60, 3 * cells(160, 96))], 3, [160, 96], [500, 333], 0.001, 0.6, 32, True)
    yield case("yolov5", yolov5, [objects(320, 320, 80, 90, 3 * cells(320, 320))], 80, [320, 320], [640, 480], 0.96, 0.45, 33)
    yield case("yolov7", yolov5, [objects(96, 96, 1, 60, 3 * cells(96, 96))], 1, [96, 96], [100, 133], 0.9, 0.45, 34)
    yield case("yolov7", yolov5, [objects(96, 96, 2, 60, 3 * cells(96, 96))], 2, [96, 96], [100, 133], 0.7, 0.45, 35)
    yield case("yolov7", end2end, [out("output", (25, 7), 1, (0, 1.2, 1), *corner(160, 96), (0, 2, 1), (0, 1))],
               2, [160, 96], [321, 200], 0.25, 0.45, 36)
    yield case("rtdetr", rtdetr, [out("output0", (1, 60, 6), 2, *share, (0, 1), (0, 5, 1))], 5, [160, 160], [321, 200], 0.25, 0.7, 41)
    yield case("rtdetr", rtdetr, [out("output0", (1, 60, 9), 2, *share, (0, 1))], 5, [160, 160], [321, 200], 0.9, 0.7, 42, scores=True)
    yield case("rtdetr", rtdetr, [out("output0", (1, 60, 6), 2, *share, (0, 1))], 2, [160, 160], [321, 200], 0.5, 0.7, 43, scores=True)
    yield case("detr", detr, [out("logits", (1, 60, 5), 2, (-6, 3)), out("pred_boxes", (1, 60, 4), 2, *share)],
               5, [160, 160], [321, 200], 0.5, 0.7, 44, True)
    yield case("detr", detr, [out("pred_logits", (1, 40, 5), 2, (-6, 3)), out("pred_boxes", (1, 40, 4), 2, *share)],
               5, [160, 160], [321, 200], 0.001, 0.7, 45, True)
    yield case("detr", finished, [out("labels", (1, 40), 1, (0, 5, 1)), out("boxes", (1, 40, 4), 2, *corner(160, 160)),
                                  out("scores", (1, 40), 1, (0, 1))],
               5, [160, 160], [321, 200], 0.5, 0.7, 46, True, order=(1, 0, 2), first=0)
    yield case("rfdetr", rfdetr, [out("dets", (1, 40, 4), 2, *share), out("labels", (1, 40, 91), 2, (-8, 3))],
               91, [112, 112], [321, 200], 0.9, 0.7, 47, True)
    yield case("rfdetr", rfdetr, [out("dets", (1, 40, 4), 2, *share), out("labels", (1, 40, 4), 2, (-8, 3))],
               3, [112, 112], [321, 200], 0.01, 0.7, 48, True)
    tv3 = [out("boxes", (40, 4), 1, *corner(160, 96)), out("labels", (40,), 0, (1, 4, 1)), out("scores", (40,), 0, (0, 1))]
    yield case("detections", finished, tv3, 3, [160, 96], [321, 200], 0.5, 0.5, 51, order=(0, 1, 2), first=1)
    yield case("detections", finished, [dict(o, name=str(n)) for n, o in zip((812, 833, 799), (tv3[0], tv3[2], tv3[1]))],
               4, [160, 96], [321, 200], 0.5, 0.5, 52, order=(0, 2, 1), first=0, labels=["__background__", "a", "b", "c"])
    yield case("detections", tensorflow, [
        out("detection_boxes", (1, 40, 4), 2, (0, 0.5), (0, 0.5), (0.5, 1.1), (0.5, 1.1)), out("detection_classes", (1, 40), 1, (1, 4, 1)),
        out("detection_scores", (1, 40), 1, (0, 1)), out("num_detections", (1,), 0, (30, 31, 1))], 3, [160, 96], [321, 200], 0.5, 0.5, 53)
    yield case("detections", scored, [out("dets", (1, 40, 5), 2, *corner(160, 96), (0, 1)), out("labels", (1, 40), 1, (0, 3, 1))],
               3, [160, 96], [321, 200], 0.5, 0.5, 54)
    yield case("detections", finished, [
        out("num_dets", (1, 1), 1, (40, 41, 1)), out("det_boxes", (1, 40, 4), 2, *corner(160, 96)),
        out("det_scores", (1, 40), 1, (0, 1)), out("det_classes", (1, 40), 1, (0, 3, 1))],
        3, [160, 96], [321, 200], 0.5, 0.5, 55, order=(1, 3, 2), first=0)
    yield case("ssd", ssd, [out("scores", (1, 420, 4), 2, (0, 1)), out("boxes", (1, 420, 4), 2, (-0.1, 0.4), (-0.1, 0.4), (0.5, 1.1), (0.5, 1.1))],
               3, [320, 240], [641, 480], 0.4, 0.45, 61, True, 200)
    small = (-0.5, 0.5)
    yield case("ssd300", torchvision, [out("cls_logits", (1, 8732, 4), 2, (-1, 3), (-6, 4)), out("bbox_regression", (1, 8732, 4), 2, small)],
               3, [300, 300], [641, 480], 0.5, 0.45, 62, True, 60)
    yield case("ssd300", torchvision, [out("cls_logits", (1, 8732, 3), 2, (-1, 3), (-6, 4)), out("bbox_regression", (1, 8732, 4), 2, (-9, 30))],
               2, [300, 300], [300, 300], 0.01, 0.45, 63, True, 60)
    for seed, tw, th, conf in ((64, 320, 256, 0.6), (65, 200, 232, 0.05)):
        n = 0
        w, h = -(-tw // 8), -(-th // 8)
        for _ in range(5):
            n, w, h = n + w * h * 9, -(-w // 2), -(-h // 2)
        yield case("retinanet", torchvision, [out("cls_logits", (1, n, 3), 2, (-9, 2)), out("bbox_regression", (1, n, 4), 2, small)],
                   3, [tw, th], [641, 480], conf, 0.5, seed, True, 60)


def main():
    text = "[" + ",\n".join(json.dumps(c) for c in cases()) + "]\n"
    with open("families.json.gz", "wb") as f, gzip.GzipFile("", "wb", 9, f, 0) as z:
        z.write(text.encode())


main()
