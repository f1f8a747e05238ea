package rules

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/rules/guest"
)

// goldenPart is the published layout: it never changes while the version is 1.
const goldenPart = "0100" + "0100" + "4f000000" + "00050000" + "d0020000" + "0c000000" + // version, evidence, size, width, height, frames
	"0000403f" + "00002041" + "0000a041" + "0000c842" + "00004843" + "0300" + "636170" + // score, box, "cap"
	"0000003f" + "03000000" + "0000803f" + "00000040" + "00004040" + "00008040" + "0800" + "73637261746368c3"

func TestPartLayout(t *testing.T) {
	p := vision.Part{Label: "cap", Score: 0.75, Frames: 12, Box: vision.Box{X: 10, Y: 20, W: 100, H: 200},
		Defects: []vision.Evidence{{Label: "scratch\xc3", Score: 0.5, Frames: 3, Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}}}}
	b, err := appendPart(nil, &p, 1280, 720)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != goldenPart {
		t.Errorf("the part is laid out as\n%s, want\n%s", got, goldenPart)
	}
	var got guest.Part
	if err := guest.Decode(append(b, "more to come"...), &got); err != nil {
		t.Fatal(err)
	}
	want := guest.Part{Label: "cap", Score: 0.75, Frames: 12, Width: 1280, Height: 720, Box: guest.Box{X: 10, Y: 20, W: 100, H: 200},
		Evidence: []guest.Evidence{{Label: "scratch\xc3", Score: 0.5, Frames: 3, Box: guest.Box{X: 1, Y: 2, W: 3, H: 4}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the guest read (-want +got):\n%s", diff)
	}
}

func TestPartLimits(t *testing.T) {
	for _, tt := range []struct {
		part          vision.Part
		width, height int
		err           string
	}{
		{vision.Part{Defects: make([]vision.Evidence, 1<<16)}, 1, 1, "65536 labels of evidence"},
		{vision.Part{Label: strings.Repeat("x", 1<<16)}, 1, 1, "a label has 65536 bytes"},
		{vision.Part{Defects: make([]vision.Evidence, 50000)}, 1, 1, "1300042 bytes, at most 1048576"},
		{vision.Part{}, -1, 1, "-1 × 1"},
		{vision.Part{}, 1, math.MaxInt32 + 1, "1 × 2147483648"},
	} {
		if _, err := appendPart(nil, &tt.part, tt.width, tt.height); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("got %v, want %q", err, tt.err)
		}
	}
}

func TestDecodeAnswer(t *testing.T) {
	const zeroes = "\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, tt := range []struct{ in, err string }{
		{"", "empty"},
		{"\x01\x00\x01\x00\x03\x00ok", "ends in the reason"},
		{"\x01\x00\x01\x00\xc9\x00" + strings.Repeat("x", 201), "reason has 201 bytes, at most 200"},
		{"\x01\x00\x01\x00\x02\x00\xff\xfe", "not plain UTF-8"},
		{"\x01\x00\x01\x00\x02\x00o\n", "not plain UTF-8"},
		{"\x01\x00\x01\x00\x02\x00ok!", "1 bytes follow"},
		{"\x01\x00\x01\x41\x02\x00ok", "65 measurements, at most 64"},
		{"\x01\x00\x01\x01\x02\x00ok" + zeroes, "ends in a measurement"},
		{"\x01\x00\x01\x01\x02\x00ok" + zeroes + zeroes + "\x41\x00" + strings.Repeat("x", 65), "name has 65 bytes"},
		{"\x01\x00\x01\x01\x02\x00ok" + zeroes + zeroes + "\x01\x00x", "ends before the measurement's unit"},
		{"\x01\x00\x01\x01\x02\x00ok" + zeroes[:6] + "\xf0\x7f" + zeroes + "\x01\x00x\x00\x00", "+Inf"},
	} {
		if d, err := decodeAnswer([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q gave %+v, %v, want %q", tt.in, d, err, tt.err)
		}
	}
}

