package score

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Curve is how pictures (or parts) with one score each can be parted into passed
// and rejected: one point for every threshold that makes a difference. A picture
// is rejected if its score is the threshold or more.
type Curve struct {
	Points    []Point // by rising threshold: the first rejects all, the last none
	Good, Bad int     // pictures
}

// Point is what one threshold does.
type Point struct {
	Threshold    float64 `json:"threshold"`
	Escapes      Share   `json:"escapes"`       // bad ones passed, of the bad
	FalseRejects Share   `json:"false_rejects"` // good ones rejected, of the good
}

// Found is the recall: bad ones rejected, of the bad.
func (p Point) Found() Share { return Share{p.Escapes.N - p.Escapes.K, p.Escapes.N} }

// NewCurve sorts pictures by score. Scores are finite, the higher the worse;
// pictures of which people aren't sure belong to neither side and are left out by
// the caller.
func NewCurve(scores []float64, bad []bool) (*Curve, error) {
	if len(scores) != len(bad) || len(scores) == 0 {
		return nil, fmt.Errorf("make a curve: %d scores for %d pictures", len(scores), len(bad))
	}
	order := make([]int, len(scores))
	c := &Curve{}
	for i, s := range scores {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return nil, fmt.Errorf("make a curve: the score of picture %d is %v", i, s)
		}
		order[i] = i
		if bad[i] {
			c.Bad++
		} else {
			c.Good++
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	p := Point{Escapes: Share{0, c.Bad}, FalseRejects: Share{c.Good, c.Good}}
	for at, i := range order {
		if at == 0 || scores[i] != scores[order[at-1]] {
			p.Threshold = scores[i]
			c.Points = append(c.Points, p)
		}
		if bad[i] {
			p.Escapes.K++
		} else {
			p.FalseRejects.K--
		}
	}
	p.Threshold = math.Nextafter(p.Threshold, math.Inf(1))
	c.Points = append(c.Points, p)
	return c, nil
}

// steps are the scores from the highest down.
func (c *Curve) steps(yield func(step) bool) {
	for i := len(c.Points) - 2; i >= 0; i-- {
		p, above := c.Points[i], c.Points[i+1]
		t := step{p.Threshold, int64(above.Escapes.K - p.Escapes.K), int64(p.FalseRejects.K - above.FalseRejects.K)}
		if !yield(t) {
			return
		}
	}
}

// AUROC is the area under the ROC curve, 0 to 1: the probability that a bad
// picture scores higher than a good one, equal scores counting half (Mann and
// Whitney 1947; scikit-learn's roc_auc_score).
func (c *Curve) AUROC() (float64, error) {
	if err := both("pictures", int64(c.Bad), int64(c.Good)); err != nil {
		return 0, err
	}
	area, _ := auroc(c.steps, int64(c.Bad), int64(c.Good))
	return area, nil
}

// AveragePrecision is the area under precision over recall of the bad pictures,
// 0 to 1, as steps (scikit-learn's average_precision_score).
func (c *Curve) AveragePrecision() (float64, error) {
	if err := both("pictures", int64(c.Bad), int64(c.Good)); err != nil {
		return 0, err
	}
	return averagePrecision(c.steps, int64(c.Bad)), nil
}

// F1 is the highest harmonic mean of precision and recall, 0 to 1, and the lowest
// threshold that has it (Anomalib's F1-max).
func (c *Curve) F1() (f1, threshold float64, err error) {
	if err := both("pictures", int64(c.Bad), int64(c.Good)); err != nil {
		return 0, 0, err
	}
	f1, threshold = bestF1(c.steps, int64(c.Bad))
	return f1, threshold, nil
}

// At is what a threshold of the reader's own does.
func (c *Curve) At(threshold float64) Point {
	i, _ := slices.BinarySearchFunc(c.Points, threshold, func(p Point, t float64) int { return cmp.Compare(p.Threshold, t) })
	p := c.Points[min(i, len(c.Points)-1)]
	p.Threshold = threshold
	return p
}

// A Choice is a threshold with what it does on these pictures, and what must be
// known before anybody relies on it.
type Choice struct {
	Point
	Warnings []string `json:"warnings,omitempty"`
}

// LeastEscapes is the point that finds most of the bad pictures (Found is the
// recall at this rate) while it rejects at most this share of the good ones;
// among equals the one that rejects fewest.
func (c *Curve) LeastEscapes(falseRejects float64) (Choice, error) {
	if !(falseRejects >= 0 && falseRejects <= 1) {
		return Choice{}, fmt.Errorf("choose a threshold: %v isn't a share of good pictures, 0 to 1", falseRejects)
	}
	if err := both("pictures", int64(c.Bad), int64(c.Good)); err != nil {
		return Choice{}, fmt.Errorf("choose a threshold: %w", err)
	}
	// Escapes rise and false rejects fall with the threshold.
	at, _ := slices.BinarySearchFunc(c.Points, falseRejects, func(p Point, most float64) int {
		if p.FalseRejects.Rate() > most {
			return -1
		}
		return 1
	})
	for at+1 < len(c.Points) && c.Points[at+1].Escapes.K == c.Points[at].Escapes.K {
		at++
	}
	ch := c.choice(at)
	switch n := needed(falseRejects); {
	case falseRejects == 0:
	case falseRejects*float64(c.Good) < 1:
		ch.warn("%s %% of %d good pictures isn't a whole one, so that none may be rejected: to measure at this rate takes %.0f or more",
			percent(falseRejects), c.Good, math.Ceil(1/falseRejects))
	case c.Good < n:
		ch.warn("%d good pictures can't show at 95 %% that at most %s %% are rejected: %d can, if none is", c.Good, percent(falseRejects), n)
	}
	return ch, nil
}

// NoEscapes is the highest threshold at which no bad picture passed.
func (c *Curve) NoEscapes() (Choice, error) {
	if err := both("pictures", int64(c.Bad), int64(c.Good)); err != nil {
		return Choice{}, fmt.Errorf("choose a threshold: %w", err)
	}
	at := 0
	for at+1 < len(c.Points) && c.Points[at+1].Escapes.K == 0 {
		at++
	}
	return c.choice(at), nil
}

// fewBad is how many bad pictures it takes to say, with no escape among them,
// that at most 5 % escape.
const fewBad = 59

// choice puts the threshold midway between the scores that it parts, so that a
// picture that scores a little differently on other hardware stays on its side.
func (c *Curve) choice(at int) Choice {
	ch := Choice{Point: c.Points[at]}
	if at > 0 {
		low, high := c.Points[at-1].Threshold, c.Points[at].Threshold
		if mid := low + (high-low)/2; float64(float32(mid)) > low && float64(float32(mid)) <= high {
			ch.Threshold = float64(float32(mid)) // models give float32
		}
	}
	if c.Bad < fewBad {
		ch.warn("with %d bad pictures the escapes are %s: for ≤ 5 %% it takes %d without one", c.Bad, ch.Escapes, fewBad)
	}
	if c.Good < fewBad {
		ch.warn("with %d good pictures the false rejects are %s: for ≤ 5 %% it takes %d without one", c.Good, ch.FalseRejects, fewBad)
	}
	ch.warn("the threshold was chosen on these very pictures, so its figures flatter it: count again on others")
	return ch
}

func (ch *Choice) warn(format string, args ...any) {
	ch.Warnings = append(ch.Warnings, fmt.Sprintf(format, args...))
}
