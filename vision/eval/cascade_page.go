package eval

import (
	"fmt"
	"math"
	"strings"

	"github.com/sightline-edge/sightline/vision/score"
)

// cascadePage is the cascade as the page shows it.
type cascadePage struct {
	Large, About, Setting, Asked, Verdict string
	Met                                   bool
	Table, Costs                          pageTable
	Plot                                  costPlot
}

// costPlot is escapes and false rejects over the cost. Its paths lie in a box of
// 1000×100, y down.
type costPlot struct {
	Desc                  string
	Ticks, Rates          []mark
	Escapes, FalseRejects steps
	Proposed              mark
}

func (c *Cascade) page() *cascadePage {
	if c == nil {
		return nil
	}
	p := &cascadePage{Large: c.Large, About: c.about(), Setting: c.setting(), Asked: c.Asked, Verdict: c.verdict(), Met: c.Met, Table: viewOf(c.table()), Costs: viewOf(c.costTable())}
	p.Table.Title = "Small, large and both"
	most, top := 1.0, 0.0
	for _, s := range c.Curve {
		most = max(most, s.Cost)
		for _, share := range []score.Share{s.Escapes, s.FalseRejects} {
			_, high := share.Interval()
			top = max(top, high)
		}
	}
	top = roundUp(top)
	p.Plot = costPlot{
		Escapes:      c.lines(most, top, func(s *Step) score.Share { return s.Escapes }),
		FalseRejects: c.lines(most, top, func(s *Step) score.Share { return s.FalseRejects }),
		Proposed:     mark{At: trimmed(100*c.Checked.Cost/most, 2), Label: "proposed " + short(c.Checked.Cost), Kind: "suggested", Left: c.Checked.Cost > most/2},
	}
	for i := range 5 {
		share := float64(i) / 4
		p.Plot.Rates = append(p.Plot.Rates, mark{At: trimmed(100*(1-share), 2), Label: trimmed(100*top*share, 2)})
	}
	p.Plot.Ticks = append(p.Plot.Ticks, axis{0, most}.ticks()...)
	var words []string
	for _, s := range c.Curve {
		words = append(words, fmt.Sprintf("at cost %s escapes %s and false rejects %s", short(s.Cost), s.Escapes, s.FalseRejects))
	}
	p.Plot.Desc = strings.Join(words, "; ")
	return p
}

// roundUp is the next of 1, 2 and 5 times a power of ten, at most 1.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 0.01
	}
	step := math.Pow(10, math.Floor(math.Log10(v)))
	for _, by := range []float64{1, 2, 5, 10} {
		if v <= step*by {
			return min(step*by, 1)
		}
	}
	return 1
}

// lines joins what was measured at each cost, with its interval.
func (c *Cascade) lines(most, top float64, of func(*Step) score.Share) steps {
	y := func(share float64) string { return trimmed(100*(1-min(share/top, 1)), 2) }
	var line, upper, lower strings.Builder
	out := steps{}
	for i := range c.Curve {
		s := &c.Curve[i]
		share := of(s)
		low, high := share.Interval()
		x, cmd := trimmed(1000*s.Cost/most, 1), "L"
		if i == 0 {
			cmd = "M"
		}
		fmt.Fprintf(&line, "%s%s %s", cmd, x, y(rate(share)))
		fmt.Fprintf(&upper, "%s%s %s", cmd, x, y(high))
		back := lower.String()
		lower.Reset()
		fmt.Fprintf(&lower, "L%s %s%s", x, y(low), back)
		out.Of = share.N
	}
	out.Line, out.Band = line.String(), upper.String()+lower.String()+"Z"
	return out
}
