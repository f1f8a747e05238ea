package infer

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tensors makes several, each as "name type 1x3x64x?".
func tensors(t *testing.T, all ...string) []Tensor {
	t.Helper()
	var out []Tensor
	for _, s := range all {
		f := strings.Fields(s)
		shape := []int64{}
		for d := range strings.SplitSeq(f[2], "x") {
			n := int64(0)
			for _, c := range d {
				n = 10*n + int64(c-'0')
			}
			if d == "?" {
				n = -1
			}
			shape = append(shape, n)
		}
		out = append(out, Tensor{f[0], f[1], shape})
	}
	return out
}

const picture640 = "images float32 1x3x640x640"

// made gives the operators that make outputs, the last of all.
func made(kind, out string) []operator { return []operator{{kind: kind, in: "before", out: out}} }

func TestFamiliesAreGuessed(t *testing.T) {
	ultralytics := func(task, head string) map[string]string {
		m := ultralyticsMeta(task, "{0: 'it\\'s', 1: \"b\"}", "{}")
		m["head"] = head
		return m
	}
	v5 := map[string]string{"stride": "32", "names": "['a', 'b']"}
	for name, c := range map[string]guessCase{
		"yolox":              {[]string{"images float32 1x3x416x416"}, []string{"output float32 1x3549x85"}, made("Transpose", "output"), nil, YOLOX, "", "not decoded yet"},
		"yolox, decoded":     {[]string{"images float32 1x3x416x416"}, []string{"output float32 1x3549x85"}, made("Concat", "output"), nil, "", "", "without --decode_in_inference"},
		"yolox, unknown":     {[]string{"images float32 1x3x416x416"}, []string{"output float32 1x3549x85"}, nil, nil, "", "", ""},
		"fastestdet":         {[]string{"input.1 float32 1x3x352x352"}, []string{"758 float32 1x85x22x22"}, made("Concat", "758"), nil, FastestDet, "", "put together of parts"},
		"a map of stride 16": {[]string{"input.1 float32 1x3x352x352"}, []string{"758 float32 1x85x22x22"}, made("Conv", "758"), nil, "", "", ""},
		"yolov8, bare":       {[]string{picture640}, []string{"output0 float32 1x84x8400"}, nil, nil, YOLOv8, "", "a column for each place"},
		"yolov5, bare":       {[]string{picture640}, []string{"output0 float32 1x25200x85"}, nil, nil, "yolov5", "", "three rows for each place"},
		"yolov5 or v7":       {[]string{picture640}, []string{"output0 float32 1x25200x6"}, nil, nil, "", "", "--family yolov5 or --family yolov7"},
		"mmdeploy":           {[]string{picture640}, []string{"dets float32 1x100x5", "labels int64 1x100"}, nil, nil, "", "", ""},
		"ssd300":             {[]string{"x float32 1x3x300x300"}, []string{"cls_logits float32 1x8732x91", "bbox_regression float32 1x8732x4"}, nil, nil, "ssd300", "", "SSD300"},
		"retinanet":          {[]string{"x float32 1x3x640x640"}, []string{"cls_logits float32 1x76725x91", "bbox_regression float32 1x76725x4"}, nil, nil, "retinanet", "", "RetinaNet"},
		"yolov5":             {[]string{"images float32 1x3x?x?"}, []string{"output0 float32 1x?x7"}, nil, v5, "yolov5", "", "YOLOv5's metadata"},
		"yolov5-cls":         {[]string{"images float32 1x3x224x224"}, []string{"output0 float32 1x2"}, nil, v5, "classification", "yolov5", "YOLOv5's metadata"},
		"yolov5-seg":         {[]string{picture640}, []string{"output0 float32 1x25200x39", "output1 float32 1x32x160x160"}, nil, v5, "", "", "segmentation models can't be read"},
		"rows, no metadata":  {[]string{picture640}, []string{"output0 float32 1x300x6"}, nil, nil, "", "", ""},
		"detect":             {[]string{picture640}, []string{"output0 float32 1x6x8400"}, nil, ultralytics("detect", "Detect"), YOLOv8, "", "task detect"},
		"detect, dynamic":    {[]string{"images float32 ?x3x?x?"}, []string{"output0 float32 ?x6x?"}, nil, ultralytics("detect", "Detect"), YOLOv8, "", "task detect"},
		"rtdetr":             {[]string{picture640}, []string{"output0 float32 1x300x6"}, nil, ultralytics("detect", "RTDETRDecoder"), "rtdetr", "", "RT-DETR"},
		"segment":            {[]string{picture640}, []string{"output0 float32 1x38x8400", "output1 float32 1x32x160x160"}, nil, ultralytics("segment", ""), "yolov8-seg", "", "task segment"},
		"obb":                {[]string{picture640}, []string{"output0 float32 1x7x8400"}, nil, ultralytics("obb", ""), "yolov8-obb", "", "task obb"},
		"classify":           {[]string{"images float32 1x3x224x224"}, []string{"output0 float32 1x2"}, nil, ultralytics("classify", ""), "classification", "ultralytics", "task classify"},
		"pose":               {[]string{picture640}, []string{"output0 float32 1x56x8400"}, nil, ultralytics("pose", ""), "", "", `"pose", which can't be run`},
		"padim": {[]string{"input float32 ?x3x256x256"}, []string{"pred_score float32 ?x1", "pred_label bool ?x1", "anomaly_map float32 ?x1x256x256", "pred_mask bool ?x1x256x256"},
			nil, nil, "anomaly", "", "Anomalib"},
		"patchcore": {[]string{"input float32 2x3x256x256"}, []string{"pred_score float32 2", "pred_label bool 2", "anomaly_map float32 2x1x256x256", "pred_mask bool 2x1x256x256"},
			nil, nil, "anomaly", "", "Anomalib"},
		"rf-detr":     {[]string{"input float32 1x3x560x560"}, []string{"dets float32 1x300x4", "labels float32 1x300x91"}, nil, nil, "rfdetr", "", "RF-DETR"},
		"rf-detr seg": {[]string{"input float32 1x3x432x432"}, []string{"dets float32 1x200x4", "labels float32 1x200x91", "masks float32 1x200x108x108"}, nil, nil, "", "", "masks can't be read"},
		"d-fine": {[]string{picture640, "orig_target_sizes int64 ?x2"}, []string{"labels int64 1x300", "boxes float32 1x300x4", "scores float32 1x300"},
			nil, nil, "detr", "rt-detr", "D-FINE"},
		"hugging face": {[]string{"pixel_values float32 1x3x640x640"}, []string{"logits float32 1x300x80", "pred_boxes float32 1x300x4"}, nil, nil, "detr", "", "Hugging Face"},
		"torchvision":  {[]string{"images float32 1x3x480x640"}, []string{"boxes float32 ?x4", "labels int64 ?", "scores float32 ?"}, nil, nil, "detections", "torchvision", "torchvision"},
		"mask r-cnn":   {[]string{"images float32 1x3x480x640"}, []string{"boxes float32 ?x4", "labels int64 ?", "scores float32 ?", "masks float32 ?x1x480x640"}, nil, nil, "", "", "Mask R-CNN"},
		"tensorflow": {[]string{"input_tensor uint8 1x320x320x3"}, []string{"detection_boxes float32 1x100x4", "detection_classes float32 1x100", "detection_scores float32 1x100", "num_detections float32 1"},
			nil, nil, "detections", "tensorflow", "TensorFlow"},
		"ssd, mobilenet":   {[]string{"input_0 float32 1x3x300x300"}, []string{"scores float32 1x3000x3", "boxes float32 1x3000x4"}, nil, nil, "ssd", "mobilenet-ssd", "3000 priors"},
		"ssd, other":       {[]string{"input_0 float32 1x3x512x512"}, []string{"scores float32 1x9999x3", "boxes float32 1x9999x4"}, nil, nil, "ssd", "", "each prior"},
		"deeplab":          {[]string{"x float32 1x3x520x520"}, []string{"out float32 1x21x520x520", "aux float32 1x21x520x520"}, nil, nil, "segmentation", "", "out and aux"},
		"fcn":              {[]string{"x float32 1x3x520x520"}, []string{"out float32 1x21x520x520"}, nil, nil, "segmentation", "", "named out"},
		"fcn, dynamic":     {[]string{"x float32 ?x3x?x?"}, []string{"out float32 ?x21x?x?"}, nil, nil, "", "", ""},
		"deeplab, dynamic": {[]string{"x float32 ?x3x?x?"}, []string{"out float32 ?x21x?x?", "aux float32 ?x21x?x?"}, nil, nil, "segmentation", "", "out and aux"},
		"resnet":           {[]string{"x float32 1x3x224x224"}, []string{"y float32 1x1000"}, made("Gemm", "y"), nil, "classification", "", "a score for each class"},
		"softmax":          {[]string{"x float32 1x3x224x224"}, []string{"y float32 1x1000"}, made("Softmax", "y"), nil, "classification", "", "a score for each class"},
		"an embedding":     {[]string{"x float32 1x3x224x224"}, []string{"y float32 1x512"}, made("LpNormalization", "y"), nil, "", "", ""},
		"any map":          {[]string{"x float32 ?x3x?x?"}, []string{"sigmoid float32 ?x1x?x?"}, made("Sigmoid", "sigmoid"), nil, "", "", ""},
	} {
		t.Run(name, c.check)
	}
}

