package eval

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sightline-edge/sightline/vision/score"
)

// Cascade is what a small and a large model do together: the small one looks at each
// part, the large one at those whose score lies in a band. The band is chosen on one
// half of the pictures, and all that is told of it was measured on the other.
type Cascade struct {
	Large   string  `json:"large"`
	Unit    string  `json:"unit"` // what is counted: parts, or pictures where none are marked
	Units   int     `json:"units"`
	SmallMS float64 `json:"small_ms"` // median of a look
	LargeMS float64 `json:"large_ms"`

	Asked   string  `json:"asked"` // what the band was to reach, in words
	Low     float64 `json:"low"`   // the band, both ends included
	High    float64 `json:"high"`
	Met     bool    `json:"met"`     // the other half bears it out
	Chosen  Half    `json:"chosen"`  // the half that it was chosen on
	Checked Half    `json:"checked"` // the other one

	SmallAlone Outcome `json:"small_alone"` // these and the curve: on the other half
	LargeAlone Outcome `json:"large_alone"`
	Curve      []Step  `json:"curve"` // the best band for each cost
}

// Half is half of what was measured.
type Half struct {
	Pictures int `json:"units"`
	Outcome
}

// Step is a band with what it does.
type Step struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	Outcome
}

// Outcome is what a band does.
type Outcome struct {
	Looks        score.Share `json:"looks"` // in doubt, of all
	Escapes      score.Share `json:"escapes"`
	FalseRejects score.Share `json:"false_rejects"`
	MS           float64     `json:"ms"`   // of both models, on average
	Cost         float64     `json:"cost"` // of that, the large model alone taken as 1
}

// band is of scores, both ends included.
type band struct{ low, high float64 }

// none is a band that nothing lies in.
var none = band{1, 0}

// bands are units in the order of their scores, with running sums, so that a band's
// outcome takes no time.
type bands struct {
	scores         []float64
	sums           []tallied // of those before
	smallMS, large float64
}

// tallied counts units, and what each model does with them.
type tallied struct {
	bad, good                                    int
	smallEscapes, largeEscapes, smallFR, largeFR int
}

func newBands(units []unit, smallMS, largeMS float64) *bands {
	sorted := slices.SortedFunc(slices.Values(units), func(a, b unit) int { return cmp.Compare(a.score, b.score) })
	b := &bands{smallMS: smallMS, large: largeMS, sums: make([]tallied, 1, len(units)+1)}
	for _, u := range sorted {
		t := b.sums[len(b.sums)-1]
		count := func(n *int, yes bool) {
			if yes {
				*n++
			}
		}
		count(&t.bad, u.bad)
		count(&t.good, !u.bad)
		count(&t.smallEscapes, u.bad && !u.small)
		count(&t.largeEscapes, u.bad && !u.large)
		count(&t.smallFR, !u.bad && u.small)
		count(&t.largeFR, !u.bad && u.large)
		b.scores, b.sums = append(b.scores, u.score), append(b.sums, t)
	}
	return b
}

// span is which units lie in a band: from the first on, before the last.
func (b *bands) span(w band) (from, to int) {
	from, _ = slices.BinarySearch(b.scores, w.low)
	to, _ = slices.BinarySearchFunc(b.scores, w.high, func(s, high float64) int {
		if s <= high {
			return -1
		}
		return 1
	})
	return from, max(to, from)
}

func (b *bands) outcome(w band) Outcome {
	from, to := b.span(w)
	first, last, all := b.sums[from], b.sums[to], b.sums[len(b.sums)-1]
	n := len(b.scores)
	o := Outcome{
		Looks:        score.Share{K: to - from, N: n},
		Escapes:      score.Share{K: all.smallEscapes - (last.smallEscapes - first.smallEscapes) + last.largeEscapes - first.largeEscapes, N: all.bad},
		FalseRejects: score.Share{K: all.smallFR - (last.smallFR - first.smallFR) + last.largeFR - first.largeFR, N: all.good},
		MS:           b.smallMS + b.large*float64(to-from)/float64(n),
	}
	o.Cost = o.MS / b.large
	return o
}

// alone is the large model without the small one.
func (b *bands) alone() Outcome {
	all := b.sums[len(b.sums)-1]
	return Outcome{
		Looks: score.Share{K: len(b.scores), N: len(b.scores)}, Escapes: score.Share{K: all.largeEscapes, N: all.bad},
		FalseRejects: score.Share{K: all.largeFR, N: all.good}, MS: b.large, Cost: 1,
	}
}

