package scene

import (
	"fmt"
	"math"
	"testing"
)

// difference draws a part with its marks and without, and gives the change of
// luma over the belt's brightness for each pixel of the sprite.
func difference(l *look, marks []mark, scale float64) (side int, delta []float64) {
	grey := func(p pixel) float64 {
		const belt = 46
		a := float64(p>>48&255) / 255
		return 0.114*float64(p&255) + 0.587*float64(p>>16&255) + 0.299*float64(p>>32&255) + (1-a)*belt
	}
	with, without := drawSprite(l, marks, scale, 0), drawSprite(l, nil, scale, 0)
	delta = make([]float64, len(with.pix))
	for i := range delta {
		delta[i] = grey(with.pix[i]) - grey(without.pix[i])
	}
	return with.side, delta
}

// checkMark compares one defect's drawing with its truth.
func checkMark(l *look, m mark, scale float64) error {
	side, delta := difference(l, []mark{m}, scale)
	margin := (side - int(math.Ceil(Diameter*scale))) / 2
	strongest, outside := 0.0, 0.0
	for i, v := range delta {
		x := (float32(i%side-margin) + 0.5) / float32(Diameter*scale)
		y := (float32(i/side-margin) + 0.5) / float32(Diameter*scale)
		if m.Box.Contains(x, y) {
			strongest = max(strongest, math.Abs(v))
		} else {
			outside = max(outside, math.Abs(v))
		}
	}
	switch {
	case outside > 3:
		return fmt.Errorf("changes the part by %.1f levels outside its box %v", outside, m.Box)
	case strongest < 0.85*m.Contrast-1:
		return fmt.Errorf("strongest change is %.1f levels, the truth says %.1f", strongest, m.Contrast)
	case m.Kind != Chip && strongest > 1.1*m.Contrast+1:
		return fmt.Errorf("strongest change is %.1f levels, the truth says only %.1f", strongest, m.Contrast)
	}
	return nil
}

// TestDefectsAreWhatTheTruthSays draws hundreds of defects of each kind.
func TestDefectsAreWhatTheTruthSays(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			for i := range 24 {
				r := random(77, streamDefect, i)
				m := newMark(r, kind, rotation(77, i), i%6 == 0)
				for _, scale := range []float64{1, 0.7} {
					if err := checkMark(newLook(77, i), m, scale); err != nil {
						t.Errorf("defect %d (below floor: %v) at scale %v: %v", i, m.BelowFloor, scale, err)
					}
				}
			}
		})
	}
}

// TestFloor: what is said to be above the floor is, in every measure; what is
// said to be below is, in one.
func TestFloor(t *testing.T) {
	for _, kind := range Kinds() {
		line := kind == Scratch || kind == Crack
		for i := range 2000 {
			faint := i%2 == 0
			m := newMark(random(5, streamDefect, i), kind, rotation(5, i), faint)
			above := m.Contrast >= FloorContrast
			if line {
				above = above && m.Size >= FloorLine && m.width/2 >= FloorLineWidth
			} else {
				above = above && m.Size >= FloorSpot
			}
			if above == m.BelowFloor {
				t.Fatalf("%s %d: contrast %.1f, size %.3f: BelowFloor is %v", kind, i, m.Contrast, m.Size, m.BelowFloor)
			}
		}
	}
}

// TestBoxesLieOnThePart: a defect's box stays within the part's.
func TestBoxesLieOnThePart(t *testing.T) {
	s := mustNew(t, Config{Seed: 31, DefectRate: 1})
	two := 0
	for _, p := range s.Parts(0, 1500) {
		if len(p.Defects) > 1 {
			two++
			if p.Defects[0].Box.Intersect(p.Defects[1].Box).Area() > 0 {
				t.Errorf("%s: its two defects overlap", p.ID)
			}
		}
		for _, d := range p.Defects {
			b := d.Box
			if min(b.X, b.Y) < -0.02 || max(b.X+b.W, b.Y+b.H) > 1.02 || b.Area() < 0.001 {
				t.Errorf("%s: %s has box %v", p.ID, d.Kind, d.Box)
			}
		}
	}
	if two < 50 {
		t.Errorf("%d of 1500 bad parts have two defects, want about a tenth", two)
	}
}

// TestGoodPartsAreClean: marks change nothing where there are none.
func TestGoodPartsAreClean(t *testing.T) {
	_, delta := difference(newLook(1, 1), nil, 1)
	for i, v := range delta {
		if v != 0 {
			t.Fatalf("pixel %d differs by %v between two drawings of one part", i, v)
		}
	}
}
