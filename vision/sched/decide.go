package sched

import (
	"cmp"
	"slices"
	"time"
)

// The order in which classes are served.
var order = [...]Class{Critical, Normal, BestEffort}

// before tells whether c is served before other.
func (c Class) before(other Class) bool {
	return slices.Index(order[:], c) < slices.Index(order[:], other)
}

// decideLocked refuses what can't be in time any more, gives out what can be
// given, and sees to it that it is called again when time alone changes that.
func (s *Scheduler) decideLocked(now time.Time) {
	s.rounds.Add(1)
	s.wake = time.Time{}
	kept := s.waiting[:0]
	for _, w := range s.waiting {
		if err := s.judgeLocked(w, now); err != nil {
			s.settleLocked(w, now, nil, err)
			continue
		}
		kept = append(kept, w)
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
	for {
		w := s.chooseLocked(now)
		if w == nil {
			break
		}
		all := append(s.companionsLocked(w, now), w)
		s.ran++
		run := &together{id: s.ran, of: len(all)}
		for _, w := range all {
			s.grantLocked(w, now, run)
		}
	}
	s.yieldLocked(now)
	s.armLocked(now)
}

// wakeBy asks for another round at that time.
func (s *Scheduler) wakeBy(at time.Time) {
	if s.wake.IsZero() || at.Before(s.wake) {
		s.wake = at
	}
}

func (s *Scheduler) armLocked(now time.Time) {
	if s.wake.IsZero() || (!s.armed.IsZero() && !s.wake.Before(s.armed)) {
		return // a timer that fires too soon does no harm
	}
	s.armed = s.wake
	wait := max(s.wake.Sub(now), 0)
	if s.timer != nil {
		s.timer.Reset(wait)
		return
	}
	s.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.armed = time.Time{}
		s.decideLocked(time.Now())
	})
}

// judgeLocked looks at an ask's newest frame and tells whether it must be refused.
func (s *Scheduler) judgeLocked(w *waiter, now time.Time) error {
	st, a := w.stream, &w.ask
	captured, ok := a.Newest()
	if !ok {
		s.count(st, func(c *Stats) { c.Gone++ })
		return ErrStale
	}
	w.captured = captured
	if st.config.Class == Critical {
		st.rhythm.saw(captured, now, a.by(captured))
	}
	a.Model.fitLocked(w, captured, now)
	cost := a.Model.P99()
	w.held = false
	if from := st.allowed; st.gap > 0 && from.After(now) {
		w.held, w.limited = true, true
		if !a.Deadline.IsZero() && from.Add(cost).After(a.Deadline) {
			s.count(st, func(c *Stats) { c.RefusedLimit++ })
			return ErrLate
		}
		s.wakeBy(from)
		return nil
	}
	err := a.misses(captured, now.Add(cost))
	if w.probe = err != nil && a.Model.mayProbe(now); w.probe {
		cost = 0
		err = a.misses(captured, now)
	}
	if err == nil {
		if by := a.by(captured); !by.IsZero() {
			s.wakeBy(by.Add(1 - cost))
		}
		return nil
	}
	if a.Model.refused.IsZero() && a.misses(captured, now) == nil {
		a.Model.refused = now
	}
	s.count(st, func(c *Stats) {
		switch {
		case w.limited:
			c.RefusedLimit++
		case err == ErrLate:
			c.RefusedLate++
		default:
			c.RefusedStale++
		}
	})
	return err
}

// misses says whether a result at end would be of no use.
func (a *Ask) misses(captured, end time.Time) error {
	switch {
	case !a.Deadline.IsZero() && end.After(a.Deadline):
		return ErrLate
	case a.MaxAge > 0 && end.After(captured.Add(a.MaxAge)):
		return ErrStale
	}
	return nil
}

func (m *Model) mayProbe(now time.Time) bool {
	return !m.refused.IsZero() && now.Sub(m.refused) >= probeAfter && len(m.turns) == 0
}

// chooseLocked gives the ask whose turn it is, nil if nothing can be started.
func (s *Scheduler) chooseLocked(now time.Time) *waiter {
	s.claimed = false
	for _, yields := range [...]bool{false, true} {
		for _, class := range order {
			s.may = s.may[:0]
			for _, w := range s.waiting {
				if w.ask.Yields == yields && w.stream.config.Class == class && s.mayStartLocked(w, now) {
					s.may = append(s.may, w)
				}
			}
			if len(s.may) > 0 {
				return s.pickLocked(s.may, now)
			}
		}
	}
	return nil
}

func (s *Scheduler) mayStartLocked(w *waiter, now time.Time) bool {
	m := w.ask.Model
	switch {
	case w.held || w.stream.holds >= w.stream.config.Width:
		return false
	case len(m.turns) == 0:
		if s.occupiedLocked(now) >= s.slots {
			return false
		}
	case !s.mayOverlapLocked(w, now):
		return false
	}
	cost := m.P99()
	if w.dares = false; w.probe {
		cost = m.P50()
	} else if w.stream.config.Class == Critical {
		return true
	}
	return s.leavesRoomLocked(w, cost, now) || s.mayDareLocked(w, now)
}

// occupiedLocked counts the slots that are in use. A model that hangs keeps its turns,
// but no slot from the others: what it runs on may well be free.
func (s *Scheduler) occupiedLocked(now time.Time) (n int) {
	for _, m := range s.busy {
		if hangs := m.hangsFrom(); now.Before(hangs) {
			s.wakeBy(hangs)
			n++
		}
	}
	return n
}

