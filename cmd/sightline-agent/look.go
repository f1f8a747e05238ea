package main

import (
	"context"
	"fmt"
	"os"

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

// lookAt runs a model on pictures in their order, and decodes the next one while
// it looks at the last. scores asks for the maps of scores.
func lookAt(ctx context.Context, w *infer.Worker, files []string, scores bool, tell func(*looked) error) error {
	slots := slotRing{worker: w}
	defer slots.release()
	next := slots.load(files[0])
	for n, path := range files {
		now := next
		done := make(chan *looked, 1)
		go func() { done <- now.look(ctx, w, path, scores) }()
		if n+1 < len(files) {
			next = slots.load(files[n+1])
		}
		l := <-done
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if now.err == nil && l.err != nil {
			return fmt.Errorf("%s: %w", path, l.err)
		}
		if err := tell(l); err != nil {
			return err
		}
	}
	return nil
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

// slotRing decodes pictures into slots in turn; two are in use at a time.
type slotRing struct {
	worker *infer.Worker
	pools  [2]*shm.Pool
	next   int
	made   uint64
}

func (s *slotRing) load(path string) loaded {
	n := s.next
	s.next = 1 - s.next
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
	s.drop(0)
	s.drop(1)
}
