package eval

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sightline-edge/sightline/vision/score"
)

// setting is the band as the configuration has it.
func (c *Cascade) setting() string {
	if c.Low > c.High {
		return "none: the small model alone does it"
	}
	return fmt.Sprintf("doubt: [%s, %s]", fourDigits(c.Low), fourDigits(c.High))
}

func fourDigits(v float64) string { return trimmed(v, 4) }

// verdict says whether the half that the band wasn't chosen on bears it out.
func (c *Cascade) verdict() string {
	if c.Met {
		return "the other half bears it out"
	}
	return "the other half doesn't bear it out: annotate more pictures, or ask for less"
}

// about says what was measured on what.
func (c *Cascade) about() string {
	return fmt.Sprintf("%d %s: the band was chosen on %d of them, and what follows was measured on the other %d (bounds at 95 %%). A look of the small model takes %s ms, one of the large model %s ms; cost is a part's time on average, the large model alone taken as 1",
		c.Units, c.Unit, c.Chosen.Pictures, c.Checked.Pictures, short(c.SmallMS), short(c.LargeMS))
}

// table has the small model alone, the proposal, and the large one alone.
func (c *Cascade) table() textTable {
	t := textTable{"Cascade", []string{"what looks", "in doubt", "escapes", "false rejects", "ms", "cost"}, nil}
	add := func(name string, o Outcome) { t.rows = append(t.rows, append([]cell{{text: name}}, o.cells()...)) }
	add("the small model alone", c.SmallAlone)
	add("both, the band proposed", c.Checked.Outcome)
	add("the large model alone", c.LargeAlone)
	return t
}

func (o Outcome) cells() []cell {
	return []cell{{text: percents(o.Looks)}, shareCell(&o.Escapes), shareCell(&o.FalseRejects), {text: trimmed(o.MS, 2)}, {text: trimmed(o.Cost, 3)}}
}

func percents(s score.Share) string {
	if s.N == 0 {
		return ""
	}
	return trimmed(100*s.Rate(), 1) + " %"
}

// costTable has the best band for each cost.
func (c *Cascade) costTable() textTable {
	t := textTable{"Accuracy against cost: for each cost the band with the fewest errors", []string{"cost", "band", "in doubt", "escapes", "false rejects"}, nil}
	for _, s := range c.Curve {
		name := "none"
		if s.Low <= s.High {
			name = "[" + fourDigits(s.Low) + ", " + fourDigits(s.High) + "]"
		}
		t.rows = append(t.rows, []cell{{text: trimmed(s.Cost, 3)}, {text: name}, {text: percents(s.Looks)}, shareCell(&s.Escapes), shareCell(&s.FalseRejects)})
	}
	return t
}

func (c *Cascade) write(b *strings.Builder) {
	if c == nil {
		return
	}
	t := c.table()
	t.title += " with " + c.Large
	t.write(b)
	fold(b, "  ", c.about()+".")
	b.WriteString("\n")
	fold(b, "  Proposed: ", c.setting()+" – "+c.Asked+"; "+c.verdict()+".")
	c.costTable().write(b)
	c.draw(b)
}

// barWidth is of the longest bar, columns.
const barWidth = 40

// draw has a bar for the errors at each cost: escapes in full, false rejects behind.
func (c *Cascade) draw(b *strings.Builder) {
	most := 0.0
	for _, s := range c.Curve {
		most = max(most, rate(s.Escapes)+rate(s.FalseRejects))
	}
	if most == 0 {
		return
	}
	b.WriteString("\n  cost   escapes █ and false rejects ░, in % of the bad and of the good\n")
	for _, s := range c.Curve {
		n := func(v float64) int { return int(math.Ceil(v / most * barWidth)) }
		e, f := rate(s.Escapes), rate(s.FalseRejects)
		fmt.Fprintf(b, "  %-6s %s%s %s + %s\n", strconv.FormatFloat(s.Cost, 'f', 3, 64), strings.Repeat("█", n(e)), strings.Repeat("░", n(f)), trimmed(100*e, 1), trimmed(100*f, 1))
	}
}

func rate(s score.Share) float64 {
	if s.N == 0 {
		return 0
	}
	return s.Rate()
}
