package sched

import (
	"testing"
	"testing/synctest"
	"time"
)

// shutOut runs a critical camera of 25 a second, a model of 10 ms and 150 ms for it,
// beside a normal one whose model takes what cost says, after it ran as before says.
func shutOut(t *testing.T, before []time.Duration, maxAge time.Duration, cost func() time.Duration, long time.Duration) (critical, normal *camera) {
	s := New(Config{})
	small, large := s.Model("small"), s.Model("large")
	ran(t, s, small, 10, 10*ms)
	for _, d := range before {
		ran(t, s, large, 1, d)
	}
	critical = &camera{stream: s.Join(StreamConfig{Class: Critical}), model: small, period: 40 * ms, maxAge: 150 * ms,
		first: time.Now(), cost: func() time.Duration { return 10 * ms }}
	normal = &camera{stream: s.Join(StreamConfig{}), model: large, period: 100 * ms, maxAge: maxAge,
		first: time.Now().Add(7 * ms), cost: cost}
	runAll(long, []*camera{critical, normal})
	critical.missed = max(critical.frames-critical.inTime-1, 0) // also those that were skipped; the last may be under way
	t.Logf("critical: %d missed of %d; normal: %+v", critical.missed, critical.frames, normal.stream.Stats())
	return critical, normal
}

func runs(n int, d time.Duration) (all []time.Duration) {
	for range n {
		all = append(all, d)
	}
	return all
}

// Hiccups of a model that critical work leaves room for otherwise don't shut it out
// for ever, and no critical frame comes late for finding that out.
func TestHiccupsDoNotShutOut(t *testing.T) {
	fast := func() time.Duration { return 30 * ms }
	for _, c := range []struct {
		name   string
		before []time.Duration
		maxAge time.Duration
	}{
		{"one", append(runs(20, 30*ms), runs(1, 400*ms)...), 2 * time.Second},
		{"two", append(runs(20, 30*ms), runs(2, 400*ms)...), 2 * time.Second},
		{"more than not", append(runs(20, 30*ms), runs(200, 400*ms)...), 2 * time.Second},
		{"refused", append(runs(20, 30*ms), runs(200, 400*ms)...), 200 * ms},
	} {
		bubble(t, c.name, func(t *testing.T) {
			critical, normal := shutOut(t, c.before, c.maxAge, fast, time.Minute)
			if critical.missed > 0 || normal.inTime < 540 {
				t.Errorf("%d critical frames missed, the other had %d turns in time of 600", critical.missed, normal.inTime)
			}
		})
	}
}

// A model that takes as long as its times say dares ever less often: that costs
// the critical frames of one run each time.
func TestDaringIsBounded(t *testing.T) {
	bubble(t, "always too slow", func(t *testing.T) {
		critical, normal := shutOut(t, append(runs(2, 30*ms), runs(200, 400*ms)...), 2*time.Second,
			func() time.Duration { return 400 * ms }, 10*time.Minute)
		// After 2, 4, 8, 16, 32 and 60 s …: 14 times, and once before the camera's rhythm
		// is known; each costs those that come in 400 ms.
		if got := normal.stream.Stats(); got.Probes < 8 || got.Probes > 14 || got.Grants > got.Probes+1 || critical.missed > 15*10 {
			t.Errorf("%+v, %d critical frames missed", got, critical.missed)
		}
	})
	bubble(t, "one run of 20 too slow", func(t *testing.T) {
		n := 0
		critical, normal := shutOut(t, runs(20, 30*ms), 2*time.Second, func() time.Duration {
			if n++; n%20 == 0 {
				return 400 * ms
			}
			return 30 * ms
		}, 10*time.Minute)
		if share := float64(critical.missed) / float64(critical.frames); share > 0.02 || normal.stream.Stats().Grants < 100 {
			t.Errorf("%.4f of the critical frames missed, %+v", share, normal.stream.Stats())
		}
	})
	bubble(t, "several models", func(t *testing.T) {
		s := New(Config{})
		small := s.Model("small")
		ran(t, s, small, 10, 10*ms)
		cameras := []*camera{{stream: s.Join(StreamConfig{Class: Critical}), model: small, period: 40 * ms, maxAge: 150 * ms,
			first: time.Now(), cost: func() time.Duration { return 10 * ms }}}
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			for _, d := range append(runs(2, 30*ms), runs(100, 400*ms)...) {
				ran(t, s, s.Model(name), 1, d)
			}
			cameras = append(cameras, &camera{stream: s.Join(StreamConfig{}), model: s.Model(name), period: 100 * ms,
				first: time.Now(), cost: func() time.Duration { return 400 * ms }})
		}
		cameras[0].first = time.Now()
		runAll(11*time.Second, cameras)
		if got := s.Stats().Probes; got < 3 || got > 5 {
			t.Errorf("%d runs against the times in 11 s, want one every 2 s at most", got)
		}
	})
}

// A worker that stood still once says nothing about the next runs.
func TestFreezeShutsNobodyOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		before int
		freeze []time.Duration
		p99    time.Duration
	}{
		{"half a second", 10, runs(1, 500*ms), 20 * ms},
		{"half a second, nearly at once", 8, runs(1, 500*ms), 20 * ms},
		{"twice", 10, runs(2, 500*ms), 500 * ms},
		{"hangs", 2, runs(2, 5*time.Second), 20 * ms},
		{"hangs after many", 300, runs(2, 5*time.Second), 20 * ms},
		{"has become slow", 10, runs(4, 5*time.Second), 5 * time.Second},
		{"is slow from the start", 0, runs(2, 5*time.Second), 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Config{})
			m := s.Model("m")
			ran(t, s, m, c.before, 20*ms)
			for _, d := range c.freeze {
				ran(t, s, m, 1, d)
			}
			if m.P99() != c.p99 {
				t.Errorf("%s: p99 %v, want %v", c.name, m.P99(), c.p99)
			}
		})
	}
}
