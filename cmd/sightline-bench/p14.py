"""The peer of P14: parts counted in a recording as one would write it in Python.

p14.py VIDEO MODEL yolox|yolov8 SIDES CLASS CONFIDENCE NMS

opencv-python decodes in a thread of its own, ONNX Runtime runs the model with
one thread, supervision's ByteTrack follows the parts of one class. Prints JSON:
parts, frames, seconds from the first frame's capture to the last result, and
seconds of start-up before it. SIDES is the input's size, as 416x416.
"""
import json
import queue
import sys
import threading
import time

BEGAN = time.monotonic()

import cv2
import numpy as np
import onnxruntime
import supervision

OLDEST = 12  # frames; what was seen in fewer is no part


class Letterbox:
    """Frames to the input tensor, as each family wants them; keeps its memory."""

    def __init__(self, width, height, centre, scale, rgb):
        self.width, self.height, self.centre, self.scale, self.rgb = width, height, centre, scale, rgb
        self.padded = np.full((height, width, 3), 114, np.uint8)

    def __call__(self, frame):
        h, w = frame.shape[:2]
        r = min(self.width / w, self.height / h)
        nw, nh = (round(w * r), round(h * r)) if self.centre else (int(w * r), int(h * r))
        left = round((self.width - nw) / 2 - 0.1) if self.centre else 0
        top = round((self.height - nh) / 2 - 0.1) if self.centre else 0
        inner = self.padded[top : top + nh, left : left + nw]
        if (nw, nh) == (w, h):
            inner[:] = frame
        else:
            inner[:] = cv2.resize(frame, (nw, nh), interpolation=cv2.INTER_LINEAR)
        return cv2.dnn.blobFromImage(self.padded, self.scale, swapRB=self.rgb), r, left, top


class YOLOX:
    """Rows of cx, cy, log w, log h, objectness, classes, relative to their cells; every class counts."""

    def __init__(self, width, height, confidence):
        self.confidence = confidence
        cells, strides = [], []
        for stride in (8, 16, 32):
            y, x = np.mgrid[0 : height // stride, 0 : width // stride]
            cells.append(np.stack([x, y], 2).reshape(-1, 2))
            strides.append(np.full((cells[-1].shape[0], 1), stride))
        self.cells = np.concatenate(cells).astype(np.float32)
        self.strides = np.concatenate(strides).astype(np.float32)
        self.letterbox = Letterbox(width, height, False, 1.0, False)

    def __call__(self, out):
        rows = out[0]
        places = np.flatnonzero(rows[:, 4] > self.confidence)  # class scores are at most 1
        rows = rows[places]
        scores = rows[:, 4:5] * rows[:, 5:]
        n, classes = np.nonzero(scores > self.confidence)
        scores, rows, places = scores[n, classes], rows[n], places[n]
        centre = (rows[:, :2] + self.cells[places]) * self.strides[places]
        size = np.exp(rows[:, 2:4]) * self.strides[places]
        return centre - size / 2, size, scores, classes


class YOLOv8:
    """Planes of cx, cy, w, h and classes; a place has one class, its best."""

    def __init__(self, width, height, confidence):
        self.confidence = confidence
        self.letterbox = Letterbox(width, height, True, 1 / 255, True)

    def __call__(self, out):
        planes = out[0]
        best = planes[4:].max(0)
        places = np.flatnonzero(best > self.confidence)
        centre, size = planes[0:2, places].T, planes[2:4, places].T
        return centre - size / 2, size, best[places], planes[4:, places].argmax(0)


def read(path, frames):
    """Decode in a thread of its own, a few frames ahead of the model."""
    capture = cv2.VideoCapture(path)
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.put((frame, time.monotonic()))
    frames.put(None)


def main():
    video, model, family, sides, class_id, confidence, nms = sys.argv[1:]
    width, height = map(int, sides.split("x"))
    class_id, confidence, nms = int(class_id), float(confidence), float(nms)
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    session.run(None, {name: np.zeros((1, 3, height, width), np.float32)})
    decode = {"yolox": YOLOX, "yolov8": YOLOv8}[family](width, height, confidence)
    rate = cv2.VideoCapture(video).get(cv2.CAP_PROP_FPS)
    # What a track starts with and how long a part may be hidden, as we have them.
    tracker = supervision.ByteTrack(track_activation_threshold=0.5, lost_track_buffer=45, minimum_matching_threshold=0.8, frame_rate=rate)
    frames = queue.Queue(4)
    threading.Thread(target=read, args=(video, frames), daemon=True).start()
    count, first, ages = 0, None, {}
    while (item := frames.get()) is not None:
        frame, captured = item
        first = first or captured
        blob, scale, left, top = decode.letterbox(frame)
        corners, size, scores, classes = decode(session.run(None, {name: blob})[0])
        if len(scores):
            kept = cv2.dnn.NMSBoxesBatched(np.hstack([corners, size]), scores, classes.astype(np.int32), confidence, nms)
            corners, size, scores, classes = corners[kept], size[kept], scores[kept], classes[kept]
        corners = (corners - (left, top)) / scale
        boxes = np.hstack([corners, corners + size / scale]).astype(np.float32)
        seen = supervision.Detections(boxes, confidence=scores, class_id=classes)
        seen = seen[seen.class_id == class_id]
        for part in tracker.update_with_detections(seen).tracker_id:
            ages[part] = ages.get(part, 0) + 1
        count += 1
    last = time.monotonic()
    parts = sum(age >= OLDEST for age in ages.values())
    print(json.dumps({"parts": parts, "frames": count, "seconds": last - first, "start": first - BEGAN}))


main()