// TestRawDetectorsNeedTheirNames: turned boxes and key points have the same shape with
// fewer classes, and an angle would be one of them.
func TestRawDetectorsNeedTheirNames(t *testing.T) {
	for _, out := range []string{"output0 float32 1x20x8400", "output0 float32 1x25200x85"} {
		info := describe(t, onnxBytes(tensors(t, picture640), tensors(t, out), nil))
		if _, err := info.Spec(Options{}); err == nil || !strings.Contains(err.Error(), "--labels FILE") || !strings.Contains(err.Error(), "--family "+string(info.Family)) {
			t.Errorf("%s: %v", out, err)
		}
		if _, err := info.Spec(Options{Labels: make([]string, 15)}); err == nil {
			t.Errorf("%s: another number of names is taken", out)
		}
		if _, err := info.Spec(Options{Family: string(info.Family)}); err != nil {
			t.Errorf("%s as its owner says: %v", out, err)
		}
	}
}

// TestLookalikes: what has the shape of another family's output, with other boxes in it.
func TestLookalikes(t *testing.T) {
	for name, c := range map[string]guessCase{
		"yolov8, transposed": {[]string{picture640}, []string{"output float32 1x8400x84"},
			[]operator{{kind: "Mul", in: "box stride", out: "boxes"}, {kind: "Concat", in: "boxes scores", out: "all"}, {kind: "Transpose", in: "all", out: "output"}}, nil, "", "", "a transposed YOLOv8"},
		"yolox, whole": {[]string{"images float32 1x3x416x416"}, []string{"output float32 1x3549x85"},
			[]operator{{kind: "Conv", in: "x w", out: "box"}, {kind: "Concat", in: "box obj cls", out: "level"}, {kind: "Reshape", in: "level to", out: "flat"},
				{kind: "Concat", in: "flat flat2 flat3", out: "all"}, {kind: "Transpose", in: "all", out: "output"}}, nil, YOLOX, "", "not decoded yet"},
		"nanodet": {[]string{"images float32 1x3x416x416"}, []string{"output float32 1x3549x112"},
			[]operator{{kind: "Sigmoid", in: "x", out: "cls"}, {kind: "Concat", in: "cls box", out: "level"}, {kind: "Reshape", in: "level to", out: "flat"},
				{kind: "Concat", in: "flat flat2 flat3", out: "all"}, {kind: "Transpose", in: "all", out: "output"}}, nil, "", "", "NanoDet"},
		// TensorFlow's exports of both tell boxes as shares of the picture.
		"yolov8, tensorflow": {[]string{"images float32 1x640x640x3"}, []string{"output float32 1x84x8400"}, nil, nil, "", "", ""},
		"yolov5, tensorflow": {[]string{"images float32 1x640x640x3"}, []string{"output float32 1x25200x85"}, nil, nil, "", "", ""},
	} {
		t.Run(name, c.check)
	}
}

