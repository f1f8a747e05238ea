package infer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// leaks, in the environment of a test's worker, is how many MB a second it leaks.
const leaks = "SIGHTLINE_INFER_TEST_LEAKS"

// leaked is what the worker that leaks holds on to.
var leaked [][]byte

// leak takes memory and never gives it back.
func leak(rate string) {
	perSecond, err := strconv.Atoi(rate)
	if err != nil {
		panic(err)
	}
	const every = 10 * time.Millisecond
	for range time.Tick(every) {
		b := make([]byte, perSecond*1e6/int(time.Second/every))
		for n := 0; n < len(b); n += 512 {
			b[n] = 1
		}
		leaked = append(leaked, b)
	}
}

// leaking is a worker that really leaks.
func leaking(t *testing.T, perSecond int, memory int64) *Worker {
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{Confidence: 0.01})
	cfg.Env = []string{asWorker + "=leak", fmt.Sprint(leaks, "=", perSecond)}
	cfg.Memory, cfg.Weigh = memory, 10*time.Millisecond
	return start(t, cfg)
}

// besiege gives the worker frames from two sides until done says so. It returns how many
// had a result, and the longest time between two of them.
func besiege(t *testing.T, w *Worker, done func() bool) (frames int, gap time.Duration) {
	t.Helper()
	ctx := within(t, 60*time.Second)
	frame := picture(64, 64, vision.BGR24, 1)
	pool := shared(t, frame, frame)
	first, err := w.Infer(ctx, frame, pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	last := time.Now()
	for slot := range 2 {
		all.Go(func() {
			for !done() {
				r, err := w.Infer(ctx, frame, pool, slot)
				if err != nil {
					t.Errorf("a frame was lost: %v", err)
					return
				}
				if d := cmp.Diff(first, r, sameResult); d != "" {
					t.Errorf("the result changed (-before +after):\n%s", d)
					return
				}
				mu.Lock()
				frames++
				gap = max(gap, time.Since(last))
				last = time.Now()
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return frames, gap
}

// TestLeakingWorkerIsReplaced: between two frames, none of which is lost, and told with
// the rate at which it really leaks.
func TestLeakingWorkerIsReplaced(t *testing.T) {
	const rate = 40 // MB a second
	w := leaking(t, rate, 4<<30)
	var mu sync.Mutex
	var found *Leak // in the first process, as it was told last
	frames, gap := besiege(t, w, func() bool {
		leaked := w.Stats().Leaked
		if l := w.Leak(); l != nil && leaked == 0 {
			mu.Lock()
			defer mu.Unlock()
			found = l
		}
		return leaked >= 2
	})
	s := w.Stats()
	if s.Leaked != 2 || s.Outgrown != 0 || s.Restarts != 0 || s.Lost != 0 || s.Failed != 0 {
		t.Errorf("stats are %+v, want 2 processes replaced for their leak and nothing lost", s)
	}
	if found == nil {
		t.Fatal("no leak was told")
	}
	if got := found.PerHour / 3600 / 1e6; got < rate*0.6 || got > rate*1.4 || found.Runs == 0 || found.Full.IsZero() {
		t.Errorf("the leak is told as %+v, %.1f MB a second, want about %d", found, got, rate)
	}
	if w.Leak() == nil {
		t.Error("the leak isn't told any more as soon as another process has begun")
	}
	t.Logf("%d frames, at most %v apart; %v", frames, gap, found)
}

// TestWorkerBeyondItsMemory: it is replaced at the cap, however it came there.
func TestWorkerBeyondItsMemory(t *testing.T) {
	whole := start(t, testConfig(t, "testdata/fastestdet.onnx", Options{}))
	if _, err := whole.Ready(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	most := whole.Report().Memory + 30e6 // which comes before a leak could show
	w := leaking(t, 40, most)
	frames, _ := besiege(t, w, func() bool { return w.Stats().Outgrown >= 2 })
	if s := w.Stats(); s.Outgrown < 2 || s.Restarts != 0 || s.Lost != 0 || s.Failed != 0 {
		t.Errorf("stats are %+v, want 2 processes replaced for their memory and nothing lost", s)
	}
	if r := w.Report(); r.Cap != most || r.Memory <= 0 {
		t.Errorf("of its memory is told %d of %d", r.Memory, r.Cap)
	}
	t.Logf("%d frames", frames)
}

func TestModelBeyondTheMemory(t *testing.T) {
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{})
	cfg.Memory = 4e6
	w := New(cfg)
	err := w.Run(within(t, 20*time.Second))
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "load testdata/fastestdet.onnx: it takes too much memory") || !strings.Contains(err.Error(), "at most 4 MB may be") {
		t.Errorf("Run ended with %v, want an error about the memory", err)
	}
	if s := w.Stats(); s.Restarts != 0 {
		t.Errorf("it was tried %d times again", s.Restarts)
	}
}

// TestReplacementThatDoesNotComeUp: the process that there is goes on.
func TestReplacementThatDoesNotComeUp(t *testing.T) {
	model := t.TempDir() + "/model.onnx"
	b, err := os.ReadFile("testdata/fastestdet.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(model, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, model, Options{Confidence: 0.01})
	cfg.Memory, cfg.Weigh = 1e9, 10*time.Millisecond
	tries := make(chan struct{}, 100)
	cfg.Log = slog.New(hears{slog.DiscardHandler, "a fresh inference worker didn't come up", tries})
	w := start(t, cfg)
	if _, err := w.Ready(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(model, []byte("no model any more"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	now := w.link
	w.mu.Unlock()
	done := func() bool {
		select {
		case w.renew <- renewal{of: now, why: "the test wants it"}:
		default:
		}
		return len(tries) > 0
	}
	if frames, _ := besiege(t, w, done); frames == 0 {
		t.Error("no frame had a result meanwhile")
	}
	if s := w.Stats(); s.Outgrown != 0 || s.Restarts != 0 || s.Lost != 0 {
		t.Errorf("stats are %+v, want the first process still there", s)
	}
}

// hears tells that a message was logged.
type hears struct {
	slog.Handler
	text string
	told chan struct{}
}

func (h hears) Enabled(context.Context, slog.Level) bool { return true }

func (h hears) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.text) {
		h.told <- struct{}{}
	}
	return nil
}

// TestWhatIsALeak: series of looks, each 5 s, and what they are told as.
func TestWhatIsALeak(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	noise := func(mb float64) float64 { return mb * 1e6 * r.NormFloat64() }
	const mb, hour = 1e6, 720.0 // looks
	for _, c := range []struct {
		name  string
		looks int
		level func(n float64) float64
		want  float64 // MB/hour; 0: no leak
	}{
		{"flat", 6000, func(n float64) float64 { return 200*mb + noise(3) }, 0},
		{"saw tooth of a collector", 3000, func(n float64) float64 { return 200*mb + 2*mb*math.Mod(n, 7) + noise(1) }, 0},
		{"a step", 1500, func(n float64) float64 { return 200*mb + 100*mb*math.Floor(min(n/300, 1)) + noise(1) }, 0},
		{"filling a cache", 1500, func(n float64) float64 { return 200*mb + 30*mb*(1-math.Exp(-n/60)) + noise(0.5) }, 0},
		{"up and down", 3000, func(n float64) float64 { return 300*mb + 12*mb*math.Sin(n/200) }, 0},
		{"fast", 200, func(n float64) float64 { return 200*mb + 360*mb*n/hour + noise(1) }, 360},
		{"slow", 2500, func(n float64) float64 { return 200*mb + 12*mb*n/hour + noise(1) }, 12},
		{"very slow", 9000, func(n float64) float64 { return 200*mb + 1*mb*n/hour + noise(1) }, 1},
		{"late", 3000, func(n float64) float64 { return 200*mb + 400*mb*max(0, n-2500)/hour + noise(1) }, 400},
	} {
		var g growth
		at := time.Unix(1e9, 0)
		var l *Leak
		for n := range c.looks {
			g.add(at, int64(c.level(float64(n))), uint64(10*n))
			at = at.Add(5 * time.Second)
			if l = g.leak(); c.want == 0 && l != nil {
				break
			}
		}
		switch {
		case c.want == 0 && l != nil:
			t.Errorf("%s: told as a leak of %v", c.name, l)
		case c.want != 0 && l == nil:
			t.Errorf("%s: no leak", c.name)
		case c.want != 0 && (l.PerHour < 0.8*c.want*mb || l.PerHour > 1.2*c.want*mb || l.Runs == 0):
			t.Errorf("%s: %v, want %v MB/hour", c.name, l, c.want)
		}
	}
}

func TestUrgency(t *testing.T) {
	const mb = int64(1e6)
	l := Leak{PerHour: 100e6, Bytes: 500 * mb}
	for _, c := range []struct {
		used, most, base int64
		want             bool
	}{
		{500 * mb, 4000 * mb, 480 * mb, false},
		{500 * mb, 4000 * mb, 200 * mb, true},  // more than half as much again
		{500 * mb, 590 * mb, 480 * mb, true},   // the cap is met within the hour
		{500 * mb, 700 * mb, 480 * mb, false},  // in two
		{270 * mb, 4000 * mb, 200 * mb, false}, // a small model may grow by more than the half
	} {
		if got := l.urgent(c.used, c.most, c.base, 5*time.Second); got != c.want {
			t.Errorf("%+v: urgent %v", c, got)
		}
	}
}

func TestMemoryOfAControlGroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/sightline-agent.service\n": "/system.slice/sightline-agent.service",
		"12:memory:/x\n0::/\n":                       "/", "": "/", "0::/../..\n": "/", "4:cpu:/a\n": "/",
	} {
		if got := ownGroup([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	file := t.TempDir() + "/memory.max"
	for text, want := range map[string]int64{"max\n": 0, "1073741824\n": 1 << 30, "": 0} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := groupMemory(file); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if m := machineMemory(); m < 64<<20 || m > 1<<50 {
		t.Errorf("this machine has %d bytes", m)
	}
}

// TestTensorsGoOnWhileAWorkerIsReplaced: runs on tensors go to whichever process serves.
func TestTensorsGoOnWhileAWorkerIsReplaced(t *testing.T) {
	w := leaking(t, 40, 4<<30)
	info, err := w.Ready(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	a := w.NewArena()
	defer a.Release()
	in := Laid{Tensor: info.Inputs[0], Size: 4}
	for n := range in.Shape {
		in.Shape[n] = max(in.Shape[n], 1)
		in.Size *= int(in.Shape[n])
	}
	if _, err := a.Room(in.Size); err != nil {
		t.Fatal(err)
	}
	runs := uint64(0)
	for ctx := within(t, 60*time.Second); w.Stats().Leaked < 2; runs++ {
		if ran, err := w.RunTensors(ctx, a, []Laid{in}, 0); err != nil || len(ran.Outputs) == 0 {
			t.Fatalf("run %d gives %+v, %v", runs, ran, err)
		}
	}
	if r := w.Report(); r.Guests != (Guests{Ran: runs}) || r.Inferred != 0 || r.Stages[StageRun].Count != 0 || r.Lost != 0 {
		t.Errorf("of %d runs %+v is told", runs, r.Stats)
	}
}
