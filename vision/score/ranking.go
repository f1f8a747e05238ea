package score

import (
	"fmt"
	"iter"
)

// A step is a score with how many bad and good things have it.
type step struct {
	score     float64
	bad, good int64
}

// steps go from the highest score to the lowest, each once.
type steps = iter.Seq[step]

// totals are the numbers of bad and good things.
func totals(s steps) (bad, good int64) {
	for t := range s {
		bad += t.bad
		good += t.good
	}
	return bad, good
}

// both refuses what has no bad or no good things to tell apart.
func both(what string, bad, good int64) error {
	if bad == 0 || good == 0 {
		return fmt.Errorf("of %d %s %d are good and %d bad: it takes both to measure how well they are told apart", bad+good, what, good, bad)
	}
	return nil
}

// auroc is the probability that a bad thing scores higher than a good one, equal
// scores counting half (Mann and Whitney 1947): the area under the ROC curve.
// unsure is by how much it could be off if things of a step weren't really equal.
func auroc(s steps, bad, good int64) (area, unsure float64) {
	above := 0.0 // bad things with a higher score
	for t := range s {
		area += float64(t.good) * (above + float64(t.bad)/2)
		unsure += float64(t.good) * float64(t.bad) / 2
		above += float64(t.bad)
	}
	pairs := float64(bad) * float64(good)
	return area / pairs, unsure / pairs
}

// averagePrecision is the sum over the steps of the precision times the recall
// gained, without interpolation (scikit-learn's average_precision_score).
func averagePrecision(s steps, bad int64) float64 {
	var sum float64
	var tp, fp int64
	for t := range s {
		tp += t.bad
		fp += t.good
		if tp+fp > 0 {
			sum += float64(t.bad) / float64(bad) * float64(tp) / float64(tp+fp)
		}
	}
	return sum
}

// bestF1 is the highest harmonic mean of precision and recall that a threshold
// gives, and the lowest such threshold: things from it on are called bad.
func bestF1(s steps, bad int64) (f1, threshold float64) {
	f1 = -1
	var tp, fp int64
	for t := range s {
		tp += t.bad
		fp += t.good
		if v := 2 * float64(tp) / float64(tp+fp+bad); v >= f1 {
			f1, threshold = v, t.score
		}
	}
	return f1, threshold
}
