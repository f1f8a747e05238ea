package infer

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// sameAsFastestDet tells whether a model finds what the smallest of its family
// finds, on a picture in which that is something.
func sameAsFastestDet(t *testing.T, path string, o Options) {
	t.Helper()
	o.Confidence = 0.01
	frame := picture(90, 70, vision.BGR24, 5)
	pool := shared(t, frame)
	var found [2]Result
	for n, c := range []Config{testConfig(t, "testdata/fastestdet.onnx", Options{Confidence: 0.01}), testConfig(t, path, o)} {
		var err error
		if found[n], err = start(t, c).Infer(within(t, 30*time.Second), frame, pool, 0); err != nil {
			t.Fatalf("%s: %v", c.Model.Path, err)
		}
	}
	if len(found[0].Detections) == 0 {
		t.Fatal("nothing is found, so nothing is compared")
	}
	if diff := cmp.Diff(found[0].Detections, found[1].Detections); diff != "" {
		t.Errorf("%s (-fastestdet.onnx +it):\n%s", path, diff)
	}
}

func TestBatchesAndOpenSizes(t *testing.T) {
	sameAsFastestDet(t, "testdata/batch2.onnx", Options{})
	sameAsFastestDet(t, "testdata/dynamic.onnx", Options{Family: "fastestdet", Width: 64, Height: 64, Labels: []string{"class0", "class1"}})
}

func describe(t *testing.T, model []byte) Info {
	t.Helper()
	info, err := Describe(model)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestSizes: a model's own size holds, else the one that is said, else that of
// the metadata; nobody's guess does.
func TestSizes(t *testing.T) {
	fixed := onnxBytes(f32("images", 1, 3, 48, 64), f32("out", 1, 6, 63), nil)
	half := onnxBytes(f32("images", 1, 3, -1, 64), f32("out", 1, 6, -1), nil)
	open := onnxBytes(f32("images", -1, 3, -1, -1), f32("out", -1, 6, -1), nil)
	told := onnxBytes(f32("images", -1, 3, -1, -1), f32("out", -1, 6, -1), ultralyticsMeta("detect", "{0: 'a', 1: 'b'}", "{}"))
	for name, c := range map[string]struct {
		model         []byte
		o             Options
		width, height int
		want          string
	}{
		"fixed":            {fixed, Options{}, 64, 48, ""},
		"fixed, and said":  {fixed, Options{Width: 64, Height: 48}, 64, 48, ""},
		"fixed, not so":    {fixed, Options{Width: 48, Height: 64}, 0, 0, "size 48×64: the model's input is images float32 1×3×48×64"},
		"open":             {open, Options{}, 0, 0, "--size 640x640"},
		"open, said":       {open, Options{Width: 320, Height: 96}, 320, 96, ""},
		"open, half said":  {open, Options{Width: 320}, 0, 0, "--size"},
		"half open":        {half, Options{}, 0, 0, "--size"},
		"half open, said":  {half, Options{Height: 96}, 64, 96, ""},
		"metadata":         {told, Options{}, 640, 320, ""},
		"metadata, unlike": {told, Options{Width: 32, Height: 64}, 32, 64, ""},
		"too large":        {open, Options{Width: 8193, Height: 64}, 0, 0, "1 to 8192 a side"},
	} {
		c.o.Family, c.o.Labels = "yolov8", []string{"a", "b"}
		spec, err := describe(t, c.model).Spec(c.o)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want an error about %q", name, err, c.want)
			}
		} else if err != nil || spec.Input.Width != c.width || spec.Input.Height != c.height {
			t.Errorf("%s: %d×%d, %v; want %d×%d", name, spec.Input.Width, spec.Input.Height, err, c.width, c.height)
		}
	}
}

// TestTypesOfInput: a picture of uint8 takes levels and nothing else, and one
// plane is grey.
func TestTypesOfInput(t *testing.T) {
	levels := describe(t, testModel(t, "uint8.onnx"))
	two := Options{Labels: []string{"a", "b"}}
	spec, err := levels.Spec(two)
	want := FastestDet.defaults().Input
	want.Width, want.Height, want.Scale, want.Std = 64, 64, 1, [3]float64{1, 1, 1}
	if diff := cmp.Diff(want, spec.Input); err != nil || diff != "" {
		t.Errorf("uint8: %v, (-want +got):\n%s", err, diff)
	}
	if shape := levels.inputShape(spec.Input); !cmp.Equal(shape, []int64{1, 64, 64, 3}) || !levels.nhwc() {
		t.Errorf("uint8: shape %v", shape)
	}
	for name, o := range map[string]Override{"scale": {Scale: 1.0 / 255}, "mean": {Mean: []float64{1}}, "std": {Std: []float64{1, 2, 3}}} {
		if _, err := levels.Spec(Options{Input: o, Labels: two.Labels}); err == nil || !strings.Contains(err.Error(), "takes the levels as they are") {
			t.Errorf("uint8 with another %s: %v", name, err)
		}
	}
	grey := describe(t, onnxBytes(f32("images", 1, 1, 64, 64), f32("out", 1, 6, 84), nil))
	if spec, err := grey.Spec(two); err != nil || spec.Input.Colour != Gray {
		t.Errorf("one plane: %q, %v", spec.Input.Colour, err)
	}
	for _, c := range []struct {
		channels int64
		colour   Colour
	}{{1, RGB}, {3, Gray}} {
		info := describe(t, onnxBytes(f32("images", 1, c.channels, 64, 64), f32("out", 1, 6, 84), nil))
		if _, err := info.Spec(Options{Input: Override{Colour: c.colour}, Labels: two.Labels}); err == nil || !strings.Contains(err.Error(), "the model's input is") {
			t.Errorf("%d planes of %s: %v", c.channels, c.colour, err)
		}
	}
	half := describe(t, testModel(t, "float16.onnx"))
	if half.Inputs[0].Type != "float16" || half.Outputs[0].Type != "float16" {
		t.Errorf("float16: %v", half)
	}
}

