package infer

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// sharing is a worker whose runs may look at up to eight frames, whether that pays or not.
func sharing(t testing.TB, model string, o Options) (*Worker, Info) {
	t.Helper()
	o.Confidence = 0.01
	cfg := testConfig(t, "testdata/"+model, o)
	cfg.Share, cfg.SharePays = MaxShare, 1000
	w := start(t, cfg)
	info, err := w.Ready(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return w, info
}

// seenIn shows the pool's frames to the worker, n of them in groups of so many.
func seenIn(t testing.TB, w *Worker, frames []*vision.Frame, pool *shm.Pool, id uint64, of int) []Result {
	t.Helper()
	out := make([]Result, len(frames))
	var wg sync.WaitGroup
	for n, f := range frames {
		wg.Go(func() {
			var err error
			if out[n], err = w.InferOf(within(t, 20*time.Second), Group{ID: id, Of: of}, f, pool, n); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return out
}

// TestFramesShareARun: frames of a group are looked at in one run, and each gives what it
// gives alone; also where some of the group never come.
func TestFramesShareARun(t *testing.T) {
	small := Options{Family: "fastestdet", Width: 64, Height: 64, Labels: []string{"class0", "class1"}}
	for _, c := range []struct {
		model string
		o     Options
	}{{"dynamic.onnx", small}, {"open_uint8.onnx", Options{Family: "fastestdet", Labels: []string{"class0", "class1"}}}, {"anomalib.onnx", Options{}}} {
		t.Run(c.model, func(t *testing.T) {
			w, info := sharing(t, c.model, c.o)
			if len(info.Shared) != 4 {
				t.Fatalf("runs take %v", info.Shared)
			}
			var frames []*vision.Frame
			for n := range 8 {
				frames = append(frames, picture(90, 70, vision.BGR24, uint32(n)))
			}
			pool := shared(t, frames...)
			var alone []Result
			for n, f := range frames {
				r, err := w.Infer(within(t, 20*time.Second), f, pool, n)
				if err != nil {
					t.Fatal(err)
				}
				alone = append(alone, r)
			}
			id, seen := uint64(0), len(frames)
			for _, come := range []int{8, 3, 2, 5, 1} {
				for tries, together := 50, false; !together; tries-- { // a busy machine may bring them one by one
					if tries == 0 {
						t.Fatalf("%d frames of a group never share a run", come)
					}
					id++
					got := seenIn(t, w, frames[:come], pool, id, 8)
					if diff := cmp.Diff(alone[:come], got, sameResult); diff != "" {
						t.Fatalf("%d frames of a group:\n%s", come, diff)
					}
					seen += come
					together = true
					for _, r := range got { // each has its run's own time
						together = together && r.Run == got[0].Run
					}
				}
			}
			if st := w.Stats(); st.Failed != 0 || st.Restarts != 0 || st.Inferred != uint64(seen) {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestFramesThatCannotShare: where the number of frames is fixed, or one changes what is
// seen of another, each has a run of its own, whatever was asked for.
func TestFramesThatCannotShare(t *testing.T) {
	for model, o := range map[string]Options{"fastestdet.onnx": {}, "batch2.onnx": {}, "mixed.onnx": {Family: "fastestdet", Labels: []string{"class0", "class1"}}} {
		w, info := sharing(t, model, o)
		if info.Shared != nil {
			t.Errorf("%s: runs on several frames take %v", model, info.Shared)
		}
		frames := []*vision.Frame{picture(64, 64, vision.BGR24, 1), picture(64, 64, vision.BGR24, 2)}
		seenIn(t, w, frames, shared(t, frames...), 1, 2)
	}
}

// TestSharingThatDoesNotPay: on the processor two pictures cost twice what one does.
func TestSharingThatDoesNotPay(t *testing.T) {
	cfg := testConfig(t, "testdata/dynamic.onnx", Options{Family: "fastestdet", Width: 1280, Height: 1280, Labels: []string{"class0", "class1"}})
	cfg.Share = MaxShare
	info, err := start(t, cfg).Ready(within(t, 60*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Shared) > 2 {
		t.Errorf("runs take %v", info.Shared)
	}
}

// TestGroupOfAWorkerThatDies: all its frames hear of it, and the next worker takes groups.
func TestGroupOfAWorkerThatDies(t *testing.T) {
	w, _ := sharing(t, "dynamic.onnx", Options{Family: "fastestdet", Width: 64, Height: 64, Labels: []string{"class0", "class1"}})
	frames := []*vision.Frame{picture(64, 64, vision.BGR24, 1), picture(64, 64, vision.BGR24, 2), picture(64, 64, vision.BGR24, 3)}
	pool := shared(t, frames...)
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, len(frames))
	for n, f := range frames {
		go func() {
			_, err := w.InferOf(context.Background(), Group{ID: 7, Of: 3}, f, pool, n)
			ended <- err
		}()
	}
	eventuallyCalls(t, w, 3)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range frames {
		if err := <-ended; !errors.Is(err, ErrWorkerLost) {
			t.Errorf("a frame of the group: %v", err)
		}
	}
	seenIn(t, w, frames, pool, 8, 3)
}

// TestSharingIsMeasuredOnce: a worker that was started again shares as the first one did,
// without measuring; one whose groups have no room gives each frame a run of its own.
func TestSharingIsMeasuredOnce(t *testing.T) {
	o := Options{Family: "fastestdet", Width: 64, Height: 64, Labels: []string{"class0", "class1"}}
	w, first := sharing(t, "dynamic.onnx", o)
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	frames := []*vision.Frame{picture(64, 64, vision.BGR24, 1), picture(64, 64, vision.BGR24, 2)}
	pool := shared(t, frames...)
	for ctx := within(t, 20*time.Second); w.Stats().Restarts == 0; {
		if _, err := w.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	again, err := w.Ready(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Shared, again.Shared); diff != "" {
		t.Errorf("measured again:\n%s", diff)
	}
	seenIn(t, w, frames, pool, 1, 2)

	o.Confidence, o.Width, o.Height = 0.01, 1600, 1600 // 31 MB a frame
	cfg := testConfig(t, "testdata/dynamic.onnx", o)
	cfg.Share, cfg.SharePays, cfg.Memory = MaxShare, 1000, 400e6
	small := start(t, cfg)
	info, err := small.Ready(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Shared) > 2 {
		t.Errorf("in 400 MB runs on %d frames of 31 MB", 1<<(len(info.Shared)-1))
	}
	seenIn(t, small, frames, pool, 1, 2)
}

// TestDistance: scores aren't held against pixels, whatever the layout.
func TestDistance(t *testing.T) {
	rows := &Output{Shape: []int64{1, 2, 3}, Data: []float32{600, 300, 100, 0.5, 0.25, 0}}    // kinds one behind the other
	columns := &Output{Shape: []int64{1, 3, 2}, Data: []float32{600, 0.5, 300, 0.25, 100, 0}} // kinds side by side
	for _, c := range []struct {
		alone *Output
		at    int
		by    float32
		alike bool
	}{
		{rows, 0, 0.1, true}, {rows, 0, 10, false}, {rows, 3, 1e-4, true}, {rows, 3, 0.05, false},
		{columns, 0, 0.1, true}, {columns, 3, 1e-4, true}, {columns, 3, 0.05, false}, {&Output{Shape: []int64{1, 2}, Data: []float32{1, 2}}, 1, 1e-3, true},
		{&Output{Shape: []int64{1}, Data: []float32{0}}, 0, 0, true}, {&Output{Shape: []int64{1, 0}}, -1, 0, true},
	} {
		x := slices.Clone(c.alone.Data)
		if c.at >= 0 {
			x[c.at] += c.by
		}
		if d := distance(x, c.alone); (d <= sameAs) != c.alike {
			t.Errorf("value %d of %s by %v: %v", c.at, shapeText(c.alone.Shape), c.by, d)
		}
	}
	nan := &Output{Shape: []int64{1, 2}, Data: []float32{1, 2}}
	if d := distance([]float32{1, float32(math.NaN())}, nan); d <= sameAs {
		t.Errorf("no number: %v", d)
	}
}
