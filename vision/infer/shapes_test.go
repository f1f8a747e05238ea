package infer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

func TestShapesComeBack(t *testing.T) {
	dets := make([]vision.Detection, 300)
	dets[0].Oriented = &vision.OrientedBox{X: 1, Y: 2, W: 3, H: 4, Angle: -0.5}
	dets[7].Mask = &vision.Mask{X: 9, Y: 8, W: 700, H: 600}
	for range 200_000 {
		dets[7].Mask.Runs = append(dets[7].Mask.Runs, 1)
	}
	dets[299].Mask = &vision.Mask{X: 0, Y: 0, W: maxFrame, H: 1, Runs: []uint32{3, maxFrame - 3}}
	var packed []byte
	parts := packShapes(dets)
	for _, p := range parts {
		if len(p) > maxPart {
			t.Fatalf("a part has %d bytes", len(p))
		}
		packed = append(packed, p...)
	}
	got := make([]vision.Detection, len(dets))
	if err := unpackShapes(packed, got); err != nil || len(parts) < 2 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	if d := cmp.Diff(dets, got); d != "" {
		t.Error(d)
	}
	if err := unpackShapes(packed[:len(packed)-1], got); err == nil {
		t.Error("cut shapes are taken")
	}
	if err := unpackShapes(packed, nil); err == nil {
		t.Error("shapes of nothing are taken")
	}
}

// FuzzUnpackShapes: what a damaged worker sends is refused, or lies within bounds.
func FuzzUnpackShapes(f *testing.F) {
	for _, p := range packShapes([]vision.Detection{{Oriented: &vision.OrientedBox{W: 2}}, {Mask: &vision.Mask{W: 4, H: 2, Runs: []uint32{1, 5}}}}) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dets := make([]vision.Detection, 3)
		if unpackShapes(b, dets) != nil {
			return
		}
		for _, d := range dets {
			if m := d.Mask; m != nil {
				n := 0
				m.Spans(func(y, x0, x1 int) {
					if n++; x0 < m.X || x1 > m.X+m.W || y < m.Y || y >= m.Y+m.H {
						t.Fatalf("a stretch outside of %+v", m)
					}
					if n > 1<<20 {
						t.Skip("large")
					}
				})
			}
		}
	})
}