// guessCase is a model with what it is taken for, and why.
type guessCase struct {
	in, out []string
	made    []operator
	meta    map[string]string
	family  Family
	preset  string
	why     string
}

func (c guessCase) check(t *testing.T) {
	info, err := Describe(onnxBytes(tensors(t, c.in...), tensors(t, c.out...), c.meta, c.made...))
	if err != nil {
		t.Fatal(err)
	}
	if info.Family != c.family || info.Preset != c.preset || !strings.Contains(info.Why, c.why) || (c.why == "") != (info.Why == "") {
		t.Errorf("family %q, preset %q, because of %q; want %q, %q, %q", info.Family, info.Preset, info.Why, c.family, c.preset, c.why)
	}
	_, err = info.Spec(Options{})
	if c.family == "" && (err == nil || c.why != "" && !strings.Contains(err.Error(), c.why)) {
		t.Errorf("without a family: %v", err)
	}
}

func TestNMSInsideIsToldByTheArguments(t *testing.T) {
	for args, want := range map[string]bool{"{'nms': True, 'half': False}": true, "{'nms': False}": false, "{}": false, "no Python": false} {
		info, err := Describe(onnxBytes(f32("images", 1, 3, 640, 640), f32("output0", 1, 300, 6), ultralyticsMeta("detect", "{1: 'b', 0: 'a'}", args)))
		if err != nil || info.NMS != want || !cmp.Equal(info.Labels, []string{"a", "b"}) {
			t.Errorf("%s: NMS inside %v, labels %q, %v", args, info.NMS, info.Labels, err)
		}
	}
}

