package infer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// asWorker, in the environment, makes this test binary a worker process.
const asWorker = "SIGHTLINE_INFER_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(asWorker) {
	case "":
		os.Exit(m.Run())
	case "worker":
		if err := WorkerMain(context.Background(), 3); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "leak":
		go leak(os.Getenv(leaks))
		if err := WorkerMain(context.Background(), 3); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "builder":
		pretendBuild()
	case "die":
		fmt.Fprintln(os.Stderr, "out of memory")
		os.Exit(137)
	}
}

// library is ONNX Runtime; tests that need it are left out without.
func library(t testing.TB) string {
	t.Helper()
	path, err := FindLibrary("")
	if err != nil {
		t.Skip("left out: ", err)
	}
	return path
}

// realModel is a model's path in the shared data; tests that need it are left
// out without.
func realModel(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("SIGHTLINE_REALDATA")
	if dir == "" {
		t.Skip("left out: SIGHTLINE_REALDATA isn't set")
	}
	return filepath.Join(dir, "models", name)
}

func testConfig(t testing.TB, model string, o Options) Config {
	t.Helper()
	cfg := Config{Executable: os.Args[0], Env: []string{asWorker + "=worker"}, Library: library(t),
		Model: Model{Path: model}, Log: slog.New(slog.DiscardHandler)}
	b, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	info, err := Describe(b)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Spec, err = info.Spec(o); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// start runs a worker until the test's end.
func start(t testing.TB, cfg Config) *Worker {
	t.Helper()
	w := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with: %v", err)
		}
	})
	return w
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// shared puts frames into the slots of a new pool.
func shared(t testing.TB, frames ...*vision.Frame) *shm.Pool {
	t.Helper()
	size := 0
	for _, f := range frames {
		size = max(size, len(f.Pix))
	}
	pool, err := shm.NewPool(1, len(frames), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Release)
	for i, f := range frames {
		copy(pool.Slot(i), f.Pix)
	}
	return pool
}

var sameResult = cmpopts.IgnoreFields(Result{}, "Fill", "Run", "Decode")

func TestWorkerSurvivesBeingKilled(t *testing.T) {
	w := start(t, testConfig(t, realModel(t, "yolox_nano.onnx"), Options{Labels: COCO(), Confidence: 0.001}))
	ctx := within(t, 30*time.Second)
	frame := picture(640, 360, vision.BGR24, 1)
	pool := shared(t, frame, frame)
	first, err := w.Infer(ctx, frame, pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Detections) == 0 || first.Run <= 0 || len(first.Model) != 64 {
		t.Fatalf("first result is %+v", first)
	}
	for round := range 3 {
		var lost sync.WaitGroup
		results := make(chan struct{}, 100000)
		for slot := range 2 {
			lost.Go(func() {
				for {
					_, err := w.Infer(ctx, frame, pool, slot)
					if err != nil && !errors.Is(err, ErrWorkerLost) {
						t.Errorf("round %d: %v", round, err)
					}
					if results <- struct{}{}; err != nil {
						return
					}
				}
			})
		}
		for range 4 {
			<-results
		}
		w.mu.Lock()
		pid := w.pid
		w.mu.Unlock()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		lost.Wait()
		again, err := w.Infer(ctx, frame, pool, 1)
		if err != nil {
			t.Fatal(err)
		}
		back, load := time.Since(killed), w.Report().Start
		if back > 2*time.Second {
			t.Errorf("round %d: the first result after a kill came after %v", round, back)
		}
		t.Logf("round %d: the first result after a kill came after %v, process start and load took %v: %.2f of it", round, back, load, load.Seconds()/back.Seconds())
		if diff := cmp.Diff(first, again, sameResult); diff != "" {
			t.Errorf("round %d: the result changed (-before +after):\n%s", round, diff)
		}
	}
	if s := w.Stats(); s.Restarts != 3 || s.Lost == 0 || s.Failed != 0 {
		t.Errorf("stats are %+v, want 3 restarts and some frames lost", s)
	}
	if cpu := w.CPU(); cpu <= 0 || cpu > time.Minute {
		t.Errorf("processor time is %v", cpu)
	}
}

