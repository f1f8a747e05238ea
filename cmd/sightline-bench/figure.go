package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// figures are the measurements that make bench runs, in the table's order. P8 is the first:
// once this program has the runtime's library mapped it shares pages with what is weighed.
func figures() []Figure {
	return []Figure{p8(), p1(), p2(), p3(), p5(), p6(), p7(), p9(), p10(), p12(), p13(), p14(), p15(), plcDoor(), oipFigure(), recipes(), hotSwap(), handover(), idlecams(), decodes(), evalFigure(), pitting()}
}

// A Figure measures one of our promises against the bare thing, in one run.
type Figure struct {
	ID   string // "P1"; its rows are "P1" or "P1/…"
	What string // one line, with the units
	Goal string // of its rows unless a row states its own: ">= x", "<= x", "told" (less is better) or "told >=" (more is)
	// Run measures. Its error is a LeftOut where something is absent here.
	Run func(context.Context, *Env) ([]Row, error)
}

// Env is what a figure finds on this machine.
type Env struct {
	Root   string // top of the tree
	Bin    string // folder of the built programs
	Data   string // the shared real data, "" where it is absent
	ORT    string // ONNX Runtime's library
	Python string // interpreter with the pinned opencv-python, "" where it is absent
	Rounds int    // how often A and B take turns, at least 5
	Log    io.Writer
}

// Row is one line of bench.json.
type Row struct {
	ID    string  `json:"id"`
	What  string  `json:"what"`            // with the units of Ours and Bare
	Ours  float64 `json:"ours"`            // median over the rounds
	Bare  float64 `json:"bare"`            // the same of the bare thing
	Ratio float64 `json:"ratio"`           // Ours / Bare
	Worst float64 `json:"worst"`           // the ratio of the round that was worst for us
	Goal  string  `json:"goal"`            // of Ratio
	Noise float64 `json:"noise,omitempty"` // p99 / p50 of the bare thing; 0: it is a limit, or there was one run
}

// LeftOut is the error of a figure that can't be measured here, and why.
type LeftOut string

func (l LeftOut) Error() string { return "left out: " + string(l) }

// choose picks the figures named in only, separated by commas or spaces; all
// of them if it is empty.
func choose(all []Figure, only string) ([]Figure, error) {
	words := strings.FieldsFunc(only, func(r rune) bool { return r == ',' || r == ' ' })
	if len(words) == 0 {
		return all, nil
	}
	var chosen []Figure
	for _, w := range words {
		i := slices.IndexFunc(all, func(f Figure) bool { return f.ID == w })
		if i < 0 {
			var ids []string
			for _, f := range all {
				ids = append(ids, f.ID)
			}
			return nil, fmt.Errorf("no figure is called %q: there are %s", w, strings.Join(ids, ", "))
		}
		if !slices.ContainsFunc(chosen, func(f Figure) bool { return f.ID == w }) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}

// owns reports whether a row's id is the figure's: P1 owns P1 and P1/x, not P13.
func (f Figure) owns(id string) bool {
	return id == f.ID || strings.HasPrefix(id, f.ID+"/")
}

// measure runs the figures one after the other. It goes on after one that
// fails and gives all the reasons together; one that is left out only says why.
func measure(ctx context.Context, chosen []Figure, env *Env) (rows []Row, failed error) {
	for _, f := range chosen {
		fmt.Fprintf(env.Log, "==> %s: %s\n", f.ID, f.What)
		got, err := f.Run(ctx, env)
		for _, row := range got {
			if row.Goal == "" {
				row.Goal = f.Goal
			}
			if wrong := checkRow(f, row); wrong != nil {
				failed = errors.Join(failed, wrong)
				continue
			}
			rows = append(rows, row)
		}
		var left LeftOut
		if errors.As(err, &left) {
			fmt.Fprintf(env.Log, "    %v\n", err)
		} else if err != nil {
			failed = errors.Join(failed, fmt.Errorf("measure %s: %w", f.ID, err))
		}
		if ctx.Err() != nil {
			return rows, errors.Join(failed, ctx.Err())
		}
	}
	return rows, failed
}
