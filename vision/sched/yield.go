package sched

import "time"

// Wanted is closed when somebody of a class above waits for what this turn holds:
// then the run is to be stopped and the turn ended. It is nil without Ask.Yields.
func (t *Turn) Wanted() <-chan struct{} { return t.wanted }

// yieldLocked tells turns that yield that they are wanted, as many as are needed.
func (s *Scheduler) yieldLocked(now time.Time) {
	coming := 0 // slots that turns are about to give back
	for _, m := range s.busy {
		if t := m.turns[0]; t.yielding {
			coming++
		}
	}
	for _, w := range s.waiting {
		class := w.stream.config.Class
		switch {
		case w.held || w.stream.holds >= w.stream.config.Width:
		case len(w.ask.Model.turns) > 0:
			w.ask.Model.turns[0].yield(class)
		case s.occupiedLocked(now) < s.slots: // it waits for something else
		case coming > 0:
			coming--
		default:
			s.freeSlotLocked(class)
		}
	}
}

// freeSlotLocked makes one turn of a class below yield, the last that began.
func (s *Scheduler) freeSlotLocked(class Class) {
	var last *Turn
	for _, m := range s.busy {
		t := m.turns[0]
		if t.wanted != nil && !t.yielding && class.before(t.stream.config.Class) && (last == nil || t.began.After(last.began)) {
			last = t
		}
	}
	if last != nil {
		last.yield(class)
	}
}

// yield tells the turn that class waits for it.
func (t *Turn) yield(class Class) {
	if t.wanted != nil && !t.yielding && class.before(t.stream.config.Class) {
		t.yielding = true
		close(t.wanted)
	}
}
