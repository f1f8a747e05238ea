package infer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// TestQuantilesOfASpread: whatever was added, a quantile is at most a quarter off what
// sorting all of it gives.
func TestQuantilesOfASpread(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 50 {
		var s, left, right Spread
		var all []time.Duration
		scale := time.Duration(1+r.IntN(1000)) * 100 * time.Microsecond
		for n := range 2000 {
			d := 10*time.Microsecond + time.Duration(r.ExpFloat64()*float64(scale))
			all = append(all, d)
			s.Add(d)
			half := &left
			if n%3 == 0 {
				half = &right
			}
			half.Add(d)
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999} {
			got, want := s.Quantile(q), all[min(int(q*float64(len(all))), len(all)-1)]
			if ratio := float64(got) / float64(want); q > 0 && (ratio < 0.75 || ratio > 1.34) || got > all[len(all)-1]*4/3 {
				t.Errorf("round %d: the quantile %v is %v, want about %v", round, q, got, want)
			}
		}
		left.Merge(&right)
		if left != s {
			t.Errorf("round %d: two halves are %+v, the whole is %+v", round, left, s)
		}
	}
}

func TestEdgesOfASpread(t *testing.T) {
	var s Spread
	if s.Quantile(0.99) != 0 {
		t.Error("a quantile of nothing")
	}
	for _, d := range []time.Duration{0, time.Nanosecond, 10 * time.Microsecond, 250 * time.Microsecond, 251 * time.Microsecond, time.Second, 80 * time.Second, time.Hour} {
		s.Add(d)
	}
	for d, want := range map[time.Duration]uint64{
		10 * time.Microsecond: 3, 250 * time.Microsecond: 4, 315 * time.Microsecond: 5, 800 * time.Millisecond: 5, time.Second: 6, 80 * time.Second: 7,
	} {
		if got := s.Upto(d); got != want {
			t.Errorf("%d took up to %v, want %d", got, d, want)
		}
	}
	if got := s.Quantile(1); got != 80*time.Second {
		t.Errorf("the longest is told as %v, want the last edge", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a bound that is no edge is taken")
		}
	}()
	s.Upto(3 * time.Millisecond)
}

// TestReportOfAWorker: what a real worker tells of itself.
func TestReportOfAWorker(t *testing.T) {
	w := start(t, testConfig(t, "testdata/fastestdet.onnx", Options{}))
	if r := w.Report(); r.Ready || r.Start != 0 || r.Stages[StageRun].Count != 0 {
		t.Errorf("before it is ready: %+v", r)
	}
	ctx := within(t, 20*time.Second)
	frame := picture(64, 64, vision.BGR24, 1)
	pool := shared(t, frame)
	began := time.Now()
	const frames = 50
	for range frames {
		if _, err := w.Infer(ctx, frame, pool, 0); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	r := w.Report()
	if !r.Ready || r.Info.Provider != "cpu" || len(r.Info.Digest) != 64 || r.Start <= 0 || r.Start > 20*time.Second || r.Inferred != frames {
		t.Errorf("report is %+v", r)
	}
	if r.Memory < 1<<20 || r.Memory > 2<<30 || r.Memory < shm.PrivateMemory(w.pid)/2 {
		t.Errorf("its memory is %d bytes", r.Memory)
	}
	sum := time.Duration(0)
	for n, s := range r.Stages {
		if s.Count != frames || Stage(n) != StageWait && s.Sum <= 0 {
			t.Errorf("stage %v is %+v, want %d frames", Stage(n), s, frames)
		}
		sum += s.Sum
	}
	if sum > took {
		t.Errorf("the stages took %v together, all took %v", sum, took)
	}
	both := r
	both.Merge(&r)
	if both.Inferred != 2*frames || both.Stages[StageRun].Count != 2*frames || both.Info.Digest != r.Info.Digest {
		t.Errorf("twice the report is %+v", both)
	}
}
