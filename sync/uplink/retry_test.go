package uplink

import (
	"testing"
	"time"
)

// TestDevicesComeBackEvenly: 500 devices lose their broker at once and find it
// again after a time. In no second do twice as many come back as on average.
func TestDevicesComeBackEvenly(t *testing.T) {
	const devices = 500
	for _, gone := range []time.Duration{0, time.Second, 3 * time.Second, 5 * time.Second, 9 * time.Second, 20 * time.Second, 40 * time.Second, 5 * time.Minute} {
		worst := 0.0
		for range 20 {
			var back []time.Duration
			for range devices {
				o := newOutage(at(0), defaultSpread)
				now := at(0)
				for now = o.next(now); now.Before(at(0).Add(gone)); {
					now = o.next(now)
				}
				back = append(back, now.Sub(at(0))-gone)
			}
			var last time.Duration
			for _, d := range back {
				last = max(last, d)
			}
			seconds := make([]int, int(last/time.Second)+1)
			peak := 0
			for _, d := range back {
				seconds[d/time.Second]++
				peak = max(peak, seconds[d/time.Second])
			}
			worst += float64(peak) / (devices / last.Seconds()) / 20
			if last > longestWindow+time.Second {
				t.Errorf("gone for %s: a device came back %s after the broker", gone, last)
			}
		}
		t.Logf("gone for %s: peak %.2f times the mean", gone, worst)
		if worst > 2 {
			t.Errorf("gone for %s: peak %.2f times the mean", gone, worst)
		}
	}
}

// TestSlowAttempts: attempts that take long don't pile up.
func TestSlowAttempts(t *testing.T) {
	o := newOutage(at(0), defaultSpread)
	now := at(0)
	for range 50 {
		next := o.next(now)
		if !next.After(now) || next.Sub(now) > 2*longestWindow {
			t.Fatalf("after %s the next attempt is at %s", now.Sub(at(0)), next.Sub(at(0)))
		}
		now = next.Add(connectLimit)
	}
}

func TestPause(t *testing.T) {
	p := pause{least: time.Second, most: 30 * time.Second}
	for round := range 2 {
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			want *= time.Second
			if d := p.next(); d < want*2/3 || d > want*4/3+1 {
				t.Errorf("round %d: waits %s, about %s is right", round, d, want)
			}
		}
		p.reset()
	}
}
