package capture

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// shared runs a camera with several feeds, which it returns.
func shared(t *testing.T, cfg Config, feeds int) (*Camera, []*Feed, <-chan error) {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*Feed, feeds)
	for i := range all {
		all[i] = c.Feed()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		done <- c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	return c, all, done
}

// give is the feed's next frame.
func give(t *testing.T, f *Feed) *Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	frame, err := f.Next(ctx)
	if err != nil {
		t.Fatalf("next frame: %v (%+v)", err, f.Camera().Stats())
	}
	return frame
}

// TestFeedsShareFrames: both stations get a camera's frame from the same memory.
// One that holds its frame for long keeps its pixels, and the other one's pace.
func TestFeedsShareFrames(t *testing.T) {
	t.Parallel()
	_, addr := mjpegCamera(t, 160, 120, 50)
	cfg := config("http://" + addr + "/")
	cfg.Slots = 2
	c, feeds, _ := shared(t, cfg, 2)
	fast, slow := feeds[0], feeds[1]
	// The same frame at both, whichever that is.
	a, b := give(t, fast), give(t, slow)
	for a.Seq != b.Seq {
		if a.Seq < b.Seq {
			a.Release()
			a = give(t, fast)
		} else {
			b.Release()
			b = give(t, slow)
		}
	}
	if &a.Pix[0] != &b.Pix[0] || a.Captured != b.Captured {
		t.Errorf("frame %d is in two places, or of two times", a.Seq)
	}
	held := bytes.Clone(b.Pix)
	a.Release() // one hold of two
	from, last := c.Stats(), b.Seq
	for range 40 {
		f := give(t, fast)
		if f.Seq <= last {
			t.Fatalf("frame %d after %d", f.Seq, last)
		}
		if &f.Pix[0] == &b.Pix[0] {
			t.Fatalf("frame %d is in the slot of frame %d, which a feed still holds", f.Seq, b.Seq)
		}
		last = f.Seq
		f.Release()
	}
	if !bytes.Equal(held, b.Pix) {
		t.Error("a frame that one feed still holds has changed")
	}
	if now := c.Stats(); now.Dropped.NoSlot > from.Dropped.NoSlot+4 { // a busy machine may be late with giving them back
		t.Errorf("%d frames found no slot because of the slow feed", now.Dropped.NoSlot-from.Dropped.NoSlot)
	}
	s, q := slow.Stats(), fast.Stats()
	if s.Overwritten < 30 || q.Delivered < 41 {
		t.Errorf("the slow feed missed %d frames, the fast one got %d", s.Overwritten, q.Delivered)
	}
	b.Release()
	f := give(t, slow)
	if f.Seq < last {
		t.Errorf("the slow feed goes on with frame %d, %d has passed", f.Seq, last)
	}
	f.Release()
}

// TestFeedsOfAFolderGetEveryPicture: what doesn't drop waits for the slower one.
func TestFeedsOfAFolderGetEveryPicture(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const pictures = 12
	for i := range pictures {
		write(t, dir, string(rune('a'+i))+".jpg", jpegOf(t, plain(64, 48, byte(20*i))))
	}
	cfg := config(dir)
	cfg.Slots = 2
	_, feeds, done := shared(t, cfg, 2)
	var ahead []*Frame // the fast feed takes what there is before the slow one does
	for n := range pictures {
		ahead = append(ahead, give(t, feeds[0]))
		b := give(t, feeds[1])
		for _, f := range []*Frame{ahead[0], b} {
			if f.Seq != uint64(n+1) || f.Pix[0] != byte(20*n) {
				t.Errorf("picture %d has number %d and gray %d", n, f.Seq, f.Pix[0])
			}
			f.Release()
		}
		ahead = ahead[:0]
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestClosingEveryFeedEndsRun(t *testing.T) {
	t.Parallel()
	_, addr := mjpegCamera(t, 160, 120, 50)
	c, feeds, done := shared(t, config("http://"+addr+"/"), 2)
	for _, f := range feeds {
		give(t, f).Release()
	}
	waits := make(chan error, 1)
	go func() {
		for {
			f, err := feeds[0].Next(t.Context())
			if err != nil {
				waits <- err
				return
			}
			f.Release()
		}
	}()
	feeds[0].Close()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Errorf("a closed feed gives %v", err)
	}
	last := give(t, feeds[1])
	for range 10 {
		last.Release()
		last = give(t, feeds[1])
	}
	select {
	case err := <-done:
		t.Fatalf("run ended while one feed was open: %v", err)
	default:
	}
	feeds[1].Close()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("run goes on without any feed")
	}
	if whole := last.Pix[0]; whole != last.Pix[1] { // still readable
		t.Errorf("the frame that is held begins with % x", last.Pix[:3])
	}
	last.Release()
	if s := c.Stats().State; s != Ended {
		t.Errorf("state is %v", s)
	}
}

func TestRunWithClosedFeedsEndsAtOnce(t *testing.T) {
	t.Parallel()
	c, err := New(config("http://127.0.0.1:1/"))
	if err != nil {
		t.Fatal(err)
	}
	c.Feed().Close()
	if err := c.Run(t.Context()); err != nil {
		t.Errorf("run: %v", err)
	}
	if s := c.Stats(); s.Restarts > 0 {
		t.Errorf("stats %+v", s)
	}
}
