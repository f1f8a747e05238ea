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
	id uint64
	of int // turns
}

// Batches says what the model's runs take on 1, 2, 4, … frames: so many streams may then
// have a turn on it at once. Nobody waits for others to come. Where such runs would be
// too long for those who ask, they are made smaller for a while. nil: one frame in a run.
func (m *Model) Batches(takes []time.Duration) {
	s := m.owner
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(takes, m.takes) {
		return
	}
	m.takes, m.level, m.grows, m.growing = slices.Clone(takes), max(len(takes)-1, 0), time.Time{}, 0
	s.decideLocked(time.Now())
}

// Batch names the run that the turn is part of, and tells how many turns are.
func (t *Turn) Batch() (id uint64, of int) { return t.run.id, t.run.of }

// companionsLocked are the asks whose frames can be looked at in the same run as that of
// w, which is about to have its turn: one of a stream, in the order in which they would be
// served.
func (s *Scheduler) companionsLocked(w *waiter, now time.Time) (out []*waiter) {
	m := w.ask.Model
	m.growLocked(now)
	if m.level == 0 || len(m.turns) > 0 || w.ask.Yields || w.probe || w.dares {
		return nil
	}
	streams := []*Stream{w.stream}
	for _, class := range order {
		for len(out)+1 < 1<<m.level {
			s.may = s.may[:0]
			for _, o := range s.waiting {
				if o.ask.Model == m && o.stream.config.Class == class && !o.ask.Yields && !o.held && !o.probe && !slices.Contains(streams, o.stream) &&
					o.stream.holds < o.stream.config.Width {
					s.may = append(s.may, o)
				}
			}
			if len(s.may) == 0 {
				break
			}
			best := s.pickLocked(s.may, now)
			out, streams = append(out, best), append(streams, best.stream)
		}
	}
	return out
}

// shrinkLocked makes batches smaller: a run of theirs is too long for somebody, however
// soon it were to begin.
func (m *Model) shrinkLocked(now time.Time) {
	if m.level == 0 {
		return
	}
	m.resize(m.level - 1)
	m.growing = min(max(2*m.growing, growAfter), growMost)
	m.grows = now.Add(m.growing)
}

// growLocked makes them larger again, when that is due.
func (m *Model) growLocked(now time.Time) {
	if !m.grows.IsZero() && now.After(m.grows) && m.level < len(m.takes)-1 {
		m.resize(m.level + 1)
		m.grows = now.Add(m.growing)
	}
}

// resize changes the batches, and what is known of runs in the same measure.
func (m *Model) resize(level int) {
	by := float64(m.takes[level]) / float64(max(m.takes[m.level], 1))
	m.level = level
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * by) }
	for n := range m.newest {
		m.newest[n] = scaled(m.newest[n])
	}
	for n := range m.sorted {
		m.sorted[n] = scaled(m.sorted[n])
	}
	m.p50.Store(int64(scaled(m.P50())))
	m.p99.Store(int64(scaled(m.P99())))
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
