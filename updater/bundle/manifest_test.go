package bundle

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const good = `manifest: 1
name: caps
version: 1.2.0
licence: Apache-2.0
model:
  file: model.onnx
  sha256: 9f2c000000000000000000000000000000000000000000000000000000000001
  family: yolov8
  labels: [{name: part, role: part}, {name: scratch, role: defect}]
  input: {colour: rgb, scale: 0.00392156862745098, resize: letterbox, anchor: centre, pad: 114}
  confidence: 0.25
  nms: 0.7
rule: {standard: threshold, when: "defect>0.5"}
card: MODEL_CARD.md
`

func TestReadGoodManifest(t *testing.T) {
	m, err := Read(fstest.MapFS{ManifestFile: {Data: []byte(good)}})
	if err != nil {
		t.Fatal(err)
	}
	pad := uint8(114)
	want := &Manifest{
		Manifest: 1, Name: "caps", Version: "1.2.0", Licence: "Apache-2.0",
		Model: Model{
			File: "model.onnx", SHA256: "9f2c" + strings.Repeat("0", 59) + "1", Family: "yolov8",
			Labels:     []Label{{"part", "part"}, {"scratch", "defect"}},
			Input:      Input{Colour: "rgb", Scale: 1.0 / 255, Resize: "letterbox", Anchor: "centre", Pad: &pad},
			Confidence: 0.25, NMS: 0.7,
		},
		Rule: Rule{Standard: "threshold", When: "defect>0.5"}, Card: "MODEL_CARD.md",
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if got := m.Rule.Spec(); got != "threshold:defect>0.5" {
		t.Errorf("rule is %q", got)
	}
}

func TestBadManifests(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":         {"card:", "crad:", "unknown field"},
		"newer format":        {"manifest: 1", "manifest: 2", "manifest: 2 is not a version"},
		"path leaves bundle":  {"file: model.onnx", "file: ../model.onnx", "not a path inside the bundle"},
		"absolute path":       {"file: model.onnx", "file: /etc/passwd", "not a path inside the bundle"},
		"card leaves bundle":  {"MODEL_CARD.md", "../../x", "not a path inside the bundle"},
		"hash too short":      {"9f2c", "", "not 64 hex digits"},
		"unknown role":        {"role: defect", "role: fault", `role "fault" is none of`},
		"label twice":         {"name: scratch", "name: part", "stands twice"},
		"confidence":          {"confidence: 0.25", "confidence: 25", "outside 0 to 1"},
		"resize":              {"resize: letterbox", "resize: fit", `"fit" is none of letterbox, stretch, crop`},
		"interpolation":       {"pad: 114", "interpolation: lanczos", `"lanczos" is none of linear, area, bilinear, bicubic, nearest`},
		"anchor":              {"anchor: centre", "anchor: left", `"left" is none of centre, top-left`},
		"crop of a letterbox": {"pad: 114", "crop: 0.9", "input.crop: is for resize: crop alone"},
		"crop of more":        {"resize: letterbox, anchor: centre, pad: 114", "resize: crop, crop: 1.1", "input.crop: 1.1 is outside 0 to 1"},
		"std of zero":         {"pad: 114", "std: [0]", "can't divide"},
		"std of one":          {"pad: 114", "std: [1, 0, 1]", "can't divide"},
		"two means":           {"pad: 114", "mean: [1, 2]", "has 2 numbers"},
		"mean of nothing":     {"pad: 114", "mean: [.nan]", "no number"},
		"scale without end":   {"scale: 0.00392156862745098", "scale: .inf", "no number"},
		"activation":          {"nms: 0.7", "activation: relu", `"relu" is none of none, sigmoid, softmax`},
		"pixel":               {"nms: 0.7", "pixel: 1.5", "model.pixel: 1.5 is outside 0 to 1"},
		"pixel of nothing":    {"nms: 0.7", "pixel: .nan", "outside 0 to 1"},
		"negative area":       {"nms: 0.7", "min_area: -1", "model.min_area: -1 is outside"},
		"words for an area":   {"nms: 0.7", "min_area: many", "line 12"},
		"detections":          {"nms: 0.7", "max_detections: 4001", "model.max_detections: 4001 is outside 0 to 4000"},
		"one side":            {"nms: 0.7", "size: [640]", "model.size: [640] must be width and height"},
		"no side":             {"nms: 0.7", "size: []", "must be width and height"},
		"huge side":           {"nms: 0.7", "size: [640, 8193]", "must be width and height"},
		"two rules":           {"when:", "module: r.wasm, when:", "both standard and module"},
		"params for none":     {"when:", "params: x, when:", "are for a module"},
		"when for a module":   {"standard: threshold", "module: r.wasm", "is for a standard rule"},
		"module of what":      {`standard: threshold, when: "defect>0.5"`, "module: r.so", "must end in .wasm"},
		"name with a slash":   {"name: caps", "name: caps/x", "must have 1 to 64 lower case letters"},
		"name with dots":      {"name: caps", "name: ..", "must have 1 to 64 lower case letters"},
		"name too long":       {"name: caps", "name: " + strings.Repeat("c", 65), "must have 1 to 64 lower case letters"},
		"version":             {"1.2.0", "1.2 beta", "pluses"},
		"golden elsewhere":    {"card:", "golden: expected.json\ncard:", "must be golden/expected.json"},
		"hidden file":         {"file: model.onnx", "file: .model.onnx", "begins with '.'"},
		"hash in capitals":    {"9f2c", "9F2C", "lower case"},
		"wrong type":          {"nms: 0.7", "nms: high", "line 12, column 8: "},
		"not YAML":            {good, "{{{{", ManifestFile},
		"empty":               {good, "", ManifestFile},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(strings.Replace(good, c.old, c.new, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestSettings: all that can be said of how a model is read is taken over, and
// what isn't said is known.
func TestSettings(t *testing.T) {
	text := strings.Replace(good, "  input: {colour: rgb, scale: 0.00392156862745098, resize: letterbox, anchor: centre, pad: 114}\n",
		"  size: [640, 480]\n  activation: softmax\n  max_detections: 50\n  pixel: 0.4\n  min_area: 9\n"+
			"  input: {colour: bgr, scale: 0.5, mean: [0.485, 0.456, 0.406], std: [2], resize: crop, crop: 0.875, interpolation: bicubic}\n", 1)
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := Model{File: m.Model.File, SHA256: m.Model.SHA256, Family: "yolov8", Labels: m.Model.Labels, Size: []int{640, 480}, Activation: "softmax",
		Confidence: 0.25, NMS: 0.7, MaxDetections: 50, Pixel: 0.4, MinArea: 9,
		Input: Input{Colour: "bgr", Scale: 0.5, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{2}, Resize: "crop", Interpolation: "bicubic", Crop: 0.875}}
	if d := cmp.Diff(want, m.Model); d != "" {
		t.Error(d)
	}
	if open := m.Model.Input.Open(); open != nil {
		t.Errorf("everything is said, but %q", open)
	}
	pad := uint8(0)
	for _, c := range []struct {
		in   Input
		want string
	}{
		{Input{}, "colour scale mean std resize interpolation"},
		{Input{Resize: "letterbox"}, "colour scale mean std interpolation anchor pad"},
		{Input{Resize: "letterbox", Pad: &pad}, "colour scale mean std interpolation anchor"},
		{Input{Resize: "crop", Colour: "rgb", Scale: 1}, "mean std interpolation crop"},
		{Input{Resize: "stretch", Colour: "rgb", Scale: 1, Mean: []float64{0}, Std: []float64{1}, Interpolation: "linear"}, ""},
	} {
		if got := strings.Join(c.in.Open(), " "); got != c.want {
			t.Errorf("%+v leaves %q open, want %q", c.in, got, c.want)
		}
	}
}

func TestMissingAndHugeManifest(t *testing.T) {
	for name, fsys := range map[string]fstest.MapFS{
		"has no manifest.yaml": {},
		"at most 262144":       {ManifestFile: {Data: make([]byte, maxManifest+1)}},
	} {
		if _, err := Read(fsys); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want one with %q", err, name)
		}
	}
}

// TestManifestsThatCostTime: small texts that are made to be costly to read, or
// to be told what is wrong with, are refused at once.
func TestManifestsThatCostTime(t *testing.T) {
	doubling := "rule: &a0 {standard: x}\nmodel:\n"
	for i := range 40 {
		doubling += fmt.Sprintf("  k%d: &a%d {<<: [*a%d, *a%d]}\n", i+1, i+1, i, i)
	}
	keys, deep := "", "name:"
	for i := range 20_000 {
		keys += fmt.Sprintf("k%d: 1\n", i)
	}
	for i := range 400 {
		deep += "\n" + strings.Repeat(" ", i+1) + "name:"
	}
	for name, text := range map[string]string{
		"aliases of aliases": doubling, "many keys": keys, "deep": deep, "brackets": "name: " + strings.Repeat("[", 20_000),
		"braces": "name: " + strings.Repeat("{a: ", 20_000), "dashes": "name: " + strings.Repeat("- ", 20_000),
		"anchors": "name: " + strings.Repeat("&a ", 20_000), "question marks": strings.Repeat("? ", 20_000),
		"an alias of itself": "name: &a [*a]", "many words": "labels: [" + strings.Repeat("a, ", 40_000) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := Parse([]byte(text))
			if err == nil {
				t.Fatal("it is read")
			}
			if text := err.Error(); len(text) > 300 || strings.Contains(text, "\n") {
				t.Errorf("it says %.1000q", text)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("that took %v", took)
			}
		})
	}
	many := good
	for i := range 3000 {
		many = strings.Replace(many, "labels: [", fmt.Sprintf("labels: [{name: label %d, role: ignored}, ", i), 1)
	}
	if _, err := Parse([]byte(many)); err != nil {
		t.Errorf("many labels: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := Parse(b); err == nil && m.Model.File == "" {
			t.Error("a manifest without a model was accepted")
		}
	})
}
