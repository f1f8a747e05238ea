package rules

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/rules/guest"
)

// goldenViews follows the evidence of a part that two cameras saw; the layout
// is published and never changes while the version is 1.
const goldenViews = "0200" + "00000000000000000000000000000000000000000000" + "ffff" + // views, zeroes, no label has as many bytes
	"0300" + "746f70" + "00050000" + "d0020000" + "0500" + "73696465ff" + "80020000" + "e0010000" + // "top", 1280 × 720, "side\xff", 640 × 480
	"0100" // the evidence is side's

func goldenSeen() vision.Part {
	return vision.Part{Label: "cap", Score: 0.75, Frames: 12, Box: vision.Box{X: 10, Y: 20, W: 100, H: 200},
		Defects: []vision.Evidence{{Label: "scratch\xc3", Score: 0.5, Frames: 3, Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}, View: 1}},
		Views:   []vision.View{{Camera: "top", Width: 1280, Height: 720}, {Camera: "side\xff", Width: 640, Height: 480}}}
}

// goldenSeenHex is goldenPart with its size as it is with the views.
func goldenSeenHex() string {
	return strings.Replace(goldenPart, "4f000000", "87000000", 1) + goldenViews
}

func TestViewsLayout(t *testing.T) {
	p := goldenSeen()
	b, err := appendPart(nil, &p, 1280, 720)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != goldenSeenHex() {
		t.Errorf("the part is laid out as\n%s, want\n%s", got, goldenSeenHex())
	}
	var got guest.Part
	if err := guest.Decode(append(b, "more to come"...), &got); err != nil {
		t.Fatal(err)
	}
	want := guest.Part{Label: "cap", Score: 0.75, Frames: 12, Width: 1280, Height: 720, Box: guest.Box{X: 10, Y: 20, W: 100, H: 200},
		Evidence: []guest.Evidence{{Label: "scratch\xc3", Score: 0.5, Frames: 3, Box: guest.Box{X: 1, Y: 2, W: 3, H: 4}, View: 1}},
		Views:    []guest.View{{Camera: "top", Width: 1280, Height: 720}, {Camera: "side\xff", Width: 640, Height: 480}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the guest read (-want +got):\n%s", diff)
	}
	if got.Camera(&got.Evidence[0]) != "side\xff" || got.Camera(&guest.Evidence{View: 2}) != "" {
		t.Error("the evidence's camera has another name")
	}
}

// TestOneViewIsNone: a part of one camera is told as it always was, and a
// guest that read several views before it keeps nothing of them.
func TestOneViewIsNone(t *testing.T) {
	p := goldenSeen()
	several, err := appendPart(nil, &p, 1280, 720)
	if err != nil {
		t.Fatal(err)
	}
	p.Views = p.Views[:1]
	b, err := appendPart(nil, &p, 1280, 720)
	if err != nil || hex.EncodeToString(b) != goldenPart {
		t.Errorf("%v, the part is laid out as\n%x, want\n%s", err, b, goldenPart)
	}
	var got guest.Part
	for _, in := range [][]byte{several, b} {
		if err := guest.Decode(in, &got); err != nil {
			t.Fatal(err)
		}
	}
	if e := &got.Evidence[0]; len(got.Views) != 0 || e.View != 0 || got.Camera(e) != "" {
		t.Errorf("of the part before it kept %+v, view %d", got.Views, e.View)
	}
}

func TestViewsLimits(t *testing.T) {
	two := []vision.View{{Camera: "top"}, {Camera: "side"}}
	for _, tt := range []struct {
		part vision.Part
		err  string
	}{
		{vision.Part{Views: two, Defects: []vision.Evidence{{Label: "dent", View: 2}}}, `label "dent" was seen in view 2 of 2`},
		{vision.Part{Views: two, Defects: []vision.Evidence{{View: -1}}}, "view -1 of 2"},
		{vision.Part{Views: []vision.View{{}, {Width: -1}}}, "-1 × 0"},
		{vision.Part{Views: []vision.View{{}, {Height: math.MaxInt32 + 1}}}, "0 × 2147483648"},
		{vision.Part{Views: []vision.View{{}, {Camera: strings.Repeat("x", 1<<16)}}}, "name has 65536 bytes"},
		{vision.Part{Views: make([]vision.View, 1<<16)}, "65536 views"},
		{vision.Part{Views: make([]vision.View, 6554)}, "take 65540 bytes, at most 65534"},
		{vision.Part{Views: make([]vision.View, 2), Defects: make([]vision.Evidence, 32758)}, "take 65536 bytes, at most 65534"},
	} {
		if _, err := appendPart(nil, &tt.part, 1, 1); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("got %v, want %q", err, tt.err)
		}
	}
	most := vision.Part{Views: make([]vision.View, 2), Defects: make([]vision.Evidence, 32757)}
	b, err := appendPart(nil, &most, 1, 1)
	if err != nil || toTheEnd(b) != len(most.Defects) {
		t.Errorf("%v: a reader to the end finds %d of %d", err, toTheEnd(b), len(most.Defects))
	}
}

