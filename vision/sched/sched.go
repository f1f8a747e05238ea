// Package sched decides which frame an accelerator looks at next. There are no
// queues: whoever has a frame asks for a turn, and at the moment in which the
// accelerator is free the asker that is chosen takes the newest frame it has.
//
// Criticality class comes first. Within a class the freshest frame wins among
// the least served third of those that ask, so that nobody starves and nothing
// old is looked at. What can't be ready by its deadline, by the model's measured
// 99th percentile, isn't started (admission at dequeue); nor is work of a lower
// class that would make the nearest deadline of a critical one late.
package sched

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Class says whose frames go first.
type Class uint8

// The classes, from the zero value that nobody has to choose.
const (
	Normal     Class = iota
	Critical         // before all others, who wait where they would make it late
	BestEffort       // what is left over
)

// ParseClass reads "critical", "normal" or "best_effort".
func ParseClass(s string) (Class, error) {
	switch s {
	case "critical":
		return Critical, nil
	case "normal":
		return Normal, nil
	case "best_effort":
		return BestEffort, nil
	}
	return Normal, fmt.Errorf("criticality %q is none of critical, normal, best_effort", s)
}

func (c Class) String() string {
	switch c {
	case Critical:
		return "critical"
	case BestEffort:
		return "best_effort"
	}
	return "normal"
}

// Errors of Stream.Take that callers tell apart.
var (
	// ErrLate means that the deadline can't be met any more: the frame isn't to be
	// inspected.
	ErrLate = errors.New("it can't be inspected by its deadline")
	// ErrStale means that the newest frame is too old to be of use by the time its
	// result would come: wait for another one.
	ErrStale = errors.New("the frame would be too old")
	// ErrLeft means that the stream has left the scheduler.
	ErrLeft = errors.New("the stream has left the scheduler")
)

// Ask is what a stream wants a turn for.
type Ask struct {
	Model *Model // that will look at the frame

	// Newest tells when the frame that would be taken now was captured; false: there
	// is none any more, and Take gives ErrStale. It is called while the scheduler
	// holds its lock: it must be quick, and must not call the scheduler.
	Newest func() (captured time.Time, ok bool)

	Deadline time.Time     // by when the result must be there; zero: MaxAge alone counts
	MaxAge   time.Duration // of a frame at its result; 0: any

	// Yields says that the ask comes after all that don't yield, whatever their class, and
	// that its turn ends early when one of those waits for it, or one of a class above: see
	// Turn.Wanted. What such runs take isn't counted for the model.
	Yields bool

	Alone bool // no other frame is looked at in the same run (Model.Batches)
}

// Pick says what "least served" means among streams of a class.
type Pick uint8

// The two ways. With eight cameras of 30 fps and three times the load, the 99th
// percentile of a result's age was 0.79 to 0.81 of (period + model) by count and
// 0.83 to 0.84 by recency; with eight of 15 to 60 fps 0.92 and 0.96. Jain's index of
// turns was 1.0000 by count; by recency it came down to 0.963 (TestFresh,
// TestCriticalIsInTime: simulated).
const (
	ByCount   Pick = iota // who had the fewest turns since it began to ask
	ByRecency             // whose last turn is longest ago
)

// lead is how many turns an ask may be ahead of the least served one and still be
// preferred for its fresher frame (ByCount): what keeps turns equal among many
// cameras whose phases happen to favour some.
const lead = 2

// lag is how many turns an ask may be behind (ByCount). What it has missed beyond
// that, while it had no frame, isn't made up for.
const lag = 4

// Config of a scheduler.
type Config struct {
	Slots int  // turns at once on the accelerator, without those that hang; 0: 1
	Pick  Pick // who counts as least served
}

// Scheduler gives out turns on one accelerator. It has no goroutine: decisions
// are made by whoever asks or has done, and by a timer where time alone changes
// the answer.
type Scheduler struct {
	slots  int
	pick   Pick
	rounds atomic.Uint64

	mu        sync.Mutex // protects all below, and the fields of models, streams, turns and asks
	models    map[string]*Model
	streams   []*Stream
	criticals int // streams of class Critical
	waiting   []*waiter
	busy      []*Model  // those with turns: each has one slot, until it hangs
	served    [3]uint64 // by class: the fewest turns among those who asked of late (ByCount)
	ran       uint64    // runs that were begun
	total     Stats
	timer     *time.Timer
	armed     time.Time // when the timer fires; zero: it doesn't
	dared     time.Time // the last turn against what critical streams need, see mayDareLocked
	wake      time.Time // when this round must be gone through again; zero: when somebody comes

	claimed bool    // claims are those of this moment
	claims  []claim // what critical streams need, the latest first
	may     []*waiter
	lanes   []time.Time // these three are scratch space
	free    []time.Time
}

// New gives a scheduler with nobody in it.
func New(c Config) *Scheduler {
	if c.Slots < 1 {
		c.Slots = 1
	}
	return &Scheduler{slots: c.Slots, pick: c.Pick, models: map[string]*Model{}}
}

// Model gives the model of that name; what its runs take is known to all who run
// it under this name.
func (s *Scheduler) Model(name string) *Model {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.models[name]
	if m == nil {
		m = &Model{name: name, owner: s}
		s.models[name] = m
	}
	return m
}

// Progress grows with every decision, Take and Done. It stands still where nobody
// asks, and in a scheduler that is stuck.
func (s *Scheduler) Progress() uint64 { return s.rounds.Load() }

// Stats is the sum over all streams, those that left included.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.total
	sum.Waiting = len(s.waiting)
	for _, m := range s.busy {
		sum.Holding += len(m.turns)
	}
	return sum
}

// Join adds a stream.
func (s *Scheduler) Join(c StreamConfig) *Stream {
	if c.Width < 1 {
		c.Width = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &Stream{s: s, config: c, due: time.Now()}
	if c.Class == Critical {
		s.criticals++
	}
	s.streams = append(s.streams, st)
	return st
}

// Leave removes the stream. Whoever waits in its Take gets ErrLeft; turns that it
// holds are still to be ended with Done. It may be called twice.
func (st *Stream) Leave() {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.left {
		return
	}
	st.left = true
	if st.config.Class == Critical {
		s.criticals--
	}
	now := time.Now()
	s.streams = slices.DeleteFunc(s.streams, func(o *Stream) bool { return o == st })
	s.waiting = slices.DeleteFunc(s.waiting, func(w *waiter) bool {
		if w.stream == st {
			s.settleLocked(w, now, nil, ErrLeft)
		}
		return w.stream == st
	})
	s.decideLocked(now)
}
