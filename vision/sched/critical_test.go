package sched

import (
	"math/rand/v2"
	"testing"
	"time"
)

// One critical camera and eight best-effort ones with a longer model, five times
// more work than can be done. The critical deadline is twice (the longest p99 and
// its own), or as tight as can be: one such sum.
func TestCriticalIsInTime(t *testing.T) {
	const own, others = 10 * time.Millisecond, 30 * time.Millisecond
	for _, tight := range []bool{false, true} {
		name := "twice"
		if tight {
			name = "tight"
		}
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, pick Pick) {
				r := rand.New(rand.NewPCG(3, 4))
				s := New(Config{Pick: pick})
				deadline := 2 * (others*11/10 + own*11/10)
				if tight {
					// A frame that comes while another one runs could not wait for it: only
					// what is known of the camera's period helps.
					deadline = others * 11 / 10
				}
				critical := &camera{
					stream: s.Join(StreamConfig{Class: Critical}), model: s.Model("small"), maxAge: deadline,
					period: 100 * time.Millisecond, jitter: time.Millisecond, first: time.Now().Add(time.Second), cost: around(r, own),
				}
				cameras := []*camera{critical}
				rate := (5 - 0.1) / 8 / others.Seconds()
				for range 8 {
					period := time.Duration(float64(time.Second) / rate)
					cameras = append(cameras, &camera{
						stream: s.Join(StreamConfig{Class: BestEffort}), model: s.Model("large"), maxAge: 200 * time.Millisecond,
						period: period, first: time.Now().Add(time.Duration(r.Int64N(int64(period)))), cost: around(r, others),
					})
				}
				runAll(10*time.Minute, cameras)
				sum := s.Stats()
				met := float64(critical.inTime) / float64(critical.frames-1) // the last may be under way
				useful := sum.BusyInTime.Seconds() / sum.Busy.Seconds()
				used := sum.Busy.Seconds() / (10 * time.Minute).Seconds()
				j := jain(grants(cameras[1:]))
				t.Logf("critical: %d of %d in time, %d missed; in-time share of model time %.4f, accelerator busy %.3f; Jain of best effort %.4f (%d results)",
					critical.inTime, critical.frames, critical.missed, useful, used, j, sum.Grants)
				least, busy := 0.999, 0.98
				if tight {
					least, busy = 0.99, 0.6 // 1 in 200 runs takes half as long again
				}
				if met < least || useful < 0.98 || pick == ByCount && j < 0.99 || used < busy {
					t.Errorf("critical %.4f, want %.3f; useful %.4f, want 0.98; Jain %.4f, want 0.99; busy %.3f, want %.2f", met, least, useful, j, used, busy)
				}
			})
		})
	}
}
