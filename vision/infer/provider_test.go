package infer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFindProvider(t *testing.T) {
	for _, c := range []struct {
		configured, env string
		want            Provider
		err             string
	}{
		{"", "", Auto, ""},
		{"", "cuda", CUDA, ""},
		{"CPU", "cuda", CPU, ""},
		{"gpu", "", "", `provider "gpu" is unknown: known are auto, cpu, cuda, tensorrt`},
	} {
		t.Setenv(ProviderEnv, c.env)
		got, err := FindProvider(c.configured)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

func TestProviderIsLookedForBesideTheLibrary(t *testing.T) {
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "libonnxruntime.so.1")
	library := filepath.Join(dir, "libonnxruntime.so.1")
	if err := os.Symlink(library, link); err != nil {
		t.Fatal(err)
	}
	if CPU.missing(library) != "" {
		t.Error("the CPU is looked for in a file")
	}
	if Auto.Accelerated(library) || CUDA.Accelerated(library) {
		t.Error("an accelerator without its library")
	}
	if why := CUDA.missing(library); !strings.Contains(why, "no libonnxruntime_providers_cuda.so beside") {
		t.Errorf("without the file: %q", why)
	}
	for _, f := range []string{library, filepath.Join(dir, "libonnxruntime_providers_cuda.so")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []string{library, link} {
		if why := CUDA.missing(l); why != "" {
			t.Errorf("%s: %s", l, why)
		}
		if !Auto.Accelerated(l) || !Provider("").Accelerated(l) || CPU.Accelerated(l) || TensorRT.Accelerated(l) || !CUDA.Accelerated(l) {
			t.Errorf("%s: who computes is told wrong", l)
		}
	}
}

// The library that the tests run on has no provider but the CPU.
func TestWorkerTellsWhatComputes(t *testing.T) {
	cfg := testConfig(t, "testdata/rows.onnx", Options{})
	if CUDA.missing(cfg.Library) == "" {
		t.Skip("left out: this ONNX Runtime has CUDA")
	}
	info, err := start(t, cfg).Ready(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if info.Provider != string(CPU) || info.Driver != "" || info.GPU != "" || info.Engine != "" || info.Precision != "float32" || len(info.Passed) != 2 ||
		!strings.HasPrefix(info.Passed[0], "tensorrt: there is no") || !strings.HasPrefix(info.Passed[1], "cuda: there is no") {
		t.Errorf("provider %q, driver %q, passed over %q", info.Provider, info.Driver, info.Passed)
	}
}

func TestProviderThatIsNamedIsNotReplaced(t *testing.T) {
	cfg := testConfig(t, "testdata/rows.onnx", Options{})
	if cfg.Provider = CUDA; cfg.Provider.missing(cfg.Library) == "" {
		t.Skip("left out: this ONNX Runtime has CUDA")
	}
	if err := New(cfg).Run(within(t, 30*time.Second)); err == nil || !strings.Contains(err.Error(), "load the model: cuda: there is no") {
		t.Errorf("the worker ended with: %v", err)
	}
}
