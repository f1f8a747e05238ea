package sched

import (
	"testing"
	"testing/synctest"
	"time"
)

// flaps has the station in trouble whenever it is at Full, until the longest wait for
// the next trial has just begun.
func (p *plant) flaps(x *station) {
	p.run(5 * time.Second)
	x.bad = func(s Step) bool { return s == Full }
	p.run(20 * time.Minute)
	for x.Step() != Full {
		p.run(500 * time.Millisecond)
	}
	for x.Step() == Full {
		p.run(500 * time.Millisecond)
	}
	x.bad = never0
	p.log = nil
}

// One miss in minutes isn't what keeps a station turned down.
func TestSparseMissesKeepNobodyDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		x := p.add(MemberConfig{Name: "x", Smaller: true, Fixed: true}, 0)
		x.every = 500 * time.Millisecond
		p.flaps(x)
		x.bad = func(Step) bool { return time.Now().Unix()%120 == 0 && time.Now().UnixMilli()%1000 < 100 } // 1 of 240
		p.run(6 * time.Minute)
		p.want("one miss every two minutes", "x full")
		p.run(time.Hour)
		p.want("one miss every two minutes, for an hour", "")
	})
}

// What is near trouble stays turned down, but the wait becomes short meanwhile.
func TestWaitDecays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		x := p.add(MemberConfig{Name: "x", Smaller: true, Fixed: true}, 0)
		p.flaps(x)
		x.bad = func(Step) bool { return time.Now().UnixMilli()%2500 < 100 } // 1 of 25
		p.run(45 * time.Minute)
		p.want("near trouble", "")
		x.bad = never0
		p.run(12 * time.Second)
		p.want("calm", "x full")
	})
}

// A rate of 0.2 a second is counted over 20 s: a step that was taken back hasn't
// proved good after 10.
func TestLowMinRateDoesNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		x := p.add(MemberConfig{Name: "x", Smaller: true}, 0.2)
		x.idle = true
		end := time.Now().Add(time.Hour)
		for range 2 {
			go func() {
				for time.Now().Before(end) {
					turn := must(t, x.stream, old(p.s.Model(x.Step().String()), 0))
					time.Sleep([]time.Duration{Full: 15 * time.Second, Slower: 3 * time.Second, Smaller: 3 * time.Second}[x.Step()])
					turn.Done(true)
				}
			}()
		}
		p.run(time.Hour)
		got := x.Stats().Entered[Smaller]
		t.Logf("in an hour %d times", got)
		// Trouble shows after 13 s; then 22, 22, 40, 80, 160, 300 s … of calm, twice each.
		if got < 6 || got > 14 {
			t.Errorf("%d times in an hour, want about 10", got)
		}
		p.run(time.Minute) // both end
	})
}

// A line with a trigger every few seconds is in trouble when its results are late.
func TestSlowLines(t *testing.T) {
	for _, every := range []time.Duration{2 * time.Second, 6 * time.Second, 15 * time.Second} {
		bubble(t, every.String(), func(t *testing.T) {
			p := newPlant(t)
			x := p.add(MemberConfig{Name: "x", Smaller: true, Fixed: true}, 0)
			p.add(MemberConfig{Name: "y", Class: BestEffort}, 0).idle = true
			x.every = every
			p.run(10 * time.Minute)
			x.bad = func(s Step) bool { return s == Full }
			p.run(3 * every)
			p.want("all are late", "x smaller")
			p.run(time.Hour)
			got := x.Stats().Entered[Smaller]
			t.Logf("in an hour %d times", got)
			if got < 8 || got > 18 {
				t.Errorf("%d times in an hour, want 8 to 18", got)
			}
			x.bad = never0
			p.run(20 * time.Minute)
			p.log = nil
			x.bad = func(Step) bool { return time.Since(p.start)%(10*every) == 0 && time.Since(p.start)%(20*every) != 0 }
			p.run(20 * time.Minute)
			p.want("one of 20 is late", "")
		})
	}
}
