package infer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sightline-edge/sightline/vision"
)

// onnxBytes builds a model's description: enough for Describe.
func onnxBytes(inputs, outputs []Tensor, meta map[string]string) []byte {
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	number := func(b []byte, num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
	}
	tensor := func(t Tensor) []byte {
		kind := uint64(1)
		for elementType(kind) != t.Type {
			kind++
		}
		var shape []byte
		for _, d := range t.Shape {
			if d < 0 {
				shape = field(shape, 1, field(nil, 2, []byte("n")))
			} else {
				shape = field(shape, 1, number(nil, 1, uint64(d)))
			}
		}
		inner := number(nil, 1, kind)
		if t.Shape != nil {
			inner = field(inner, 2, shape)
		}
		return field(field(nil, 1, []byte(t.Name)), 2, field(nil, 1, inner))
	}
	graph := field(nil, 1, field(nil, 4, []byte("Identity")))
	for _, t := range inputs {
		graph = field(graph, 11, tensor(t))
	}
	for _, t := range outputs {
		graph = field(graph, 12, tensor(t))
	}
	b := field(number(nil, 1, 8), 7, graph)
	for k, v := range meta {
		b = field(b, 14, field(field(nil, 1, []byte(k)), 2, []byte(v)))
	}
	return b
}

func f32(name string, shape ...int64) []Tensor {
	return []Tensor{{Name: name, Type: "float32", Shape: shape}}
}

// ultralyticsMeta is what their exporter writes, with names of our own.
func ultralyticsMeta(task, names string, args string) map[string]string {
	return map[string]string{"description": "a model", "author": "Ultralytics", "license": "AGPL-3.0 License",
		"stride": "32", "task": task, "batch": "1", "imgsz": "[320, 640]", "names": names, "args": args, "end2end": "False"}
}

func TestFamiliesAreGuessed(t *testing.T) {
	for name, c := range map[string]struct {
		in, out []Tensor
		meta    map[string]string
		want    Family
		labels  []string
		nms     bool
	}{
		"yolox":             {f32("images", 1, 3, 416, 416), f32("output", 1, 3549, 85), nil, YOLOX, nil, false},
		"fastestdet":        {f32("input.1", 1, 3, 352, 352), f32("758", 1, 85, 22, 22), nil, FastestDet, nil, false},
		"yolov8 bare":       {f32("images", 1, 3, 640, 640), f32("output0", 1, 84, 8400), nil, YOLOv8, nil, false},
		"rows, no metadata": {f32("images", 1, 3, 640, 640), f32("output0", 1, 300, 6), nil, "", nil, false},
		"ultralytics": {f32("images", 1, 3, 640, 640), f32("output0", 1, 6, 8400),
			ultralyticsMeta("detect", "{0: 'it\\'s', 1: \"b\"}", "{}"), YOLOv8, []string{"it's", "b"}, false},
		"ultralytics, nms": {f32("images", 1, 3, 640, 640), f32("output0", 1, 300, 6),
			ultralyticsMeta("detect", "{1: 'b', 0: 'a'}", "{'nms': True, 'half': False}"), YOLOv8, []string{"a", "b"}, true},
		"ultralytics, dynamic": {f32("images", -1, 3, -1, -1), f32("output0", -1, 6, -1),
			ultralyticsMeta("detect", "{0: 'a', 1: 'b'}", "{}"), YOLOv8, []string{"a", "b"}, false},
		"segment": {f32("images", 1, 3, 640, 640), append(f32("output0", 1, 116, 8400), f32("output1", 1, 32, 160, 160)...),
			ultralyticsMeta("segment", "{0: 'a'}", "{}"), "", []string{"a"}, false},
		"dense": {f32("x", -1, 3, -1, -1), f32("sigmoid", -1, 1, -1, -1), nil, "", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			info, err := Describe(onnxBytes(c.in, c.out, c.meta))
			if err != nil {
				t.Fatal(err)
			}
			if info.Family != c.want || info.NMS != c.nms || !cmp.Equal(info.Labels, c.labels) {
				t.Errorf("family %q, labels %q, NMS inside %v; want %q, %q, %v", info.Family, info.Labels, info.NMS, c.want, c.labels, c.nms)
			}
			if !cmp.Equal(info.Inputs, c.in) || !cmp.Equal(info.Outputs, c.out) {
				t.Errorf("tensors are %v → %v", info.Inputs, info.Outputs)
			}
		})
	}
}