// mayOverlapLocked tells whether w may have a second turn on a model that runs for
// its stream already: it must be in time although it is second, and nobody may wait
// who would be served later by that.
func (s *Scheduler) mayOverlapLocked(w *waiter, now time.Time) bool {
	m := w.ask.Model
	if len(m.turns) != 1 || m.turns[0].stream != w.stream ||
		w.ask.misses(w.captured, m.until(now).Add(m.P99())) != nil {
		return false
	}
	for _, o := range s.waiting {
		if o.stream != w.stream && !o.held && o.stream.holds == 0 &&
			!w.stream.config.Class.before(o.stream.config.Class) {
			return false
		}
	}
	return true
}

// pickLocked chooses among asks of one class: those below their rate first, then
// the freshest frame of the least served third.
func (s *Scheduler) pickLocked(may []*waiter, now time.Time) *waiter {
	fewest := may[0].stream.count
	for _, w := range may {
		fewest = min(fewest, w.stream.count)
	}
	class := may[0].stream.config.Class
	s.served[class] = max(s.served[class], fewest)

	if slices.ContainsFunc(may, func(w *waiter) bool { return w.stream.below(now) }) {
		may = slices.DeleteFunc(may, func(w *waiter) bool { return !w.stream.below(now) })
	}
	slices.SortStableFunc(may, func(a, b *waiter) int {
		if s.pick == ByCount { // who had as few belongs to the third before those with older frames
			return cmp.Or(cmp.Compare(a.stream.count, b.stream.count), b.captured.Compare(a.captured))
		}
		return a.stream.granted.Compare(b.stream.granted)
	})
	best := may[0]
	for _, w := range may[1 : (len(may)+2)/3] {
		if s.pick == ByCount && w.stream.count > may[0].stream.count+lead {
			break
		}
		if w.captured.After(best.captured) {
			best = w
		}
	}
	return best
}

// below tells whether MinRate wants a turn for the stream now.
func (st *Stream) below(now time.Time) bool {
	return st.config.MinRate > 0 && !st.due.After(now)
}

func (s *Scheduler) grantLocked(w *waiter, now time.Time, run *together) {
	st, m := w.stream, w.ask.Model
	t := &Turn{Captured: w.captured, stream: st, run: run, ask: w.ask, probe: w.probe, dares: w.dares, began: now}
	if w.ask.Yields {
		t.wanted = make(chan struct{})
	}
	if len(m.turns) == 0 {
		s.busy = append(s.busy, m)
	}
	m.turns = append(m.turns, t)
	m.refused, m.denied = time.Time{}, time.Time{}
	if w.dares {
		s.dared = now
		m.dares()
	}
	st.holds++
	st.count++
	st.granted, st.rhythm.asked = now, now
	if st.config.MinRate > 0 {
		// What was missed is made up for, by one turn at most.
		every := period(st.config.MinRate)
		st.due = later(st.due.Add(every), now)
		st.due = earlier(st.due, now.Add(every))
	}
	if st.gap > 0 {
		// A grant that came after its time makes the next one come sooner, so that the
		// rate is the limit.
		st.allowed = later(st.allowed.Add(st.gap), now.Add(st.gap/2))
	}
	s.count(st, func(c *Stats) {
		c.Grants++
		if w.probe || w.dares {
			c.Probes++
		}
		if run.of > 1 {
			c.Shared++
		}
	})
	s.removeLocked(w)
	s.settleLocked(w, now, t, nil)
}

// endLocked takes a turn back.
func (s *Scheduler) endLocked(t *Turn, now time.Time, ok bool) {
	st, m := t.stream, t.ask.Model
	took := now.Sub(t.began)
	first := m.turns[0] == t
	m.turns = slices.DeleteFunc(m.turns, func(o *Turn) bool { return o == t })
	if len(m.turns) == 0 {
		s.busy = slices.DeleteFunc(s.busy, func(o *Model) bool { return o == m })
	} else if first && m.turns[0].run != t.run {
		m.turns[0].began = now // it couldn't run before
	}
	st.holds--
	st.rhythm.asked = now // as it will again
	inTime := ok && t.ask.misses(t.Captured, now) == nil
	if ok && t.wanted == nil && !t.run.told { // what yields may be of another size than others' frames
		t.run.told = true
		m.proved(t, took, inTime)
		m.record(took)
	}
	took /= time.Duration(t.run.of) // its share of the run
	s.count(st, func(c *Stats) {
		c.Busy += took
		switch {
		case inTime:
			c.InTime++
			c.BusyInTime += took
		case ok:
			c.Late++
		default:
			c.Failed++
		}
	})
}

func (s *Scheduler) removeLocked(w *waiter) {
	s.waiting = slices.DeleteFunc(s.waiting, func(o *waiter) bool { return o == w })
}

// settleLocked ends an ask that isn't in s.waiting any more.
func (s *Scheduler) settleLocked(w *waiter, now time.Time, t *Turn, err error) {
	st := w.stream
	if st.asks--; st.asks == 0 {
		s.count(st, func(c *Stats) { c.Waited += now.Sub(st.waited) })
	}
	w.turn, w.err = t, err
	if w.settled != nil {
		close(w.settled)
	}
}

// count counts for the stream and in all.
func (s *Scheduler) count(st *Stream, add func(*Stats)) {
	add(&st.stats)
	add(&s.total)
}

func period(hz float64) time.Duration { return time.Duration(float64(time.Second) / hz) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