// toTheEnd counts evidence as the C header did before there were views: as
// long as there are bytes.
func toTheEnd(part []byte) (n int) {
	part = part[headerSize:binary.LittleEndian.Uint32(part[4:])]
	part = part[2+binary.LittleEndian.Uint16(part):]
	for len(part) >= 26 && len(part)-26 >= int(binary.LittleEndian.Uint16(part[24:])) {
		part = part[26+binary.LittleEndian.Uint16(part[24:]):]
		n++
	}
	return n
}

// TestModuleOfBefore: testdata/small, compiled with the header as it was
// before there were views, judges such a part by its evidence alone.
func TestModuleOfBefore(t *testing.T) {
	wasm, err := os.ReadFile("testdata/small/before-views.wasm")
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Config{TimeLimit: patience})
	m, err := e.Compile(t.Context(), "small", wasm)
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rule(t.Context(), "20")
	if err != nil {
		t.Fatal(err)
	}
	p := partWith(vision.Evidence{Label: "rust", Box: vision.Box{W: 12.5}}, vision.Evidence{Label: "rust", Box: vision.Box{W: 3}, View: 1})
	want := vision.Decision{Verdict: vision.Pass, Reason: "ok", Measurements: []vision.Measurement{{Name: "width", Value: 12.5, Limit: 20, Unit: "px"}}}
	huge := vision.View{Camera: strings.Repeat("\x7f", 200), Width: math.MaxInt32, Height: math.MaxInt32} // read as a box it is wide
	for _, views := range [][]vision.View{nil, {{Camera: "top"}, {Camera: "side"}}, {huge, huge, huge}} {
		p.Views = views
		if diff := cmp.Diff(want, r.Decide(t.Context(), p, 640, 480)); diff != "" {
			t.Errorf("%d views (-want +got):\n%s%s", len(views), diff, r.Stats().LastError)
		}
	}
}

// TestThresholdNamesTheCamera: of several, which saw what was measured.
func TestThresholdNamesTheCamera(t *testing.T) {
	e := newEngine(t, Config{CacheDir: cacheDir})
	r := load(t, e, "threshold:dent>0.95,defect>0.5")
	p := partWith(vision.Evidence{Label: "dent", Score: 0.6}, vision.Evidence{Label: "scratch", Score: 0.91, View: 1})
	for _, tt := range []struct {
		views []vision.View
		want  vision.Decision
	}{
		{[]vision.View{{Camera: "top"}, {Camera: "side"}}, vision.Decision{Verdict: vision.Fail, Reason: "scratch 0.91 > 0.5 (side)",
			Measurements: []vision.Measurement{{Name: "dent (top)", Value: 0.6, Limit: 0.95}, {Name: "defect (side)", Value: 0.91, Limit: 0.5}}}},
		{nil, vision.Decision{Verdict: vision.Fail, Reason: "scratch 0.91 > 0.5",
			Measurements: []vision.Measurement{{Name: "dent", Value: 0.6, Limit: 0.95}, {Name: "defect", Value: 0.91, Limit: 0.5}}}},
	} {
		if p.Views = tt.views; p.Views == nil {
			p.Defects[1].View = 0
		}
		if diff := cmp.Diff(tt.want, r.Decide(t.Context(), p, 1280, 720)); diff != "" {
			t.Errorf("%d views (-want +got):\n%s%s", len(tt.views), diff, r.Stats().LastError)
		}
	}
	p.Views, p.Defects[1].View = []vision.View{{Camera: "top"}, {Camera: "side"}}, 2
	if d := r.Decide(t.Context(), p, 1280, 720); !cmp.Equal(d, failed) || !strings.Contains(r.Stats().LastError, "view 2 of 2") {
		t.Errorf("evidence of no view gave %+v, %s", d, r.Stats().LastError)
	}
}