// badModels are refused; the words are what a person is told.
func TestModelsThatAreRefused(t *testing.T) {
	lib := library(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	spec := FastestDet.defaults()
	spec.Labels, spec.Input.Width, spec.Input.Height = make([]Label, 2), 64, 64
	for name, c := range map[string]struct {
		path, library, want string
	}{
		"no file":          {filepath.Join(dir, "none.onnx"), lib, "no such file"},
		"empty":            {write("empty", nil), lib, "no ONNX model"},
		"text":             {write("text", []byte("this is no model at all")), lib, "no ONNX model"},
		"unknown operator": {"testdata/unknown_operator.onnx", lib, "NoSuchOperator"},
		"newer operators":  {"testdata/new_opset.onnx", lib, "Opset 99 is under development"},
		"plug-in":          {"testdata/plugin.onnx", lib, "EfficientNMS_TRT"},
		"half precision":   {"testdata/float16.onnx", lib, "float16"},
		"no library":       {"testdata/fastestdet.onnx", filepath.Join(dir, "libonnxruntime.so.1"), "load ONNX Runtime"},
		"other family":     {"testdata/rows.onnx", lib, `task is "detect", which is family yolov8, not fastestdet`},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(Config{Executable: os.Args[0], Env: []string{asWorker + "=worker"}, Library: c.library,
				Model: Model{Path: c.path}, Spec: spec, Log: slog.New(slog.DiscardHandler)})
			err := w.Run(within(t, 30*time.Second))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Run ended with %v, want an error about %q", err, c.want)
			}
			if _, ready := w.Ready(t.Context()); ready != err {
				t.Errorf("Ready says %v, Run said %v", ready, err)
			}
		})
	}
}

func TestOutputWhoseSizeDependsOnThePicture(t *testing.T) {
	w := start(t, testConfig(t, "testdata/rows.onnx", Options{Confidence: 0.1}))
	bright := func(blocks ...int) *vision.Frame {
		f := picture(64, 64, vision.BGR24, 1)
		clear(f.Pix)
		for _, b := range blocks {
			for i := range 16 * 16 {
				y, x := b/4*16+i/16, b%4*16+i%16
				copy(f.Pix[y*f.Stride+3*x:], []byte{255, 255, 255})
			}
		}
		return f
	}
	frames := []*vision.Frame{bright(), bright(5), bright(), bright(0, 15, 3), bright(7)}
	pool := shared(t, frames...)
	for i, want := range []int{0, 1, 0, 3, 1} {
		r, err := w.Infer(within(t, 10*time.Second), frames[i], pool, i)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Detections) != want {
			t.Errorf("frame %d has %d detections, want %d", i, len(r.Detections), want)
		}
		if i == 1 {
			want := []vision.Detection{{Label: `it's "bright"`, Score: 1, Box: vision.Box{X: 16, Y: 16, W: 16, H: 16}}}
			if diff := cmp.Diff(want, r.Detections); diff != "" {
				t.Errorf("frame 1 (-want +got):\n%s", diff)
			}
		}
	}
}

func TestRunThatTakesTooLongIsStopped(t *testing.T) {
	cfg := testConfig(t, "testdata/slow.onnx", Options{})
	cfg.Limit = 200 * time.Millisecond
	w := start(t, cfg)
	dark, light := picture(64, 64, vision.BGR24, 1), picture(64, 64, vision.BGR24, 1)
	clear(dark.Pix)
	pool := shared(t, dark, light)
	for range 2 {
		if _, err := w.Infer(within(t, 20*time.Second), light, pool, 1); !errors.Is(err, ErrTimeLimit) {
			t.Errorf("an endless run gives %v, want ErrTimeLimit", err)
		}
		if _, err := w.Infer(within(t, 20*time.Second), dark, pool, 0); err != nil {
			t.Errorf("after a stopped run: %v", err)
		}
	}
	if s := w.Stats(); s.TimedOut != 2 || s.Restarts != 0 {
		t.Errorf("stats are %+v, want 2 runs stopped in one worker", s)
	}
}

