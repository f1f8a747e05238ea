package infer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// spell is the life of one worker process.
type spell struct {
	link  *link // set before it is told as up
	stop  context.CancelFunc
	aside bool // another process serves while it loads
	ready bool // it was told as up; the relay's own
}

// ending is how a spell ended.
type ending struct {
	spell *spell
	ready bool // frames could be served in between
	err   error
}

// relay runs one process after the other. While the next one of a recycling loads
// the model, there are two, and the older one serves on.
type relay struct {
	w     *Worker
	model *os.File
	up    chan *spell // have loaded the model
	ends  chan ending

	now, next *spell    // serves, or is to; is to take over from it, nil for none
	live      int       // spells that haven't ended
	dead      int       // in a row, that ended before they could serve
	leak      bool      // why next is there
	failed    time.Time // when a next one didn't come up
	drains    sync.WaitGroup
}

// run keeps a process running until ctx ends.
func (w *Worker) run(ctx context.Context) error {
	model, err := w.cfg.Model.open()
	if err != nil {
		return err
	}
	defer model.Close()
	var beside sync.WaitGroup
	defer beside.Wait()
	w.beside = sync.OnceFunc(func() { beside.Go(func() { w.buildBeside(ctx, model) }) })
	w.cfg.Model.Data = nil // the file has it; whoever keeps the Worker needn't
	r := &relay{w: w, model: model, up: make(chan *spell), ends: make(chan ending)}
	ctx, stop := context.WithCancel(ctx)
	defer r.wait()
	defer stop()
	r.now = r.begin(ctx, 1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case again := <-w.renew:
			if r.next == nil && r.now.ready && r.now.link == again.of && time.Since(r.failed) > leastApart*w.cfg.Weigh {
				w.cfg.Log.Warn("inference worker is replaced", "model", w.cfg.Model.name(), "reason", again.why)
				r.next, r.leak = r.begin(ctx, 1), again.leak
			}
		case s := <-r.up:
			r.risen(s)
		case e := <-r.ends:
			r.live--
			if err := r.ended(ctx, e); err != nil {
				return err
			}
		}
	}
}

// begin starts a process, the given try of it.
func (r *relay) begin(ctx context.Context, try int) *spell {
	ctx, stop := context.WithCancel(ctx)
	s := &spell{stop: stop, aside: r.now != nil && r.now.ready}
	r.live++
	go func() {
		defer stop()
		ready, err := false, shm.Backoff(ctx, try)
		if err == nil {
			ready, err = r.w.life(ctx, s, r.model, r.up)
		}
		r.ends <- ending{s, ready, err}
	}()
	return s
}

// wait takes the last words of those that still run; their context has ended.
func (r *relay) wait() {
	for r.live > 0 {
		select {
		case <-r.up:
		case <-r.ends:
			r.live--
		}
	}
	r.drains.Wait()
}

// risen lets a process that has loaded the model serve, and the one before it end as
// soon as it has answered what it was given.
func (r *relay) risen(s *spell) {
	s.ready, r.dead = true, 0
	if s != r.next {
		return
	}
	old := r.now
	r.now, r.next = s, nil
	if r.leak {
		r.w.leaked.Add(1)
	} else {
		r.w.outgrown.Add(1)
	}
	r.drains.Go(func() { old.drain(patience(r.w.cfg.Limit)) })
}

// drain ends the process when it owes no answer any more, or has been owing it for
// too long.
func (s *spell) drain(most time.Duration) {
	defer s.stop()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-s.link.retire():
	case <-s.link.gone:
	case <-t.C:
	}
}

// ended sees to what follows the end of a process. An error is final.
func (r *relay) ended(ctx context.Context, e ending) error {
	w := r.w
	switch {
	case ctx.Err() != nil:
		return nil
	case e.spell == r.next:
		r.next, r.failed = nil, time.Now()
		w.cfg.Log.Warn("a fresh inference worker didn't come up, the former one goes on", "err", e.err)
		return nil
	case e.spell != r.now: // it was relieved
		return nil
	case r.next != nil: // it is loading already
		w.restarts.Add(1)
		r.now, r.next = r.next, nil
		w.cfg.Log.Warn("inference worker ended while another one takes over", "err", e.err)
		return nil
	}
	var fatal fatalError
	switch {
	case errors.As(e.err, &fatal):
		return fatal.error
	case errors.Is(e.err, errBuilt), errors.Is(e.err, errWithout):
		r.dead, r.now = 0, r.begin(ctx, 1)
		return nil
	case !e.ready:
		if r.dead++; r.dead == crashes {
			return fmt.Errorf("load %s: the worker ended %d times in a row while loading it, at last with: %w", w.cfg.Model.name(), r.dead, e.err)
		}
	}
	w.restarts.Add(1)
	r.now = nil
	w.cfg.Log.Warn("inference worker ended, starting it again", "err", e.err)
	r.now = r.begin(ctx, 1+r.dead)
	return nil
}

// begun notes a process that runs now.
func (w *Worker) begun(p *shm.Process) {
	measures := w.cfg.Share > 1 || w.cfg.Provider.Accelerated(w.cfg.Library) // what a run takes decides on what serves
	w.mu.Lock()
	defer w.mu.Unlock()
	w.procs, w.pid = append(w.procs, p), p.Pid()
	if !w.serves.Load() && !measures {
		w.cfg.Bystanders.Add(p)
	}
}

// over notes that a process has ended.
func (w *Worker) over(p *shm.Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cfg.Bystanders.Remove(p)
	w.cpu += p.CPU()
	w.procs = slices.DeleteFunc(w.procs, func(o *shm.Process) bool { return o == p })
	if w.pid = 0; len(w.procs) > 0 {
		w.pid = w.procs[len(w.procs)-1].Pid()
	}
}

// takeOver lets frames go to the process that has loaded the model. It returns false
// if that isn't the one of before.
func (w *Worker) takeOver(l *link) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known.Digest != "" && w.known.Digest != l.info.Digest {
		return false
	}
	l.ready.Store(true)
	w.link, w.known, w.start = l, l.info, time.Since(l.began)
	w.tellChange()
	return true
}

// dropLink lets no frame go to a process any more.
func (w *Worker) dropLink(l *link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.link == l {
		w.link = nil
		w.tellChange()
	}
}
