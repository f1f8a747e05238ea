package sched

import "time"

// A model that critical work leaves no room for isn't run, so what its runs are
// taken to take stays as it is, even where that was a hiccup. So it dares to run
// now and then, as if this run were its fastest. Where it isn't, critical frames
// come late: those of one run, which is why it dares ever less often.
const (
	maxPatience = time.Minute // between two such runs
	settled     = 100         // runs after which the wait is probeAfter again
)

// mayDareLocked tells whether w may start although the model's times leave critical
// streams too little, which its fastest run would not: once that alone has kept an
// idle model from running for its patience, and no oftener than every probeAfter on
// the whole accelerator.
func (s *Scheduler) mayDareLocked(w *waiter, now time.Time) bool {
	m := w.ask.Model
	if len(m.turns) > 0 || len(m.sorted) == 0 || !s.leavesRoomLocked(w, m.sorted[0], now) {
		return false
	}
	if m.denied.IsZero() {
		m.denied = now
	}
	from := later(m.denied.Add(max(m.patience, probeAfter)), s.dared.Add(probeAfter))
	if from.After(now) {
		s.wakeBy(from)
		return false
	}
	w.dares = true
	return true
}

// dares notes that the model does.
func (m *Model) dares() {
	m.patience = min(2*max(m.patience, probeAfter), maxPatience)
	m.since = 0
}
