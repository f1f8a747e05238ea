package sched

import (
	"slices"
	"time"
)

// rhythm is what a stream's asks tell about the next one.
type rhythm struct {
	asked  time.Time     // the last ask, or when the turn for it began or ended
	model  *Model        // that it was for
	seen   time.Time     // when the newest frame was captured
	budget time.Duration // from capture to when the result must be there; 0: any
	delay  time.Duration // from capture to its first ask, of the quick ones
	gaps   [8]time.Duration
	n      int           // gaps seen
	period time.Duration // 0: not known, or there is no rhythm
}

// saw learns from a frame that an ask would take now.
func (r *rhythm) saw(captured, now, by time.Time) {
	r.budget = 0
	if !by.IsZero() {
		r.budget = max(by.Sub(captured), 0)
	}
	if !captured.After(r.seen) {
		return
	}
	if delay := max(now.Sub(captured), 0); r.n == 0 || delay < r.delay {
		r.delay = delay
	} else {
		r.delay += (delay - r.delay) / 16
	}
	if !r.seen.IsZero() {
		r.gaps[r.n%len(r.gaps)] = captured.Sub(r.seen)
		r.n++
		r.learn()
	}
	r.seen = captured
}

// learn takes the lower quartile for the period, since frames may have gone by
// unseen, and wants three of four gaps to be about a multiple of it.
func (r *rhythm) learn() {
	r.period = 0
	if r.n < 3 {
		return
	}
	sorted := r.gaps
	gaps := sorted[:min(r.n, len(sorted))]
	slices.Sort(gaps)
	period := gaps[len(gaps)/4]
	regular := 0
	for _, g := range gaps {
		if off := (g + period/2) % period; off >= period/4 && off <= period-period/4 {
			regular++
		}
	}
	if 4*regular >= 3*len(gaps) {
		r.period = period
	}
}

// next is when the next frame was or will be captured that nobody has asked for
// yet, and when another one is to be expected instead. A frame that is late may
// come at any moment, for half a period; after four without an ask or a turn none
// is expected.
func (r *rhythm) next(now time.Time) (captured, rolls time.Time, ok bool) {
	if r.period == 0 || r.budget == 0 || now.Sub(r.asked) > 4*r.period {
		return captured, rolls, false
	}
	n := max((now.Sub(r.seen)+r.period/2)/r.period, 1)
	captured = r.seen.Add(n * r.period)
	rolls = captured.Add(r.period/2 + 1)
	if soonest := now.Add(-r.delay); captured.Before(soonest) {
		captured = soonest
	}
	return captured, rolls, true
}

// never is further away than any deadline.
const never = 1000 * time.Hour

// claim is critical work that must be done by its deadline.
type claim struct {
	stream *Stream
	model  *Model
	by     time.Time
}

// claimLocked lists what the critical streams need, the latest first: what they
// wait for, else what they will ask for next.
func (s *Scheduler) claimLocked(now time.Time) {
	s.claimed, s.claims = true, s.claims[:0]
	for _, o := range s.streams {
		if o.config.Class != Critical {
			continue
		}
		waits := false
		for _, w := range s.waiting {
			if by := w.ask.by(w.captured); w.stream == o && !by.IsZero() {
				s.claims = append(s.claims, claim{o, w.ask.Model, by})
				waits = true
			}
		}
		if waits {
			continue
		}
		if captured, rolls, ok := o.rhythm.next(now); ok {
			s.claims = append(s.claims, claim{o, o.rhythm.model, captured.Add(o.rhythm.budget)})
			s.wakeBy(rolls)
		}
	}
	// What is lost in any case keeps nobody from working.
	s.claims = slices.DeleteFunc(s.claims, func(c claim) bool {
		return now.Add(c.model.P99()).After(c.by)
	})
	slices.SortFunc(s.claims, func(a, b claim) int { return b.by.Compare(a.by) })
}

// leavesRoomLocked tells whether w, started now and taking cost, leaves every
// other critical stream the time that it needs by its deadline.
func (s *Scheduler) leavesRoomLocked(w *waiter, cost time.Duration, now time.Time) bool {
	if s.criticals == 0 {
		return true
	}
	if !s.claimed {
		s.claimLocked(now)
	}
	if len(s.claims) == 0 {
		return true
	}
	m := w.ask.Model
	end := m.until(now).Add(cost)
	if len(m.turns) > 0 && m.turns[0].comesAfter(w) {
		end = now.Add(cost) // it ends at once
	}

	// On the same model one goes after the other.
	must := now.Add(never)
	for _, c := range s.claims {
		if c.model == m && c.stream != w.stream {
			must = earlier(must, c.by).Add(-c.model.P99())
			if end.After(must) {
				return false
			}
		}
	}
	// The claims are laid into the slots from their ends, as late as can be; each
	// lane must then find a slot that is free when it begins.
	s.lanes, s.free = s.lanes[:0], s.free[:0]
	for range s.slots {
		s.lanes = append(s.lanes, now.Add(never))
	}
	for _, c := range s.claims {
		if c.stream == w.stream {
			continue
		}
		lane := 0
		for i := range s.lanes {
			if s.lanes[i].After(s.lanes[lane]) {
				lane = i
			}
		}
		s.lanes[lane] = earlier(s.lanes[lane], c.by).Add(-c.model.P99())
	}
	s.free = append(s.free, end)
	for _, b := range s.busy {
		if b != m && now.Before(b.hangsFrom()) && !b.turns[0].comesAfter(w) { // whose slot is free at once
			s.free = append(s.free, b.until(now))
		}
	}
	for len(s.free) < s.slots {
		s.free = append(s.free, now)
	}
	slices.SortFunc(s.lanes, time.Time.Compare)
	slices.SortFunc(s.free, time.Time.Compare)
	for i, start := range s.lanes {
		if s.free[i].After(start) {
			return false
		}
	}
	return true
}