func TestPatience(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{
		time.Millisecond:       251 * time.Millisecond,
		100 * time.Millisecond: 350 * time.Millisecond,
		500 * time.Millisecond: 750 * time.Millisecond,
		time.Second:            1500 * time.Millisecond,
		4 * time.Second:        6 * time.Second,
		time.Minute:            62 * time.Second,
	} {
		if got := patience(limit); got != want {
			t.Errorf("with a limit of %v a worker may be silent for %v, want %v", limit, got, want)
		}
	}
}

// TestSilence: when the watch finds a worker silent, and when it looks again, which is
// never later than the worker can be found so.
func TestSilence(t *testing.T) {
	const limit, most = time.Second, 1500 * time.Millisecond // patience
	began := time.Now()
	for _, c := range []struct {
		name   string
		ready  bool
		owed   int
		after  time.Duration
		silent bool
		wait   time.Duration
	}{
		{"loading", false, 0, 5 * time.Minute, false, most},
		{"nearly too long at loading", false, 0, loadLimit - time.Second, false, time.Second},
		{"too long at loading", false, 0, loadLimit, true, most},
		{"idle", true, 0, time.Hour, false, most},
		{"just asked", true, 1, 0, false, most},
		{"at the limit", true, 2, limit, false, most - limit},
		{"nearly too long", true, 1, most - time.Millisecond, false, time.Millisecond},
		{"too long", true, 3, most, true, most},
	} {
		l := newLink(nil, New(Config{Limit: limit}))
		l.progress = began
		l.ready.Store(c.ready)
		for id := range c.owed {
			l.calls[uint64(id)] = &call{}
		}
		silent, wait := l.silent(began.Add(c.after))
		if silent != c.silent || wait != c.wait {
			t.Errorf("%s: silent %v, look again after %v; want %v, %v", c.name, silent, wait, c.silent, c.wait)
		}
		if again, _ := l.silent(began.Add(2 * loadLimit)); c.silent && again {
			t.Errorf("%s: told twice", c.name)
		}
	}
}

func TestSilentWorkerIsKilled(t *testing.T) {
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{})
	cfg.Limit = 100 * time.Millisecond
	w := start(t, cfg)
	ctx := within(t, 20*time.Second)
	if _, err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	frame := picture(64, 64, vision.BGR24, 1)
	pool := shared(t, frame)
	frozen := time.Now()
	if _, err := w.Infer(ctx, frame, pool, 0); !errors.Is(err, ErrTimeLimit) {
		t.Errorf("a stopped worker gives %v, want ErrTimeLimit", err)
	}
	seen := time.Since(frozen)
	if seen < patience(cfg.Limit) || seen > patience(cfg.Limit)+time.Second { // a busy machine may be late
		t.Errorf("a frozen worker is seen after %v, want about %v", seen, patience(cfg.Limit))
	}
	if _, err := w.Infer(ctx, frame, pool, 0); err != nil {
		t.Errorf("after the silent worker: %v", err)
	}
	if s := w.Stats(); s.Restarts != 1 || s.TimedOut != 1 || s.Lost != 1 {
		t.Errorf("stats are %+v, want one worker replaced with one frame lost", s)
	}
	t.Logf("seen after %v, the next result after %v", seen, time.Since(frozen))
}

