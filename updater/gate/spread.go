package gate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

// spread is how far a picture's answers moved. What no tolerance covers is the
// error: a verdict that moved, or a score or box that moved further than any may.
func spread(s *bundle.Spread, was, is *seen, name string, lowest float32) error {
	var faults []error
	fault := func(what, expected, found string) {
		faults = append(faults, Refusal{Picture: name, What: what, Expected: expected, Found: found + ": leave the picture out"})
	}
	if a, b := verdicts(was), verdicts(is); a != b {
		fault(WhatVerdict, a, b)
		return errors.Join(faults...)
	}
	spreadDetections(s, was.detections, is.detections, lowest)
	switch {
	case s.Score*Margin > bundle.MaxScoreTolerance:
		fault(WhatScore, "scores that stay", fmt.Sprintf("one that moves by %.3f, three times that is more than a tolerance may be", s.Score))
	case 1-(1-s.IoU)*Margin < bundle.LeastIoU:
		fault(WhatBox, "boxes that stay", fmt.Sprintf("one that keeps only %.3f of its place", s.IoU))
	}
	for n, o := range was.raw {
		if n >= len(is.raw) || len(is.raw[n].Values) != len(o.Values) {
			fault(WhatOutput, o.Name, "an output of another size")
			continue
		}
		spreadRaw(s, o, is.raw[n])
	}
	return errors.Join(faults...)
}

// widen makes s cover another spread.
func widen(s, by *bundle.Spread) {
	s.Score, s.IoU = max(s.Score, by.Score), min(s.IoU, by.IoU)
	for _, r := range by.Raw {
		at := rawOf(s, r.Name)
		s.Raw[at].Spread = max(s.Raw[at].Spread, r.Spread)
	}
}

// rawOf is where the spread of an output stands, which is added if it isn't there.
func rawOf(s *bundle.Spread, name string) int {
	at := slices.IndexFunc(s.Raw, func(r bundle.RawSpread) bool { return r.Name == name })
	if at < 0 {
		at = len(s.Raw)
		s.Raw = append(s.Raw, bundle.RawSpread{Name: name})
	}
	return at
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
	slices.SortStableFunc(fits, func(a, b fit) int { return cmp.Compare(b.iou, a.iou) })
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

// spreadRaw widens the spread of one output, which is absolute until relative is told.
func spreadRaw(s *bundle.Spread, was, is infer.RawSample) {
	at := rawOf(s, was.Name)
	for i, v := range was.Values {
		s.Raw[at].Spread = max(s.Raw[at].Spread, abs(v-is.Values[i]))
	}
}

// relative makes a spread's raw values relative to the largest of each output.
func relative(s *bundle.Spread, largest map[string]float32) {
	for i := range s.Raw {
		if most := largest[s.Raw[i].Name]; most > 0 {
			s.Raw[i].Spread /= most
		}
	}
}

// largestOf adds the largest value of an output's sample.
func largestOf(largest map[string]float32, name string, values []float32) {
	for _, v := range values {
		largest[name] = max(largest[name], abs(v))
	}
}
