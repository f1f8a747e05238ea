package main

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// A Sample is what one turn of one side gave.
type Sample struct {
	Value float64   // the turn's figure, in the unit that the row states
	Each  []float64 // its single repetitions, for the noise; may be empty
}

// Turn measures one side once.
type Turn func(context.Context) (Sample, error)

// Compare lets ours and the bare thing take turns, env.Rounds times each, the
// first one changing, so that a machine that slows down slows both. The row
// has the medians; its ratio is theirs.
func (env *Env) Compare(ctx context.Context, row Row, ours, bare Turn) (Row, error) {
	var a, b, ratios, each []float64
	for round := range max(env.Rounds, 5) {
		x, y, err := turns(ctx, round, ours, bare)
		if err != nil {
			return Row{}, fmt.Errorf("%s, round %d: %w", row.ID, round+1, err)
		}
		a, b = append(a, x.Value), append(b, y.Value)
		ratios = append(ratios, x.Value/y.Value)
		each = append(each, y.Each...)
	}
	if len(each) == 0 {
		each = b
	}
	row.Ours, row.Bare = quantile(a, 0.5), quantile(b, 0.5)
	row.Ratio = row.Ours / row.Bare
	row.Worst = worst(ratios, row.Goal)
	if slices.Max(each) > slices.Min(each) { // else it is a limit
		row.Noise = quantile(each, 0.99) / quantile(each, 0.5)
	}
	fmt.Fprintf(env.Log, "    %s: %.4g, bare %.4g, ratio %.3f, worst %.3f\n", row.ID, row.Ours, row.Bare, row.Ratio, row.Worst)
	return row, nil
}

func turns(ctx context.Context, round int, ours, bare Turn) (x, y Sample, err error) {
	first, second := ours, bare
	if round%2 == 1 {
		first, second = bare, ours
	}
	if x, err = first(ctx); err != nil {
		return x, y, err
	}
	if y, err = second(ctx); err != nil {
		return x, y, err
	}
	if round%2 == 1 {
		x, y = y, x
	}
	return x, y, nil
}

// quantile is the value below which the share q of xs lies, between
// neighbours by their distance; NaN for none.
func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(xs))
	at := q * float64(len(s)-1)
	i := min(int(at), len(s)-1)
	j := min(i+1, len(s)-1)
	return s[i] + (s[j]-s[i])*(at-float64(i))
}
