package gate

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

// ways are other ways of computing the fixture's model.
func (f *fixture) ways(t testing.TB, half bool) Measuring {
	t.Helper()
	m := Measuring{Threads: []int{1, 2}, Graph: []string{"all", "disable"}}
	for _, level := range []infer.GraphLevel{infer.GraphDisable, infer.GraphAll} {
		cfg := f.config(t)
		cfg.Graph, cfg.Threads = level, 2
		m.Ways = append(m.Ways, Way{Name: string(level), Worker: infer.New(cfg)})
	}
	if half {
		data, err := infer.Halved(f.data)
		check(t, err)
		cfg := f.config(t)
		cfg.Model.Data = data
		m.Ways = append(m.Ways, Way{Name: "half", Emulated: true, Precision: "float16", Worker: infer.New(cfg)})
	}
	return m
}

// TestTolerancesAreMeasured: those of this provider from its own spread, others
// from float16's too; a device that wasn't measured is told, and passes.
func TestTolerancesAreMeasured(t *testing.T) {
	f := newFixture(t)
	s := f.subject(t, f.config(t))
	s.Settings = []string{"nms 0.7", "rule threshold:defect>0.3"}
	m := f.ways(t, true)
	var told []string
	m.Progress = func(done, of int, name string) { told = append(told, fmt.Sprint(done, of, name)) }
	g, err := m.Record(t.Context(), s, f.dir, f.images)
	check(t, err)
	var b bytes.Buffer
	check(t, g.Write(&b))
	if g.Measured.Left != "" || len(g.Measured.Spreads) != 2 || len(told) != 3 {
		t.Fatalf("measured %+v, told %q", g.Measured, told)
	}
	own, half := g.Measured.Spreads[0], g.Measured.Spreads[1]
	switch {
	case own.Emulated || own.Precision != "float32" || own.Score <= 0 || own.Score > 1e-4 || own.Tolerance.Score != leastScore || own.Raw[0].Spread <= 0:
		t.Errorf("float32: %+v", own)
	case !half.Emulated || half.Precision != "float16" || half.Score < 10*own.Score || half.Raw[0].Spread < 10*own.Raw[0].Spread || half.IoU >= 1:
		t.Errorf("float16: %+v", half)
	case g.Tolerance.Score != max(leastScore, Margin*half.Score) || g.Tolerance.Raw < half.Raw[0].Tolerance:
		t.Errorf("for all: %+v", g.Tolerance)
	}
	r, err := Run(t.Context(), s, f.dir, g, nil)
	check(t, err)
	if !r.OK() || r.Unmeasured != "" {
		t.Errorf("report %+v", r)
	}
	g.Measured.Spreads[0].Provider = "cuda"
	r, err = Run(t.Context(), s, f.dir, g, nil)
	check(t, err)
	if !r.OK() || r.Unmeasured != "how far cpu float32 moves was never measured for this bundle" {
		t.Errorf("unmeasured: report %+v", r)
	}
	g.Vectors[0].Detections[0].Score -= 0.2
	r, err = Run(t.Context(), s, f.dir, g, nil)
	check(t, err)
	if r.OK() || !strings.Contains(r.Reason(), "; how far cpu float32 moves was never measured for this bundle: if what is found here is as good, record") {
		t.Errorf("unmeasured and refused: %s", r.Reason())
	}
	g.Vectors[0].Detections[0].Score += 0.2
	s.Settings = []string{"nms 0.7", "rule threshold:defect>0.5"}
	r, err = Run(t.Context(), s, f.dir, g, nil)
	check(t, err)
	if r.OK() || r.Passed != len(f.images) || len(r.Refusals) != 1 || r.Refusals[0].What != WhatSettings || !strings.Contains(r.Reason(), "expected rule threshold:defect>0.3, found rule threshold:defect>0.5: record") || r.Hint() != "" {
		t.Errorf("other settings: %s, %+v", r.Reason(), r)
	}
}

