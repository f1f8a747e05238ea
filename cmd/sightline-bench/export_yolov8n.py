"""Writes build/yolov8n-640.onnx for P7, apart from make setup.

python3 -m venv build/export && build/export/bin/pip install \
    ultralytics==8.4.190 onnx==1.23.2 onnxslim --extra-index-url https://download.pytorch.org/whl/cpu
build/export/bin/python cmd/sightline-bench/export_yolov8n.py

The weights are random: time doesn't depend on them. Ultralytics is AGPL-3.0,
which its exports say too: the file stays on this machine.
"""
import pathlib
import shutil
import tempfile

from ultralytics import YOLO

root = pathlib.Path(__file__).resolve().parents[2]
with tempfile.TemporaryDirectory() as folder:
    model = YOLO("yolov8n.yaml")
    model.model.pt_path = str(pathlib.Path(folder) / "yolov8n.pt")
    written = model.export(format="onnx", imgsz=640, simplify=False)
    (root / "build").mkdir(exist_ok=True)
    shutil.move(written, root / "build" / "yolov8n-640.onnx")
print(root / "build" / "yolov8n-640.onnx")
