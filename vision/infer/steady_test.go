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
	for n := range inFlight {
		j := <-s.free
		in, out := append([]ort.Value(nil), j.slot.in...), append([]ort.Value(nil), j.slot.out...)
		var first *float32
		run := func() {
			outs, err := s.sess.run(j.slot, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if at := &outs[0].Data[0]; first == nil {
				first = at
			} else if at != first {
				t.Fatalf("job %d: an output lies elsewhere", n)
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
		size := 4 * len(j.slot.seen[0].Data)
		if each := int(after.TotalAlloc-before.TotalAlloc) / runs; each > size/2 || each > 4096 {
			t.Errorf("job %d: a run takes %d bytes of the Go heap, its output has %d", n, each, size)
		} else if n == 0 {
			t.Logf("a run takes %d bytes of the Go heap, its output has %d", each, size)
		}
		for k, v := range j.slot.in {
			if v != in[k] {
				t.Errorf("job %d: input %d was made anew", n, k)
			}
		}
		for k, v := range j.slot.out {
			if v != out[k] || !j.slot.fixed[k] {
				t.Errorf("job %d: output %d was made anew", n, k)
			}
		}
	}
}
