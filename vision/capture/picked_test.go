package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWatchedKilledBetweenGivingAndDone: no picture is given twice, and each is
// gone in the end.
func TestWatchedKilledBetweenGivingAndDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Watch, cfg.Options.Done = true, "delete"
	r := start(t, cfg)
	const pictures = 12
	seen := map[string]int{}
	for i := range pictures {
		write(t, dir, fmt.Sprintf("%d.jpg", i), jpegOf(t, plain(64, 48, byte(i))))
		f := r.next(10 * time.Second)
		seen[f.Name]++
		if i%4 == 1 {
			if err := syscall.Kill(r.pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, "the next worker", func() bool { return r.Stats().Restarts == uint64(i/4+1) })
		}
		f.Release()
		r.feed.Done(f.Name)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was given %d times", name, n)
		}
	}
	eventually(t, 10*time.Second, "every file to be gone", func() bool { return len(names(t, dir)) == 0 })
	eventually(t, 10*time.Second, "every picture to be forgotten", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.taken) == 0
	})
	if len(seen) != pictures {
		t.Errorf("%d of %d were given", len(seen), pictures)
	}
}

// TestWatchedTwoFeeds: a file goes only after both have said so, and one that
// says it twice speaks for itself alone.
func TestWatchedTwoFeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Watch, cfg.Options.Done = true, "delete"
	var other *Feed
	r := startFeeds(t, cfg, func(c *Camera) { other = c.Feed() })
	write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 1)))
	r.next(10 * time.Second).Release()
	f, err := other.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Release()
	r.feed.Done("a.jpg")
	r.feed.Done("a.jpg")
	write(t, dir, "b.jpg", jpegOf(t, plain(64, 48, 1))) // what was asked before it has been heard when it comes
	r.next(10 * time.Second).Release()
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left: %v", got)
	}
	other.Done("a.jpg")
	eventually(t, 10*time.Second, "a.jpg to go", func() bool { return slices.Equal(names(t, dir), []string{"b.jpg"}) })
}

// startFeeds is start with more feeds than the test's own.
func startFeeds(t *testing.T, cfg Config, more func(*Camera)) *running {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Camera: c, feed: c.Feed(), t: t, done: make(chan struct{})}
	more(c)
	background(t, c.Run)
	return r
}

// TestPickedTakesTheOldest: of a name that came twice, a feed's Done is for the
// picture that it saw first.
func TestPickedTakesTheOldest(t *testing.T) {
	c := &Camera{taken: map[string]*picked{}}
	a, b := c.Feed(), c.Feed()
	if _, known := c.pick("x.jpg", "1"); known {
		t.Error("known")
	}
	c.pick("x.jpg", "2")
	over := func(f *Feed) bool { return c.taken["x.jpg"].doneBy(f) }
	for i, want := range []bool{false, false, false, true} {
		if got := over([]*Feed{a, b, a, b}[i]); got != want {
			t.Errorf("done %d: over %v", i+1, got)
		}
	}
	if ask, known := c.pick("x.jpg", "2"); !known || !slices.Equal(ask, []string{"2/x.jpg"}) {
		t.Errorf("asked %v, known %v", ask, known)
	}
	c.pick("x.jpg", "3")
	c.gone("2/x.jpg") // the one before
	if c.taken["x.jpg"] == nil || c.taken["x.jpg"].older != nil {
		t.Errorf("%+v", c.taken["x.jpg"])
	}
}

// TestWatchedKeptAndTakenAway: where pictures are kept, and somebody cleans the
// folder, what is remembered doesn't grow for ever.
func TestWatchedKeptAndTakenAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Watch = true
	r := start(t, cfg)
	data := jpegOf(t, plain(16, 16, 1))
	for i := range 100 {
		p := write(t, dir, fmt.Sprintf("%d.jpg", i), data)
		f := r.next(10 * time.Second)
		f.Release()
		r.feed.Done(f.Name)
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.taken); n > 30 {
		t.Errorf("%d of 100 pictures are remembered", n)
	}
}

// TestMoveThatFailsIsTold: a full or missing place for judged pictures is seen by
// whoever looks at the camera, and costs no picture.
func TestMoveThatFailsIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Watch, cfg.Done, cfg.DoneDir = true, "move", filepath.Join(write(t, t.TempDir(), "file", []byte("x")), "done")
	r := start(t, cfg)
	write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 10)))
	f := r.next(10 * time.Second)
	r.feed.Done(f.Name)
	f.Release()
	eventually(t, 10*time.Second, "the reason", func() bool { return strings.Contains(r.Stats().LastError, "not a directory") })
	write(t, dir, "b.jpg", jpegOf(t, plain(64, 48, 20)))
	f = r.next(10 * time.Second)
	defer f.Release()
	if f.Name != "b.jpg" || r.Stats().Restarts != 0 {
		t.Errorf("%s came, %+v", f.Name, r.Stats())
	}
}