// TestWhatSpeaksAgainstAFamily: metadata and the graph count for more than a person's word.
func TestWhatSpeaksAgainstAFamily(t *testing.T) {
	decoded := onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), nil, operator{kind: "Exp", in: "a", out: "b"}, operator{kind: "Concat", in: "b c", out: "out"})
	segment := onnxBytes(f32("images", 1, 3, 64, 64), f32("a", 1, 7, 84), ultralyticsMeta("segment", "{0: 'a'}", "{}"))
	for family, c := range map[string]struct {
		model []byte
		want  string
	}{
		"yolox":  {decoded, "decoded by the graph already"},
		"yolov8": {segment, `task is "segment", which is family yolov8-seg, not yolov8`},
	} {
		info, err := Describe(c.model)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := info.Spec(Options{Family: family}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", family, err, c.want)
		}
	}
}

func TestRealModelsAreRecognised(t *testing.T) {
	for name, want := range map[string]Family{"yolox_nano.onnx": YOLOX, "FastestDet.onnx": FastestDet, "ch_PP-OCRv4_det_infer.onnx": "", "yunet_n_dynamic.onnx": ""} {
		b, err := os.ReadFile(realModel(t, name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := Describe(b)
		if err != nil || info.Family != want {
			t.Errorf("%s: family %q, %v; want %q", name, info.Family, err, want)
		}
	}
}

// TestLastOperators: moves of values are passed over, and joined values tell nothing.
func TestLastOperators(t *testing.T) {
	for name, c := range map[string]struct {
		made       []operator
		end, count string
	}{
		"straight":        {[]operator{{kind: "Softmax", in: "a", out: "out"}}, "Softmax", "Softmax"},
		"moved":           {[]operator{{kind: "Softmax", in: "a", out: "b"}, {kind: "Reshape", in: "b s", out: "c"}, {kind: "Cast", in: "c", out: "out"}}, "Cast", "Softmax"},
		"resized":         {[]operator{{kind: "Conv", in: "a", out: "b"}, {kind: "Resize", in: "b r s", out: "out"}}, "Resize", "Conv"},
		"joined":          {[]operator{{kind: "Conv", in: "a", out: "b"}, {kind: "Concat", in: "b b", out: "out"}}, "Concat", ""},
		"one joined":      {[]operator{{kind: "Conv", in: "a", out: "b"}, {kind: "Concat", in: "b", out: "out"}}, "Concat", "Conv"},
		"from the input":  {[]operator{{kind: "Identity", in: "images", out: "out"}}, "Identity", ""},
		"in a circle":     {[]operator{{kind: "Identity", in: "out", out: "out"}}, "Identity", ""},
		"made by nothing": {[]operator{{kind: "Identity", in: "a", out: "b"}}, "", ""},
	} {
		info, err := Describe(onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 7), nil, c.made...))
		if err != nil || info.ends[0] != c.end || info.Last[0] != c.count {
			t.Errorf("%s: ends in %q, computed by %q, %v; want %q, %q", name, info.ends, info.Last, err, c.end, c.count)
		}
	}
}

func TestEveryPresetIsWhole(t *testing.T) {
	seen := []string{}
	for _, p := range Presets() {
		id := string(p.Family) + " " + p.Name
		if slices.Contains(seen, id) || !p.Input.whole() || p.Of == "" || p.Input.Resize == Crop && p.Input.CropShare == 0 {
			t.Errorf("%s stands twice, or leaves something open: %+v", id, p)
		}
		seen = append(seen, id)
	}
	for _, r := range readings() {
		if r.preset != "" && !slices.Contains(seen, string(r.family)+" "+r.preset) {
			t.Errorf("a reading names the preset %q that family %s doesn't have", r.preset, r.family)
		}
	}
}
