package sched

import "time"

// Wanted is closed when somebody waits for what this turn holds who doesn't yield, or
// is of a class above: then the run is to be stopped and the turn ended. It is nil
// without Ask.Yields.
func (t *Turn) Wanted() <-chan struct{} { return t.wanted }

// yieldLocked tells turns that yield that they are wanted, as many as are needed.
func (s *Scheduler) yieldLocked(now time.Time) {
	coming := 0 // slots that turns are about to give back
	for _, m := range s.busy {
		if m.turns[0].yielding && now.Before(m.hangsFrom()) { // what hangs has none
			coming++
		}
	}
	for _, w := range s.waiting {
		switch {
		case w.held || w.stream.holds >= w.stream.config.Width || !s.wouldStartLocked(w, now):
		case len(w.ask.Model.turns) > 0:
			w.ask.Model.turns[0].yield(w)
		case s.occupiedLocked(now) < s.slots: // it waits for something else
		case coming > 0:
			coming--
		default:
			s.freeSlotLocked(w)
		}
	}
}

// wouldStartLocked tells whether w could start if what yields to it did.
func (s *Scheduler) wouldStartLocked(w *waiter, now time.Time) bool {
	return w.probe || w.stream.config.Class == Critical || s.leavesRoomLocked(w, w.ask.Model.P99(), now)
}

// freeSlotLocked makes one turn yield to w, the last that began.
func (s *Scheduler) freeSlotLocked(w *waiter) {
	var last *Turn
	for _, m := range s.busy {
		t := m.turns[0]
		if t.yieldsTo(w) && (last == nil || t.began.After(last.began)) {
			last = t
		}
	}
	if last != nil {
		last.yield(w)
	}
}

func (t *Turn) yieldsTo(w *waiter) bool {
	return !t.yielding && t.comesAfter(w)
}

// comesAfter tells whether the turn ends early, or does already, when w waits for it.
func (t *Turn) comesAfter(w *waiter) bool {
	return t.wanted != nil && (!w.ask.Yields || w.stream.config.Class.before(t.stream.config.Class))
}

// yield tells the turn that w waits for it.
func (t *Turn) yield(w *waiter) {
	if t.yieldsTo(w) {
		t.yielding = true
		close(t.wanted)
	}
}
