package sched

import (
	"slices"
	"time"
)

// How a model's batches are made smaller where their runs take too long, and larger
// again.
const (
	growAfter = time.Minute // for the first time; twice as long each time
	growMost  = time.Hour
)

// together is one run of a model, on the frames of one turn or of several.
type together struct {
	id   uint64
	of   int  // turns
	told bool // what it took is recorded
}

// Batches says what the model's runs take on 1, 2, 4, … frames: so many streams may then
// have a turn on it at once. Nobody waits for others to come. Where such runs would be
// too long for those who ask, they are made smaller for a while. nil: one frame in a run.
func (m *Model) Batches(takes []time.Duration) {
	s := m.owner
	s.mu.Lock()
	defer s.mu.Unlock()
	switch top := len(takes) - 1; {
	case slices.Equal(takes, m.takes):
		return
	case top < 1:
		m.resize(0)
		m.takes = nil
	case m.takes == nil:
		m.takes = slices.Clone(takes)
		m.resize(top)
	default:
		m.resize(min(m.level, top))
		m.takes = slices.Clone(takes)
	}
	s.decideLocked(time.Now())
}

// Batch names the run that the turn is part of, and tells how many turns are.
func (t *Turn) Batch() (id uint64, of int) { return t.run.id, t.run.of }

// companionsLocked are the asks whose frames can be looked at in the same run as that of
// w, which is about to have its turn: one of a stream, in the order in which they would be
// served.
func (s *Scheduler) companionsLocked(w *waiter, now time.Time) (out []*waiter) {
	m := w.ask.Model
	m.growLocked(w, now)
	if m.level == 0 || len(m.turns) > 0 || w.ask.alone() || w.probe || w.dares {
		return nil
	}
	streams := []*Stream{w.stream}
	for _, class := range order {
		for len(out)+1 < 1<<m.level {
			s.may = s.may[:0]
			for _, o := range s.waiting {
				if o.ask.Model == m && o.stream.config.Class == class && !o.ask.alone() && !o.held && !o.probe && !slices.Contains(streams, o.stream) &&
					o.stream.holds < o.stream.config.Width && o.ask.misses(o.captured, now.Add(m.P99())) == nil {
					s.may = append(s.may, o)
				}
			}
			if len(s.may) == 0 {
				break
			}
			best := s.pickLocked(s.may, now)
			best.dares = false
			out, streams = append(out, best), append(streams, best.stream)
		}
	}
	return out
}

// alone tells whether nothing else may be looked at in the ask's run.
func (a *Ask) alone() bool { return a.Yields || a.Alone }

// fitLocked makes the model's batches smaller for an ask to which their runs would be too
// long however soon they had begun, while a smaller one is in time.
func (m *Model) fitLocked(w *waiter, captured, now time.Time) {
	a := &w.ask
	for m.level > 0 && !a.alone() && a.misses(captured, w.stream.waited.Add(m.P99())) != nil && a.misses(captured, now.Add(m.scaled(m.P99(), 0))) == nil {
		m.resize(m.level - 1)
		m.growing = min(max(2*m.growing, growAfter), growMost)
		m.grows = now.Add(m.growing)
	}
}

// growLocked makes them larger again when that is due, and w is in time all the same.
func (m *Model) growLocked(w *waiter, now time.Time) {
	if m.level < len(m.takes)-1 && now.After(m.grows) && w.ask.misses(w.captured, now.Add(m.scaled(m.P99(), m.level+1))) == nil {
		m.resize(m.level + 1)
		m.grows = now.Add(m.growing)
	}
}

// scaled is what a run takes with batches of another level.
func (m *Model) scaled(d time.Duration, level int) time.Duration {
	return time.Duration(float64(d) * float64(m.takes[level]) / float64(max(m.takes[m.level], 1)))
}

// resize changes the batches, and what is known of runs in the same measure.
func (m *Model) resize(level int) {
	if level == m.level {
		return
	}
	for n := range m.newest {
		m.newest[n] = m.scaled(m.newest[n], level)
	}
	for n := range m.sorted {
		m.sorted[n] = m.scaled(m.sorted[n], level)
	}
	m.p50.Store(int64(m.scaled(m.P50(), level)))
	m.p99.Store(int64(m.scaled(m.P99(), level)))
	m.level = level
}

// apart counts the runs that the turns under way are.
func (m *Model) apart() (n int) {
	for i, t := range m.turns {
		if i == 0 || t.run != m.turns[i-1].run {
			n++
		}
	}
	return n
}
