//go:build cgo

package infer

import (
	"os"
	"runtime"
	"testing"
	"time"

	ort "github.com/yalue/onnxruntime_go"
)

// TestSteadyRunsAllocateNoTensors: inputs and outputs are made when the model is loaded,
// and every run computes into the same memory.
func TestSteadyRunsAllocateNoTensors(t *testing.T) {
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{Confidence: 0.01})
	model, err := os.ReadFile(cfg.Model.Path)
	if err != nil {
		t.Fatal(err)
	}
	processors := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(processors) // a worker keeps one
	s := &server{load: loadRequest{Spec: cfg.Spec, Library: cfg.Library, Threads: 1, Provider: CPU, Limit: time.Second}, free: make(chan *job, inFlight)}
	if err := s.open(model); err != nil {
		t.Fatal(err)
	}
	for n := range inHands {
		in, sl := (<-s.intakes).inputs, <-s.slots
		out := append([]ort.Value(nil), sl.out...)
		var first *float32
		run := func() {
			outs, err := s.sess.run(in, sl, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if at := &outs[0].Data[0]; first == nil {
				first = at
			} else if at != first {
				t.Fatalf("slot %d: an output lies elsewhere", n)
			}
		}
		run()
		var before, after runtime.MemStats
		const runs = 200
		runtime.ReadMemStats(&before)
		for range runs {
			run()
		}
		runtime.ReadMemStats(&after)
		size := 4 * len(sl.seen[0].Data)
		if each := int(after.TotalAlloc-before.TotalAlloc) / runs; each > size/2 || each > 4096 {
			t.Errorf("slot %d: a run takes %d bytes of the Go heap, its output has %d", n, each, size)
		} else if n == 0 {
			t.Logf("a run takes %d bytes of the Go heap, its output has %d", each, size)
		}
		for k, v := range sl.out {
			if v != out[k] || !sl.fixed[k] {
				t.Errorf("slot %d: output %d was made anew", n, k)
			}
		}
	}
}
