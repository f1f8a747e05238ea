package agent

import (
	"math"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// window is what rates and yields are told over.
const window = time.Hour

// counts keeps what was told: in all since the start, and part by part for the
// last hour. It is not safe for concurrent use.
type counts struct {
	total  [3]uint64 // by vision.Verdict
	recent []toldAt  // oldest first
}

type toldAt struct {
	at      time.Time
	verdict vision.Verdict
	latency time.Duration
}

func (c *counts) add(at time.Time, v vision.Verdict, latency time.Duration) {
	c.total[v]++
	c.recent = append(c.recent, toldAt{at, v, latency})
}

// Hour is what the last hour told.
type Hour struct {
	Pass, Fail, None int
	Yield            Yield
	PerMinute        float64       // parts a minute since the first of them
	P50, P99         time.Duration // decided → told
}

// Yield is the first-pass yield, PASS ÷ all parts, with its 95 % interval.
// Without parts all three are NaN.
type Yield struct {
	Value, Low, High float64 // 0 to 1
	Parts            int
}

func (c *counts) hour(now time.Time) Hour {
	i := 0
	for i < len(c.recent) && now.Sub(c.recent[i].at) > window {
		i++
	}
	c.recent = slices.Delete(c.recent, 0, i)
	var by [3]int
	latencies := make([]time.Duration, 0, len(c.recent))
	for _, r := range c.recent {
		by[r.verdict]++
		latencies = append(latencies, r.latency)
	}
	slices.Sort(latencies)
	h := Hour{Pass: by[vision.Pass], Fail: by[vision.Fail], None: by[vision.None]}
	h.Yield = yieldOf(h.Pass, len(c.recent))
	if len(c.recent) > 0 {
		since := max(now.Sub(c.recent[0].at), time.Minute)
		h.PerMinute = float64(len(c.recent)) / since.Minutes()
		h.P50, h.P99 = Quantile(latencies, 0.50), Quantile(latencies, 0.99)
	}
	return h
}

// yieldOf is good of all with the Wilson score interval at 95 % (Wilson 1927;
// NIST/SEMATECH e-Handbook 7.2.4.1).
func yieldOf(good, all int) Yield {
	if all == 0 {
		nan := math.NaN()
		return Yield{nan, nan, nan, 0}
	}
	const z = 1.959964
	n, p := float64(all), float64(good)/float64(all)
	mid := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return Yield{p, max(0, mid-half), min(1, mid+half), all}
}

// Quantile of sorted durations by the nearest rank, 0 of none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
