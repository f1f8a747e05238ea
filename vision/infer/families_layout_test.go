package infer

import (
	"strings"
	"testing"
)

func TestOutputsThatAFamilyDoesntRead(t *testing.T) {
	out := func(name string, shape ...int64) Tensor { return Tensor{Name: name, Type: "float32", Shape: shape} }
	for _, c := range []struct {
		family Family
		outs   []Tensor
		says   string
	}{
		{YOLOv5, []Tensor{out("o", 1, 3, 80, 80, 85), out("p", 1, 3, 40, 40, 85)}, "export with --grid"},
		{YOLOv5, []Tensor{out("o", 1, 84, 7)}, "pass yolox"},
		{YOLOv5, []Tensor{out("o", 1, 7, 252)}, "needs an output of 1×252×(5+classes)"},
		{YOLOv5, []Tensor{out("o", 25, 7)}, "needs an output of 1×252×(5+classes)"},
		{YOLOv8OBB, []Tensor{out("o", 1, 84, 8)}, "needs an output of 1×(4+classes+1)×84"},
		{RTDETR, []Tensor{out("logits", 1, 300, 80), out("pred_boxes", 1, 300, 4)}, "pass detr"},
		{RTDETR, []Tensor{out("o", 1, 8400, 84)}, "N at most 2000"},
		{DETR, []Tensor{out("o", 1, 300, 6)}, "needs the outputs boxes"},
		{DETR, []Tensor{out("dets", 1, 300, 5), out("labels", 1, 300)}, "needs boxes of 1×N×4"},
		{DETR, []Tensor{out("logits", 1, 300, 80), out("pred_boxes", 1, 100, 4)}, "needs boxes of 1×N×4"},
		{RFDETR, []Tensor{out("a", 1, 300, 4), out("b", 1, 300, 4)}, "needs the outputs boxes"},
		{Detections, []Tensor{out("boxes", 9, 4), out("labels", 9)}, "family detections needs outputs"},
		{Detections, []Tensor{out("boxes", 9, 4), out("labels", 9), out("scores", 8)}, "family detections needs outputs"},
		{SSD, []Tensor{out("scores", 1, 9, 1), out("boxes", 1, 9, 4)}, "family ssd needs two outputs"},
		{SSD300, []Tensor{out("cls_logits", 1, 8000, 4), out("bbox_regression", 1, 8000, 4)}, "1×8732×classes"},
		{RetinaNet, []Tensor{out("cls_logits", 1, 800, 4), out("bbox_regression", 1, 800, 4)}, "1×774×classes"},
	} {
		in := c.family.defaults().Input
		in.Width, in.Height = 64, 64
		if l, err := c.family.known().layout(c.outs, in, Info{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s of %v: %+v, %v: want %q", c.family, c.outs, l, err, c.says)
		}
	}
}

func TestOpenOutputsAreLaidOut(t *testing.T) {
	out := func(name string, shape ...int64) Tensor { return Tensor{Name: name, Type: "float32", Shape: shape} }
	for _, c := range []struct {
		family Family
		outs   []Tensor
		at     [4]int
	}{
		{YOLOv5, []Tensor{out("heads", 1, 3, 8, 8, 85), out("output", -1, -1, 85)}, [4]int{1, -1, -1, -1}},
		{YOLOv7, []Tensor{out("output", -1, 7)}, [4]int{0, -1, -1, -1}},
		{DETR, []Tensor{out("pred_boxes", -1, 300, 4), out("logits", -1, 300, 80), out("hidden", -1, 300, 256)}, [4]int{1, 0, -1, -1}},
		{DETR, []Tensor{out("labels", -1, 300), out("boxes", -1, 300, 4), out("scores", -1, 300)}, [4]int{0, 1, 2, -1}},
		{RFDETR, []Tensor{out("dets", 1, 300, 4), out("labels", 1, 300, 91)}, [4]int{1, 0, -1, -1}},
		{Detections, []Tensor{out("1440", -1, 4), out("1441", -1), out("1442", -1)}, [4]int{0, 1, 2, -1}},
		{Detections, []Tensor{out("num_detections", 1), out("detection_boxes:0", 1, 100, 4), out("detection_classes:0", 1, 100), out("detection_scores:0", 1, 100)}, [4]int{1, 2, 3, 0}},
		{SSD, []Tensor{out("scores", 1, -1, 2), out("boxes", 1, -1, 4)}, [4]int{0, 1, -1, -1}},
	} {
		l, err := c.family.known().layout(c.outs, c.family.defaults().Input, Info{})
		if err != nil || l.at != c.at {
			t.Errorf("%s of %v: %+v, %v", c.family, c.outs, l, err)
		}
	}
}

func TestLabelsMayNameTheBackground(t *testing.T) {
	model := func(family Family, outs ...Tensor) Info {
		return Info{Family: family, Width: 320, Height: 320, Inputs: []Tensor{{Name: "x", Type: "float32", Shape: []int64{1, 3, 320, 320}}}, Outputs: outs}
	}
	ssd := model(SSD, Tensor{"scores", "float32", []int64{1, 9, 3}}, Tensor{"boxes", "float32", []int64{1, 9, 4}})
	rfdetr := model(RFDETR, Tensor{"dets", "float32", []int64{1, 9, 4}}, Tensor{"labels", "float32", []int64{1, 9, 3}})
	for _, c := range []struct {
		info   Info
		labels string
		want   string // "" for a refusal
	}{
		{ssd, "a b", "a b"},
		{ssd, "BACKGROUND a b", "a b"},
		{ssd, "a b c", ""},
		{rfdetr, "a b", "a b"},
		{rfdetr, "a b c", "a b c"},
		{rfdetr, "a", ""},
	} {
		o := Options{Labels: strings.Fields(c.labels)}
		if c.info.Family == SSD {
			o.Preset = "mobilenet-ssd"
		}
		s, err := c.info.Spec(o)
		var names []string
		for _, l := range s.Labels {
			names = append(names, l.Name)
		}
		if strings.Join(names, " ") != c.want || (err == nil) == (c.want == "") {
			t.Errorf("%s with %q: %v, %v", c.info.Family, c.labels, names, err)
		}
	}
}

func TestClassesAreToldFromScores(t *testing.T) {
	for _, c := range []struct {
		a, b []float32
		want bool
	}{
		{[]float32{0.9, 0.3}, []float32{2, 1}, true},
		{[]float32{2, 0}, []float32{0.9, 0.3}, false},
		{[]float32{0.9, 0.3}, []float32{0, 1}, true}, // RetinaNet's classes count from 0
		{[]float32{1, 1}, []float32{1, 3}, true},
		{[]float32{1, 3}, []float32{1, 1}, false},
		{nil, nil, false},
	} {
		if got := areScores(c.a, c.b); got != c.want {
			t.Errorf("areScores(%v, %v) = %v", c.a, c.b, got)
		}
	}
}

// TestManyCandidates gives every place of a large output the same score, and turned
// boxes of which none covers another.
func TestManyCandidates(t *testing.T) {
	const n = 100_000
	for _, family := range []Family{YOLOv8, YOLOv8OBB} {
		spec := family.defaults()
		spec.Labels, spec.MaxDetections, spec.NMS = []Label{{Name: "a"}}, 300, 1e-3
		width := map[Family]int{YOLOv8: 5, YOLOv8OBB: 6}[family]
		out := make([]float32, width*n)
		for p := range n {
			out[p], out[n+p], out[2*n+p], out[3*n+p], out[4*n+p] = float32(p%7), float32(p%11), 600, 600, 0.9
		}
		seen, err := NewDecoder(spec).Decode([]Output{{Shape: []int64{1, int64(width), n}, Data: out}}, Placement{GainX: 1, GainY: 1}, 640, 640)
		if err != nil || len(seen.Detections) != 1 {
			t.Errorf("%s: %d detections, %v", family, len(seen.Detections), err)
		}
	}
}
