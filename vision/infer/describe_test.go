package infer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sightline-edge/sightline/vision"
)

// operator is one node of a graph.
type operator struct {
	kind    string
	in, out string // names, several with blanks between them
	domain  string
}

// onnxBytes builds a model's description: enough for Describe. Without operators
// there is one that tells nothing.
func onnxBytes(inputs, outputs []Tensor, meta map[string]string, operators ...operator) []byte {
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
	if operators == nil { // []operator{} is a graph of none
		operators = []operator{{kind: "Identity"}}
	}
	var graph []byte
	for _, o := range operators {
		var node []byte
		for _, name := range strings.Fields(o.in) {
			node = field(node, 1, []byte(name))
		}
		for _, name := range strings.Fields(o.out) {
			node = field(node, 2, []byte(name))
		}
		graph = field(graph, 1, field(field(node, 4, []byte(o.kind)), 7, []byte(o.domain)))
	}
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
		"no output":    {onnxBytes(f32("images", 1, 3, 64, 64), nil, nil), "it has no output"},
		"no input":     {onnxBytes(nil, f32("out", 1, 84, 7), nil), "it has no input"},
		"no operator":  {onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), nil, []operator{}...), "computes nothing"},
		"empty graph":  {onnxBytes(nil, nil, nil, []operator{}...), "its graph is empty"},
		"plug-in":      {onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), nil, operator{"EfficientNMS_TRT", "images", "out", "TRT"}), `the operator EfficientNMS_TRT of "TRT"`},
		"float8":       {onnxBytes([]Tensor{{"images", "float8e4m3fn", []int64{1, 3, 64, 64}}}, f32("out", 1, 84, 7), nil), "found the input images float8e4m3fn"},
		"no such type": {onnxBytes([]Tensor{{"images", "type 77", []int64{1, 3, 64, 64}}}, f32("out", 1, 84, 7), nil), "found the input images type 77"},
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
	yolox := onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 84, 7), nil, operator{kind: "Transpose", in: "a", out: "out"})
	rows := onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 300, 6), nil)
	pose := onnxBytes(f32("images", 1, 3, 64, 64), f32("a", 1, 56, 84), ultralyticsMeta("pose", "{0: 'a'}", "{}"))
	for name, c := range map[string]struct {
		model []byte
		o     Options
		want  string
	}{
		"unknown family":  {yolox, Options{Family: "resnet"}, "known are yolox, "},
		"uncertain":       {rows, Options{}, "--family"},
		"rows, no names":  {rows, Options{Family: "yolov8"}, "--labels"},
		"wrong family":    {yolox, Options{Family: "yolov8"}, "family yolov8 needs an output of 1×(4+classes)×84"},
		"wrong family 2":  {yolox, Options{Family: "fastestdet"}, "1×(5+classes)×4×4"},
		"pose":            {pose, Options{}, `task is "pose", which can't be run`},
		"pose, insisting": {pose, Options{Family: "yolov8"}, `task is "pose", which can't be run`},
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
	for _, name := range []string{"fastestdet", "rows", "slow", "float16", "external", "anomalib", "deployed", "uint8"} {
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
		_, _ = info.Spec(Options{}) // for its own panics
		if whole, err := Inline(b, func(string) ([]byte, error) { return make([]byte, 64), nil }); err == nil {
			if again, err := Inline(whole, func(string) ([]byte, error) { return nil, errLater }); err != nil || !bytes.Equal(again, whole) {
				t.Errorf("a model with its weights inside isn't whole: %v", err)
			}
		}
	})
}
