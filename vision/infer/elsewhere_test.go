package infer

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// TestElsewhere: a model that another machine has is fed and read as one here.
func TestElsewhere(t *testing.T) {
	frame := &vision.Frame{Pix: slices.Repeat([]byte{10, 20, 30}, 64), Width: 8, Height: 8, Stride: 24, Format: vision.BGR24}
	rows := Tensor{Name: "found", Type: "float32", Shape: []int64{1, -1, 6}}
	for _, c := range []struct {
		input Tensor
		first []byte // of the picture's values, RGB
	}{
		{Tensor{"images", "float32", []int64{1, 3, 8, 8}}, binary.LittleEndian.AppendUint32(nil, math.Float32bits(30.0/255))},
		{Tensor{"images", "float32", []int64{-1, 3, -1, -1}}, binary.LittleEndian.AppendUint32(nil, math.Float32bits(30.0/255))},
		{Tensor{"images", "uint8", []int64{1, 8, 8, 3}}, []byte{30, 20, 10}},
	} {
		e, err := NewElsewhere([]Tensor{c.input}, []Tensor{{Name: "other", Type: "float32", Shape: []int64{1, 3}}, rows}[1:],
			Options{Family: "yolov8", Width: 8, Height: 8, Labels: []string{"a", "b"}, Confidence: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		in, at, err := e.Fill(frame)
		if err != nil || len(in) != 1 || in[0].Name != "images" || in[0].Type != c.input.Type || len(in[0].Shape) != 4 || !slices.Equal(in[0].Data[:len(c.first)], c.first) {
			t.Fatalf("%v: %+v, %v", c.input, in, err)
		}
		if !slices.Equal(e.Wanted(), []string{"found"}) || e.Spec().Input.Width != 8 {
			t.Errorf("%v %+v", e.Wanted(), e.Spec())
		}
		r, err := e.Decode([]Output{{Name: "found", Shape: []int64{1, 2, 6}, Data: []float32{1, 2, 4, 6, 0.75, 1, 0, 0, 8, 8, 0.25, 0}}}, at, 8, 8)
		if err != nil || len(r.Detections) != 1 || r.Detections[0].Label != "b" || r.Detections[0].Box != (vision.Box{X: 1, Y: 2, W: 3, H: 4}) {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := e.Decode([]Output{{Name: "found", Shape: []int64{1, 2, 6}, Data: make([]float32, 5)}}, at, 8, 8); err == nil {
			t.Error("an output that lacks values is read")
		}
	}
	for want, c := range map[string]struct {
		in, out []Tensor
		family  string
	}{
		"doesn't tell its family":  {[]Tensor{{"x", "float32", []int64{1, 3, 8, 8}}}, []Tensor{rows}, ""},
		"it has no input":          {nil, []Tensor{rows}, "yolov8"},
		"expected a picture":       {[]Tensor{{"x", "", []int64{1, 3, 8, 8}}}, []Tensor{rows}, "yolov8"},
		"pictures of any size":     {[]Tensor{{"x", "float32", []int64{1, 3, -1, -1}}}, []Tensor{rows}, "yolov8"},
		"takes 805306368 bytes":    {[]Tensor{{"x", "float32", []int64{1, 3, 8192, 8192}}}, []Tensor{rows}, "yolov8"},
		"takes 100663296 bytes":    {[]Tensor{{"x", "uint8", []int64{8, 1024, 1024, 3}}}, []Tensor{rows}, "yolov8"},
		"family segmentation need": {[]Tensor{{"x", "float32", []int64{1, 3, 8, 8}}}, []Tensor{{"y", "float32", []int64{1}}}, "segmentation"},
	} {
		if _, err := NewElsewhere(c.in, c.out, Options{Family: c.family, Labels: []string{"a", "b"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestFloats(t *testing.T) {
	for element, raw := range map[string][]byte{
		"float32": {0, 0, 0, 0xc0}, "float16": {0, 0xc0}, "float64": {0, 0, 0, 0, 0, 0, 0, 0xc0},
		"int64": {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "int32": {0xfe, 0xff, 0xff, 0xff},
	} {
		if got, err := Floats(element, raw); err != nil || len(got) != 1 || got[0] != -2 {
			t.Errorf("%s: %v, %v", element, got, err)
		}
		if _, err := Floats(element, raw[1:]); err == nil {
			t.Errorf("%s: half a value is read", element)
		}
	}
	if got, err := Floats("bool", []byte{0, 1}); err != nil || got[1] != 1 {
		t.Error(got, err)
	}
	if _, err := Floats("complex64", make([]byte, 8)); err == nil {
		t.Error("a type that isn't known is read")
	}
}

// hostile are a server's words on a model of the family, and what it then answers; made of
// bytes, so that anything may stand in them.
func hostile(family string, said, answered []byte) (in, out []Tensor, answer func(wanted []string) []Output) {
	next := func(from *[]byte) (b byte) {
		if len(*from) > 0 {
			b, *from = (*from)[0], (*from)[1:]
		}
		return b
	}
	shape := func(from *[]byte, ranks int) (s []int64) {
		for range int(next(from)) % ranks {
			s = append(s, int64(int8(next(from))))
		}
		return s
	}
	types := []string{"float32", "float16", "uint8", "int64", ""}
	name := map[string][]string{
		"anomaly": {"pred_score", "anomaly_map"}, "rtdetr": {"labels", "boxes", "scores"}, "dfine": {"labels", "boxes", "scores"}, "rfdetr": {"dets", "labels", "masks"},
		"detr": {"logits", "pred_boxes"}, "ssd": {"scores", "boxes"}, "retinanet": {"cls_logits", "bbox_regression"},
		"tfod": {"detection_boxes", "detection_scores", "detection_classes"}, "torchvision": {"boxes", "labels", "scores"}, "mmdeploy": {"dets", "labels", "masks"},
	}[family]
	picture := []int64{1, 3, 64, 64}
	if next(&said)%4 == 0 {
		picture = shape(&said, 6)
	}
	in = []Tensor{{Name: "x", Type: types[int(next(&said))%len(types)], Shape: picture}}
	if next(&said)%4 == 0 {
		in = append(in, Tensor{Name: sizesInput, Type: "int64", Shape: []int64{1, 2}})
	}
	for n := range int(next(&said))%4 + 1 {
		t := Tensor{Name: "output" + string('0'+rune(n)), Type: types[int(next(&said))%len(types)], Shape: shape(&said, 6)}
		if n < len(name) {
			t.Name = name[n]
		}
		out = append(out, t)
	}
	return in, out, func(wanted []string) (outs []Output) {
		for n, name := range wanted {
			o := Output{Name: name, Shape: shape(&answered, 6)}
			if next(&answered)%2 == 0 { // as was said, with what was open closed
				if k := slices.IndexFunc(out, func(t Tensor) bool { return t.Name == name }); k >= 0 {
					o.Shape = slices.Clone(out[k].Shape)
				}
				for d := range o.Shape {
					if o.Shape[d] < 0 {
						o.Shape[d] = int64(next(&answered) % 9)
					}
				}
			}
			values := int64(1)
			for _, d := range o.Shape {
				values = min(values*max(d, 0), 1<<18)
			}
			o.Data = make([]float32, values)
			for i := range o.Data {
				if strange := answered; len(strange) >= 4 {
					o.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(strange[(i*7+n)%(len(strange)-3):]))
				}
			}
			outs = append(outs, o)
		}
		return outs
	}
}

// FuzzElsewhere: whatever a server says of its model and answers is an error, or what the
// frame can show; it is read in the agent's own process.
func FuzzElsewhere(f *testing.F) {
	for n := range len(Families()) {
		f.Add(uint8(n), uint8(2), []byte{1, 0, 1, 0, 0, 3, 1, 255, 6}, []byte{0, 0, 9, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x7f, 0, 0, 0xc0, 0x7f})
		f.Add(uint8(n), uint8(1), []byte{0, 4, 255, 3, 255, 255, 0, 1, 2, 0, 3, 1, 5, 84}, []byte{1, 4, 255, 127, 2, 1, 0, 0, 0, 0x3f, 0xff, 0xff, 0x7f, 0x7f})
	}
	f.Fuzz(func(t *testing.T, kind, classes uint8, said, answered []byte) {
		family := string(Families()[int(kind)%len(Families())])
		o := Options{Family: family, Width: 64, Height: 64, Confidence: 0.05, Activation: []Activation{"", NoActivation, Sigmoid, Softmax}[classes/4%4]}
		for n := range classes%4 + 1 {
			o.Labels = append(o.Labels, string('a'+rune(n)))
		}
		if p := presetsOf(Family(family)); len(p) > 0 {
			o.Preset = p[int(classes)/16%len(p)].Name
		}
		in, out, answer := hostile(family, said, answered)
		e, err := NewElsewhere(in, out, o)
		if err != nil {
			return
		}
		frame := &vision.Frame{Pix: make([]byte, 3*50*40), Width: 50, Height: 40, Stride: 150, Format: vision.BGR24}
		_, at, err := e.Fill(frame)
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Decode(answer(e.Wanted()), at, frame.Width, frame.Height)
		if err == nil {
			checkSeen(t, Seen{Detections: r.Detections, Dropped: r.Dropped, Score: r.Score}, e.Spec(), frame.Width, frame.Height)
		}
	})
}
