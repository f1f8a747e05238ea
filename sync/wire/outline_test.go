package wire

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// TestOutlinesOnTheWire: regions come back as they were, by the journal and by the link.
func TestOutlinesOnTheWire(t *testing.T) {
	p := vision.Part{ID: "p", Defects: []vision.Evidence{
		{Label: "pitting", Score: 0.5, Frames: 1, Area: 1204, Outlines: [][][2]int{{{1129, 3}, {40, 459}, {0, 0}}, {{-2, 7}, {3, 8}, {5, 1}}}},
		{Label: "scratch", Score: 0.25, Frames: 1},
	}}
	r := NewResult(&p, &vision.Decision{Verdict: vision.Fail}, time.Unix(1, 0))
	r.Evidence[0].AreaMm2 = 3.01
	body, err := EncodeResult(r)
	if err != nil {
		t.Fatal(err)
	}
	var there, back delta
	if got := back.decode(there.encode(body)); !cmp.Equal(got, body) {
		t.Error("the link changes it")
	}
	rec, err := Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.Defects, rec.GetResult().Part().Defects); d != "" {
		t.Error(d)
	}
	if odd := visionOutlines([]*Outline{{Steps: []int32{1, 2, 3}}, nil}); len(odd) != 2 || len(odd[0]) != 1 {
		t.Errorf("a cut outline gives %v", odd)
	}
}
