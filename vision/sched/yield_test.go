package sched

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func wanted(t *Turn) bool {
	select {
	case <-t.Wanted():
		return true
	default:
		return false
	}
}

// TestGuestsYield: a turn that yields hears at once when a class above waits for its
// slot or its model, and not when that waits for something else.
func TestGuestsYield(t *testing.T) {
	guest := func(s *Scheduler, model string) *Turn {
		a := old(s.Model(model), 0)
		a.Yields = true
		return must(t, s.Join(StreamConfig{Class: BestEffort}), a)
	}
	for _, c := range []struct {
		name   string
		slots  int
		model  string // the station's; the guest runs "a"
		class  Class
		yields bool // it is a guest too
		busy   bool // another station holds a turn on "b"
		wanted bool
	}{
		{"its slot", 1, "c", Normal, false, false, true},
		{"its slot, for a critical one", 1, "c", Critical, false, false, true},
		{"its slot, for a station's best effort", 1, "c", BestEffort, false, false, true},
		{"its model", 2, "a", Normal, false, false, true},
		{"another guest waits", 1, "c", BestEffort, true, false, false},
		{"a guest of a class above waits", 1, "c", Normal, true, false, true},
		{"a slot is free", 2, "c", Normal, false, false, false},
		{"all slots are taken", 2, "c", Normal, false, true, true},
		{"another one's model", 2, "b", Normal, false, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Config{Slots: c.slots})
				g := guest(s, "a")
				var other *Turn
				if c.busy {
					other = must(t, s.Join(StreamConfig{}), old(s.Model("b"), 0))
				}
				a := old(s.Model(c.model), 0)
				a.Yields = c.yields
				got := take(s.Join(StreamConfig{Class: c.class}), t.Context(), a)
				if wanted(g) != c.wanted {
					t.Errorf("wanted: %v", !c.wanted)
				}
				g.Done(false)
				if other != nil {
					other.Done(true)
				}
				(<-got).turn.Done(true)
			})
		})
	}
}

// TestOneGuestYieldsForOne: two guests have both slots, and one station waits: one of
// them is enough. For two stations both go.
func TestOneGuestYieldsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Slots: 2})
		var guests []*Turn
		for _, model := range []string{"a", "b"} {
			a := old(s.Model(model), 0)
			a.Yields = true
			guests = append(guests, must(t, s.Join(StreamConfig{Class: BestEffort}), a))
		}
		count := func() (n int) {
			for _, g := range guests {
				if wanted(g) {
					n++
				}
			}
			return n
		}
		first := take(s.Join(StreamConfig{}), t.Context(), old(s.Model("c"), 0))
		if count() != 1 {
			t.Errorf("%d of two guests yield for one station", count())
		}
		second := take(s.Join(StreamConfig{}), t.Context(), old(s.Model("d"), 0))
		if count() != 2 {
			t.Errorf("%d of two guests yield for two stations", count())
		}
		for _, g := range guests {
			g.Done(false)
		}
		(<-first).turn.Done(true)
		(<-second).turn.Done(true)
	})
}

// TestGuestsComeLast: a station's best effort goes before a guest that has waited longer.
func TestGuestsComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		holder := must(t, s.Join(StreamConfig{}), old(s.Model("a"), 0))
		guest := old(s.Model("b"), 0)
		guest.Yields = true
		later := take(s.Join(StreamConfig{Class: BestEffort}), t.Context(), guest)
		first := take(s.Join(StreamConfig{Class: BestEffort}), t.Context(), old(s.Model("c"), 0))
		holder.Done(true)
		synctest.Wait()
		if len(first) != 1 || len(later) != 0 {
			t.Errorf("%d turns for the station and %d for the guest, want 1 and 0", len(first), len(later))
		}
		(<-first).turn.Done(true)
		(<-later).turn.Done(true)
	})
}

// TestGuestsGoOnForWhoCannotStart: a station that waits because a critical one is about
// to need the accelerator gains nothing by a guest's end, unless it can start then.
func TestGuestsGoOnForWhoCannotStart(t *testing.T) {
	for _, c := range []struct {
		takes  time.Duration // the station's model
		guest  string        // the guest's
		wanted bool
	}{{80 * time.Millisecond, "other", false}, {25 * time.Millisecond, "other", true}, {25 * time.Millisecond, "station's", true}} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Config{})
			ran(t, s, s.Model("station's"), 3, c.takes)
			critical := s.Join(StreamConfig{Class: Critical})
			for range 20 { // a rhythm of 100 ms, each result wanted after 50
				a := still(s.Model("quick"))
				a.MaxAge = 50 * time.Millisecond
				turn := must(t, critical, a)
				time.Sleep(10 * time.Millisecond)
				turn.Done(true)
				time.Sleep(90 * time.Millisecond)
			}
			guest := old(s.Model(c.guest), 0)
			guest.Yields = true
			g := must(t, s.Join(StreamConfig{Class: BestEffort}), guest)
			ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
			defer stop()
			got := take(s.Join(StreamConfig{}), ctx, old(s.Model("station's"), 0))
			if wanted(g) != c.wanted {
				t.Errorf("for a run of %v the guest on the %s model is stopped: %v", c.takes, c.guest, !c.wanted)
			}
			<-got
			g.Done(true)
		})
	}
}
