package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
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
	leastRaw   = 0.0001
)

// Way is one way to compute a subject's model other than the subject's own.
type Way struct {
	Name      string // for people, as "2 threads"
	Worker    *infer.Worker
	Precision string // "" for the subject's own, else one that the worker emulates
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
	info, err := s.Worker.Ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("record golden pictures: %w", err)
	}
	measured, err := m.measure(ctx, s, info, dir, pictures)
	if err != nil {
		return nil, fmt.Errorf("measure golden pictures: %w", err)
	}
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

// measure runs the pictures in each way.
func (m Measuring) measure(ctx context.Context, s Subject, info infer.Info, dir fs.FS, pictures []string) (*bundle.Measured, error) {
	out := &bundle.Measured{Threads: m.Threads, Graph: m.Graph, Margin: Margin, Left: m.Left}
	own := &bundle.Spread{Provider: info.Provider, Precision: info.Precision, IoU: 1}
	out.Spreads = append(out.Spreads, *own)
	was, err := lookAll(ctx, s, dir, pictures)
	if err != nil {
		return nil, err
	}
	for n, w := range m.Ways {
		if m.Progress != nil {
			m.Progress(n, len(m.Ways), w.Name)
		}
		precision := w.Precision
		if precision == "" {
			precision = info.Precision
		}
		emulated := precision != info.Precision
		at := slices.IndexFunc(out.Spreads, func(x bundle.Spread) bool { return x.Precision == precision })
		if at < 0 {
			at = len(out.Spreads)
			out.Spreads = append(out.Spreads, bundle.Spread{Provider: info.Provider, Precision: precision, Emulated: emulated, IoU: 1})
		}
		other := s
		other.Worker = w.Worker
		is, err := runWay(ctx, other, dir, pictures)
		if err == nil {
			err = spread(&out.Spreads[at], was, is, pictures, s.Lowest)
		}
		switch {
		case err != nil && ctx.Err() == nil && emulated: // told, and not held against the bundle
			out.Left = joined(out.Left, fmt.Sprintf("%s: %v", w.Name, err))
			out.Spreads = slices.Delete(out.Spreads, at, at+1)
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	return out, nil
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

// runWay looks at the pictures with a worker that runs for that long.
func runWay(ctx context.Context, s Subject, dir fs.FS, pictures []string) ([]*seen, error) {
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Worker.Run(running) }()
	all, err := lookAll(ctx, s, dir, pictures)
	stop()
	<-done // the looks have heard of the worker's error, if it has one
	return all, err
}

func lookAll(ctx context.Context, s Subject, dir fs.FS, pictures []string) ([]*seen, error) {
	l := newLooker(s, dir)
	defer l.close()
	var all []*seen
	var faults []error
	for _, name := range pictures {
		found, err := l.look(ctx, name, defaultSamples)
		var refused Refusal
		if errors.As(err, &refused) {
			faults = append(faults, refused)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		} else if found.broken > 0 {
			faults = append(faults, Refusal{Picture: name, What: WhatNumbers, Expected: "numbers", Found: fmt.Sprintf("%d values that are NaN, infinite or out of range", found.broken)})
		}
		all = append(all, found)
	}
	return all, errors.Join(faults...)
}

// spread widens s by how far the pictures' answers moved. A verdict that moved is
// an error, and what moved further than any tolerance: the picture must go.
func spread(s *bundle.Spread, was, is []*seen, pictures []string, lowest float32) error {
	var faults []error
	for i := range was {
		fault := func(what, expected, found string) {
			faults = append(faults, Refusal{Picture: pictures[i], What: what, Expected: expected, Found: found + ": leave the picture out"})
		}
		if a, b := verdicts(was[i]), verdicts(is[i]); a != b {
			fault(WhatVerdict, a, b)
			continue
		}
		own := bundle.Spread{IoU: 1}
		spreadDetections(&own, was[i].detections, is[i].detections, lowest)
		switch {
		case own.Score*Margin > bundle.MaxScoreTolerance:
			fault(WhatScore, "scores that stay", fmt.Sprintf("one that moves by %.3f, three times that is more than a tolerance may be", own.Score))
		case 1-(1-own.IoU)*Margin < bundle.LeastIoU:
			fault(WhatBox, "boxes that stay", fmt.Sprintf("one that keeps only %.3f of its place", own.IoU))
		}
		s.Score, s.IoU = max(s.Score, own.Score), min(s.IoU, own.IoU)
		for n, o := range was[i].raw {
			if n >= len(is[i].raw) || len(is[i].raw[n].Values) != len(o.Values) {
				fault(WhatOutput, o.Name, "an output of another size")
				continue
			}
			spreadRaw(s, o, is[i].raw[n])
		}
	}
	return errors.Join(faults...)
}

func verdicts(s *seen) string {
	all := []string{}
	for _, j := range s.parts {
		all = append(all, j.decision.Verdict.String())
	}
	slices.Sort(all)
	return strings.Join(append([]string{s.worst().Verdict.String()}, all...), " ")
}

// spreadDetections pairs what was found with what is, the best overlap first.
func spreadDetections(s *bundle.Spread, was, is []vision.Detection, lowest float32) {
	type fit struct {
		i, j int
		iou  float32
	}
	var fits []fit
	for i, a := range was {
		for j, b := range is {
			if iou := a.Box.IoU(b.Box); a.Label == b.Label && iou >= bundle.LeastIoU {
				fits = append(fits, fit{i, j, iou})
			}
		}
	}
	slices.SortStableFunc(fits, func(a, b fit) int {
		switch {
		case a.iou > b.iou:
			return -1
		case a.iou < b.iou:
			return 1
		}
		return 0
	})
	left, right := make([]bool, len(was)), make([]bool, len(is))
	for _, f := range fits {
		if left[f.i] || right[f.j] {
			continue
		}
		left[f.i], right[f.j] = true, true
		s.Score = max(s.Score, abs(was[f.i].Score-is[f.j].Score))
		s.IoU = min(s.IoU, f.iou)
	}
	alone := func(dets []vision.Detection, taken []bool) { // it came from below the lowest score
		for i, d := range dets {
			if !taken[i] {
				s.Score = max(s.Score, d.Score-lowest)
			}
		}
	}
	alone(was, left)
	alone(is, right)
}

// spreadRaw widens the spread of one output.
func spreadRaw(s *bundle.Spread, was, is infer.RawSample) {
	at := slices.IndexFunc(s.Raw, func(r bundle.RawSpread) bool { return r.Name == was.Name })
	if at < 0 {
		at = len(s.Raw)
		s.Raw = append(s.Raw, bundle.RawSpread{Name: was.Name})
	}
	far, largest := float32(0), float32(0)
	for i, v := range was.Values {
		far, largest = max(far, abs(v-is.Values[i])), max(largest, abs(v))
	}
	if largest > 0 {
		s.Raw[at].Spread = max(s.Raw[at].Spread, far/largest)
	}
}

// choose makes tolerances of the spreads, and gives the widest.
func (m Measuring) choose(measured *bundle.Measured) (bundle.Tolerance, error) {
	widest := bundle.Tolerance{IoU: 1}
	for i := range measured.Spreads {
		s := &measured.Spreads[i]
		s.Tolerance = bundle.Tolerance{Score: max(leastScore, Margin*s.Score), IoU: min(1-leastSlack, 1-Margin*(1-s.IoU)), Raw: leastRaw}
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
	outputs map[string]float32 // of raw outputs, by name; those that aren't there go by Raw
	lowest  float32            // score from which detections were recorded
}

// limitsFor are those for a device that computes so; a golden file without a
// measurement has the same for all.
func limitsFor(g *bundle.Golden, provider, precision string) limits {
	t, s := g.Within(provider, precision)
	l := limits{Tolerance: t, lowest: g.Lowest, outputs: map[string]float32{}}
	if s != nil {
		for _, r := range s.Raw {
			l.outputs[r.Name] = r.Tolerance
		}
	}
	return l
}

// raw is the limit of an output's values, relative to the largest of them.
func (l limits) raw(name string) float32 {
	if t, ok := l.outputs[name]; ok && !math.IsNaN(float64(t)) {
		return t
	}
	return l.Raw
}
