package scene

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// luma is the mean brightness within the box, in grey levels.
func luma(f *vision.Frame, b vision.Box) float64 {
	sum, n := 0.0, 0
	for y := int(b.Y); y < int(b.Y+b.H); y++ {
		for x := int(b.X); x < int(b.X+b.W); x++ {
			p := f.Pix[y*f.Stride+x*3:]
			sum += 0.114*float64(p[0]) + 0.587*float64(p[1]) + 0.299*float64(p[2])
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// TestTruthIsWhereThePartIs looks at the pixels: metal just inside each side
// of the box, belt just outside.
func TestTruthIsWhereThePartIs(t *testing.T) {
	for _, cfg := range []Config{
		{Seed: 11, DefectRate: -1},
		{Seed: 12, DefectRate: -1, Width: 1280, Height: 720, RightToLeft: true},
		{Seed: 13, DefectRate: -1, Width: 480, Height: 480, Rate: 50, Speed: 2},
	} {
		s := mustNew(t, cfg)
		looked := 0
		for n := 0; n < 400; n += 37 {
			f := mustDraw(t, s, n)
			for _, p := range s.Truth(n) {
				if p.Visible < 1 || p.Box.X < 8 || p.Box.X+p.Box.W > float32(f.Width-8) {
					continue
				}
				looked++
				d := p.Box.W
				cx, cy := p.Box.Center()
				// Above the part: the lamp's side, where no shadow falls.
				edge := vision.Box{X: cx - d*0.02, Y: p.Box.Y + d*0.03, W: d * 0.04, H: d * 0.03}
				out := vision.Box{X: cx - d*0.02, Y: p.Box.Y - d*0.05, W: d * 0.04, H: d * 0.03}
				left := vision.Box{X: p.Box.X + d*0.03, Y: cy - d*0.02, W: d * 0.03, H: d * 0.04}
				right := vision.Box{X: p.Box.X + d*0.94, Y: cy - d*0.02, W: d * 0.03, H: d * 0.04}
				for name, b := range map[string]vision.Box{"top": edge, "left": left, "right": right} {
					if v := luma(f, b); v < 70 {
						t.Errorf("%+v frame %d %s: %s edge has luma %.0f, no metal", cfg, n, p.Part.ID, name, v)
					}
				}
				if v := luma(f, out); v > 60 {
					t.Errorf("%+v frame %d %s: luma %.0f above the part, no belt", cfg, n, p.Part.ID, v)
				}
			}
		}
		if looked < 10 {
			t.Errorf("%+v: only %d parts were looked at", cfg, looked)
		}
	}
}

func TestEnteredAndLeft(t *testing.T) {
	for _, cfg := range []Config{{Seed: 1}, {Seed: 2, RightToLeft: true, Rate: 10}, {Seed: 3, Width: 320, Height: 320, Speed: 3}} {
		s := mustNew(t, cfg)
		first, last := map[int]int{}, map[int]int{}
		for n := range 600 {
			for _, p := range s.Truth(n) {
				if _, ok := first[p.Part.Index]; !ok {
					first[p.Part.Index] = n
				}
				last[p.Part.Index] = n
			}
		}
		const slack = 20 * time.Millisecond // the vibration's
		for i, n := range first {
			p := s.Part(i)
			if n > 0 && (s.Time(n) < p.Entered-slack || s.Time(n-1) > p.Entered+slack) {
				t.Errorf("%+v %s: seen first at %v, entered at %v", cfg, p.ID, s.Time(n), p.Entered)
			}
			if last[i] < 599 && (s.Time(last[i]) > p.Left+slack || s.Time(last[i]+1) < p.Left-slack) {
				t.Errorf("%+v %s: seen last at %v, left at %v", cfg, p.ID, s.Time(last[i]), p.Left)
			}
		}
		for i := range len(first) {
			if _, ok := first[i]; !ok {
				t.Errorf("%+v: part %d never showed", cfg, i)
			}
		}
	}
}

func TestLeftBy(t *testing.T) {
	s := mustNew(t, Config{Seed: 4})
	for _, at := range []time.Duration{0, 2 * time.Second, time.Minute, 17 * time.Minute} {
		got := s.LeftBy(at)
		for i, p := range got {
			if p.Index != i || p.Left > at+time.Microsecond {
				t.Fatalf("LeftBy(%v)[%d] is part %d, which left at %v", at, i, p.Index, p.Left)
			}
		}
		if next := s.Part(len(got)); next.Left < at-time.Microsecond {
			t.Errorf("LeftBy(%v) leaves out %s, gone at %v", at, next.ID, next.Left)
		}
	}
	if n := len(s.LeftBy(10 * time.Minute)); n < 450 || n > 520 {
		t.Errorf("%d parts in ten minutes, want about one in 1.2 s", n)
	}
}

// TestSpacing: parts may touch but never overlap; some touch, some are far apart.
func TestSpacing(t *testing.T) {
	touch, far := 0, 0
	const parts = 2000
	for i := range parts {
		gap := place(9, i+1) - place(9, i) - Diameter
		switch {
		case gap < -1e-6:
			t.Fatalf("parts %d and %d overlap by %.2f", i, i+1, -gap)
		case gap < 0.03*Diameter:
			touch++
		case gap > 1.2*Diameter:
			far++
		}
	}
	if touch < parts/20 || far < parts/20 {
		t.Errorf("%d of %d pairs touch, %d are far apart; want some of both", touch, parts, far)
	}
}

// TestInViewLongEnough: every part is wholly in view for at least 1.5 s.
func TestInViewLongEnough(t *testing.T) {
	for _, cfg := range []Config{{Seed: 5}, {Seed: 6, Width: 480, Height: 480}, {Seed: 7, Width: 1920, Height: 1080}} {
		s := mustNew(t, cfg)
		frames := map[int]int{}
		for n := range 1000 {
			for _, p := range s.Truth(n) {
				if p.Visible == 1 {
					frames[p.Part.Index]++
				}
			}
		}
		for i := 1; i < len(frames)-4; i++ {
			if got := float64(frames[i]) / s.Config().Rate; got < 1.5 {
				t.Errorf("%+v: part %d is wholly in view for %.2f s", cfg, i, got)
			}
		}
	}
}

func TestRates(t *testing.T) {
	count := func(rate float64) (bad, faint, all int) {
		s := mustNew(t, Config{Seed: 21, DefectRate: rate})
		for _, p := range s.Parts(0, 4000) {
			all++
			if p.Bad() {
				bad++
			}
			if p.BelowFloor() {
				faint++
			}
		}
		return bad, faint, all
	}
	bad, faint, all := count(0)
	if share := float64(bad+faint) / float64(all); math.Abs(share-DefaultDefectRate) > 0.02 {
		t.Errorf("by default %.3f of the parts have a defect, want about %v", share, DefaultDefectRate)
	}
	if faint == 0 || faint > bad/5 {
		t.Errorf("%d parts under the floor beside %d bad ones, want few but some", faint, bad)
	}
	if bad, faint, _ := count(-1); bad+faint != 0 {
		t.Errorf("a negative rate gave %d bad parts", bad+faint)
	}
	if bad, faint, all := count(1); bad+faint != all {
		t.Errorf("rate 1 gave %d bad parts of %d", bad+faint, all)
	}
}

// TestSameWorldAtAnotherRateAndSize: twice the rate shows the same at twice the
// frame number, twice the size at twice the coordinates.
func TestSameWorldAtAnotherRateAndSize(t *testing.T) {
	base := mustNew(t, Config{Seed: 8, Rate: 25})
	fast := mustNew(t, Config{Seed: 8, Rate: 50})
	large := mustNew(t, Config{Seed: 8, Rate: 25, Width: 1536, Height: 864})
	for n := 0; n < 300; n += 23 {
		want := base.Truth(n)
		if diff := cmp.Diff(want, fast.Truth(2*n)); diff != "" {
			t.Fatalf("frame %d at twice the rate (-want +got):\n%s", n, diff)
		}
		got := large.Truth(n)
		if len(got) != len(want) {
			t.Fatalf("frame %d: %d parts at twice the size, want %d", n, len(got), len(want))
		}
		for i := range got {
			dx := math.Abs(float64(got[i].Box.X - 2*want[i].Box.X))
			if got[i].Part.ID != want[i].Part.ID || dx > 0.02 || got[i].Box.W != 2*want[i].Box.W {
				t.Errorf("frame %d: %s at %v, want twice %v", n, got[i].Part.ID, got[i].Box, want[i].Box)
			}
		}
	}
}
