package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/capture"
)

// Errors of a shutter, each of which is a reason for NONE.
var (
	errTaken = errors.New("the picture belongs to another trigger already")
	errLost  = errors.New("the picture of that moment was lost, or is too old to be there still")
)

// shutter binds triggers to frames: each to exactly the one that it names. It keeps
// the newest few frames of a camera, for triggers about a moment that has passed.
type shutter struct {
	keep int
	free func(*capture.Frame) // gives a frame back

	mu     sync.Mutex // protects all below
	ring   []exposure // newest last
	came   chan struct{}
	closed bool
	period time.Duration // between two pictures of a camera whose pictures tell no time; 0: they do, or it isn't known
	behind time.Time     // since when those that come may have waited on their way; zero: they haven't
}

// exposure is a frame of the ring.
type exposure struct {
	seq      uint64
	captured time.Time
	came     time.Time
	frame    *capture.Frame // nil once a trigger has it, and of those of which only the time is remembered
	bound    bool
	held     bool // it may be older than it seems
}

func newShutter(keep int) *shutter {
	return &shutter{keep: keep, free: (*capture.Frame).Release, came: make(chan struct{})}
}

// backlogTime is how long the reading of what was kept can take.
const backlogTime = time.Second

// expect tells the shutter when to expect pictures whose time is when they came; 0
// for those that tell when they were taken. It is called behind add: the pace before a
// gap is what counts.
func (x *shutter) expect(period time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.behind.IsZero() {
		x.period = period
	}
}

// heldLocked tells whether a picture that comes now may have waited on its way: its
// reader stood still, and reads first what was kept for it meanwhile. That is over
// with the first one that comes at the camera's pace.
func (x *shutter) heldLocked(f *capture.Frame) bool {
	if x.period == 0 || len(x.ring) == 0 {
		return false
	}
	switch gap := f.Captured.Sub(x.ring[len(x.ring)-1].captured); {
	case gap > 5*x.period/2:
		x.behind = f.Captured
	case gap >= x.period/2, f.Captured.Sub(x.behind) > backlogTime:
		x.behind = time.Time{}
	}
	return !x.behind.IsZero()
}

// add takes over a frame. The oldest one's pixels are given back.
func (x *shutter) add(f *capture.Frame) {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		x.free(f)
		return
	}
	x.ring = append(x.ring, exposure{seq: f.Seq, captured: f.Captured, came: f.Came, frame: f, held: x.heldLocked(f)})
	var old *capture.Frame
	if n := len(x.ring) - x.keep; n > 0 { // one more is remembered without its pixels: what came before the first
		old, x.ring[n-1].frame = x.ring[n-1].frame, nil
		x.ring = slices.Delete(x.ring, 0, n-1)
	}
	close(x.came)
	x.came = make(chan struct{})
	x.mu.Unlock()
	if old != nil {
		x.free(old)
	}
}

// close gives all frames back; whoever waits for one gets errLost.
func (x *shutter) close() {
	x.mu.Lock()
	ring := x.ring
	x.ring, x.closed = nil, true
	close(x.came)
	x.came = make(chan struct{})
	x.mu.Unlock()
	for _, e := range ring {
		if e.frame != nil {
			x.free(e.frame)
		}
	}
}

// newest is when the last frame was captured, zero before the first.
func (x *shutter) newest() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.ring) == 0 {
		return time.Time{}
	}
	return x.ring[len(x.ring)-1].captured
}

// at waits for the first frame captured at that time or later, and gives it to the
// caller, who must release it.
func (x *shutter) at(ctx context.Context, t time.Time) (*capture.Frame, error) {
	return x.wait(ctx, func() (int, error) {
		n := slices.IndexFunc(x.ring, func(e exposure) bool { return !e.captured.Before(t) })
		switch {
		case n < 0:
			return -1, nil
		case n == 0, x.ring[n].seq != x.ring[n-1].seq+1:
			return -1, errLost // another one may have been the first
		case x.ring[n].held:
			return -1, errLost
		case x.ring[n].bound:
			return -1, errTaken
		}
		return n, nil
	})
}

// pulse waits for the exposure that a hardware trigger made for the part in place at
// that time: the oldest one that is nobody's, not before slack earlier.
func (x *shutter) pulse(ctx context.Context, t time.Time, slack time.Duration) (*capture.Frame, error) {
	return x.wait(ctx, func() (int, error) {
		return slices.IndexFunc(x.ring, func(e exposure) bool {
			return e.frame != nil && !e.bound && !e.captured.Before(t.Add(-slack))
		}), nil
	})
}

// next waits for the first frame that comes after that time.
func (x *shutter) next(ctx context.Context, t time.Time) (*capture.Frame, error) {
	return x.wait(ctx, func() (int, error) {
		return slices.IndexFunc(x.ring, func(e exposure) bool { return e.frame != nil && !e.bound && e.came.After(t) }), nil
	})
}

// wait takes the frame that find names, -1 while there is none. It is called with
// the lock.
func (x *shutter) wait(ctx context.Context, find func() (int, error)) (*capture.Frame, error) {
	for {
		x.mu.Lock()
		n, err := find()
		if x.closed && err == nil {
			n, err = -1, errLost
		}
		if n >= 0 && x.ring[n].frame == nil {
			n, err = -1, errLost
		}
		if n >= 0 {
			f := x.ring[n].frame
			x.ring[n].frame, x.ring[n].bound = nil, true
			x.mu.Unlock()
			return f, nil
		}
		came := x.came
		x.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-came:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