// TestAnswerCrossed: what the guest's side writes the host reads, cut to the
// limits.
func TestAnswerCrossed(t *testing.T) {
	a := guest.Answer{Verdict: guest.Fail, Reason: strings.Repeat("é", 150) + "x", Measurements: []guest.Measurement{
		{Name: "a\tb\xff", Value: 1.5, Limit: -2, Unit: "mm"}, {Name: "gone", Value: math.NaN()}}}
	got, err := decodeAnswer(guest.Append(nil, &a))
	want := vision.Decision{Verdict: vision.Fail, Reason: strings.Repeat("é", 100),
		Measurements: []vision.Measurement{{Name: "a b\ufffd", Value: 1.5, Limit: -2, Unit: "mm"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// FuzzAnswer: bytes of any kind give an error or a decision within the limits.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(passes))
	f.Add(guest.Append(nil, &guest.Answer{Verdict: guest.Fail, Reason: "dent 0.9 > 0.5",
		Measurements: []guest.Measurement{{Name: "dent", Value: 0.9, Limit: 0.5}, {Name: "w", Value: 3, Limit: 4, Unit: "mm"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeAnswer(b)
		if err != nil {
			if !cmp.Equal(d, vision.Decision{}) {
				t.Errorf("an error came with the decision %+v", d)
			}
			return
		}
		if d.Verdict > vision.Fail || len(d.Reason) > maxReason || len(d.Measurements) > maxMeasurements {
			t.Errorf("beyond the limits: %+v", d)
		}
		back := guest.Answer{Verdict: guest.Verdict(d.Verdict), Reason: d.Reason}
		for _, m := range d.Measurements {
			back.Measurements = append(back.Measurements, guest.Measurement(m))
		}
		again, err := decodeAnswer(guest.Append(nil, &back))
		if diff := cmp.Diff(d, again); diff != "" || err != nil {
			t.Errorf("written again it reads %v %s", err, diff)
		}
	})
}

// FuzzPart: a guest reads any bytes without trouble, and what the host wrote
// as it was.
func FuzzPart(f *testing.F) {
	golden, err := hex.DecodeString(goldenPart)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden, "bottle", float32(0.5), 3)
	if golden, err = hex.DecodeString(goldenSeenHex()); err != nil {
		f.Fatal(err)
	}
	f.Add(golden, "bottle", float32(0.5), 3|2<<8)
	f.Add(golden[:len(golden)-3], "", float32(1), 255|15<<8)
	f.Fuzz(func(t *testing.T, b []byte, label string, score float32, n int) {
		var p guest.Part
		if guest.Decode(b, &p) == nil { // any bytes: it comes back, and names views that are there
			for _, e := range p.Evidence {
				if e.View < 0 || e.View > 0 && e.View >= len(p.Views) {
					t.Fatalf("evidence of view %d of %d", e.View, len(p.Views))
				}
			}
		}
		in := vision.Part{Label: label, Score: score, Frames: 1}
		for range n >> 8 & 15 {
			in.Views = append(in.Views, vision.View{Camera: label, Width: 640})
		}
		for i := range uint8(n) {
			in.Defects = append(in.Defects, vision.Evidence{Label: label, Score: score, View: int(i) % max(len(in.Views), 1)})
		}
		b, err := appendPart(nil, &in, 640, 480)
		if err != nil {
			return
		}
		if err := guest.Decode(b, &p); err != nil || p.Label != label || p.Score != score || len(p.Evidence) != len(in.Defects) {
			t.Errorf("the guest read %+v, %v of %+v", p, err, in)
		}
		if toTheEnd(b) != len(in.Defects) {
			t.Errorf("a reader to the end finds %d of %d", toTheEnd(b), len(in.Defects))
		}
		for i, e := range p.Evidence {
			if several := len(in.Views) > 1; several && (e.View != in.Defects[i].View || p.Camera(&e) != label) || !several && len(p.Views) > 0 {
				t.Errorf("the guest read view %d of %d, it is %d of %d", e.View, len(p.Views), in.Defects[i].View, len(in.Views))
			}
		}
		for cut := range b {
			if guest.Decode(b[:cut], &p) == nil {
				t.Fatalf("the guest took %d of %d bytes for a part", cut, len(b))
			}
		}
	})
}
