"""The peers of P2: cameras inspected in a loop as one would write it in Python.

p2.py newest|queue MODEL SECONDS URL…

A thread for each camera reads its MJPEG stream and decodes every picture. newest
keeps the last one alone; queue keeps two and drops what comes when it is full. The
loop takes from the cameras in turn and runs the model with one thread. Prints JSON:
the 99th percentile of a frame's age at its result, of the model, and the frames.
"""
import http.client
import json
import queue
import sys
import threading
import time
import urllib.parse

import cv2
import numpy as np
import onnxruntime

WARM = 64  # frames that don't count


class Newest:
    """The newest picture, overwritten by the next."""

    def __init__(self):
        self.lock, self.item = threading.Lock(), None

    def put(self, item):
        with self.lock:
            self.item = item

    def get(self):
        with self.lock:
            item, self.item = self.item, None
        return item


class Two:
    """A queue of two pictures; what comes when it is full is lost."""

    def __init__(self):
        self.queue = queue.Queue(2)

    def put(self, item):
        try:
            self.queue.put_nowait(item)
        except queue.Full:
            pass

    def get(self):
        try:
            return self.queue.get_nowait()
        except queue.Empty:
            return None


def read(url, box):
    """Put each picture with the time at which it had come."""
    u = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(u.hostname, u.port)
    connection.request("GET", u.path)
    stream = connection.getresponse()
    while line := stream.readline():
        if not line.lower().startswith(b"content-length:"):
            continue
        length = int(line.split(b":")[1])
        stream.readline()
        jpeg = stream.read(length)
        captured = time.monotonic()
        frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if frame is not None:
            box.put((captured, frame))


def main():
    mode, model, seconds, urls = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    height, width = entry.shape[2:]
    padded = np.full((height, width, 3), 114, np.uint8)
    boxes = [Newest() if mode == "newest" else Two() for _ in urls]
    for url, box in zip(urls, boxes):
        threading.Thread(target=read, args=(url, box), daemon=True).start()
    ages, runs, counts, done, turn, end = [], [], [0] * len(urls), 0, 0, None
    while end is None or time.monotonic() < end:
        for _ in urls:
            n, turn = turn, (turn + 1) % len(urls)
            item = boxes[n].get()
            if item is not None:
                break
        else:
            time.sleep(0.0005)
            continue
        captured, frame = item
        r = min(width / frame.shape[1], height / frame.shape[0])
        w, h = int(frame.shape[1] * r), int(frame.shape[0] * r)
        padded[:h, :w] = cv2.resize(frame, (w, h), interpolation=cv2.INTER_LINEAR)
        blob = cv2.dnn.blobFromImage(padded)
        began = time.monotonic()
        rows = session.run(None, {entry.name: blob})[0][0]
        ran = time.monotonic()
        (rows[:, 4:5] * rows[:, 5:]).max(1) > 0.25  # what any decoder begins with
        done += 1
        if done == WARM:
            end = time.monotonic() + seconds
        if done > WARM:
            ages.append(time.monotonic() - captured)
            runs.append(ran - began)
            counts[n] += 1
    print(json.dumps({
        "age_p99_ms": 1e3 * float(np.quantile(ages, 0.99)), "model_p99_ms": 1e3 * float(np.quantile(runs, 0.99)),
        "model_p50_ms": 1e3 * float(np.median(runs)), "frames": len(ages), "counts": counts,
    }))


main()