// mostEnds bounds the ends of bands that are tried.
const mostEnds = 120

// ends are where a band may end: between two scores, so that what lies near is treated
// alike, and at 0 and 1.
func (b *bands) ends() []float64 {
	distinct := slices.Compact(slices.Clone(b.scores))
	out := []float64{0}
	for i := 1; i < len(distinct); i++ {
		if mid := (distinct[i-1] + distinct[i]) / 2; len(distinct) <= mostEnds || i%(len(distinct)/mostEnds+1) == 0 {
			out = append(out, mid)
		}
	}
	return append(out, 1)
}

// all are the bands that are tried, that of no width at 0 for none first.
func (b *bands) all() []band {
	out := []band{none}
	ends := b.ends()
	for i, low := range ends {
		for _, high := range ends[i+1:] {
			out = append(out, band{low, high})
		}
	}
	return out
}

// propose chooses the band that does what is asked, and says what that is.
func (b *bands) propose(cfg *PairConfig) (band, string, error) {
	if cfg.Cost > 0 {
		asked := fmt.Sprintf("at most %s of the large model's time, with the fewest escapes", short(cfg.Cost))
		if o := b.outcome(none); o.Cost > cfg.Cost {
			return none, asked, fmt.Errorf("propose a band: the small model alone takes %s of the large model's time, more than the %s that are asked for: take a smaller one", short(o.Cost), short(cfg.Cost))
		}
		return b.best(func(o Outcome) bool { return o.Cost <= cfg.Cost }, fewest), asked, nil
	}
	asked := fmt.Sprintf("at most %s %% more escapes and %s %% more false rejects than the large model alone, in the least time", short(100*cfg.MoreEscapes), short(100*cfg.MoreFalseRejects))
	return b.best(func(o Outcome) bool { return b.meets(cfg, o) }, cheapest), asked, nil
}

// meets tells whether an outcome on these units is what is asked for.
func (b *bands) meets(cfg *PairConfig, o Outcome) bool {
	if cfg.Cost > 0 {
		return o.Cost <= cfg.Cost
	}
	large := b.alone()
	within := func(got, of score.Share, more float64) bool { return float64(got.K-of.K) <= more*float64(of.N)+1e-9 }
	return within(o.Escapes, large.Escapes, cfg.MoreEscapes) && within(o.FalseRejects, large.FalseRejects, cfg.MoreFalseRejects)
}

// fewest, soundest and cheapest are orders of outcomes, the better one first.
func fewest(a, b Outcome) int {
	return cmp.Or(cmp.Compare(a.Escapes.K, b.Escapes.K), cmp.Compare(a.FalseRejects.K, b.FalseRejects.K), cmp.Compare(a.MS, b.MS))
}

// soundest takes a share of the bad parts for as bad as the same share of the good ones.
func soundest(a, b Outcome) int {
	return cmp.Or(cmp.Compare(rate(a.Escapes)+rate(a.FalseRejects), rate(b.Escapes)+rate(b.FalseRejects)), fewest(a, b))
}

func cheapest(a, b Outcome) int {
	return cmp.Or(cmp.Compare(a.MS, b.MS), cmp.Compare(a.Escapes.K, b.Escapes.K), cmp.Compare(a.FalseRejects.K, b.FalseRejects.K))
}

// best is the best band of those that will do, the band of everything if none does:
// that is the large model, asked each time.
func (b *bands) best(will func(Outcome) bool, order func(a, b Outcome) int) band {
	best, found := band{0, 1}, false
	var as Outcome
	for _, w := range b.all() {
		o := b.outcome(w)
		if will(o) && (!found || order(o, as) < 0) {
			best, as, found = w, o, true
		}
	}
	return best
}

// curveSteps is at how many costs the best band is told.
const curveSteps = 11

// steps are the best bands for costs from the small model alone to both for everything.
func (b *bands) steps() (out []band) {
	least, most := b.outcome(none).MS, b.outcome(band{0, 1}).MS
	for i := range curveSteps {
		limit := least + (most-least)*float64(i)/(curveSteps-1) + 1e-9
		w := b.best(func(o Outcome) bool { return o.MS <= limit }, soundest)
		if len(out) == 0 || out[len(out)-1] != w {
			out = append(out, w)
		}
	}
	return out
}
