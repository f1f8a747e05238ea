package capture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWatchedDoneAfterATouch: a picture whose time was set between giving and
// verdict is the one that was judged.
func TestWatchedDoneAfterATouch(t *testing.T) {
	dir := t.TempDir()
	w := watchHere(t, dir, Options{Done: "delete"}).deaf()
	p := write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 10)))
	w.want("a.jpg")
	if err := os.Chtimes(p, time.Unix(5, 0), time.Unix(5, 0)); err != nil {
		t.Fatal(err)
	}
	if gone, err := w.over("a.jpg"); !gone || err != nil {
		t.Errorf("gone %v, %v", gone, err)
	}
}

// TestWatchedUnreadable: told once, moved away where things are moved, never
// deleted; the others go on meanwhile.
func TestWatchedUnreadable(t *testing.T) {
	t.Parallel()
	data := noisyJPEG(t, 64, 48)
	for _, done := range []string{"keep", "move", "delete"} {
		t.Run(done, func(t *testing.T) {
			t.Parallel()
			dir, opt := t.TempDir(), Options{Done: done}
			if done == "move" {
				opt.DoneDir = filepath.Join(t.TempDir(), "new", "done")
			}
			w := watchHere(t, dir, opt).hasty()
			began := time.Now()
			write(t, dir, "1.jpg", data[:len(data)/2])
			write(t, dir, "2.jpg", data)
			w.want("2.jpg")
			s, err := w.step(15 * time.Second)
			if bad := (errUnreadable{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "picture 1.jpg: ") {
				t.Fatalf("%q, %v", s.Name, err)
			}
			if d := time.Since(began); d < w.tries.closed[2] {
				t.Errorf("given up after %v", d)
			}
			w.quiet(400 * time.Millisecond)
			if done == "move" {
				if got := names(t, opt.DoneDir); !slices.Equal(got, []string{"1.jpg"}) {
					t.Errorf("moved: %v", got)
				}
				return
			}
			if got := names(t, dir); !slices.Equal(got, []string{"1.jpg", "2.jpg"}) {
				t.Errorf("left: %v", got)
			}
			write(t, dir, "1.jpg", data) // somebody mends it
			w.want("1.jpg")
		})
	}
}

// TestWatchedMove: nothing is overwritten, and what can't be moved stays, while
// others go on.
func TestWatchedMove(t *testing.T) {
	t.Parallel()
	far, err := os.MkdirTemp("/dev/shm", "sightline-test")
	if err != nil {
		t.Skip("left out: no second file system: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(far) })
	for name, done := range map[string]string{"near": t.TempDir(), "far": far} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			doneDir := filepath.Join(done, "done")
			w := watchHere(t, dir, Options{Done: "move", DoneDir: doneDir})
			write(t, done, "done", []byte("a file in the way"))
			pic := func(gray byte) []byte { return jpegOf(t, plain(64, 48, gray)) }
			write(t, dir, "a.jpg", pic(1))
			w.want("a.jpg")
			if gone, err := w.over("a.jpg"); gone || err == nil || !strings.Contains(err.Error(), "picture a.jpg has its verdict and stays") {
				t.Fatalf("gone %v, %v", gone, err)
			}
			write(t, dir, "b.jpg", pic(2))
			w.want("b.jpg") // others go on
			if err := os.Remove(doneDir); err != nil {
				t.Fatal(err)
			}
			if gone, err := w.over("b.jpg"); !gone || err != nil {
				t.Fatalf("gone %v, %v", gone, err)
			}
			eventually(t, 10*time.Second, "a.jpg to be moved after all", func() bool {
				w.busyNow(t)
				return len(names(t, dir)) == 0
			})
			for i := range 3 { // names that are there already
				write(t, dir, "a.jpg", pic(byte(100+i)))
				w.want("a.jpg")
				if gone, err := w.over("a.jpg"); !gone || err != nil {
					t.Fatalf("gone %v, %v", gone, err)
				}
			}
			got := names(t, doneDir)
			if len(got) != 5 || !slices.Contains(got, "a.jpg") || !slices.Contains(got, "b.jpg") || len(names(t, dir)) != 0 {
				t.Errorf("moved: %v, left: %v", got, names(t, dir))
			}
			if b, err := os.ReadFile(filepath.Join(doneDir, "a.jpg")); err != nil || !bytes.Equal(b, pic(1)) {
				t.Errorf("a.jpg has other content now (%v)", err)
			}
		})
	}
}

func TestWatchedMoveToItself(t *testing.T) {
	dir := t.TempDir()
	for _, to := range []string{dir, dir + "/../" + filepath.Base(dir)} {
		_, _, err := openWatched(order{At: dir, Options: Options{Done: "move", DoneDir: to}})
		if err == nil || !strings.Contains(err.Error(), "the watched folder itself") {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestWatchedMoveThatIsHalfDone: what was copied to another file system, and
// couldn't be deleted here, isn't copied again.
func TestWatchedMoveThatIsHalfDone(t *testing.T) {
	dir, doneDir := t.TempDir(), t.TempDir()
	w := watchHere(t, dir, Options{Done: "move", DoneDir: doneDir})
	write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 1)))
	w.want("a.jpg")
	g := w.given["a.jpg"]
	g.copied = true
	w.given["a.jpg"] = g
	if gone, err := w.over("a.jpg"); !gone || err != nil || len(names(t, dir))+len(names(t, doneDir)) != 0 {
		t.Errorf("gone %v, %v; here %v, there %v", gone, err, names(t, dir), names(t, doneDir))
	}
}

