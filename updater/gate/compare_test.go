package gate

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

func detection(label string, score, x float32) vision.Detection {
	return vision.Detection{Label: label, Score: score, Box: vision.Box{X: x, Y: 10, W: 100, H: 100}}
}

func expected(label string, score, x float32) bundle.Expected {
	return bundle.Expected{Label: label, Score: score, Box: [4]float32{x, 10, 100, 100}}
}

// TestDetectionsNearTheLowestScore may come and go, those above it not.
func TestDetectionsNearTheLowestScore(t *testing.T) {
	within := limits{Tolerance: bundle.Tolerance{Score: 0.02, IoU: 0.9}, lowest: 0.1}
	for _, c := range []struct {
		name string
		want []bundle.Expected
		got  []vision.Detection
		what string
	}{
		{"the same", []bundle.Expected{expected("a", 0.5, 0)}, []vision.Detection{detection("a", 0.515, 4)}, ""},
		{"a weak one goes", []bundle.Expected{expected("a", 0.119, 0)}, nil, ""},
		{"a weak one comes", nil, []vision.Detection{detection("a", 0.119, 0)}, ""},
		{"a strong one goes", []bundle.Expected{expected("a", 0.13, 0)}, nil, WhatDetection},
		{"a strong one comes", nil, []vision.Detection{detection("a", 0.13, 0)}, WhatDetection},
		{"another label", []bundle.Expected{expected("a", 0.5, 0)}, []vision.Detection{detection("b", 0.5, 0)}, WhatDetection},
		{"another score", []bundle.Expected{expected("a", 0.5, 0)}, []vision.Detection{detection("a", 0.53, 0)}, WhatScore},
		{"another place", []bundle.Expected{expected("a", 0.5, 0)}, []vision.Detection{detection("a", 0.5, 10)}, WhatBox},
		{"two on one", []bundle.Expected{expected("a", 0.5, 0)}, []vision.Detection{detection("a", 0.5, 0), detection("a", 0.5, 0)}, WhatDetection},
		// The first expected fits both; it must leave the second one its own.
		{"crossed", []bundle.Expected{expected("a", 0.5, 0), expected("a", 0.485, 0)},
			[]vision.Detection{detection("a", 0.495, 0), detection("a", 0.51, 0)}, ""},
	} {
		c1 := comparison{tol: within}
		c1.detections(c.want, c.got)
		if len(c1.refusals) == 0 != (c.what == "") || len(c1.refusals) > 0 && c1.refusals[0].What != c.what {
			t.Errorf("%s: %+v, want %q", c.name, c1.refusals, c.what)
		}
	}
}

func TestOutputsThatAreNoNumbers(t *testing.T) {
	w := bundle.RawOutput{Name: "out", Shape: []int64{2}, Every: 1, Values: []float32{1, 2}}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		c := comparison{tol: limits{Tolerance: DefaultTolerance}}
		c.outputs([]bundle.RawOutput{w}, []infer.RawSample{{Name: "out", Shape: []int64{2}, Every: 1, Values: []float32{1, float32(v)}}})
		if len(c.refusals) != 1 || c.refusals[0].What != WhatOutput {
			t.Errorf("%v: %+v", v, c.refusals)
		}
	}
	c := comparison{tol: limits{Tolerance: DefaultTolerance}}
	c.outputs([]bundle.RawOutput{w}, nil)
	if len(c.refusals) != 1 {
		t.Errorf("a missing output: %+v", c.refusals)
	}
}

// TestPairFindsAll: where a full matching exists it is found, in whatever
// order things come.
func TestPairFindsAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := 1 + r.IntN(12)
		fits := map[[2]int]bool{}
		for i, j := range r.Perm(n) {
			fits[[2]int{i, j}] = true
		}
		for range n {
			fits[[2]int{r.IntN(n), r.IntN(n)}] = true
		}
		used := map[int]bool{}
		for i, j := range pair(n, n, func(i, j int) bool { return fits[[2]int{i, j}] }) {
			if j < 0 || used[j] || !fits[[2]int{i, j}] {
				t.Fatalf("%d with %d of %v", i, j, fits)
			}
			used[j] = true
		}
	}
}

// TestRandomAnswersAreNeverTakenForOthers: the same compares as the same, and
// one that was moved is told.
func TestRandomAnswersAreNeverTakenForOthers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	within := limits{Tolerance: DefaultTolerance, lowest: 0.1}
	for range 300 {
		found := &seen{}
		v := &bundle.Vector{Verdict: "NONE", Parts: []bundle.Judged{}}
		for range 1 + r.IntN(20) {
			d := vision.Detection{Label: string('a' + rune(r.IntN(3))), Score: 0.15 + 0.8*r.Float32(),
				Box: vision.Box{X: 500 * r.Float32(), Y: 300 * r.Float32(), W: 20 + 80*r.Float32(), H: 20 + 80*r.Float32()}}
			found.detections = append(found.detections, d)
			v.Detections = append(v.Detections, bundle.Expected{Label: d.Label, Score: d.Score, Box: numbers(d.Box)})
		}
		r.Shuffle(len(v.Detections), func(i, j int) { v.Detections[i], v.Detections[j] = v.Detections[j], v.Detections[i] })
		if d := compare(v, found, within, false); len(d) > 0 {
			t.Fatalf("the same differs: %v", d)
		}
		found.detections[r.IntN(len(found.detections))].Box.X += 1000
		if d := compare(v, found, within, false); len(d) == 0 {
			t.Fatal("a moved detection isn't told")
		}
	}
}