func TestWorkerThatDiesAtLoadingIsGivenUp(t *testing.T) {
	w := New(Config{Executable: os.Args[0], Env: []string{asWorker + "=die"}, Model: Model{Data: []byte("x")}, Log: slog.New(slog.DiscardHandler)})
	err := w.Run(within(t, 20*time.Second))
	if err == nil || !strings.Contains(err.Error(), "out of memory") || !strings.Contains(err.Error(), "3 times") {
		t.Errorf("Run ended with %v, want the worker's last words", err)
	}
	if _, inferErr := w.Infer(t.Context(), picture(8, 8, vision.BGR24, 1), shared(t, picture(8, 8, vision.BGR24, 1)), 0); inferErr != err {
		t.Errorf("Infer says %v, Run said %v", inferErr, err)
	}
}

func TestManyPoolsAndForget(t *testing.T) {
	w := start(t, testConfig(t, "testdata/fastestdet.onnx", Options{Confidence: 0.01}))
	ctx := within(t, 30*time.Second)
	var wrong sync.WaitGroup
	for n := range maxPools + 10 {
		frame := picture(64+n, 64, vision.BGR24, uint32(n))
		pool := shared(t, frame)
		wrong.Go(func() {
			for range 2 {
				if _, err := w.Infer(ctx, frame, pool, 0); err != nil {
					t.Errorf("pool %d: %v", n, err)
				}
			}
			w.Forget(pool)
			w.Forget(pool)
			if _, err := w.Infer(ctx, frame, pool, 0); err != nil {
				t.Errorf("pool %d, again: %v", n, err)
			}
		})
	}
	wrong.Wait()
}

func TestFramesThatDontFitTheirSlot(t *testing.T) {
	w := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is accepted waits for a worker
	frame := picture(64, 64, vision.BGR24, 1)
	pool := shared(t, frame)
	for name, bad := range map[string]vision.Frame{
		"too high":    {Width: 64, Height: 6400, Stride: 192, Format: vision.BGR24},
		"huge stride": {Width: 64, Height: 64, Stride: 1 << 60, Format: vision.BGR24},
		"no format":   {Width: 64, Height: 64, Stride: 192},
		"negative":    {Width: -64, Height: 64, Stride: 192, Format: vision.BGR24},
		"before slot": {Width: 8, Height: 8, Stride: 192, Format: vision.BGR24, Offset: -1},
		"behind slot": {Width: 8, Height: 8, Stride: 192, Format: vision.BGR24, Offset: pool.SlotSize + 1},
		"at its end":  {Width: 1, Height: 1, Stride: 192, Format: vision.BGR24, Offset: pool.SlotSize},
		"far away":    {Width: 8, Height: 8, Stride: 192, Format: vision.BGR24, Offset: math.MaxInt},
		"one too far": {Width: 64, Height: 64, Stride: frame.Stride, Format: vision.BGR24, Offset: pool.SlotSize - len(frame.Pix) + 1},
	} {
		if _, err := w.Infer(ctx, &bad, pool, 0); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := w.Infer(ctx, frame, pool, 1); err == nil || errors.Is(err, context.Canceled) {
		t.Error("a slot beyond the pool: accepted")
	}
}

func TestCPUTimeText(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0": 1750 * time.Millisecond,
		"12 (x) S 1 2":                        0,
		"":                                    0,
		"12 (x) S 1 2 3 4 5 6 7 8 9 10 a b 0": 0,
	} {
		if got := cpuTime(text); got != want {
			t.Errorf("%q gives %v, want %v", text, got, want)
		}
	}
}

func TestEmbeddedModelAndNoProcessLeft(t *testing.T) {
	model, err := os.ReadFile("testdata/fastestdet.onnx")
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{Labels: []string{"blue", "red"}})
	cfg.Model = Model{Data: model}
	w := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	info, err := w.Ready(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(model)); info.Digest != want || info.Labels[1] != "red" {
		t.Errorf("digest %s, labels %q; want %s and blue, red", info.Digest, info.Labels, want)
	}
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	stop := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if took := time.Since(stop); took > 2*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	if _, err := w.Ready(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("Ready after the end: %v, want ErrStopped", err)
	}
}
