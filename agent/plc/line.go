package plc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Stats is what one door has seen.
type Stats struct {
	Open      string        // where it listens, or its chip; "" while it is shut
	Fault     string        // why it is shut
	Client    string        // address of the controller that is in
	Heartbeat time.Duration // since the last beat; negative before the first
	Alive     bool          // the heartbeat goes on
	Malformed uint64        // requests that were no such thing
	EntranceStats
	LineStats
}

// line is one controller's handshake with those who inspect for it.
type line struct {
	station Station
	log     *slog.Logger
	beat    beat
	work    chan *inspection
	turn    chan struct{} // full while a trigger is being handed over
	changed func()        // after each answer, without the lock

	mu        sync.Mutex
	hs        handshake
	switching bool // a recipe is being made the active one
	malformed uint64
}

func (l *line) open(s Station, log *slog.Logger, heartbeat time.Duration) {
	l.station, l.log = s, log
	l.beat = beat{station: s, every: heartbeat}
	// No more are accepted than run, so a send never waits.
	l.work = make(chan *inspection, queueLength)
	l.turn = make(chan struct{}, 1)
}

// checkHeartbeat gives the interval with its default.
func checkHeartbeat(d time.Duration) (time.Duration, error) {
	if d == 0 {
		return defaultHeartbeat, nil
	}
	if d < 10*time.Millisecond || d > time.Minute {
		return 0, fmt.Errorf("heartbeat: must be from 10ms to 1m, got %v", d)
	}
	return d, nil
}

// run inspects and beats until ctx ends.
func (l *line) run(ctx context.Context, g *errgroup.Group, beaten func()) {
	g.Go(func() error { l.beat.run(ctx, beaten); return nil })
	for range queueLength {
		g.Go(func() error { l.inspect(ctx); return nil })
	}
}

// inspect hands triggers to the station, each once the one before has been taken.
func (l *line) inspect(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l.turn <- struct{}{}:
		}
		select {
		case <-ctx.Done():
			return
		case i := <-l.work:
			t := i.trigger
			t.Taken = sync.OnceFunc(func() { <-l.turn })
			a := l.station.Trigger(ctx, t)
			t.Taken()
			l.mu.Lock()
			l.hs.answer(i, a)
			l.mu.Unlock()
			l.changed()
		}
	}
}

// ready tells whether a verdict can be promised to a trigger that came now. The
// station is asked without the lock.
func (l *line) ready() (ok bool, why string) {
	if _, alive := l.beat.state(); !alive {
		return false, "the agent makes no progress"
	}
	ok, why = l.station.Ready()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.switching:
		return false, "the recipe is being changed"
	case !l.hs.room():
		return false, "earlier results wait"
	}
	return ok, why
}

// begin hands an accepted trigger to who inspects.
func (l *line) begin(i *inspection) {
	if i != nil {
		l.work <- i
	}
}

func (l *line) stats() Stats {
	_, alive := l.beat.state()
	s := Stats{Heartbeat: l.beat.age(), Alive: alive}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.LineStats = l.hs.counts
	s.Waiting = len(l.hs.queue)
	s.Malformed = l.malformed
	return s
}

func (l *line) garbled() {
	l.mu.Lock()
	l.malformed++
	l.mu.Unlock()
}

// fill adds who came to the door.
func (e *entrance) fill(s *Stats) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Open, s.Fault, s.EntranceStats = e.bound, e.fault, e.counts
	if e.active != nil {
		s.Client = e.active.peer.String()
	}
}
