package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// The table that says how old frames are at their results, and how equally eight
// cameras are served, at three times what the accelerator can do.
func TestFresh(t *testing.T) {
	for _, shape := range []struct {
		name   string
		period func(i int) time.Duration
		jitter time.Duration
		equal  bool // all cameras are overloaded alike
	}{
		{"equal", func(int) time.Duration { return 33 * time.Millisecond }, 0, true},
		{"equal, jitter", func(int) time.Duration { return 33 * time.Millisecond }, 8 * time.Millisecond, true},
		{"10 to 60 fps", func(i int) time.Duration { return time.Second / time.Duration(10+7*i) }, 0, true},
		{"two slow ones", func(i int) time.Duration {
			if i < 2 {
				return 200 * time.Millisecond
			}
			return 33 * time.Millisecond
		}, 0, false},
	} {
		for _, pick := range []Pick{ByRecency, ByCount} {
			t.Run(fmt.Sprintf("%s/%d", shape.name, pick), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := rand.New(rand.NewPCG(1, 2))
					s := New(Config{Pick: pick})
					m := s.Model("m")
					demand := 0.0
					for i := range 8 {
						demand += 1 / shape.period(i).Seconds()
					}
					cost := around(r, time.Duration(3/demand*float64(time.Second)))
					var cameras []*camera
					for i := range 8 {
						cameras = append(cameras, &camera{
							stream: s.Join(StreamConfig{}), model: m, cost: cost, period: shape.period(i), jitter: shape.jitter,
							first: time.Now().Add(time.Duration(r.Int64N(int64(shape.period(i))))),
						})
					}
					runAll(3*time.Minute, cameras)
					ratio, early, last, n := 0.0, 0.0, 0.0, 0
					for _, c := range cameras {
						bound := float64(c.period + m.P99())
						q := len(c.ages) / 4
						n += len(c.ages)
						ratio = max(ratio, float64(quantile(0.99, c.ages))/bound)
						early = max(early, float64(quantile(0.99, c.ages[:q]))/bound)
						last = max(last, float64(quantile(0.99, c.ages[len(c.ages)-q:]))/bound)
					}
					j := jain(grants(cameras))
					t.Logf("%d results, model %v: p99 age of the worst camera %.3f of period + p99 (first quarter %.3f, last %.3f), Jain %.4f",
						n, m.P99(), ratio, early, last, j)
					if ratio > 0.96 || shape.equal && j < 0.99 {
						t.Errorf("ratio %.3f, want at most 0.96; Jain %.4f, want at least 0.99", ratio, j)
					}
				})
			})
		}
	}
}