// TestOutputsOfOtherTypes: bools, integers and single values are described as
// the model has them.
func TestOutputsOfOtherTypes(t *testing.T) {
	for name, want := range map[string]string{
		"anomalib":  "pred_score float32 ?×1, pred_label bool ?×1, anomaly_map float32 ?×1×64×64, pred_mask bool ?×1×64×64",
		"deployed":  "labels int64 1×3, boxes float32 1×3×4, scores float32 1×3",
		"one_value": "score float32 of one value",
	} {
		var got []string
		for _, o := range describe(t, testModel(t, name+".onnx")).Outputs {
			got = append(got, o.String())
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %s, want %s", name, text, want)
		}
	}
	if _, err := describe(t, testModel(t, "one_value.onnx")).Spec(Options{Family: "yolov8"}); err == nil || !strings.Contains(err.Error(), "one value") {
		t.Errorf("a single value as yolov8: %v", err)
	}
	strange := describe(t, onnxBytes(f32("images", 1, 3, 64, 64), []Tensor{{"out", "string", []int64{1, 6, 84}}}, nil))
	if _, err := strange.Spec(Options{Labels: []string{"a", "b"}}); err == nil || !strings.Contains(err.Error(), "whose type isn't known") {
		t.Errorf("an output of words: %v", err)
	}
}

// TestPictureFedInManyWays: where no file tells how pictures are fed, somebody must.
func TestPictureFedInManyWays(t *testing.T) {
	resnet := describe(t, onnxBytes(f32("x", 1, 3, 224, 224), f32("y", 1, 10), nil, made("Gemm", "y")...))
	feed := func(i Info, o Options) (Spec, error) {
		s := Spec{Family: i.Family, Input: Input{Width: 224, Height: 224, Colour: RGB, Scale: 1, Resize: Stretch}}
		return s, i.feeding(&s, o, 10)
	}
	_, err := feed(resnet, Options{})
	for _, want := range []string{
		"family classification", "pass --preset NAME",
		"\n  torchvision: most of torchvision's weights (weights.transforms() tells: crop is crop_size ÷ resize_size, 224 ÷ 256 here, 0.9655 for most V2; EfficientNet, Swin, MaxViT and ViT's SWAG are bicubic)\n    input: {colour: rgb, scale: 0.00392156862745098, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize: crop, interpolation: bilinear, crop: 0.875}\n",
		"\n  ultralytics: Ultralytics' classifiers\n    input: {colour: rgb, scale: 0.00392156862745098, mean: [0, 0, 0], std: [1, 1, 1], resize: crop, interpolation: bilinear, crop: 1}\n",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a classifier that tells nothing: %v\nwant %s", err, want)
		}
	}
	if _, err := feed(resnet, Options{Input: Override{Colour: RGB, Scale: 1, Resize: Stretch, Mean: []float64{1}}}); err == nil {
		t.Error("an input that leaves the deviation open is enough")
	}
	if _, err := feed(resnet, Options{Input: Override{Colour: RGB, Scale: 1, Resize: Stretch, Mean: []float64{1}, Std: []float64{2}}}); err != nil {
		t.Errorf("an input that was said in full: %v", err)
	}
	if _, err := feed(resnet, Options{Preset: "keras"}); err == nil || !strings.Contains(err.Error(), "known are torchvision, timm, ultralytics, yolov5, plain") {
		t.Errorf("no such preset: %v", err)
	}
	fixed := describe(t, onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 6, 84), nil))
	if _, err := fixed.Spec(Options{Preset: "timm", Labels: []string{"a", "b"}}); err == nil || !strings.Contains(err.Error(), "fed alike") {
		t.Errorf("a preset for yolov8: %v", err)
	}
	meta := describe(t, onnxBytes(f32("x", 1, 3, 224, 224), f32("y", 1, 2), ultralyticsMeta("classify", "{0: 'a', 1: 'b'}", "{}"), made("Softmax", "y")...))
	var s Spec
	s.Family, s.Input = meta.Family, Input{Resize: Stretch}
	if err := meta.feeding(&s, Options{Input: Override{Interpolation: Bicubic}}, 2); err != nil || s.Activation != NoActivation ||
		s.Input.Resize != Crop || s.Input.CropShare != 1 || s.Input.Interpolation != Bicubic || s.Input.Std != [3]float64{1, 1, 1} {
		t.Errorf("Ultralytics' classifier: %+v, %v", s, err)
	}
}

