package gate

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/sightline-edge/sightline/updater/bundle"
)

// steady is how far a score may move in a picture that Fit takes, three times over:
// a picture that moves further would make all tolerances blunt.
const steady = 0.05

// Fit records those of the pictures inside dir that are fit to be golden: whose
// outcome isn't chance, and whose answers hardly move in the other ways of
// computing. unfit says why the others aren't, by picture.
func (m Measuring) Fit(ctx context.Context, s Subject, dir fs.FS, pictures []string) (g *bundle.Golden, unfit map[string]error, err error) {
	v, err := m.survey(ctx, s, dir, pictures)
	if err != nil {
		return nil, nil, fmt.Errorf("measure pictures: %w", err)
	}
	unfit = map[string]error{}
	v = v.without(func(i int) bool {
		err := v.unfit(i)
		if err != nil {
			unfit[pictures[i]] = err
		}
		return err != nil
	})
	measured := v.measured(m)
	widest, err := m.choose(measured)
	if err != nil {
		return nil, nil, fmt.Errorf("measure pictures: %w", err)
	}
	g, faults, err := recordFit(ctx, s, dir, v.pictures, widest)
	if err != nil {
		return nil, nil, fmt.Errorf("record pictures: %w", err)
	}
	g.Measured = measured
	for i, err := range faults {
		if err != nil {
			unfit[v.pictures[i]] = err
		}
	}
	return g, unfit, nil
}

// unfit says why a picture isn't fit.
func (v *survey) unfit(i int) error {
	if v.own[i] != nil {
		return v.own[i]
	}
	for _, w := range v.ways {
		switch {
		case w.err != nil: // said of all
		case w.faults[i] != nil:
			return fmt.Errorf("%s: %w", w.Name, w.faults[i])
		case w.spreads[i].Score*Margin > steady:
			return Refusal{Picture: v.pictures[i], What: WhatScore, Expected: "scores that stay", Found: fmt.Sprintf("one that moves by %.3f with %s", w.spreads[i].Score, w.Name)}
		}
	}
	return nil
}

// without leaves pictures out.
func (v *survey) without(leave func(i int) bool) *survey {
	left := &survey{provider: v.provider, precision: v.precision}
	for _, w := range v.ways {
		left.ways = append(left.ways, surveyed{Way: w.Way, provider: w.provider, err: w.err})
	}
	for i, name := range v.pictures {
		if leave(i) {
			continue
		}
		left.pictures, left.own, left.was = append(left.pictures, name), append(left.own, v.own[i]), append(left.was, v.was[i])
		for n, w := range v.ways {
			if w.err == nil {
				x := &left.ways[n]
				x.spreads, x.faults = append(x.spreads, w.spreads[i]), append(x.faults, w.faults[i])
			}
		}
	}
	return left
}
