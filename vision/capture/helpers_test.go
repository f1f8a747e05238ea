package capture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/picture"
)

// asWorker makes a child of this test binary a capture process.
const asWorker = "SIGHTLINE_CAPTURE_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" && !slices.Contains(os.Args, "-test.fuzzworker") {
		if len(os.Args) > 1 {
			lie(os.Args[1])
			os.Exit(0)
		}
		leak()
		if err := WorkerMain(context.Background(), 3, OpenAll); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv(asWorker, "1") // every child is one
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // most of a test is waiting; the flag is there
	code := m.Run()
	if left := leftovers(); left != "" {
		fmt.Fprintln(os.Stderr, "left behind by the tests:", left)
		code = 1
	}
	os.Exit(code)
}

// leftovers names child processes and frame memory that outlive every camera.
func leftovers() string {
	var all []string
	tasks, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is good
	for _, f := range tasks {
		b, _ := os.ReadFile(f) // a thread may have ended
		for _, pid := range strings.Fields(string(b)) {
			all = append(all, "process "+pid)
		}
	}
	fds, _ := os.ReadDir("/proc/self/fd") // always there
	for _, f := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && (strings.Contains(to, "memfd:sightline") || strings.Contains(to, "pidfd")) {
			all = append(all, "descriptor of "+to)
		}
	}
	return strings.Join(all, ", ")
}

// config reads with this test binary.
func config(source string) Config {
	c := Config{Source: source, SelfExecutable: os.Args[0]}
	if HaveMedia {
		c.CaptureBinary = os.Args[0]
	}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return c
}

// needMedia leaves a test out where nothing reads videos. The tests run in all
// builds; what needs FFmpeg or GStreamer runs in those that have them.
func needMedia(t *testing.T) {
	t.Helper()
	if !HaveMedia {
		t.Skip("left out: built without FFmpeg and GStreamer (-tags media or gocv)")
	}
}

// running is a Camera with its Run.
type running struct {
	*Camera
	feed *Feed
	t    *testing.T
	stop context.CancelFunc
	done chan struct{}
	err  error // of Run, after done
}

// start runs a camera for the test, and checks at its end that nothing is left.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Camera: c, feed: c.Feed(), t: t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		began := time.Now()
		<-r.done
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("stopping took %v", d)
		}
		for f, err := r.Next(ctx); err == nil; f, err = r.Next(ctx) {
			f.Release() // what a failed recording had left
		}
		if pid := r.pid(); pid != 0 {
			t.Errorf("process %d is left", pid)
		}
	})
	return r
}

// eventually waits for a condition.
func eventually(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", within, what)
		}
		<-tick.C
	}
}

// Next is the next frame of the test's feed.
func (r *running) Next(ctx context.Context) (*Frame, error) { return r.feed.Next(ctx) }

// next fails the test when no frame comes in time.
func (r *running) next(within time.Duration) *Frame {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	f, err := r.Next(ctx)
	if err != nil {
		r.t.Fatalf("next frame: %v (%+v)", err, r.Stats())
	}
	return f
}

// fired triggers the camera and gives the picture. Once is enough unless its datagrams
// were lost, as on a machine that is too busy to read them.
func (r *running) fired() *Frame {
	r.t.Helper()
	for range 6 {
		if err := r.Fire(); err != nil {
			r.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Second)
		f, err := r.Next(ctx)
		cancel()
		if err == nil {
			return f
		}
		r.t.Logf("triggered again: %v (%+v)", err, r.Stats())
	}
	r.t.Fatal("no picture for six triggers")
	return nil
}

// all reads to the end.
func (r *running) all(each func(*Frame)) {
	r.t.Helper()
	for {
		ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
		f, err := r.Next(ctx)
		cancel()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			r.t.Fatalf("next frame: %v (%+v)", err, r.Stats())
		}
		if each != nil {
			each(f)
		}
		f.Release()
	}
}

// plain is a picture of one colour, which survives JPEG.
func plain(w, h int, gray byte) *vision.Frame {
	f := &vision.Frame{Pix: make([]byte, w*h*3), Width: w, Height: h, Stride: 3 * w, Format: vision.BGR24}
	for i := range f.Pix {
		f.Pix[i] = gray
	}
	return f
}

func jpegOf(t testing.TB, f *vision.Frame) []byte {
	t.Helper()
	b, err := picture.EncodeJPEG(f, picture.Encoding{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}
