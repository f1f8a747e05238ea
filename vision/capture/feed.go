package capture

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// Feed is one user's place at a Camera: a station. Each feed gets the newest
// frame of a camera, each frame of a recording or folder, at its own pace; a
// slow one costs nobody else anything but a slot.
type Feed struct {
	camera *Camera
	wake   chan struct{} // a frame was queued, or the feed was closed; room for one

	// Protected by Camera.mu:
	queue  []*Frame // in order; at most one for sources that drop
	closed bool
	stats  FeedStats
}

// FeedStats counts what became of a camera's frames on their way to one feed.
type FeedStats struct {
	Delivered   uint64 // given by Next
	Overwritten uint64 // a newer one came before this one was taken, or Drop gave it back
}

// Feed adds a user of the camera. Call it before Run.
func (c *Camera) Feed() *Feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &Feed{camera: c, wake: make(chan struct{}, 1)}
	if c.feeds = append(c.feeds, f); len(c.feeds) > 1 {
		c.cfg.Slots = min(c.cfg.Slots+2, shm.MaxSlots) // what each may hold, beside what waits for it
	}
	return f
}

// Hold makes room for so many frames more that the feed's user keeps. Call it
// before Run.
func (f *Feed) Hold(frames int) {
	c := f.camera
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Slots = min(c.cfg.Slots+frames, shm.MaxSlots)
}

// Newest tells when the frame was captured that Next would give now, false if it
// would wait.
func (f *Feed) Newest() (captured time.Time, ok bool) {
	f.camera.mu.Lock()
	defer f.camera.mu.Unlock()
	if len(f.queue) == 0 {
		return time.Time{}, false
	}
	return f.queue[0].Captured, true
}

// Await waits until Next would give a frame at once, or fails with its error.
func (f *Feed) Await(ctx context.Context) error {
	for {
		ready, err := f.look()
		if ready || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
		case <-f.camera.ended:
		}
	}
}

// look tells whether a frame waits, or why none will come.
func (f *Feed) look() (ready bool, err error) {
	c := f.camera
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(f.queue) > 0:
		return true, nil
	case f.closed:
		return false, fmt.Errorf("source %s: stopped: %w", Redact(c.cfg.Source), context.Canceled)
	}
	return false, c.end
}

// Camera is whose frames the feed gives.
func (f *Feed) Camera() *Camera { return f.camera }

// Frame is a picture in a slot of shared memory. Its pixels may be read until
// Release; no worker writes to the slot before.
type Frame struct {
	vision.Frame
	Pool  *shm.Pool // holds the pixels; to keep it beyond Release, Retain it
	Slot  int
	Stamp time.Duration // when it was taken by the camera's own clock, since whatever; 0: it tells none
	Came  time.Time     // when it reached this process

	Exposure time.Duration // that was asked of the camera, and that it surely had for this picture; 0: unknown

	shared   *sharedSlot
	released atomic.Bool
}

// sharedSlot is a slot that the agent owns, with one hold for each feed.
type sharedSlot struct {
	session *session
	pool    *shm.Pool
	slot    int
	stamp   time.Duration
	came    time.Time
	holds   atomic.Int32

	exposure time.Duration
}

func (s *sharedSlot) drop() {
	if s.holds.Add(-1) == 0 {
		s.session.free(s.pool.ID, s.slot)
		s.pool.Release()
	}
}

// Release gives the slot back to the worker, once every feed has. It must be
// called exactly once.
func (f *Frame) Release() {
	if f.released.Swap(true) {
		panic("BUG: capture.Frame released twice")
	}
	f.shared.drop()
}

// Next gives the next frame: the newest one of a camera, each in order of a
// recording or folder. The caller owns it and must Release it. After the last
// one the error is io.EOF, or what made Run end. One goroutine at a time may
// wait in it.
func (f *Feed) Next(ctx context.Context) (*Frame, error) {
	for {
		if err := f.Await(ctx); err != nil {
			return nil, err
		}
		if frame := f.pop(&f.stats.Delivered); frame != nil {
			return frame, nil
		}
	}
}

// Drop gives the frame back that Next would give now, as if a newer one had come. It
// is false where there is none.
func (f *Feed) Drop() bool {
	frame := f.pop(&f.stats.Overwritten)
	if frame == nil {
		return false
	}
	frame.Release()
	return true
}

// pop takes the frame that waits, and counts it.
func (f *Feed) pop(as *uint64) *Frame {
	c := f.camera
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(f.queue) == 0 {
		return nil // a newer one is on its way, or the feed was closed
	}
	frame := f.queue[0]
	f.queue[0] = nil
	f.queue = f.queue[1:]
	*as++
	return frame
}

// Stats are the feed's counts.
func (f *Feed) Stats() FeedStats {
	f.camera.mu.Lock()
	defer f.camera.mu.Unlock()
	return f.stats
}

// Close ends the feed: Next gives nothing more. A camera without feeds ends its
// Run; that of a watched folder goes on until its context ends, for pictures whose
// verdict is still on its way to Done.
func (f *Feed) Close() {
	c := f.camera
	c.mu.Lock()
	f.closed = true
	left := f.dropLocked()
	stop := c.stop
	if !c.unusedLocked() {
		stop = nil
	}
	c.mu.Unlock()
	for _, frame := range left {
		frame.Release()
	}
	f.poke()
	if stop != nil {
		stop()
	}
}

func (f *Feed) dropLocked() []*Frame {
	left := f.queue
	f.queue = nil
	return left
}

func (f *Feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// unusedLocked tells whether every feed has been closed, and nobody waits for
// anything.
func (c *Camera) unusedLocked() bool {
	if c.src.kind == watched {
		return false
	}
	for _, f := range c.feeds {
		if !f.closed {
			return false
		}
	}
	return len(c.feeds) > 0
}

// push queues a frame at every feed; where frames drop, it takes the place of
// the one that the feed hasn't taken yet.
func (c *Camera) push(frame vision.Frame, slot *sharedSlot) {
	var old []*Frame
	c.mu.Lock()
	var users []*Feed
	for _, f := range c.feeds {
		if !f.closed {
			users = append(users, f)
		}
	}
	slot.holds.Store(int32(len(users)) + 1) // one is ours until all have it
	for _, f := range users {
		if c.Drops() && len(f.queue) > 0 {
			f.stats.Overwritten += uint64(len(f.queue))
			old = append(old, f.dropLocked()...)
		}
		f.queue = append(f.queue, &Frame{Frame: frame, Pool: slot.pool, Slot: slot.slot, Stamp: slot.stamp, Came: slot.came, Exposure: slot.exposure, shared: slot})
	}
	c.mu.Unlock()
	for _, f := range old {
		f.Release()
	}
	for _, f := range users {
		f.poke()
	}
	slot.drop()
}
