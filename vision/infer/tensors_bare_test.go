//go:build cgo

package infer

import (
	"bytes"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/sightline-edge/sightline/vision/models"
)

// TestTensorsAreTheRuntimesOwn: what a worker gives is bit for bit what ONNX Runtime
// gives in this process, called as plainly as it can be.
func TestTensorsAreTheRuntimesOwn(t *testing.T) {
	dir, err := models.Open("drawn-parts")
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := fs.ReadFile(dir, "model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{"drawn-parts": shipped}
	for _, name := range []string{"yolox_nano.onnx", "FastestDet.onnx"} {
		if os.Getenv("SIGHTLINE_REALDATA") == "" {
			t.Log("left out: " + name + ": SIGHTLINE_REALDATA isn't set")
			continue
		}
		if all[name], err = os.ReadFile(realModel(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range all {
		t.Run(name, func(t *testing.T) {
			w := start(t, Config{Executable: os.Args[0], Env: []string{asWorker + "=worker"}, Library: library(t), Provider: CPU,
				Model: Model{Path: name, Data: bytes.Clone(data)}, Tensors: true, Log: slog.New(slog.DiscardHandler)})
			info, err := w.Ready(within(t, 20*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			a := w.NewArena()
			defer a.Release()
			in := info.Inputs[0]
			plain := plainly(t, data, info)
			for seed := range uint64(5) {
				values := drawn(in, seed)
				ran, err := w.RunTensors(within(t, 20*time.Second), a, lay(t, a, given{in, floats(values...)}), 0)
				if err != nil {
					t.Fatal(err)
				}
				for n, want := range plain(values) {
					if got := a.Output(ran.Outputs[n]); !bytes.Equal(got, floats(want...)) {
						t.Errorf("seed %d: %s differs", seed, ran.Outputs[n].Name)
					}
				}
			}
		})
	}
}

func drawn(in Tensor, seed uint64) []float32 {
	rnd := rand.New(rand.NewPCG(seed, 1))
	count := int64(1)
	for _, d := range in.Shape {
		count *= d
	}
	values := make([]float32, count)
	for i := range values {
		values[i] = float32(rnd.NormFloat64())
	}
	return values
}

// plainly loads a model of one input into this process, and gives what runs it.
func plainly(t *testing.T, model []byte, info Info) func([]float32) [][]float32 {
	t.Helper()
	if !ort.IsInitialized() {
		ort.SetSharedLibraryPath(library(t))
		if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
			t.Fatal(err)
		}
	}
	o, err := ort.NewSessionOptions()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Destroy()
	if err := o.SetIntraOpNumThreads(1); err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(model, names(info.Inputs), names(info.Outputs), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Destroy() })
	return func(values []float32) (all [][]float32) {
		in, err := ort.NewTensor(ort.NewShape(info.Inputs[0].Shape...), values)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Destroy()
		outs := make([]ort.Value, len(info.Outputs))
		if err := s.Run([]ort.Value{in}, outs); err != nil {
			t.Fatal(err)
		}
		for _, v := range outs {
			all = append(all, append([]float32{}, v.(*ort.Tensor[float32]).GetData()...))
			v.Destroy()
		}
		return all
	}
}
