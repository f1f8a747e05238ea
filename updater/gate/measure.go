package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
)

// Margin is how many times the measured spread a tolerance is: other processors
// order their sums in ways that weren't tried.
const Margin = 3

// What a tolerance is at least, whatever was measured: a spread of nothing on one
// machine isn't one everywhere.
const (
	leastScore = 0.001
	leastSlack = 0.02 // of the overlap: a pixel at a box 50 pixels long
	leastRaw   = 0.00002
)

// Way is one way to compute a subject's model other than the subject's own.
type Way struct {
	Name      string // for people, as "2 threads"
	Worker    *infer.Worker
	Emulated  bool   // the worker rounds to Precision, on whatever provider; not tried where the subject computes so itself
	Precision string // of an emulation; the others have the subject's own
}

// Measuring records golden vectors whose tolerances come from how far the answers
// move in other ways of computing.
type Measuring struct {
	Ways     []Way
	Threads  []int // that the ways have, for the record
	Graph    []string
	Left     string // what couldn't be tried, and why; "" for nothing
	Hand     bundle.Tolerance
	Progress func(done, of int, name string) // before each way; may be nil
}

// Record makes the golden vectors of the subject for pictures inside dir, as Record
// does, with tolerances of Margin times what was measured. Those of Hand that aren't
// 0 are taken instead, if they don't lie below what was measured.
func (m Measuring) Record(ctx context.Context, s Subject, dir fs.FS, pictures []string) (*bundle.Golden, error) {
	if len(pictures) == 0 {
		return nil, errNoPictures
	}
	v, err := m.survey(ctx, s, dir, pictures)
	if err == nil {
		err = v.faults()
	}
	if err != nil {
		return nil, fmt.Errorf("measure golden pictures: %w", err)
	}
	return m.record(ctx, s, dir, pictures, v.measured(m))
}

func (m Measuring) record(ctx context.Context, s Subject, dir fs.FS, pictures []string, measured *bundle.Measured) (*bundle.Golden, error) {
	widest, err := m.choose(measured)
	if err != nil {
		return nil, fmt.Errorf("measure golden pictures: %w", err)
	}
	g, err := Record(ctx, s, dir, pictures, widest)
	if err == nil {
		g.Measured = measured
	}
	return g, err
}

// survey is what pictures said in each way.
type survey struct {
	provider, precision string // the subject's own
	pictures            []string
	was                 []*seen // what the subject itself says
	own                 []error // why a picture can't be used at all
	ways                []surveyed
}

// surveyed is one way: how far each picture's answers moved, and what no tolerance
// covers. err is of the way as a whole.
type surveyed struct {
	Way
	provider string
	spreads  []bundle.Spread
	faults   []error
	err      error
}

// survey runs the pictures as the subject does, and in each way. A way that fails
// as a whole is an error, unless it is only emulated.
func (m Measuring) survey(ctx context.Context, s Subject, dir fs.FS, pictures []string) (*survey, error) {
	info, err := s.Worker.Ready(ctx)
	if err != nil {
		return nil, err
	}
	v := &survey{provider: info.Provider, precision: info.Precision, pictures: pictures}
	was, faults, err := lookAll(ctx, s, dir, pictures)
	if err != nil {
		return nil, err
	}
	v.was, v.own = was, faults
	ways := slices.DeleteFunc(slices.Clone(m.Ways), func(w Way) bool { return w.Emulated && w.Precision == info.Precision })
	for n, w := range ways {
		if m.Progress != nil {
			m.Progress(n, len(ways), w.Name)
		}
		other := s
		other.Worker = w.Worker
		on, is, faults, err := runWay(ctx, other, dir, pictures)
		if ctx.Err() != nil || err != nil && !w.Emulated {
			return nil, fmt.Errorf("%s: %w", w.Name, cmp.Or(err, ctx.Err()))
		}
		x := surveyed{Way: w, provider: on.Provider, faults: faults, err: err}
		if !w.Emulated {
			x.provider, x.Precision = info.Provider, info.Precision
		}
		for i := range is {
			one := bundle.Spread{IoU: 1}
			if v.own[i] == nil && faults[i] == nil {
				x.faults[i] = spread(&one, was[i], is[i], pictures[i], s.Lowest)
			}
			x.spreads = append(x.spreads, one)
		}
		v.ways = append(v.ways, x)
	}
	return v, nil
}