// TestWatchedOddNames: what isn't UTF-8 or is too long to be added to comes and
// goes all the same.
func TestWatchedOddNames(t *testing.T) {
	dir, doneDir := t.TempDir(), t.TempDir()
	w := watchHere(t, dir, Options{Done: "move", DoneDir: doneDir})
	long := strings.Repeat("x", 251) + ".jpg"
	odd := []string{"pr\xfcf.jpg", "pr\xe4f.jpg", `pr\xfcf.jpg`, `a"b\".jpg`, "new\nline.jpg", "ü.jpg", long}
	for i, n := range odd {
		write(t, dir, n, jpegOf(t, plain(64, 48, byte(i))))
	}
	write(t, doneDir, long, nil)
	seen := map[string]bool{}
	for range odd {
		s, err := w.step(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if seen[s.Name] || strings.ToValidUTF8(s.Name, "") != s.Name {
			t.Errorf("%q again, or not UTF-8", s.Name)
		}
		seen[s.Name] = true
		if gone, err := w.over(s.Name); !gone || err != nil {
			t.Errorf("%q: gone %v, %v", s.Name, gone, err)
		}
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	for _, bad := range []string{"k/../x.jpg", "k//etc/passwd", "", ".", "x.jpg", "k/"} {
		if gone, err := w.Done(bad); gone || err == nil {
			t.Errorf("done %q: gone %v, %v", bad, gone, err)
		}
	}
}

// hanging is a folder for what is done on another file system, in which the move
// of that picture hangs: its copy is a pipe that nobody reads.
func hanging(t *testing.T, picture string) string {
	t.Helper()
	far, err := os.MkdirTemp("/dev/shm", "sightline-test")
	if err != nil {
		t.Skip("left out: no second file system: ", err)
	}
	var st, other unix.Stat_t
	if err := errors.Join(unix.Stat(picture, &st), unix.Stat(far, &other)); err != nil {
		t.Fatal(err)
	}
	if st.Dev == other.Dev {
		t.Skip("left out: temporary files lie on /dev/shm")
	}
	part := filepath.Join(far, fmt.Sprintf(".sightline-%x-%x.part", st.Dev, st.Ino))
	if err := unix.Mkfifo(part, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if fd, err := unix.Open(part, unix.O_RDONLY|unix.O_NONBLOCK, 0); err == nil { // whoever hangs goes on
			defer unix.Close(fd)
		}
		os.RemoveAll(far)
	})
	return far
}

// TestWatchedMoveThatHangs: the pictures that come meanwhile are given, and it is
// told when it takes too long.
func TestWatchedMoveThatHangs(t *testing.T) {
	t.Parallel()
	t.Run("others", func(t *testing.T) {
		dir := t.TempDir()
		cfg := config(dir)
		cfg.Options = Options{Watch: true, Done: "move", DoneDir: hanging(t, write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 1))))}
		r := start(t, cfg)
		f := r.next(10 * time.Second)
		f.Release()
		r.feed.Done(f.Name)
		for i := range byte(3) {
			write(t, dir, fmt.Sprintf("b%d.jpg", i), jpegOf(t, plain(64, 48, 10+i)))
			r.next(10 * time.Second).Release()
		}
	})
	t.Run("told", func(t *testing.T) {
		dir, over := t.TempDir(), new(sync.WaitGroup)
		t.Cleanup(over.Wait)
		w := watchHere(t, dir, Options{Done: "move", DoneDir: hanging(t, write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 1))))})
		w.want("a.jpg")
		which := w.keys["a.jpg"] + "/a.jpg"
		over.Go(func() { _, _ = w.Done(which) }) // hangs until the end
		eventually(t, 10*time.Second, "the move to begin", func() bool { return w.doing.Load() != 0 })
		w.doing.Store(monotonic())
		if _, err := w.step(10 * time.Second); err == nil || !strings.Contains(err.Error(), "what is done takes for ever") {
			t.Errorf("told: %v", err)
		}
	})
}

// TestWatchedDoneOfAnOlderOne: what is over takes nothing from a picture that has
// come under its name meanwhile.
func TestWatchedDoneOfAnOlderOne(t *testing.T) {
	dir := t.TempDir()
	w := watchHere(t, dir, Options{Done: "delete"})
	write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 1)))
	w.want("a.jpg")
	older := w.given["a.jpg"]
	write(t, dir, "a.jpg", jpegOf(t, plain(640, 480, 2)))
	w.want("a.jpg")
	if err := w.owe("a.jpg", older.key, errors.New("the disk was full")); err != nil || len(w.owed) > 0 {
		t.Errorf("%v; owed: %v", err, w.owed)
	}
	w.settle("a.jpg", older.key, false)
	if gone, err := w.over("a.jpg"); !gone || err != nil || len(names(t, dir)) != 0 {
		t.Errorf("gone %v, %v; left: %v", gone, err, names(t, dir))
	}
}
