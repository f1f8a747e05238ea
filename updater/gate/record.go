package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
)

var errNoPictures = errors.New("record golden pictures: none are given")

// Record makes the golden vectors of the subject for pictures, which are
// paths inside dir. Each is run twice: a model that doesn't agree with itself
// can't be held to anything. Pictures whose outcome hangs on a score within
// the tolerance are refused, all of them in one error, since another device
// might rightly decide otherwise.
func Record(ctx context.Context, s Subject, dir fs.FS, pictures []string, tol bundle.Tolerance) (*bundle.Golden, error) {
	if len(pictures) == 0 {
		return nil, errNoPictures
	}
	g, faults, err := recordFit(ctx, s, dir, pictures, tol)
	if err == nil {
		err = errors.Join(faults...)
	}
	if err != nil {
		return nil, fmt.Errorf("record golden pictures: %w", err)
	}
	return g, nil
}

// recordFit is Record of those pictures that are fit; faults say of each, nil for
// none, why it isn't.
func recordFit(ctx context.Context, s Subject, dir fs.FS, pictures []string, tol bundle.Tolerance) (g *bundle.Golden, faults []error, err error) {
	if err := tol.Check(); err != nil {
		return nil, nil, err
	}
	info, err := s.Worker.Ready(ctx)
	if err != nil {
		return nil, nil, err
	}
	g = &bundle.Golden{
		Golden:    bundle.GoldenVersion,
		Recorded:  bundle.Recorded{Provider: info.Provider, Precision: info.Precision, Runtime: info.Runtime, Agent: s.Agent},
		Tolerance: tol, Lowest: s.Lowest, Settings: s.Settings, Vectors: []bundle.Vector{},
	}
	l := newLooker(s, dir)
	defer l.close()
	faults = make([]error, len(pictures))
	for i, name := range pictures {
		v, err := l.record(ctx, name, g)
		var refused Refusal
		switch {
		case errors.As(err, &refused):
			faults[i] = refused
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		default:
			g.Vectors = append(g.Vectors, *v)
		}
	}
	return g, faults, nil
}

// record makes the vector of one picture; a Refusal says why it is unfit.
func (l *looker) record(ctx context.Context, name string, g *bundle.Golden) (*bundle.Vector, error) {
	first, err := l.look(ctx, name, defaultSamples)
	if err != nil {
		return nil, err
	}
	v := &bundle.Vector{Picture: name, Parts: []bundle.Judged{}, Detections: []bundle.Expected{}}
	worst := first.worst()
	v.Verdict, v.Reason = worst.Verdict.String(), worst.Reason
	for _, j := range first.parts {
		v.Parts = append(v.Parts, bundle.Judged{Box: numbers(j.part.Box), Verdict: j.decision.Verdict.String(), Reason: j.decision.Reason})
	}
	for _, d := range first.detections {
		v.Detections = append(v.Detections, bundle.Expected{Label: d.Label, Score: d.Score, Box: numbers(d.Box)})
	}
	for _, r := range first.raw {
		v.Outputs = append(v.Outputs, bundle.RawOutput{Name: r.Name, Shape: r.Shape, Every: r.Every, Values: r.Values})
	}
	if err := l.fit(name, first, g.Tolerance.Score); err != nil {
		return nil, err
	}
	again, err := l.look(ctx, name, defaultSamples)
	if err != nil {
		return nil, err
	}
	if d := compare(v, again, limits{Tolerance: g.Tolerance, lowest: g.Lowest}, true); len(d) > 0 {
		d[0].Found += " at the second run of the same picture"
		return nil, d[0]
	}
	return v, nil
}

// fit refuses a picture whose outcome would be chance on another device.
func (l *looker) fit(name string, s *seen, tol float32) error {
	start := l.subject.Track.Start
	unfit := func(expected, found string) error {
		return Refusal{Picture: name, What: WhatGolden, Expected: expected, Found: found + ": choose a clearer picture or a smaller tolerance"}
	}
	if s.broken > 0 {
		return Refusal{Picture: name, What: WhatNumbers, Expected: "numbers", Found: fmt.Sprintf("%d values that are NaN, infinite or out of range", s.broken)}
	}
	for _, d := range s.detections {
		if l.subject.Track.Roles[d.Label] == vision.PartRole && abs(d.Score-start) <= tol {
			return unfit("scores that make clear what is a part", fmt.Sprintf("%s scores %.3f, a part starts at %.3f", d.Label, d.Score, start))
		}
	}
	for _, j := range s.parts {
		if j.decision.Reason == vision.ReasonRuleFailed {
			return Refusal{Picture: name, What: WhatVerdict, Expected: "a decision", Found: "the rule failed"}
		}
		for _, m := range j.decision.Measurements {
			if d := m.Value - m.Limit; m.Unit == "" && d <= float64(tol) && d >= -float64(tol) {
				return unfit("a clear verdict", fmt.Sprintf("%s %.3f, the rule's limit is %.3f", m.Name, m.Value, m.Limit))
			}
		}
	}
	return nil
}

func numbers(b vision.Box) [4]float32 { return [4]float32{b.X, b.Y, b.W, b.H} }
