package infer

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// sumsOf is what a model whose output is a map of one picture says.
func sumsOf(t *testing.T, model []byte, level GraphLevel) []float32 {
	t.Helper()
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{})
	cfg.Model, cfg.Graph = Model{Data: model}, level
	cfg.Spec = Segmentation.defaults()
	cfg.Spec.Labels, cfg.Spec.MaxDetections = []Label{{Name: "bright"}}, MaxDetections
	cfg.Spec.Input = Input{Width: 64, Height: 64, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch}
	frame := picture(64, 64, vision.BGR24, 4)
	_, raw, err := start(t, cfg).InferRaw(within(t, 30*time.Second), frame, shared(t, frame), 0, MaxSamples)
	if err != nil {
		t.Fatal(err)
	}
	return raw[0].Values
}

// TestHalvedRoundsBetweenOperators: what float16 can't hold beside 2048 is lost
// between two operators, whatever the runtime does to the graph.
func TestHalvedRoundsBetweenOperators(t *testing.T) {
	model, err := os.ReadFile("testdata/sums.onnx")
	if err != nil {
		t.Fatal(err)
	}
	half, err := Halved(model)
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range GraphLevels() {
		nonzero := 0
		for _, v := range sumsOf(t, model, level) {
			if v != 0 {
				nonzero++
			}
		}
		if nonzero < 1000 {
			t.Errorf("%s: only %d values of the model itself aren't 0", level, nonzero)
		}
		for i, v := range sumsOf(t, half, level) {
			if v != 0 && v != 2 { // two neighbours in float16 above 2048
				t.Fatalf("%s: value %d is %v: a sum was kept in float32", level, i, v)
			}
		}
	}
}

// TestHalvedModelsAreModels: with masks of numbers, places and outputs of several
// types, and never with weights that lie elsewhere.
func TestHalvedModelsAreModels(t *testing.T) {
	for _, name := range []string{"fastestdet", "rows", "regions", "external", "deployed"} {
		model, err := os.ReadFile("testdata/" + name + ".onnx")
		if err != nil {
			t.Fatal(err)
		}
		half, err := Halved(model)
		if name == "external" {
			if err == nil || !strings.Contains(err.Error(), "its weights lie in external.onnx.data") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if info, err := Describe(half); err != nil || len(half) <= len(model) || len(info.Outputs) == 0 {
			t.Errorf("%s: %v, %d bytes of %d", name, err, len(half), len(model))
		}
	}
}

func TestHalvedRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		model []byte
		want  string
	}{
		"no model":     {[]byte("no model"), "no ONNX model"},
		"no opset":     {onnxBytes(f32("images", 1, 3, 8, 8), f32("out", 1, 6), nil), "opset 0, 6 is needed"},
		"cut":          {onnxBytes(f32("images", 1, 3, 8, 8), f32("out", 1, 6), nil)[:40], "no ONNX model"},
		"all in bytes": {withOpset(onnxBytes([]Tensor{{"images", "uint8", []int64{1}}}, []Tensor{{"out", "uint8", []int64{1}}}, nil)), "none of its values are float32"},
	} {
		if _, err := Halved(c.model); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// withOpset adds opset 17 to a model's bytes.
func withOpset(model []byte) []byte { return append(model, 0x42, 0x02, 0x10, 17) }

// TestTypesOfOutputs: what isn't float32 is never rounded.
func TestTypesOfOutputs(t *testing.T) {
	types := &tensorTypes{types: map[string]uint64{"f": floatType, "i": int64Type, "h": halfType}}
	for _, c := range []struct {
		node graphNode
		want []uint64
	}{
		{graphNode{op: "Add", in: []string{"f", "f"}, out: []string{"a"}}, []uint64{floatType}},
		{graphNode{op: "Add", in: []string{"h", "h"}, out: []string{"a"}}, []uint64{halfType}},
		{graphNode{op: "Shape", in: []string{"f"}, out: []string{"a"}}, []uint64{int64Type}},
		{graphNode{op: "Less", in: []string{"f", "f"}, out: []string{"a"}}, []uint64{boolType}},
		{graphNode{op: "TopK", in: []string{"f", "i"}, out: []string{"a", "b"}}, []uint64{floatType, int64Type}},
		{graphNode{op: "Split", in: []string{"f", "i"}, out: []string{"a", "b"}}, []uint64{floatType, floatType}},
		{graphNode{op: "Gather", in: []string{"i", "i"}, out: []string{"a"}}, []uint64{int64Type}},
		{graphNode{op: "Where", in: []string{"i", "f", "f"}, out: []string{"a"}}, []uint64{floatType}},
		{graphNode{op: "Cast", in: []string{"f"}, out: []string{"a"}, to: int64Type}, []uint64{int64Type}},
		{graphNode{op: "Loop", in: []string{"f"}, out: []string{"a"}}, []uint64{0}},
		{graphNode{op: "Own", domain: "mine", in: []string{"f"}, out: []string{"a"}}, []uint64{0}},
	} {
		for k := range c.node.out {
			if got := types.of(&c.node, k); got != c.want[k] {
				t.Errorf("%s[%d]: type %d, want %d", c.node.op, k, got, c.want[k])
			}
		}
	}
}