func TestDynamicInputTakesItsSizeFromTheMetadata(t *testing.T) {
	info, err := Describe(onnxBytes(f32("images", -1, 3, -1, -1), f32("output0", -1, 6, -1), ultralyticsMeta("detect", "{0: 'a', 1: 'b'}", "{}")))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := info.Spec(Options{Roles: map[string]vision.Role{"b": vision.DefectRole}})
	if err != nil {
		t.Fatal(err)
	}
	if spec.Input.Width != 640 || spec.Input.Height != 320 {
		t.Errorf("input is %d×%d, want 640×320", spec.Input.Width, spec.Input.Height)
	}
	want := []Label{{"a", vision.PartRole}, {"b", vision.DefectRole}}
	if diff := cmp.Diff(want, spec.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if spec.RoleOf("b") != vision.DefectRole || spec.RoleOf("c") != vision.Ignored {
		t.Error("roles are mixed up")
	}
}

func TestModelsThatDescribeRefuses(t *testing.T) {
	good := onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), nil)
	for name, c := range map[string]struct {
		model []byte
		want  string
	}{
		"nothing":      {nil, "no ONNX model"},
		"text":         {[]byte("hello, this is text"), "no ONNX model"},
		"cut":          {good[:len(good)-3], "no ONNX model"},
		"words":        {onnxBytes([]Tensor{{"images", "string", []int64{1, 3, 64, 64}}}, f32("out", 1, 84, 7), nil), "found the input images string 1×3×64×64"},
		"two inputs":   {onnxBytes(append(f32("a", 1, 3, 64, 64), f32("b", 1)...), f32("out", 1, 84, 7), nil), "only input"},
		"flat input":   {onnxBytes(f32("a", 1, 100), f32("out", 1, 84, 7), nil), "1×3×height×width"},
		"large batch":  {onnxBytes(f32("a", 9, 3, 64, 64), f32("out", 9, 84, 7), nil), "batch 1"},
		"broken names": {onnxBytes(f32("a", 1, 3, 64, 64), f32("out", 1, 84, 7), ultralyticsMeta("detect", "{0: 'a'", "{}")), "names"},
		"names twice":  {onnxBytes(f32("a", 1, 3, 64, 64), f32("out", 1, 84, 7), ultralyticsMeta("detect", "{0: 'a', 0: 'b'}", "{}")), "class number"},
	} {
		if _, err := Describe(c.model); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
}