// faults are those that no picture may have: its own, and those of ways of the
// device's own precision.
func (v *survey) faults() error {
	faults := v.own
	for _, w := range v.ways {
		if err := errors.Join(w.faults...); err != nil && !w.Emulated {
			faults = append(faults, fmt.Errorf("%s: %w", w.Name, err))
		}
	}
	return errors.Join(faults...)
}

// measured joins the spreads of all pictures. What is emulated and failed is left out
// and told.
func (v *survey) measured(m Measuring) *bundle.Measured {
	out := &bundle.Measured{Threads: m.Threads, Graph: m.Graph, Margin: Margin, Left: m.Left}
	out.Spreads = append(out.Spreads, bundle.Spread{Provider: v.provider, Precision: v.precision, Processor: runtime.GOARCH, IoU: 1})
	for _, w := range v.ways {
		if err := errors.Join(append(w.faults, w.err)...); err != nil {
			out.Left = joined(out.Left, fmt.Sprintf("%s: %v", w.Name, err))
			out.Spreads = slices.DeleteFunc(out.Spreads, func(x bundle.Spread) bool { return x.Emulated && x.Precision == w.Precision })
			break
		}
		at := slices.IndexFunc(out.Spreads, func(x bundle.Spread) bool { return x.Precision == w.Precision && x.Emulated == w.Emulated })
		if at < 0 {
			at = len(out.Spreads)
			out.Spreads = append(out.Spreads, bundle.Spread{Provider: w.provider, Precision: w.Precision, Processor: runtime.GOARCH, Emulated: w.Emulated, IoU: 1})
		}
		for i := range w.spreads {
			widen(&out.Spreads[at], &w.spreads[i])
		}
	}
	largest := map[string]float32{}
	for _, s := range v.was {
		for _, o := range s.raw {
			largestOf(largest, o.Name, o.Values)
		}
	}
	for i := range out.Spreads {
		relative(&out.Spreads[i], largest)
	}
	return out
}

// joined is a line of both, no longer than a golden file takes.
func joined(a, b string) string {
	b = strings.ReplaceAll(b, "\n", "; ")
	if a != "" {
		b = a + "; " + b
	}
	if len(b) > maxLeft {
		b = b[:maxLeft-3] + "..."
	}
	return strings.ToValidUTF8(b, "")
}

// maxLeft bounds what is told of what couldn't be measured, in bytes.
const maxLeft = 1000

// runWay looks at the pictures with a worker that runs for that long, and says what
// it computes on.
func runWay(ctx context.Context, s Subject, dir fs.FS, pictures []string) (on infer.Info, all []*seen, faults []error, err error) {
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Worker.Run(running) }()
	if on, err = s.Worker.Ready(ctx); err == nil {
		all, faults, err = lookAll(ctx, s, dir, pictures)
	}
	stop()
	<-done // the looks have heard of the worker's error, if it has one
	return on, all, faults, err
}

// lookAll looks at all pictures, and tells why one can't be used.
func lookAll(ctx context.Context, s Subject, dir fs.FS, pictures []string) (all []*seen, faults []error, err error) {
	l := newLooker(s, dir)
	defer l.close()
	faults = make([]error, len(pictures))
	for i, name := range pictures {
		found, err := l.look(ctx, name, defaultSamples)
		var refused Refusal
		switch {
		case errors.As(err, &refused):
			faults[i] = refused
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		case found.broken > 0:
			faults[i] = Refusal{Picture: name, What: WhatNumbers, Expected: "numbers", Found: fmt.Sprintf("%d values that are NaN, infinite or out of range", found.broken)}
		}
		all = append(all, found)
	}
	return all, faults, nil
}

