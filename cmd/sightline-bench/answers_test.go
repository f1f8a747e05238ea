package main

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision/infer"
)

func TestReadEval(t *testing.T) {
	good := `{"pictures": 129, "ap": 0.3045, "ap50": 0.463, "classes": []}`
	s, err := readEval([]byte(good), 129)
	if err != nil || *s.AP != 0.3045 || *s.AP50 != 0.463 {
		t.Errorf("%s: %+v, %v", good, s, err)
	}
	for text, want := range map[string]string{
		`{"pictures": 128, "ap": 0.3, "ap50": 0.4}`:               "128 pictures, 0 missing and 0 unread, want 129",
		`{"pictures": 129, "missing": 1, "ap": 0.3, "ap50": 0.4}`: "1 missing",
		`{"pictures": 129, "unread": 2, "ap": 0.3, "ap50": 0.4}`:  "2 unread",
		`{"pictures": 129, "ap50": 0.4}`:                          "no average precision",
		`{"pictures": 129, "ap": 0.3}`:                            "no average precision",
		`average precision 0.3`:                                   "read eval's report",
		``:                                                        "read eval's report",
	} {
		if _, err := readEval([]byte(text), 129); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestToolAnswer(t *testing.T) {
	c := toolCase{Side: 1, Reps: 2}
	floats := "\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40" // 1, 2, 3
	each, tensor, err := c.answer([]byte("{\"each\": [1.5, 2]}\n" + floats))
	if diff := cmp.Diff([]float64{1.5, 2}, each); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if diff := cmp.Diff([]float32{1, 2, 3}, tensor); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for text, want := range map[string]string{
		"{\"each\": [1]}\n" + floats:             "1 times, want 2",
		"{\"each\": [1, 2]}\n" + floats[:8]:      "2 values, want 3",
		"{\"each\": [1, 2]}\n" + floats + "abcd": "4 values, want 3",
		"Traceback\n" + floats:                   "invalid",
	} {
		if _, _, err := c.answer([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestToolCasesCanBeFilled(t *testing.T) {
	for _, c := range toolCases() {
		if err := c.input().Check(); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
}

func TestGreyLevelsApart(t *testing.T) {
	c := toolCases()[0]
	c.Side = 1
	of := func(level, plane int) float32 { return float32((float64(level)/255 - c.Mean[plane]) / c.Std[plane]) }
	a := []float32{of(0, 0), of(255, 1), of(114, 2)}
	for _, x := range []struct {
		b    []float32
		want int
	}{
		{a, 0},
		{[]float32{a[0] + 1e-6, a[1] - 1e-6, a[2]}, 0},
		{[]float32{of(1, 0), a[1], a[2]}, 1},
		{[]float32{of(1, 0), of(254, 1), of(113, 2)}, 3},
	} {
		if got := c.apart(a, x.b); got != x.want {
			t.Errorf("%v: %d apart, want %d", x.b, got, x.want)
		}
	}
}

func TestHalves(t *testing.T) {
	want := []float32{0, 1, -2.5, 0.0999755859375, 65504}
	p := infer.Packing{Planes: 1, Height: 1, Width: len(want), Element: infer.Float16, Layout: infer.NCHW}
	b := make([]byte, p.Bytes())
	if err := p.Pack(b, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, halves(b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDecodeOutputsHaveTheirCandidates(t *testing.T) {
	for _, masks := range []bool{false, true} {
		outs := decodeOutputs(masks)
		above := 0
		for _, v := range outs[0].Data[4*decodeCells : (4+decodeKinds)*decodeCells] {
			if v > 0.25 {
				above++
			}
		}
		if above != decodeThings*decodeNear || masks != (len(outs) == 2) {
			t.Errorf("masks %v: %d candidates, %d outputs", masks, above, len(outs))
		}
		for _, o := range outs {
			n := int64(1)
			for _, side := range o.Shape {
				n *= side
			}
			if n != int64(len(o.Data)) {
				t.Errorf("%s: shape %v, %d values", o.Name, o.Shape, len(o.Data))
			}
		}
	}
}

func TestCOCOPicturesLeftOut(t *testing.T) {
	env := &Env{Data: t.TempDir()}
	if _, _, err := env.cocoPictures(); err == nil || !strings.Contains(err.Error(), "left out") {
		t.Errorf("an empty folder: %v", err)
	}
	if dir := os.Getenv("SIGHTLINE_REALDATA"); dir != "" {
		env.Data = dir
		if pictures, _, err := env.cocoPictures(); err != nil || len(pictures) != 129 {
			t.Errorf("%d pictures, %v; want 129", len(pictures), err)
		}
	}
}

func TestRepeatLeavesOutTheFirst(t *testing.T) {
	if s, err := repeat(1, func() error { return nil }); err != nil || len(s.Each) != 1 || math.IsNaN(s.Value) {
		t.Errorf("%+v, %v", s, err)
	}
}
