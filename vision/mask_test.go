package vision

import (
	"math"
	"testing"
)

func TestMaskGivesBackItsPixels(t *testing.T) {
	const w, h = 7, 5
	for seed := range 200 {
		inside, n := make([]bool, w*h), 0
		for i := range inside {
			if (i*7919+seed*104729)%11 < seed%11 {
				inside[i], n = true, n+1
			}
		}
		m := MaskOf(inside, w, h)
		if n == 0 {
			if m != nil {
				t.Fatalf("an empty mask is %+v", m)
			}
			continue
		}
		if m.Area() != n {
			t.Fatalf("area %d, want %d", m.Area(), n)
		}
		got := make([]bool, w*h)
		m.Spans(func(y, x0, x1 int) {
			for x := x0; x < x1; x++ {
				got[y*w+x] = true
			}
		})
		for i := range inside {
			if got[i] != inside[i] || m.Contains(i%w, i/w) != inside[i] {
				t.Fatalf("pixel %d: %v and %v, want %v", i, got[i], m.Contains(i%w, i/w), inside[i])
			}
		}
	}
}

func TestMaskWithRunsTooLongEnds(t *testing.T) {
	m := Mask{W: 3, H: 2, Runs: []uint32{1, math.MaxUint32, 4, 9}}
	n := 0
	m.Spans(func(_, x0, x1 int) { n += x1 - x0 })
	if n != 5 {
		t.Errorf("%d pixels, want 5", n)
	}
}

func TestOrientedBox(t *testing.T) {
	o := OrientedBox{X: 10, Y: 20, W: 8, H: 2, Angle: math.Pi / 2}
	b := o.Bounds()
	if math.Abs(float64(b.X-9)) > 1e-5 || math.Abs(float64(b.Y-16)) > 1e-5 || math.Abs(float64(b.W-2)) > 1e-5 || math.Abs(float64(b.H-8)) > 1e-5 {
		t.Errorf("bounds %+v", b)
	}
}
