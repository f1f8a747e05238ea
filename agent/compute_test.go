package agent

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision/infer"
)

// The library that tests run on is for processors: beside a GPU that is worth a
// warning, unless somebody said that the processor is meant.
func TestGPUThatLiesIdle(t *testing.T) {
	l := shipped(t, "idle", 0.1)
	loading := infer.New(infer.Config{Log: quiet})
	works(t, l.Model)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	info, err := l.Model.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.Provider != string(infer.CPU) {
		t.Skip("left out: this machine computes on ", info.Provider)
	}
	for name, c := range map[string]struct {
		root  fs.FS
		model *infer.Worker
		want  bool
	}{
		"a Jetson's GPU":      {kernel(jetson), l.Model, true},
		"no GPU":              {fstest.MapFS{}, l.Model, false},
		"not loaded yet":      {kernel(jetson), loading, false},
		"no model":            {kernel(jetson), nil, false},
		"no board to be read": {nil, l.Model, false},
	} {
		a := onBoard(t, c.root)
		a.stations = []*Station{{lane: &lane{Loadout: Loadout{Model: c.model}}}}
		if a.cfg.Board != nil {
			a.sample()
		}
		a.watchCompute()
		n := slices.IndexFunc(a.health.List(), func(r health.Raised) bool { return r.Code == health.GPUUnused.Code })
		if (n >= 0) != c.want {
			t.Errorf("%s: warned %v, want %v", name, n >= 0, c.want)
		}
		if n >= 0 && !strings.Contains(a.health.List()[n].Text, "gpu; tensorrt: there is no libonnxruntime_providers_tensorrt.so beside ONNX Runtime; cuda: there is no") {
			t.Errorf("%s: it says %q", name, a.health.List()[n].Text)
		}
	}
	if c := computes(l.Model); c == nil || c.Provider != "cpu" || c.Words() != "on cpu" || !strings.Contains(c.Why(), "passed over: tensorrt: there is no") {
		t.Errorf("REST is told %+v", c)
	}
	if computes(loading) != nil || buildingOf(loading) != nil {
		t.Error("a model that isn't loaded computes on something")
	}
}