// TestActivations: the last operator decides, and where it doesn't, somebody must.
// TestSizeOfAnomalib: an export that takes any picture says by its map for which
// size it was trained.
func TestSizeOfAnomalib(t *testing.T) {
	open := describe(t, onnxBytes(f32("input", -1, 3, -1, -1), append(f32("pred_score", -1, 1), f32("anomaly_map", -1, 1, 256, 320)...), nil))
	if _, err := open.Spec(Options{}); err == nil || !strings.Contains(err.Error(), "its map has 320x256") || !strings.Contains(err.Error(), "--size 320x256, or write size: [320, 256]") {
		t.Errorf("without a size: %v", err)
	}
	if _, err := open.Spec(Options{Width: 320, Height: 256}); err != nil {
		t.Error(err)
	}
}

func TestActivations(t *testing.T) {
	for name, c := range map[string]struct {
		family  Family
		last    string
		classes int
		said    Activation
		want    Activation // "" for an error
	}{
		"classifier's logits":   {"classification", "Gemm", 10, "", Softmax},
		"classifier's scores":   {"classification", "Softmax", 10, "", NoActivation},
		"each class for itself": {"classification", "Sigmoid", 10, "", NoActivation},
		"said":                  {"classification", "Gemm", 10, Sigmoid, Sigmoid},
		"said of scores":        {"classification", "Softmax", 10, Softmax, Softmax},
		"divided":               {"classification", "Div", 10, "", ""},
		"divided, said":         {"classification", "Div", 10, NoActivation, NoActivation},
		"unknown":               {"classification", "", 10, "", ""},
		"map of one class":      {"segmentation", "Conv", 1, "", Sigmoid},
		"map of several":        {"segmentation", "Conv", 3, "", Softmax},
		"map of scores":         {"segmentation", "Sigmoid", 1, "", NoActivation},
		"map of clipped values": {"segmentation", "Clip", 1, "", ""},
		"families that know":    {YOLOv8, "Conv", 3, "", ""},
	} {
		shape := []int64{1, int64(c.classes)}
		if c.family == "segmentation" {
			shape = append(shape, 64, 64)
		}
		info := Info{Inputs: f32("x", 1, 3, 64, 64), Outputs: f32("out", shape...), Last: []string{c.last}}
		got, err := info.activation(&Spec{Family: c.family}, Options{Activation: c.said}, c.classes)
		if got != c.want || (err == nil) != (c.want != "" || c.family == YOLOv8) || err != nil && !strings.Contains(err.Error(), "activation: none") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	numbers := Info{Inputs: f32("x", 1, 3, 64, 64), Outputs: []Tensor{{"out", "int64", []int64{1, 64, 64}}}, Last: []string{"ArgMax"}}
	if got, err := numbers.activation(&Spec{Family: Segmentation}, Options{}, 0); got != NoActivation || err != nil {
		t.Errorf("a map of class numbers: %q, %v", got, err)
	}
	if _, err := (Info{}).activation(&Spec{Family: YOLOv8}, Options{Activation: Sigmoid}, 3); err == nil || !strings.Contains(err.Error(), "knows its own") {
		t.Errorf("an activation for yolov8: %v", err)
	}
}

// What several pictures in a run cost can be measured with any model that leaves their
// number open; the frame's result is the same.
func TestBatchThatIsAskedFor(t *testing.T) {
	cfg := testConfig(t, "testdata/dynamic.onnx", Options{Family: "fastestdet", Labels: []string{"class0", "class1"}, Confidence: 0.01, Width: 64, Height: 64})
	frame := picture(90, 70, vision.BGR24, 5)
	pool := shared(t, frame)
	var first Result
	for _, n := range []int{0, 1, 3} {
		cfg.Batch = n
		w := start(t, cfg)
		r, samples, err := w.InferRaw(within(t, 30*time.Second), frame, pool, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(samples) == 0 || samples[0].Shape[0] != 1 {
			t.Errorf("%d pictures: outputs %+v", n, samples)
		}
		r.Fill, r.Run, r.Decode = 0, 0, 0
		if n == 0 {
			first = r
		} else if d := cmp.Diff(first, r); d != "" {
			t.Errorf("%d pictures: %s", n, d)
		}
	}
}
