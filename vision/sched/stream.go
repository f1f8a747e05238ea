package sched

import (
	"context"
	"time"
)

// StreamConfig describes what asks for turns: one camera of one station, say.
type StreamConfig struct {
	Name    string // for people
	Class   Class
	MinRate float64 // turns a second below which it goes before its class; 0: none

	// Width is how many turns it may hold; 0: 1. With 2 and more, a second turn on
	// the same model is given beyond the limits while nobody of its class or above
	// waits: the next picture is laid ready while the first is looked at.
	Width int
}

// Stream asks for turns. Its methods may be called from any goroutine.
type Stream struct {
	s      *Scheduler
	config StreamConfig

	// All below is protected by the scheduler's lock.
	left    bool
	asks    int           // that wait in Take
	waited  time.Time     // since when the oldest of them does
	holds   int           // turns
	granted time.Time     // the last grant
	count   uint64        // of turns, for ByCount: about Scheduler.served at least
	due     time.Time     // when MinRate wants the next turn
	gap     time.Duration // between grants on average, by Limit; 0: none
	allowed time.Time     // when Limit allows the next grant
	rhythm  rhythm
	stats   Stats
}

// Stats counts what became of a stream's asks.
type Stats struct {
	Grants uint64 // turns given
	InTime uint64 // turns whose result came by the deadline and within the age
	Late   uint64 // turns whose result came later
	Failed uint64 // turns that gave no result
	Probes uint64 // turns given against the model's times, which may no longer be true
	Shared uint64 // turns given together with others', for one run (Model.Batches)

	RefusedLate  uint64 // ErrLate
	RefusedStale uint64 // ErrStale, because of the newest frame's age
	Gone         uint64 // ErrStale, because there was no frame any more
	RefusedLimit uint64 // ErrLate or ErrStale, because of Stream.Limit

	Busy       time.Duration // that the model ran for its turns
	BusyInTime time.Duration // of it, for results in time
	Waited     time.Duration // that it waited in Take
	Waiting    int           // asks that wait now
	Holding    int           // turns under way now
}

// Name is the stream's, from its configuration.
func (st *Stream) Name() string { return st.config.Name }

// Class is the stream's, from its configuration.
func (st *Stream) Class() Class { return st.config.Class }

// Limit sets how many turns a second are given at most; 0 ends the limit. That is
// on average: two may follow each other after half of the time.
func (st *Stream) Limit(hz float64) {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	st.gap = 0
	if hz > 0 {
		st.gap = period(hz)
		st.allowed = st.granted.Add(st.gap)
	}
	s.decideLocked(time.Now())
}

// Stats counts since Join.
func (st *Stream) Stats() Stats {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.statsLocked(time.Now())
}

func (st *Stream) statsLocked(now time.Time) Stats {
	sum := st.stats
	sum.Holding, sum.Waiting = st.holds, st.asks
	if st.asks > 0 {
		sum.Waited += now.Sub(st.waited)
	}
	return sum
}

// waiter is an ask that waits.
type waiter struct {
	stream   *Stream
	ask      Ask
	captured time.Time // as Newest said in this round
	held     bool      // by Stream.Limit, in this round
	limited  bool      // was held once
	probe    bool      // is let in against the model's times
	dares    bool      // is let in before critical work by the model's fastest run

	turn    *Turn // either, once it is settled
	err     error
	settled chan struct{} // nil before Take has to wait
}

// Take waits until it is the stream's turn. It gives ErrLate or ErrStale as soon
// as that is so, ErrLeft once the stream has left, and ctx's error; a turn that
// was given before ctx ended is given all the same. Several goroutines may wait.
func (st *Stream) Take(ctx context.Context, a Ask) (*Turn, error) {
	s := st.s
	switch {
	case a.Model == nil || a.Newest == nil:
		panic("BUG: sched: an Ask without a Model or without Newest")
	case a.Model.owner != s:
		panic("BUG: sched: model " + a.Model.name + " belongs to another scheduler")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &waiter{stream: st, ask: a}
	s.mu.Lock()
	if st.left {
		s.mu.Unlock()
		return nil, ErrLeft
	}
	now := time.Now()
	st.asksLocked(w, now)
	s.decideLocked(now)
	if w.turn != nil || w.err != nil {
		s.mu.Unlock()
		return w.turn, w.err
	}
	w.settled = make(chan struct{})
	s.mu.Unlock()

	select {
	case <-w.settled:
	case <-ctx.Done():
		s.withdraw(w, ctx.Err())
	}
	return w.turn, w.err
}

func (st *Stream) asksLocked(w *waiter, now time.Time) {
	st.rhythm.asked = now
	st.rhythm.model = w.ask.Model
	st.count = max(st.count+lag, st.s.served[st.config.Class]) - lag
	if st.asks++; st.asks == 1 {
		st.waited = now
	}
	st.s.waiting = append(st.s.waiting, w)
}

// withdraw ends an ask, unless it was settled in the meantime.
func (s *Scheduler) withdraw(w *waiter, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.turn != nil || w.err != nil {
		return
	}
	now := time.Now()
	s.removeLocked(w)
	s.settleLocked(w, now, nil, err)
	s.decideLocked(now)
}

// Turn is the right to run the asked model once, on a frame captured at Captured
// or later. It ends with Done.
type Turn struct {
	Captured time.Time

	stream *Stream
	ask    Ask
	run    *together
	probe  bool
	dares  bool
	began  time.Time // when it was granted, or when the turn before it on the model ended
	done   bool

	wanted   chan struct{} // nil unless it yields
	yielding bool          // wanted is closed
}

// Done ends the turn, exactly once; ok says whether there is a result. The time
// since the grant counts as what the model takes if so, and the result as in time
// if it is there by the ask's deadline and age.
func (t *Turn) Done(ok bool) {
	s := t.stream.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.done {
		panic("BUG: sched: Done called twice for a turn of stream " + t.stream.config.Name)
	}
	t.done = true
	now := time.Now()
	s.endLocked(t, now, ok)
	s.decideLocked(now)
}

// by is when a result for a frame captured at captured must be there; zero: at
// any time.
func (a *Ask) by(captured time.Time) time.Time {
	end := a.Deadline
	if a.MaxAge > 0 {
		if old := captured.Add(a.MaxAge); end.IsZero() || old.Before(end) {
			end = old
		}
	}
	return end
}
