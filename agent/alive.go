package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
)

// stuckAfter is how long the agent may make no progress before a new start is
// its only help. It is longer than all that heals itself: a model may run
// for 10 s, and its silent process is killed 2 s later.
const stuckAfter = 20 * time.Second

// liveness is what the watch loop sees of progress, for Alive.
type liveness struct {
	mu       sync.Mutex // protects all below
	round    time.Time  // of the watch loop, the newest
	stations []progress // in the agent's order
	telling  progress   // of the recorder: decided → told
	said     bool       // that there is none
}

// progress watches that what comes in also goes out.
type progress struct {
	in, out uint64    // counts when something last went out
	since   time.Time // of the first input that nothing came out for; zero without one
}

// saw takes the newest counts. An excuse is a cause outside of the agent's own
// loops, or one that is being mended already: it clears the account.
func (p *progress) saw(now time.Time, in, out uint64, excuse bool) {
	switch {
	case out != p.out || excuse:
		p.in, p.out, p.since = in, out, time.Time{}
	case in > p.in && p.since.IsZero():
		p.since = now
	}
}

func (p *progress) stuck(now time.Time) bool {
	return !p.since.IsZero() && now.Sub(p.since) > stuckAfter
}

// look notes how far everything is. The watch loop calls it at each round.
func (a *Agent) look(now time.Time) {
	l := &a.alive
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stations == nil {
		l.stations = make([]progress, len(a.stations))
	}
	l.round = now
	for n, s := range a.stations {
		in, out := s.flow()
		l.stations[n].saw(now, in, out, s.excused() || s.triggered() && !s.ledger.overdue(now))
	}
	waiting := uint64(a.recorder.backlog())
	told := a.recorder.Stats().Told
	l.telling.saw(now, told+waiting, told, waiting == 0)
	l.telling.in = told // what waits now is owed already
}

// flow counts the station's triggers, or its pictures: those that came and could be read, and
// those that the model has answered, with a result or without.
func (s *Station) flow() (in, out uint64) {
	if s.triggered() { // what nobody asks for needs no result
		return s.ledger.flow()
	}
	for _, v := range s.views {
		cam := v.camera.cfg.Source.Stats()
		d := cam.Dropped
		in += cam.Captured - min(cam.Captured, d.Unreadable+d.Late+d.Incomplete+d.Stale)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return in, s.stats.Inferred + s.stats.Unchanged + s.stats.Lost
}

// excused tells whether pictures may come without results: the source is over,
// a person must act, or the model's process is being started, which has its
// own limits and warnings.
func (s *Station) excused() bool {
	s.mu.Lock()
	over := s.ended || s.asked
	s.mu.Unlock()
	return over || !modelReady(s)
}

// modelReady asks the worker of the model that decides.
func modelReady(s *Station) bool {
	m := s.loadout().Model
	return m != nil && ready(m) == nil
}

// ready tells without waiting why a worker can't serve now.
func ready(m *infer.Worker) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := m.Ready(ctx)
	return err
}

// Alive reports whether the agent makes progress, for a watchdog that starts it
// anew where it doesn't. It is false when the agent's own watch loop has hung,
// when readable pictures come to a station whose model is ready and none is
// answered, or when decided parts aren't told, each for 20 s. A camera that is
// away or sends broken pictures, a model that is given up or being loaded, and
// a disk that takes nothing are no reason: a new start mends none of them. Call
// it once Run has been called.
func (a *Agent) Alive(now time.Time) bool {
	why := a.stuck(now)
	a.alive.mu.Lock()
	said := a.alive.said
	a.alive.said = why != ""
	a.alive.mu.Unlock()
	if why != "" && !said {
		a.log.Error("the agent makes no progress, its watchdog isn't fed", "reason", why)
	}
	return why == ""
}

// stuck says what makes no progress, or "".
func (a *Agent) stuck(now time.Time) string {
	l := &a.alive
	l.mu.Lock()
	defer l.mu.Unlock()
	round := l.round
	if round.IsZero() {
		round = a.began
	}
	if now.Sub(round) > stuckAfter {
		return fmt.Sprintf("the watch loop has not gone round for %v", now.Sub(round).Truncate(time.Second))
	}
	for n := range l.stations {
		if p := &l.stations[n]; p.stuck(now) {
			return fmt.Sprintf("station %s has had pictures or triggers, but no result for %v", a.stations[n].cfg.ID, now.Sub(p.since).Truncate(time.Second))
		}
	}
	if l.telling.stuck(now) {
		return fmt.Sprintf("no decided part was told for %v", now.Sub(l.telling.since).Truncate(time.Second))
	}
	return ""
}
