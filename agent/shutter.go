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

	landed func(*capture.Frame) // hears of each frame before a trigger can get it; may be nil

	mu     sync.Mutex // protects all below
	ring   []exposure // newest last
	came   chan struct{}
	closed bool
	rhythm rhythm
	spans  []*span // of a hardware trigger's signals of late, oldest first
}

// span is when the exposure may have been that a hardware trigger made for a part.
type span struct {
	from, to time.Time
	served   bool // it has its picture
}

func (s *span) holds(t time.Time) bool { return !t.Before(s.from) && !t.After(s.to) }

// spanKept is for how long a trigger without a picture keeps others from what may be its.
const spanKept = 10 * time.Second

// exposure is a frame of the ring.
type exposure struct {
	seq      uint64
	captured time.Time
	came     time.Time
	frame    *capture.Frame // nil once a trigger has it, and of those of which only the time is remembered
	bound    bool
	held     bool // it may be older than it seems, or another one than the first of its moment
	vague    bool // it may be one trigger's or another's
}

func newShutter(keep int) *shutter {
	return &shutter{keep: keep, free: (*capture.Frame).Release, came: make(chan struct{})}
}

// expect tells the shutter what pace its reader has measured; 0: none. It counts until
// the shutter knows the pace by itself.
func (x *shutter) expect(period time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rhythm.expected = period
}

// add takes over a frame. The oldest one's pixels are given back.
func (x *shutter) add(f *capture.Frame) {
	if x.landed != nil {
		x.landed(f)
	}
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		x.free(f)
		return
	}
	x.ring = append(x.ring, exposure{seq: f.Seq, captured: f.Captured, came: f.Came, frame: f, held: x.rhythm.next(f.Captured)})
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

// reserve notes a hardware trigger's signal for the part in place at that time: an
// exposure from slack before it to late after it may be its, whether it waits for it or
// not.
func (x *shutter) reserve(t time.Time, slack, late time.Duration) *span {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.spans = slices.DeleteFunc(x.spans, func(s *span) bool { return time.Since(s.to) > spanKept })
	s := &span{from: t.Add(-slack), to: t.Add(late)}
	x.spans = append(x.spans, s)
	return s
}

// pulse waits for the exposure that a hardware trigger made, the only one in its span.
// What may be another trigger's, or may have followed one that was lost, is nobody's.
func (x *shutter) pulse(ctx context.Context, s *span) (*capture.Frame, error) {
	return x.wait(ctx, func() (int, error) {
		n := slices.IndexFunc(x.ring, func(e exposure) bool { return !e.captured.Before(s.from) })
		if n < 0 {
			return -1, nil
		}
		e := &x.ring[n]
		switch {
		case !s.holds(e.captured), !x.followsLocked(n), e.vague:
			return -1, errLost
		case e.bound:
			return -1, errTaken
		case n+1 < len(x.ring) && s.holds(x.ring[n+1].captured):
			return -1, errLost
		case slices.ContainsFunc(x.spans, func(o *span) bool { return o != s && !o.served && o.holds(e.captured) }):
			e.vague = true // for the other one, too
			return -1, errLost
		}
		s.served = true
		return n, nil
	})
}

// followsLocked tells whether no exposure before that one is unknown.
func (x *shutter) followsLocked(n int) bool {
	if n == 0 {
		return x.ring[n].seq == 1
	}
	return x.ring[n].seq == x.ring[n-1].seq+1
}

// number waits for the frame with the number that seq gives, 0 until it is known.
func (x *shutter) number(ctx context.Context, seq func() uint64) (*capture.Frame, error) {
	return x.wait(ctx, func() (int, error) {
		want := seq()
		if want == 0 {
			return -1, nil
		}
		n := slices.IndexFunc(x.ring, func(e exposure) bool { return e.seq == want })
		if n < 0 && len(x.ring) > 0 && x.ring[len(x.ring)-1].seq > want {
			return -1, errLost // this station missed it
		}
		return n, nil
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
