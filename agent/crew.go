package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/internal/lean"
	"github.com/sightline-edge/sightline/vision/infer"
)

// crew is the workers that the agent runs: those of its stations, and those
// that are to be tried or switched to.
type crew struct {
	changed chan struct{} // holds a token when a worker waits for its start
	settle  *time.Timer   // gives back what a change of workers needed

	mu      sync.Mutex // protects members
	members map[*infer.Worker]*member
}

type member struct {
	stop  context.CancelFunc // nil before its start
	ended chan struct{}
}

func newCrew(list []*infer.Worker) *crew {
	c := &crew{changed: make(chan struct{}, 1), settle: time.AfterFunc(time.Hour, lean.Settle), members: map[*infer.Worker]*member{}}
	c.settle.Stop()
	for _, w := range list {
		c.add(w)
	}
	return c
}

func (c *crew) add(w *infer.Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[w] == nil {
		c.members[w] = &member{ended: make(chan struct{})}
	}
	select {
	case c.changed <- struct{}{}:
	default: // a token is there already
	}
}

// remove ends a worker and waits until its process has gone.
func (c *crew) remove(w *infer.Worker) {
	c.mu.Lock()
	m := c.members[w]
	delete(c.members, w)
	if m == nil || m.stop == nil {
		c.mu.Unlock()
		return
	}
	m.stop()
	c.mu.Unlock()
	<-m.ended
	c.settle.Reset(settleAfter)
}

// settleAfter is how long after the last change of workers the agent gives back what that
// needed: models, golden pictures, answers.
const settleAfter = 5 * time.Second

// run runs the workers until the context ends. It gives the first error of one
// that couldn't run.
func (c *crew) run(ctx context.Context, work func(context.Context, *infer.Worker) error) error {
	var g errgroup.Group
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-c.changed:
		}
		c.mu.Lock()
		for w, m := range c.members {
			if m.stop != nil {
				continue
			}
			one, stop := context.WithCancel(ctx)
			m.stop = stop
			g.Go(func() error {
				defer close(m.ended)
				defer stop()
				return work(one, w)
			})
		}
		c.mu.Unlock()
	}
}

// StartWorker runs a worker beside those of the stations, until StopWorker or
// the end of Run. Whether it could load its model is told by w.Ready.
func (a *Agent) StartWorker(w *infer.Worker) { a.crew.add(w) }

// StopWorker ends a worker and waits until its process has gone. One that a
// station uses, or is being switched to, goes on: then it returns false. One that
// was given up is let go of all the same, since it won't run for anybody.
func (a *Agent) StopWorker(w *infer.Worker) bool {
	_, err := w.Up()
	if gone := err != nil && err != infer.ErrLoading; !gone && slices.ContainsFunc(a.stations, func(s *Station) bool { return s.uses(w) }) {
		return false
	}
	a.crew.remove(w)
	a.models.retire(w)
	a.guests.Forget()
	return true
}

// runModel runs a worker; one that can't run ends the stations that rest on it.
func (a *Agent) runModel(ctx context.Context, m *infer.Worker) error {
	err := m.Run(ctx)
	if err == nil {
		return nil
	}
	needed := false
	for _, s := range a.stations {
		needed = s.lost(m, err) || needed
	}
	switch {
	case !needed: // whoever waits for it to be ready hears of it
		return nil
	case a.cfg.Stay:
		a.log.Error("model can't run", "err", err)
		return nil
	}
	return err
}
