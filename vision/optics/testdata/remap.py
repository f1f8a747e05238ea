"""Makes calibrations (*.yaml) and remap.json: what OpenCV makes of them.

pip install numpy==2.2.6 opencv-python-headless==4.12.0.88
python remap.py
With the folder of pictures it writes, instead, hashes of all of them undistorted:
python remap.py ../../../…/coco129/images > coco129.sha256
"""
import hashlib
import json
import os
import sys

import cv2
import numpy as np


def matrix(fx, fy, cx, cy):
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


# name: kind of file, size, camera matrix, coefficients, whether all pixels are kept
MODELS = {
    "plumb_bob": ("ros", (640, 480), matrix(512.3, 509.8, 318.2, 244.9), [-.31, .12, .0011, -.0007, -.021], False),
    "all_pixels": ("ros", (1280, 720), matrix(905.1, 907.4, 644.5, 351.2), [-.35, .17, -.0004, .0009, -.045], True),
    "rational_polynomial": ("ros", (800, 600), matrix(610.5, 611.7, 402.1, 297.3),
                            [12.1, -7.3, .0003, -.0002, 1.9, 12.5, -3.1, -.9], False),
    "equidistant": ("ros", (640, 512), matrix(310.7, 309.9, 321.4, 250.3), [-.021, .0067, -.0043, .0008], False),
    "four": ("opencv", (752, 480), matrix(458.7, 457.3, 367.2, 248.4), [-.2834, .0739, .0002, .0000176], False),
    "pincushion": ("opencv", (640, 360), matrix(700.2, 701.1, 322.4, 176.8), [.18, -.05, .002, .001, .003], False),
    "thin_prism": ("opencv", (640, 480), matrix(530.1, 528.6, 325.5, 238.1),
                   [-.21, .06, .0005, .0004, -.003, .01, .02, -.001, .004, -.001, -.003, .002], False),
    "fisheye": ("opencv", (1024, 768), matrix(402.9, 403.3, 510.8, 386.5), [.034, -.011, .0052, -.0013], False),
}


def ros(name, size, k, d, p):
    model = name if name != "all_pixels" else "plumb_bob"
    text = f"image_width: {size[0]}\nimage_height: {size[1]}\ncamera_name: narrow_stereo\n"

    def table(key, m):
        data = ", ".join(repr(float(v)) for v in m.flatten())
        return f"{key}:\n  rows: {m.shape[0]}\n  cols: {m.shape[1]}\n  data: [{data}]\n"

    text += table("camera_matrix", k) + f"distortion_model: {model}\n" + table("distortion_coefficients", np.array([d]))
    text += table("rectification_matrix", np.eye(3)) + table("projection_matrix", np.hstack([p, np.zeros((3, 1))]))
    with open(name + ".yaml", "w") as f:
        f.write(text)


def opencv(name, size, k, d, p):
    assert np.array_equal(k, p)
    fs = cv2.FileStorage(name + ".yaml", cv2.FILE_STORAGE_WRITE)
    fs.write("calibration_time", "Thu 26 Nov 2026 10:00:00")
    fs.write("nr_of_frames", 20)
    fs.write("image_width", size[0])
    fs.write("image_height", size[1])
    fs.writeComment("flags:  +fix_k4 +fix_k5")
    fs.write("fisheye_model", int(name == "fisheye"))
    fs.write("camera_matrix", k)
    fs.write("distortion_coefficients", np.array(d).reshape(-1, 1))
    fs.write("avg_reprojection_error", .1875)
    fs.write("per_view_reprojection_errors", np.linspace(.1, .3, 20, dtype=np.float32).reshape(-1, 1))
    fs.release()


def maps(fisheye, k, d, p, size, kind):
    d = np.array(d)
    if fisheye:
        return cv2.fisheye.initUndistortRectifyMap(k, d, np.eye(3), p, size, kind)
    return cv2.initUndistortRectifyMap(k, d, None, p, size, kind)


def picture(w, h, channels, seed):
    """Pixels that the tests compute alike."""
    v = np.arange(w * h * channels, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    v ^= v >> 15
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> 12
    return (v & 255).astype(np.uint8).reshape(h, w, channels)


def undistort(img, fisheye, k, d, p):
    a, b = maps(fisheye, k, d, p, (img.shape[1], img.shape[0]), cv2.CV_16SC2)
    return cv2.remap(img, a, b, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def short(img):
    return hashlib.sha256(img.tobytes()).hexdigest()[:16]


def golden():
    rows = []
    for seed, (name, (kind, size, k, d, keep)) in enumerate(MODELS.items()):
        p = cv2.getOptimalNewCameraMatrix(k, np.array(d), size, 1)[0] if keep else k
        (ros if kind == "ros" else opencv)(name, size, k, d, p)
        fisheye = name in ("equidistant", "fisheye")
        u, v = maps(fisheye, k, d, p, size, cv2.CV_32FC1)
        places = [[x, y, round(float(u[y, x]), 4), round(float(v[y, x]), 4)]
                  for y in np.linspace(0, size[1] - 1, 6, dtype=int).tolist()
                  for x in np.linspace(0, size[0] - 1, 7, dtype=int).tolist()]
        hashes = [short(undistort(picture(*size, c, seed), fisheye, k, d, p)) for c in (3, 1)]
        rows.append({"name": name, "seed": seed, "bgr": hashes[0], "gray": hashes[1], "places": places})
    with open("remap.json", "w") as f:
        f.write("[" + ",\n".join(json.dumps(r) for r in rows) + "]\n")


def pictures(folder):
    """Every picture through the model plumb_bob, scaled as if it had been made for it."""
    _, size, k, d, _ = MODELS["plumb_bob"]
    for name in sorted(os.listdir(folder)):
        img = cv2.imread(os.path.join(folder, name))
        x, y = img.shape[1] / size[0], img.shape[0] / size[1]
        m = matrix(k[0, 0] * x, k[1, 1] * y, (k[0, 2] + .5) * x - .5, (k[1, 2] + .5) * y - .5)
        print(short(undistort(img, False, m, d, m)), name)


if len(sys.argv) > 1:
    pictures(sys.argv[1])
else:
    golden()
