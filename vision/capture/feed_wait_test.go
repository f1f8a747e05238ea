package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

// pictures is a folder of so many pictures, of gray 10 times their number.
func pictures(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		write(t, dir, fmt.Sprintf("%02d.jpg", i), jpegOf(t, plain(64, 48, byte(10*i))))
	}
	return dir
}

// await fails the test when nothing comes in time.
func await(t *testing.T, f *Feed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := f.Await(ctx); err != nil {
		t.Fatalf("await a frame: %v (%+v)", err, f.Camera().Stats())
	}
}

// TestAwaitAndNewestTakeNothing: they tell of the frame that Next gives then.
func TestAwaitAndNewestTakeNothing(t *testing.T) {
	t.Parallel()
	_, feeds, _ := shared(t, config(pictures(t, 3)), 1)
	f := feeds[0]
	for n := range 3 {
		await(t, f)
		await(t, f)
		when, ok := f.Newest()
		if s := f.Stats(); !ok || s.Delivered != uint64(n) || s.Overwritten != 0 {
			t.Errorf("before picture %d is taken: there %v, %+v", n, ok, s)
		}
		got := give(t, f)
		if got.Seq != uint64(n+1) || got.Captured != when {
			t.Errorf("picture %d has number %d, of %v; newest said %v", n, got.Seq, got.Captured, when)
		}
		got.Release()
	}
	if err := f.Await(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("await at the end: %v", err)
	}
	if when, ok := f.Newest(); ok || f.Drop() || !when.IsZero() {
		t.Errorf("at the end there is a frame of %v", when)
	}
}

// TestDroppedFramesCountAsOverwritten, and their slots are free again: there are two,
// for twelve pictures.
func TestDroppedFramesCountAsOverwritten(t *testing.T) {
	t.Parallel()
	const n = 12
	cfg := config(pictures(t, n))
	cfg.Slots = 2
	_, feeds, done := shared(t, cfg, 1)
	f := feeds[0]
	for i := range n {
		if i%3 == 0 {
			got := give(t, f)
			if got.Seq != uint64(i+1) {
				t.Errorf("picture %d has number %d", i, got.Seq)
			}
			got.Release()
			continue
		}
		if await(t, f); !f.Drop() {
			t.Errorf("picture %d can't be dropped", i)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if s := f.Stats(); s.Delivered != n/3 || s.Overwritten != n-n/3 {
		t.Errorf("%+v, want %d delivered and %d overwritten", s, n/3, n-n/3)
	}
}

// TestDropIsOneFeedsOwn: the other one's frame keeps its pixels.
func TestDropIsOneFeedsOwn(t *testing.T) {
	t.Parallel()
	cfg := config(pictures(t, 8))
	cfg.Slots = 2
	_, feeds, _ := shared(t, cfg, 2)
	for i := range 8 {
		await(t, feeds[0])
		feeds[0].Drop()
		b := give(t, feeds[1])
		if b.Seq != uint64(i+1) || b.Pix[0] != byte(10*i) {
			t.Errorf("picture %d has number %d and gray %d", i, b.Seq, b.Pix[0])
		}
		b.Release()
	}
	if s := feeds[1].Stats(); s.Overwritten != 0 || s.Delivered != 8 {
		t.Errorf("the other feed has %+v", s)
	}
}

// TestCameraGoesOnPastDroppedFrames: whoever only drops keeps no slot from a camera.
func TestCameraGoesOnPastDroppedFrames(t *testing.T) {
	t.Parallel()
	_, addr := mjpegCamera(t, 160, 120, 100)
	cfg := config("http://" + addr + "/")
	cfg.Slots = 2
	_, feeds, _ := shared(t, cfg, 1)
	f := feeds[0]
	for dropped := 0; dropped < 20; {
		await(t, f)
		if f.Drop() {
			dropped++
		}
	}
	await(t, f)
	when, _ := f.Newest()
	got := give(t, f)
	if got.Captured.Before(when) {
		t.Errorf("the frame is of %v, newest said %v before", got.Captured, when)
	}
	if s := f.Stats(); s.Delivered != 1 || s.Overwritten < 20 || s.Delivered+s.Overwritten > got.Seq {
		t.Errorf("%+v at frame %d", s, got.Seq)
	}
	got.Release()
}

// TestHeldFrames: the feed may keep what it has asked for, beside what the worker needs.
func TestHeldFrames(t *testing.T) {
	t.Parallel()
	const held = 5
	cfg := config(pictures(t, 9))
	cfg.Slots = 2
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := c.Feed()
	f.Hold(held)
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	var kept []*Frame
	for range held {
		kept = append(kept, give(t, f))
	}
	for range 9 - held { // the others pass by
		give(t, f).Release()
	}
	for i, k := range kept {
		if k.Pix[0] != byte(10*i) {
			t.Errorf("picture %d, kept, is of gray %d now", i, k.Pix[0])
		}
		k.Release()
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	f.Hold(1 << 20) // no camera gets more than there can be
	if err := c.cfg.check(c.src); err != nil {
		t.Error(err)
	}
}

// TestAwaitIsWoken by the feed's end, the camera's and the context's. Where nothing ever
// comes, only they can wake it.
func TestAwaitIsWoken(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(f *Feed, ctx, run context.CancelFunc){
		"feed closed":   func(f *Feed, _, _ context.CancelFunc) { f.Close() },
		"context ended": func(_ *Feed, ctx, _ context.CancelFunc) { ctx() },
		"camera ended":  func(_ *Feed, _, run context.CancelFunc) { run() },
	} {
		c, err := New(config("http://127.0.0.1:1/"))
		if err != nil {
			t.Fatal(err)
		}
		f, other := c.Feed(), c.Feed() // so that closing one doesn't end the camera
		running, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(running) }()
		ctx, cancel := context.WithCancel(t.Context())
		woken := make(chan error, 1)
		go func() { woken <- f.Await(ctx) }()
		eventually(t, 10*time.Second, "the camera to be tried", func() bool { return c.Stats().LastError != "" })
		end(f, cancel, stop)
		select {
		case err := <-woken:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: await goes on", name)
		}
		cancel()
		stop()
		if err := <-done; err != nil {
			t.Errorf("%s: run: %v", name, err)
		}
		other.Close()
	}
}
