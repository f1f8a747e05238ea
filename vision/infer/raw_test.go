package infer

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

func TestInferRaw(t *testing.T) {
	w := start(t, testConfig(t, "testdata/fastestdet.onnx", Options{Confidence: 0.01}))
	ctx := within(t, 30*time.Second)
	frame := picture(64, 64, vision.BGR24, 1)
	pool := shared(t, frame)
	plain, err := w.Infer(ctx, frame, pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, all, err := w.InferRaw(ctx, frame, pool, 0, MaxSamples)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, r, sameResult); diff != "" {
		t.Errorf("the result with samples differs (-without +with):\n%s", diff)
	}
	if len(all) != 1 || all[0].Name != "out" || all[0].Every != 1 || len(all[0].Values) != 7*4*4 || all[0].Broken != 0 {
		t.Fatalf("all values: %+v", all)
	}
	if diff := cmp.Diff([]int64{1, 7, 4, 4}, all[0].Shape); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		_, some, err := w.InferRaw(ctx, frame, pool, 0, 20)
		if err != nil {
			t.Fatal(err)
		}
		if some[0].Every != 6 || len(some[0].Values) != 19 {
			t.Fatalf("20 samples of 112: every %d, %d values", some[0].Every, len(some[0].Values))
		}
		for i, v := range some[0].Values {
			if v != all[0].Values[6*i] {
				t.Errorf("sample %d is %v, the output has %v", i, v, all[0].Values[6*i])
			}
		}
	}
	for _, n := range []int{-1, 0, MaxSamples + 1} {
		if _, _, err := w.InferRaw(ctx, frame, pool, 0, n); err == nil {
			t.Errorf("%d samples were taken", n)
		}
	}
}

// The runtime must not rewrite a model into one that computes other values.
func TestZerosAroundAPoolStayZeros(t *testing.T) {
	w := start(t, testConfig(t, "testdata/padded_pool.onnx", Options{}))
	frame := &vision.Frame{Pix: make([]byte, 64*64*3), Width: 64, Height: 64, Stride: 64 * 3, Format: vision.BGR24}
	_, out, err := w.InferRaw(within(t, 30*time.Second), frame, shared(t, frame), 0, MaxSamples)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, 16) // the means of 16×16 blocks of −1, whose right column and lowest row are 0 at the edge
	for n := range want {
		zeros := 0
		if n%4 == 3 {
			zeros += 16
		}
		if n/4 == 3 {
			zeros += 16
		}
		if n == 15 {
			zeros--
		}
		want[n] = -1 + float64(zeros)/256
	}
	for n, v := range out[0].Values[:16] {
		if math.Abs(float64(v)-want[n]) > 1e-6 {
			t.Errorf("block %d is %v, want %v", n, v, want[n])
		}
	}
}

func TestWorkerTellsWhatItRunsOn(t *testing.T) {
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{})
	info, err := start(t, cfg).Ready(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if info.Provider != "cpu" || info.Precision != "float32" || info.Driver != "" || info.Library != cfg.Library || info.Runtime == "" {
		t.Errorf("it runs on %+v", info)
	}
}

func TestSampleCountsWhatIsNoNumber(t *testing.T) {
	inf := float32(math.Inf(1))
	out := []float32{1, float32(math.NaN()), 2, inf, 3, -inf, 4}
	if s := sample(Output{"out", []int64{1, 7}, out}, 2); s.Broken != 3 || s.Every != 4 || len(s.Values) != 8 {
		t.Errorf("sample is %+v", s)
	}
	if s := sample(Output{"out", []int64{0}, nil}, 2); s.Every != 1 || s.Values != nil {
		t.Errorf("sample of nothing is %+v", s)
	}
}

func TestSamplesThatAreDamaged(t *testing.T) {
	for _, r := range []rawReply{{Every: 1, Values: []byte{1, 2, 3}}, {Every: 0}} {
		if _, err := unpackSamples([]rawReply{r}); !errors.Is(err, errPacked) {
			t.Errorf("%+v gave %v", r, err)
		}
	}
}

// TestTheLargestAnswerFitsAMessage: as many detections as there can be, and as
// many samples.
func TestTheLargestAnswerFitsAMessage(t *testing.T) {
	var outs []Output
	for range 8 {
		outs = append(outs, Output{"an output with a name of some length", []int64{1 << 16}, make([]float32, 1<<16)})
	}
	r := samples(outs, MaxSamples)
	b, err := json.Marshal(reply{Result: &resultReply{Boxes: packDetections(nil, make([]vision.Detection, MaxDetections)), Raw: r}})
	if err != nil || len(b) > shm.MaxMessage {
		t.Errorf("%d bytes, a message holds %d; %v", len(b), shm.MaxMessage, err)
	}
}

// BenchmarkInferRaw tells what the samples cost.
func BenchmarkInferRaw(b *testing.B) {
	for name, samples := range map[string]int{"without": 0, "256": 256} {
		b.Run(name, func(b *testing.B) {
			w := start(b, testConfig(b, "testdata/fastestdet.onnx", Options{}))
			frame := picture(64, 64, vision.BGR24, 1)
			pool := shared(b, frame)
			ctx := within(b, time.Minute)
			for b.Loop() {
				if _, err := w.infer(ctx, frame, pool, 0, want{samples: samples}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
