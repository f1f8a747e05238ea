package track

import (
	"slices"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// TestFramesAreCombinedAsTold: one part with a dent of these scores, 0 for a
// frame without it.
func TestFramesAreCombinedAsTold(t *testing.T) {
	long := slices.Concat(slices.Repeat([]float32{0.6}, 51), slices.Repeat([]float32{0}, 49))
	for _, c := range []struct {
		combine string
		scores  []float32
		want    float32
	}{
		{"", []float32{0, 0.9, 0.9, 0, 0, 0}, 0},
		{"", []float32{0, 0.9, 0.8, 0.7, 0, 0}, 0.7},
		{"standard", long, 0.6},
		{"any", []float32{0, 0, 0.9, 0, 0.4, 0}, 0.9},
		{"any", []float32{0, 0, 0, 0}, 0},
		{"majority", []float32{0.9, 0.8, 0.7, 0, 0, 0}, 0}, // half isn't more than half
		{"majority", []float32{0.9, 0.8, 0.7, 0.2, 0, 0}, 0.2},
		{"majority", []float32{0.9, 0.8, 0.7, 0.6, 0.5}, 0.7},
		{"majority", long, 0.6},
		{"majority", long[1:], 0.6},
		{"majority", long[2:], 0},
		{"3 of 10", []float32{0.9, 0.8, 0.7, 0, 0, 0, 0, 0, 0, 0}, 0.7},
		{"3 of 10", []float32{0.9, 0.8, 0.7, 0, 0, 0, 0, 0, 0, 0, 0}, 0}, // the first is too old
		{"3 of 10", []float32{0.9, 0.8, 0.7, 0, 0, 0, 0, 0, 0, 0, 0.5}, 0.5},
		{"3 of 10", []float32{0, 0.9, 0.3, 0.8}, 0.3},
		{"5 of 10", []float32{0.9, 0.8, 0.7}, 0.7}, // all of a short one
		{"1 of 1", []float32{0.9, 0.9, 0.9, 0.2}, 0.2},
		{"1 of 1", []float32{0.9, 0.9, 0.9, 0}, 0},
		{"best", []float32{0.9, 0.5, 0.9, 0.9}, 0.5}, // the second frame shows the part best
		{"best", []float32{0.9, 0, 0.9, 0.9}, 0},
	} {
		combine, err := ParseCombine(c.combine)
		if err != nil {
			t.Fatal(err)
		}
		var each [][]vision.Detection
		for i, s := range c.scores {
			dets := []vision.Detection{det("part", 0.8, 200, 100, 100, 100)}
			if i == 1 {
				dets[0].Score = 0.95
			}
			if s > 0 {
				dets = append(dets, det("dent", s, 240, 140, 10, 10), det("dent", s/2, 260, 140, 10, 10))
			}
			each = append(each, dets)
		}
		done := frames(New(Config{Roles: roles, Combine: combine}), each...)
		if len(done) != 1 {
			t.Fatalf("%+v", done)
		}
		got := float32(0)
		for _, e := range done[0].Defects {
			got = e.Score
		}
		if got != c.want {
			t.Errorf("%q of %v: %v, want %v", c.combine, c.scores, got, c.want)
		}
	}
}

// TestCutViewsCountInNoCombination: a part that comes in whole after eight frames
// at the border, where the cut looks like a scratch.
func TestCutViewsCountInNoCombination(t *testing.T) {
	for _, text := range []string{"", "any", "majority", "3 of 20", "best"} {
		combine, err := ParseCombine(text)
		if err != nil {
			t.Fatal(err)
		}
		each := repeat(28, det("part", 0.99, 0, 0, 80, 100), det("scratch", 0.8, 0, 40, 10, 10))
		whole := slices.Clone(each)
		for i := range 12 {
			whole = append(whole, []vision.Detection{det("part", 0.9, float32(8*i), 20, 100, 100)})
		}
		if done := frames(New(Config{Roles: roles, Combine: combine}), whole...); len(done) != 1 || len(done[0].Defects) != 0 {
			t.Errorf("%q: whole later: %+v, want no defect", text, done)
		}
		if done := frames(New(Config{Roles: roles, Combine: combine}), each...); len(done) != 1 || done[0].Defects[0].Score != 0.8 {
			t.Errorf("%q: never whole: %+v, want its scratch", text, done)
		}
	}
}

// TestOnePictureIsEnoughInAFolder whatever the combination: there is one look.
func TestOnePictureIsEnoughInAFolder(t *testing.T) {
	for _, text := range []string{"", "any", "majority", "3 of 10", "best"} {
		combine, err := ParseCombine(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, mode := range []Mode{Pictures, Stills} {
			cfg := Config{Roles: roles, Mode: mode, Combine: combine, Decide: point(t, "x=0.9")}
			done := frames(New(cfg), repeat(3, det("part", 0.9, 10, 10, 300, 300), det("dent", 0.8, 100, 100, 50, 50))...)
			if len(done) != 3 {
				t.Fatalf("%q: %d parts, want 3", text, len(done))
			}
			for _, p := range done {
				if len(p.Defects) != 1 || p.Defects[0].Score != 0.8 {
					t.Errorf("%q, mode %d: %+v", text, mode, p)
				}
			}
		}
	}
}

// TestPartThatStandsForHoursTakesNoMemory: what is kept of a view is bounded.
func TestPartThatStandsForHoursTakesNoMemory(t *testing.T) {
	for _, text := range []string{"", "any", "majority", "3 of 10", "best"} {
		combine, err := ParseCombine(text)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Combine: combine}.withDefaults()
		e := &evidence{}
		for n := range 100000 {
			e.look(uint64(n+1), 0.9)
			e.add(uint64(n+1), det("dent", 0.7, 0, 0, 1, 1), 1, &cfg)
		}
		if l := e.labels[0]; cap(l.top)+cap(l.recent) > 100 {
			t.Errorf("%q keeps %d and %d scores", text, cap(l.top), cap(l.recent))
		}
		if got := e.list(cfg)[0].Score; got != 0.7 {
			t.Errorf("%q: %v, want 0.7", text, got)
		}
	}
}

// TestEvidenceKeepsTheShapesOfItsBestFrame: all regions of the frame that shows the
// label best, none of another.
func TestEvidenceKeepsTheShapesOfItsBestFrame(t *testing.T) {
	cfg := Config{}.withDefaults()
	region := func(score float32, side int) vision.Detection {
		d := det("pit", score, 0, 0, float32(side), float32(side))
		d.Mask = &vision.Mask{W: side, H: side, Runs: []uint32{0, uint32(side * side)}}
		return d
	}
	var e evidence
	for seq, frame := range [][]vision.Detection{
		{region(0.6, 3)}, {region(0.9, 10), region(0.8, 2), region(0.2, 1)}, {region(0.7, 5), region(0.65, 5)},
	} {
		e.look(uint64(seq), 1)
		for _, d := range frame {
			e.add(uint64(seq), d, 1, &cfg)
		}
	}
	if l := e.list(cfg); len(l) != 1 || l[0].Area != 105 || len(l[0].Outlines) != 3 || l[0].Box.W != 10 {
		t.Errorf("evidence is %+v", l)
	}
}

// TestAreaIsThatOfAllRegions: a worn surface has more of them than have outlines.
func TestAreaIsThatOfAllRegions(t *testing.T) {
	var e evidence
	e.look(0, 1)
	const regions = 3 * maxShapes
	for n := range regions {
		e.add(0, vision.Detection{Label: "pit", Score: 0.9, Mask: &vision.Mask{X: 5 * n, W: 2, H: 2, Runs: []uint32{0, 4}}}, 1, &Config{})
	}
	if l := e.list(Config{}); len(l) != 1 || l[0].Area != 4*regions {
		t.Errorf("evidence of %d regions of 4 pixels is %+v", regions, l)
	}
}