func TestSpecsThatDontFit(t *testing.T) {
	yolox := onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), nil)
	rows := onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 300, 6), nil)
	segment := onnxBytes(f32("images", 1, 3, 64, 64), append(f32("a", 1, 37, 84), f32("b", 1, 32, 16, 16)...), ultralyticsMeta("segment", "{0: 'a'}", "{}"))
	for name, c := range map[string]struct {
		model []byte
		o     Options
		want  string
	}{
		"unknown family":  {yolox, Options{Family: "resnet"}, "known are yolox, yolov8, fastestdet"},
		"uncertain":       {rows, Options{}, "--family"},
		"rows, no names":  {rows, Options{Family: "yolov8"}, "--labels"},
		"wrong family":    {yolox, Options{Family: "yolov8"}, "family yolov8 needs an output of 1×(4+classes)×84"},
		"wrong family 2":  {yolox, Options{Family: "fastestdet"}, "1×(5+classes)×4×4"},
		"segmentation":    {segment, Options{}, `task is "segment"`},
		"too many labels": {yolox, Options{Labels: COCO()}, "the given labels name 80 classes, the model has 2"},
		"unknown role":    {yolox, Options{Labels: []string{"a", "b"}, Roles: map[string]vision.Role{"c": vision.PartRole}}, `label "c"`},
		"confidence":      {yolox, Options{Confidence: 1.5}, "confidence 1.5"},
		"nms":             {yolox, Options{NMS: -1}, "nms -1"},
		"detections":      {yolox, Options{MaxDetections: 1e6}, "1 to 4000"},
	} {
		info, err := Describe(c.model)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := info.Spec(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
}

func TestWeightsInASecondFile(t *testing.T) {
	b := onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), nil)
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	weight := field(nil, 8, []byte("w"))
	weight = field(weight, 13, field(field(nil, 1, []byte("location")), 2, []byte("model.onnx.data")))
	weight = protowire.AppendVarint(protowire.AppendTag(weight, 14, protowire.VarintType), 1)
	graph := field(field(nil, 1, field(nil, 4, []byte("Conv"))), 5, weight)
	m, err := parseONNX(append(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8), field(nil, 7, graph)...))
	if err != nil || m.external != "model.onnx.data" {
		t.Errorf("external file is %q, %v", m.external, err)
	}
	if _, err := Describe(b); errors.Is(err, errExternal) {
		t.Errorf("a model with its weights inside: %v", err)
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

func TestReadLabels(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, err := ReadLabels(write("good", "part \r\nscratch\n\n"))
	if diff := cmp.Diff([]string{"part", "scratch"}, got); err != nil || diff != "" {
		t.Errorf("%v, labels (-want +got):\n%s", err, diff)
	}
	if got, err := ReadLabels("coco"); err != nil || len(got) != 80 || got[39] != "bottle" || got[79] != "toothbrush" {
		t.Errorf("coco gives %q, %v", got, err)
	}
	for name, want := range map[string]string{write("empty", "\n"): "is empty", write("gap", "a\n\nb\n"): "gap:2", filepath.Join(dir, "none"): "no such file"} {
		if _, err := ReadLabels(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %q", name, err, want)
		}
	}
}

func TestLiterals(t *testing.T) {
	for text, want := range map[string]literal{
		`'it\'s'`:                      {text: "it's"},
		`"a\tb\x41\u00e9\U0001F600\q"`: {text: "a\tbAé😀\\q"},
		` -1.5e3 `:                     {text: "-1.5e3"},
		`[1, (2,), ]`:                  {items: []literal{{text: "1"}, {items: []literal{{text: "2"}}}}},
		`{0: 'a', 'k': None}`:          {dict: true, keys: []literal{{text: "0"}, {text: "k"}}, items: []literal{{text: "a"}, {text: "None"}}},
		`{}`:                           {dict: true, items: []literal{}},
	} {
		got, err := parseLiteral(text)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(literal{})); err != nil || diff != "" {
			t.Errorf("%s: %v, (-want +got):\n%s", text, err, diff)
		}
	}
	for _, bad := range []string{"", "{", "{0 'a'}", "[1 2]", "'a", `'a\`, `'\x4'`, `'\U00110000'`, "os.system('x')", "1 2", "[[[[[[[[[[1]]]]]]]]]]", "{:}"} {
		if got, err := parseLiteral(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

func FuzzLiteral(f *testing.F) {
	f.Add(`{0: 'it\'s', 1: "b"}`)
	f.Add(`[1, (2,), {'a': None}]`)
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseLiteral(s)
		if err == nil && l.dict && len(l.keys) != len(l.items) {
			t.Errorf("%q has %d keys and %d items", s, len(l.keys), len(l.items))
		}
	})
}

func FuzzDescribe(f *testing.F) {
	f.Add(onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), ultralyticsMeta("detect", "{0: 'a'}", "{'nms': True}")))
	for _, name := range []string{"fastestdet", "rows", "slow", "float16"} {
		b, err := os.ReadFile("testdata/" + name + ".onnx")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := Describe(b)
		if err != nil {
			return
		}
		for _, family := range Families() {
			spec, err := info.Spec(Options{Family: string(family)})
			if err == nil && (spec.check() != nil || info.fits(spec) != nil) {
				t.Errorf("a spec that doesn't fit its model: %+v", spec)
			}
		}
	})
}
