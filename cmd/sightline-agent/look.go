package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/shm"
)

// looked is a picture with what a model saw in it. The frame is valid only
// while it is told.
type looked struct {
	path   string
	frame  *vision.Frame
	result infer.Result
	scores *infer.ScoreMap // if wanted, of a family that gives it
	err    error           // why the picture can't be read; the rest is zero then
}

// lookAt runs a model on pictures and tells what it saw in their order: while one
// is told, the model looks at the next, and the one after that is decoded. scores
// asks for the maps of scores.
func lookAt(ctx context.Context, w *infer.Worker, files []string, scores bool, tell func(*looked) error) error {
	slots := slotRing{worker: w}
	defer slots.release()
	g, ctx := errgroup.WithContext(ctx)
	free, decoded, seen := make(chan struct{}, len(slots.pools)), make(chan loaded), make(chan *looked)
	for range slots.pools {
		free <- struct{}{}
	}
	g.Go(func() error {
		defer close(decoded)
		for _, path := range files {
			if !take(ctx, free) || !put(ctx, decoded, slots.load(path)) {
				return ctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		defer close(seen)
		n := 0
		for p := range decoded {
			l := p.look(ctx, w, files[n], scores)
			n++
			if p.err == nil && l.err != nil {
				return fmt.Errorf("%s: %w", l.path, l.err)
			}
			if !put(ctx, seen, l) {
				return ctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		for l := range seen {
			if err := tell(l); err != nil {
				return err
			}
			free <- struct{}{} // there is room: one was taken for it
		}
		return nil
	})
	return g.Wait()
}

// take and put are a channel's, unless the context ends.
func take[T any](ctx context.Context, c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

func put[T any](ctx context.Context, c chan<- T, v T) bool {
	select {
	case c <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *loaded) look(ctx context.Context, w *infer.Worker, path string, scores bool) *looked {
	l := &looked{path: path, frame: &p.frame, err: p.err}
	switch {
	case p.err != nil:
	case scores:
		l.result, l.scores, l.err = w.InferScores(ctx, &p.frame, p.pool, p.slot)
	default:
		l.result, l.err = w.Infer(ctx, &p.frame, p.pool, p.slot)
	}
	return l
}

// loaded is a decoded picture in shared memory.
type loaded struct {
	frame vision.Frame
	pool  *shm.Pool
	slot  int
	err   error
}

// slotRing decodes pictures into slots in turn; three are in use at a time: one is
// decoded, one looked at, one told.
type slotRing struct {
	worker *infer.Worker
	pools  [3]*shm.Pool
	next   int
	made   uint64
}

func (s *slotRing) load(path string) loaded {
	n := s.next
	s.next = (n + 1) % len(s.pools)
	data, err := os.ReadFile(path)
	if err != nil {
		return loaded{err: err}
	}
	frame, err := picture.Decode(data, func(w, h int) ([]byte, error) { return s.room(n, 3*w*h) })
	return loaded{frame: frame, pool: s.pools[n], err: err}
}

// room gives memory for a picture, in a larger pool where the last is too small.
func (s *slotRing) room(n, size int) ([]byte, error) {
	if p := s.pools[n]; p != nil && p.SlotSize >= size {
		return p.Slot(0)[:size], nil
	}
	s.drop(n)
	s.made++
	p, err := shm.NewPool(s.made, 1, size)
	if err != nil {
		return nil, err
	}
	s.pools[n] = p
	return p.Slot(0)[:size], nil
}

func (s *slotRing) drop(n int) {
	if p := s.pools[n]; p != nil {
		s.worker.Forget(p)
		p.Release()
		s.pools[n] = nil
	}
}

func (s *slotRing) release() {
	for n := range s.pools {
		s.drop(n)
	}
}