// choose makes tolerances of the spreads, and gives the widest.
func (m Measuring) choose(measured *bundle.Measured) (bundle.Tolerance, error) {
	widest := bundle.Tolerance{IoU: 1}
	for i := range measured.Spreads {
		s := &measured.Spreads[i]
		s.Tolerance = bundle.Tolerance{ // spread has seen to it that these may be; but for rounding
			Score: min(max(leastScore, Margin*s.Score), bundle.MaxScoreTolerance), IoU: max(min(1-leastSlack, 1-Margin*(1-s.IoU)), bundle.LeastIoU), Raw: leastRaw,
		}
		for n := range s.Raw {
			r := &s.Raw[n]
			r.Tolerance = min(max(leastRaw, Margin*r.Spread), bundle.MaxScoreTolerance)
			s.Tolerance.Raw = max(s.Tolerance.Raw, r.Tolerance)
		}
		if err := m.byHand(s); err != nil {
			return widest, err
		}
		t := s.Tolerance
		widest.Score, widest.IoU, widest.Raw = max(widest.Score, t.Score), min(widest.IoU, t.IoU), max(widest.Raw, t.Raw)
	}
	for _, h := range []struct {
		key string
		set bool
	}{{"score", m.Hand.Score != 0}, {"iou", m.Hand.IoU != 0}, {"raw", m.Hand.Raw != 0}} {
		if h.set {
			measured.ByHand = append(measured.ByHand, h.key)
		}
	}
	return widest, nil
}

// byHand puts what somebody chose over what was measured, unless the model itself
// moves further.
func (m Measuring) byHand(s *bundle.Spread) error {
	t := &s.Tolerance
	if h := m.Hand.Score; h != 0 {
		if t.Score = h; h < s.Score {
			return fmt.Errorf("the tolerance of scores, %v, is less than they move in %s %s, %v", h, s.Provider, s.Precision, s.Score)
		}
	}
	if h := m.Hand.IoU; h != 0 {
		if t.IoU = h; h > s.IoU {
			return fmt.Errorf("the least overlap, %v, is more than boxes keep in %s %s, %v", h, s.Provider, s.Precision, s.IoU)
		}
	}
	if h := m.Hand.Raw; h != 0 {
		t.Raw = h
		for n := range s.Raw {
			if s.Raw[n].Tolerance = h; h < s.Raw[n].Spread && !s.Emulated {
				return fmt.Errorf("the tolerance of raw values, %v, is less than output %s moves in %s %s, %v", h, s.Raw[n].Name, s.Provider, s.Precision, s.Raw[n].Spread)
			}
		}
	}
	return nil
}

// limits are what one device may differ by.
type limits struct {
	bundle.Tolerance
	outputs map[string]float32 // of raw outputs, absolute, by name; without, each goes by Raw and the picture's own largest
	lowest  float32            // score from which detections were recorded
}

// limitsFor are those of a device for which s was measured, with the tolerance t that
// comes of it; nil if nothing was: then t is for all outputs.
func limitsFor(g *bundle.Golden, t bundle.Tolerance, s *bundle.Spread) limits {
	l := limits{Tolerance: t, lowest: g.Lowest, outputs: map[string]float32{}}
	largest := map[string]float32{}
	for _, v := range g.Vectors {
		for _, o := range v.Outputs {
			largestOf(largest, o.Name, o.Values)
		}
	}
	for name, most := range largest {
		l.outputs[name] = t.Raw * most
	}
	if s == nil {
		return l
	}
	for _, r := range s.Raw {
		l.outputs[r.Name] = r.Tolerance * largest[r.Name]
	}
	return l
}

// raw is the limit of an output's values in a picture where that is the largest.
func (l limits) raw(name string, largest float32) float32 {
	if t, ok := l.outputs[name]; ok {
		return t
	}
	return l.Raw * largest
}
