package sched

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestHangingTurn: a worker that is frozen keeps its own model, not the slot from
// those that run another one; and no more than one slot is given for it.
func TestHangingTurn(t *testing.T) {
	for _, c := range []struct {
		run, after time.Duration // what the model took before, and from when its turn hangs
	}{{0, hangLeast}, {10 * time.Millisecond, hangLeast}, {300 * time.Millisecond, 3 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Config{})
			frozen, other, third := s.Join(StreamConfig{Width: 2}), s.Join(StreamConfig{Class: Critical}), s.Join(StreamConfig{})
			for range 3 {
				if c.run > 0 {
					turn := must(t, frozen, old(s.Model("frozen"), 0))
					time.Sleep(c.run)
					turn.Done(true)
				}
			}
			hanging := must(t, frozen, old(s.Model("frozen"), 0))
			began := time.Now()
			turn := must(t, other, old(s.Model("other"), 0))
			if waited := time.Since(began); waited != c.after {
				t.Errorf("runs of %v: the other model waited %v for the one that hangs, want %v", c.run, waited, c.after)
			}
			got := make(chan *Turn)
			go func() { got <- must(t, third, old(s.Model("third"), 0)) }()
			synctest.Wait()
			select {
			case <-got:
				t.Error("one slot was given twice for a turn that hangs")
			default:
			}
			turn.Done(true)
			(<-got).Done(true)
			hanging.Done(false)
			must(t, frozen, old(s.Model("frozen"), 0)).Done(true)
			if sum := s.Stats(); sum.Holding != 0 || sum.Failed != 1 {
				t.Errorf("%+v", sum)
			}
		})
	}
}
