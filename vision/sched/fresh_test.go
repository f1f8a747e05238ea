package sched

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// How old frames are at their results, and how equally eight cameras are served,
// at three times what the accelerator can do.
func TestFresh(t *testing.T) {
	fps := func(f float64) time.Duration { return time.Duration(float64(time.Second) / f) }
	for _, shape := range []struct {
		name   string
		period func(i int) time.Duration
		jitter time.Duration
		ratio  float64 // at most, pooled
		jain   float64 // at least
	}{
		{"30 fps", func(int) time.Duration { return fps(30) }, 0, 0.96, 0.99},
		{"29.5 to 30.5 fps", func(i int) time.Duration { return fps(29.5 + float64(i)/7) }, 0, 0.96, 0.99},
		{"30 fps, 3 ms of jitter", func(int) time.Duration { return fps(30) }, 3 * time.Millisecond, 0.96, 0.99},
		{"15 to 60 fps", func(i int) time.Duration { return fps(15 + 45*float64(i)/7) }, 0, 0.96, 0.99},
		{"two of 5 fps", func(i int) time.Duration { return fps([]float64{5, 30}[min(i/2, 1)]) }, 0, 0.98, 0},
	} {
		t.Run(shape.name, func(t *testing.T) {
			inTime(t, func(t *testing.T, pick Pick) {
				r := rand.New(rand.NewPCG(1, 2))
				s := New(Config{Pick: pick})
				demand := 0.0
				for i := range 8 {
					demand += 1 / shape.period(i).Seconds()
				}
				cost := around(r, time.Duration(3/demand*float64(time.Second)))
				var cameras []*camera
				for i := range 8 {
					cameras = append(cameras, &camera{
						stream: s.Join(StreamConfig{}), model: s.Model("m"), cost: cost, period: shape.period(i), jitter: shape.jitter,
						first: time.Now().Add(time.Duration(r.Int64N(int64(shape.period(i))))),
					})
				}
				runAll(3*time.Minute, cameras)
				all, worst, flat, n := ages(cameras, s.Model("m").P99())
				j := jain(grants(cameras))
				t.Logf("%-7s %d results: age's p99 %.3f of period + p99 (quarters %.3f), the worst camera's %.3f; Jain %.4f",
					[]string{"count", "recency"}[pick], n, all, flat, worst, j)
				if pick == ByCount && (all > shape.ratio || j < shape.jain) {
					t.Errorf("age's p99 %.3f, want at most %v; Jain %.4f, want at least %v", all, shape.ratio, j, shape.jain)
				}
				if slices.Max(flat)-slices.Min(flat) > 0.05 {
					t.Errorf("ages aren't flat: %.3f", flat)
				}
			})
		})
	}
}

// ages gives the 99th percentile of ages as shares of (camera period + model p99): of
// all results, of the worst camera's, and of all in each quarter of the time.
func ages(cameras []*camera, model time.Duration) (all, worst float64, quarters []float64, n int) {
	var pooled []float64
	flat := make([][]float64, 4)
	for _, c := range cameras {
		var own []float64
		for i, a := range c.ages {
			share := float64(a) / float64(c.period+model)
			own = append(own, share)
			flat[i*4/len(c.ages)] = append(flat[i*4/len(c.ages)], share)
		}
		pooled = append(pooled, own...)
		worst = max(worst, quantile(0.99, own))
	}
	for _, q := range flat {
		quarters = append(quarters, quantile(0.99, q))
	}
	return quantile(0.99, pooled), worst, quarters, len(pooled)
}
