package capture

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watchedHere is a reader of a watched folder in the test's own process.
type watchedHere struct {
	*watchedReader
	t    *testing.T
	mem  []byte
	keys map[string]string // of the pictures that came last
}

// over says that the picture of a name that came last has its verdict.
func (w *watchedHere) over(name string) (bool, error) {
	return w.Done(w.keys[name] + "/" + name)
}

// deaf takes inotify away, as on a network share.
func (w *watchedHere) deaf() *watchedHere {
	w.events.close()
	w.events = nil
	return w
}

// hasty shortens what is waited for, not its order.
func (w *watchedHere) hasty() *watchedHere {
	w.tries = tries{
		closed: [3]time.Duration{50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond},
		open:   [3]time.Duration{500 * time.Millisecond, time.Minute, time.Minute},
	}
	return w
}

func watchHere(t *testing.T, dir string, opt Options) *watchedHere {
	t.Helper()
	opt.Watch = true
	r, _, err := openWatched(order{Kind: watched, At: dir, Options: opt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return &watchedHere{watchedReader: r.(*watchedReader), t: t, keys: map[string]string{}}
}

func (w *watchedHere) room(n int) ([]byte, error) {
	w.mem = slices.Grow(w.mem[:0], n)[:n]
	return w.mem, nil
}

// step is the next answer of Read that isn't errNothing.
func (w *watchedHere) step(within time.Duration) (shot, error) {
	w.t.Helper()
	for until := time.Now().Add(within); time.Now().Before(until); {
		asked := time.Now()
		s, err := w.Read(w.room)
		if d := time.Since(asked); d > 5*beatEvery { // twice would do on a machine that has time
			w.t.Errorf("Read took %v", d)
		}
		if !errors.Is(err, errNothing) {
			w.keys[s.Name] = s.Key
			return s, err
		}
	}
	return shot{}, errNothing
}

// want reads pictures and compares their names.
func (w *watchedHere) want(names ...string) {
	w.t.Helper()
	for i, name := range names {
		s, err := w.step(10 * time.Second)
		if err != nil || s.Name != name {
			w.t.Fatalf("picture %d is %q (%v), want %s", i+1, s.Name, err, name)
		}
	}
}

// quiet checks that nothing more comes.
func (w *watchedHere) quiet(d time.Duration) {
	w.t.Helper()
	if s, err := w.step(d); !errors.Is(err, errNothing) {
		w.t.Errorf("read %q, %v; nothing should come", s.Name, err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// noisy is a picture whose file is long enough to be cut.
func noisy(w, h int) []byte {
	f := plain(w, h, 0)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range f.Pix {
		f.Pix[i] = byte(r.Uint32())
	}
	return f.Pix
}

func noisyJPEG(t testing.TB, w, h int) []byte {
	f := plain(w, h, 0)
	f.Pix = noisy(w, h)
	return jpegOf(t, f)
}

// trickle writes a file in parts, as a slow upload does.
func trickle(t *testing.T, path string, data []byte, parts int, pause time.Duration) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range parts {
		if _, err := f.Write(data[len(data)*i/parts : len(data)*(i+1)/parts]); err != nil {
			t.Error(err)
		}
		<-tick.C
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestWatchedHalfWrittenFilesWait: whatever writes a picture, it is given once,
// when it is whole; with inotify and without.
func TestWatchedHalfWrittenFilesWait(t *testing.T) {
	t.Parallel()
	data := noisyJPEG(t, 320, 240)
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("deaf %v", deaf), func(t *testing.T) {
			t.Parallel()
			dir, aside := t.TempDir(), t.TempDir()
			w := watchHere(t, dir, Options{})
			if deaf {
				w.deaf()
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				write(t, dir, "copied.jpg", data)
				p := write(t, aside, "renamed.jpg", data)
				if err := os.Rename(p, filepath.Join(dir, "renamed.jpg")); err != nil {
					t.Error(err)
				}
				p = write(t, dir, "uploaded.jpg.part", data)
				if err := os.Rename(p, filepath.Join(dir, "uploaded.jpg")); err != nil {
					t.Error(err)
				}
				p = write(t, aside, "linked.jpg", data)
				if err := os.Link(p, filepath.Join(dir, "linked.jpg")); err != nil {
					t.Error(err)
				}
				trickle(t, filepath.Join(dir, "slow.jpg"), data, 4, 250*time.Millisecond)                      // longer than the first try waits
				trickle(t, filepath.Join(dir, "trailer.jpg"), bytes.Repeat(data, 10), 15, 40*time.Millisecond) // decodes by a tenth
				trickle(t, filepath.Join(dir, "steady.jpg"), data, 20, 10*time.Millisecond)
			}()
			var got []string
			for range 7 {
				s, err := w.step(15 * time.Second)
				if err != nil {
					t.Fatalf("after %v: %v", got, err)
				}
				if s.Width != 320 || s.Key == "" || s.Timing != 0 {
					t.Errorf("%+v", s)
				}
				if whole := strconv.FormatInt(int64(10*len(data)), 36) + "."; s.Name == "trailer.jpg" && !strings.HasPrefix(s.Key, whole) {
					t.Errorf("trailer.jpg was given before it was whole: %s, not %s", s.Key, whole)
				}
				got = append(got, s.Name)
			}
			<-done
			w.quiet(400 * time.Millisecond)
			slices.Sort(got)
			if want := "copied.jpg linked.jpg renamed.jpg slow.jpg steady.jpg trailer.jpg uploaded.jpg"; strings.Join(got, " ") != want {
				t.Errorf("got %v, want %s", got, want)
			}
		})
	}
}

// TestWatchedLatency: a picture that is renamed into place is there at once.
func TestWatchedLatency(t *testing.T) {
	dir, aside := t.TempDir(), t.TempDir()
	w := watchHere(t, dir, Options{})
	w.tries.closed[0] = time.Hour // nothing of it is waited for
	data := jpegOf(t, plain(64, 48, 9))
	var took []time.Duration
	for i := range 4 {
		name := fmt.Sprintf("%d.jpg", i)
		p := write(t, aside, name, data)
		w.busyNow(t)
		began := time.Now()
		if err := os.Rename(p, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		w.want(name)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("of %d: median %v, worst %v", len(took), took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > time.Second { // 100 ms are promised on a machine that has time
		t.Errorf("median %v", took[len(took)/2])
	}
}

// busyNow lets find run, so that it listens.
func (w *watchedHere) busyNow(t *testing.T) {
	t.Helper()
	if s, err := w.Read(w.room); !errors.Is(err, errNothing) {
		t.Fatalf("read %q, %v", s.Name, err)
	}
}

func TestWatchedOrder(t *testing.T) {
	t.Parallel()
	data := jpegOf(t, plain(64, 48, 9))
	dir := t.TempDir()
	times := map[string]time.Time{
		"10.jpg": time.Unix(0, 0), "2.jpg": time.Now().Add(1000 * time.Hour), "1.jpg": time.Unix(1e9, 0), "3.jpg": time.Unix(1e9, 0),
		"4.jpg": time.Unix(-1e6, 0),
	}
	for name, at := range times { // a clock at 1970 or in the future
		if err := os.Chtimes(write(t, dir, name, data), at, at); err != nil {
			t.Fatal(err)
		}
	}
	watchHere(t, dir, Options{}).want("1.jpg", "2.jpg", "3.jpg", "4.jpg", "10.jpg")
	watchHere(t, dir, Options{Order: "time"}).want("4.jpg", "10.jpg", "1.jpg", "3.jpg", "2.jpg")
}

// TestWatchedLeavesOthersAlone: links, pipes, folders and what isn't a picture
// are never opened.
func TestWatchedLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	data := jpegOf(t, plain(64, 48, 9))
	for _, before := range []bool{true, false} {
		dir := t.TempDir()
		outside := write(t, t.TempDir(), "secret.jpg", data)
		fill := func() {
			write(t, dir, "empty.jpg", nil)
			write(t, dir, ".hidden.jpg", data)
			write(t, dir, "part.jpg.part", data)
			write(t, dir, "part.jpg.tmp", data)
			write(t, dir, "notes.txt", data)
			for _, err := range []error{
				os.Symlink(outside, filepath.Join(dir, "link.jpg")), os.Mkdir(filepath.Join(dir, "folder.jpg"), 0o755),
				unix.Mkfifo(filepath.Join(dir, "pipe.jpg"), 0o644), os.Symlink(dir, filepath.Join(dir, "loop.jpg")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "folder.jpg"), "inner.jpg", data)
		}
		if before {
			fill()
		}
		w := watchHere(t, dir, Options{Done: "delete"})
		if !before {
			w.busyNow(t)
			fill()
		}
		w.quiet(400 * time.Millisecond)
		write(t, dir, "empty.jpg", data) // not empty any more
		w.want("empty.jpg")
	}
}

func TestWatchedNewContentUnderAnOldName(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		dir := t.TempDir()
		w := watchHere(t, dir, Options{Done: "delete"})
		if deaf {
			w.deaf()
		}
		p := write(t, dir, "image.jpg", jpegOf(t, plain(64, 48, 10)))
		w.want("image.jpg")
		first := w.mem[0]
		// Its time alone makes no new picture: FTP's MFMT and Samba set it afterwards.
		if err := os.Chtimes(p, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
		w.quiet(700 * time.Millisecond)
		write(t, dir, "image.jpg", jpegOf(t, plain(64, 48, 200)))
		// The first has its verdict, but what lies there is the second.
		if _, err := w.over("image.jpg"); err != nil || len(names(t, dir)) != 1 {
			t.Errorf("done: %v, and %v is left", err, names(t, dir))
		}
		w.want("image.jpg")
		if w.mem[0] == first {
			t.Error("the old picture was given again")
		}
		if gone, err := w.over("image.jpg"); !gone || err != nil || len(names(t, dir)) != 0 {
			t.Errorf("done: gone %v, %v, %v is left", gone, err, names(t, dir))
		}
		write(t, dir, "image.jpg", jpegOf(t, plain(64, 48, 200))) // the same bytes again, after it went
		w.want("image.jpg")
	}
}

// TestWatchedWriterThatPauses: as long as a writer is known to have a file open,
// it isn't given up.
func TestWatchedWriterThatPauses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := noisyJPEG(t, 64, 48)
	w := watchHere(t, dir, Options{Done: "move", DoneDir: t.TempDir()}).hasty()
	w.busyNow(t)
	f, err := os.Create(filepath.Join(dir, "a.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	half := len(data) / 2
	for _, part := range [][]byte{data[:half], data[half:]} {
		if _, err := f.Write(part); err != nil {
			t.Fatal(err)
		}
		if len(part) == half {
			w.quiet(w.tries.closed[2] + 300*time.Millisecond)
		}
	}
	w.want("a.jpg") // it decodes, so it is whole although it is open
}

// TestWatchedFolderVanishes: that is told and outlived.
func TestWatchedFolderVanishes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "in")
	mk := func() {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mk()
	cfg := config(dir)
	cfg.Watch = true
	r := start(t, cfg)
	eventually(t, 10*time.Second, "waiting", func() bool { return r.Stats().State == Waiting })
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the fault", func() bool { return strings.Contains(r.Stats().LastError, "no such folder") })
	mk()
	write(t, dir, "a.jpg", jpegOf(t, plain(64, 48, 1)))
	f := r.next(10 * time.Second)
	if f.Name != "a.jpg" {
		t.Error(f.Name)
	}
	f.Release()
}

func TestWatchedAnotherFolderInItsPlace(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "in")
	for _, d := range []string{dir, filepath.Join(base, "other")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := watchHere(t, dir, Options{}).deaf()
	w.busyNow(t)
	if err := errors.Join(os.Rename(dir, filepath.Join(base, "old")), os.Rename(filepath.Join(base, "other"), dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.step(5 * time.Second); err == nil || !strings.Contains(err.Error(), "another folder has taken its place") {
		t.Error(err)
	}
}

// TestWatchedLargeFolder: a folder that is full of pictures which have been given
// costs little, and a new one is still seen at once.
func TestWatchedLargeFolder(t *testing.T) {
	t.Parallel()
	n := 1000
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		n = 100_000
	}
	dir := t.TempDir()
	data := jpegOf(t, plain(16, 16, 1))
	for i := range n {
		write(t, dir, fmt.Sprintf("%06d.jpg", i), data)
	}
	w := watchHere(t, dir, Options{})
	began := time.Now()
	for i := range n {
		w.want(fmt.Sprintf("%06d.jpg", i))
	}
	t.Logf("%d pictures given in %v", n, time.Since(began).Round(time.Millisecond))
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before) // for the log
	began = time.Now()
	w.quiet(500 * time.Millisecond)
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	t.Logf("idle: %v of CPU in %v", time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()), time.Since(began).Round(time.Millisecond))
	p := write(t, t.TempDir(), "new.jpg", data)
	began = time.Now()
	if err := os.Rename(p, filepath.Join(dir, "new.jpg")); err != nil {
		t.Fatal(err)
	}
	w.want("new.jpg")
	t.Logf("a new one after %v", time.Since(began).Round(time.Microsecond))
}

// TestWatchedOverflow: more happens than the kernel keeps for us.
func TestWatchedOverflow(t *testing.T) {
	if os.Getenv("SIGHTLINE_FAULTS") != "full" {
		t.Skip("left out: takes its time; SIGHTLINE_FAULTS=full runs it")
	}
	const n = 9000 // with three events each, and 16384 are kept
	dir := t.TempDir()
	w := watchHere(t, dir, Options{})
	data := jpegOf(t, plain(16, 16, 1))
	for i := range n {
		write(t, dir, fmt.Sprintf("%d.jpg", i), data)
	}
	seen := map[string]bool{}
	for range n {
		s, err := w.step(10 * time.Second)
		if err != nil || seen[s.Name] {
			t.Fatalf("%s, %v after %d", s.Name, err, len(seen))
		}
		seen[s.Name] = true
	}
	w.quiet(time.Second)
}

func BenchmarkWatchedList(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			for i := range n {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.jpg", i)), []byte("x"), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			r, _, err := openWatched(order{At: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			w := r.(*watchedReader)
			if err := w.list(); err != nil {
				b.Fatal(err)
			}
			for _, f := range w.files {
				f.state = fileOver
			}
			clear(w.waiting)
			b.ResetTimer()
			for range b.N {
				if err := w.list(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
