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