// TestHandChosenTolerances hold, unless the model itself moves further.
func TestHandChosenTolerances(t *testing.T) {
	f := newFixture(t)
	s := f.subject(t, f.config(t))
	m := f.ways(t, false)
	m.Hand = bundle.Tolerance{Score: 0.05, IoU: 0.8, Raw: 0.01}
	g, err := m.Record(t.Context(), s, f.dir, f.images)
	check(t, err)
	if tol, _ := g.Within("cpu", "float32", runtime.GOARCH); tol != m.Hand || g.Tolerance != m.Hand || len(g.Measured.ByHand) != 3 {
		t.Errorf("tolerances %+v, %+v", tol, g.Measured)
	}
	for want, hand := range map[string]bundle.Tolerance{
		"the tolerance of scores, 1e-09, is less than they move": {Score: 1e-9}, "the least overlap, 1, is more than boxes keep": {IoU: 1},
		"the tolerance of raw values, 1e-09, is less than": {Raw: 1e-9},
	} {
		m := f.ways(t, false)
		m.Hand = hand
		if _, err := m.Record(t.Context(), s, f.dir, f.images); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("by hand %+v: %v, want %q", hand, err, want)
		}
	}
}

// TestWaysThatFail: an emulated one is told and left, one of the device's own
// isn't held to anything.
func TestWaysThatFail(t *testing.T) {
	f := newFixture(t)
	s := f.subject(t, f.config(t))
	dead := f.config(t)
	dead.Env = []string{asWorker + "=die"}
	m := f.ways(t, false)
	m.Ways = append(m.Ways, Way{Name: "half", Emulated: true, Precision: "float16", Worker: infer.New(dead)})
	g, err := m.Record(t.Context(), s, f.dir, f.images)
	check(t, err)
	if len(g.Measured.Spreads) != 1 || !strings.HasPrefix(g.Measured.Left, "half: ") || !strings.Contains(g.Measured.Left, "out of memory") {
		t.Errorf("measured %+v", g.Measured)
	}
	check(t, g.Write(new(bytes.Buffer)))
	m = f.ways(t, false)
	m.Ways = append(m.Ways, Way{Name: "own", Worker: infer.New(dead)})
	if _, err := m.Record(t.Context(), s, f.dir, f.images); err == nil || !strings.Contains(err.Error(), "own: ") {
		t.Errorf("a way of its own died: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.ways(t, false).Record(ctx, s, f.dir, f.images); err == nil {
		t.Error("cancelled, it recorded")
	}
	if _, err := f.ways(t, false).Record(t.Context(), s, f.dir, nil); err == nil {
		t.Error("no pictures were recorded")
	}
}

// TestSpread: what no tolerance covers is the picture's fault.
func TestSpread(t *testing.T) {
	was := func(d ...vision.Detection) *seen {
		return &seen{detections: d, parts: []judged{{decision: vision.Decision{Verdict: vision.Pass}}}}
	}
	failed := was()
	failed.parts[0].decision.Verdict = vision.Fail
	for name, c := range map[string]struct {
		a, b       *seen
		score, iou float32
		want       string
	}{
		"the same":          {was(detection("a", 0.9, 0)), was(detection("a", 0.9, 0)), 0, 1, ""},
		"a score":           {was(detection("a", 0.9, 0)), was(detection("a", 0.875, 0)), 0.025, 1, ""},
		"a box":             {was(detection("a", 0.9, 0)), was(detection("a", 0.9, 1)), 0, 99. / 101, ""},
		"a weak one":        {was(detection("a", 0.125, 0)), was(), 0.025, 1, ""},
		"two that lie near": {was(detection("a", 0.9, 0), detection("a", 0.5, 20)), was(detection("a", 0.5, 20), detection("a", 0.9, 0)), 0, 1, ""},
		"a strong one":      {was(detection("a", 0.5, 0)), was(), 0.4, 1, "one that moves by 0.400"},
		"a box far off":     {was(detection("a", 0.9, 0)), was(detection("a", 0.9, 20)), 0, 80. / 120, "one that keeps only 0.667"},
		"a verdict":         {was(), failed, 0, 1, "expected PASS PASS, found FAIL FAIL: leave the picture out"},
	} {
		s := bundle.Spread{IoU: 1}
		err := spread(&s, c.a, c.b, "golden/p.jpg", 0.1)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), "golden/p.jpg") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if abs(s.Score-c.score) > 1e-6 || abs(s.IoU-c.iou) > 1e-6 {
			t.Errorf("%s: moved by %v and %v, want %v and %v", name, s.Score, s.IoU, c.score, c.iou)
		}
	}
}
