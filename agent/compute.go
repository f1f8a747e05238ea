package agent

import (
	"strings"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision/infer"
)

// watchCompute looks whether a GPU lies idle beside models that run on the processor,
// though something faster was to be taken.
func (a *Agent) watchCompute() {
	r, why := a.Reading(), ""
	if r == nil || len(r.GPUs) == 0 {
		a.set(health.GPUUnused, "", false, "")
		return
	}
	for _, s := range a.stations {
		m := s.loadout().Model
		if m == nil {
			continue
		}
		if info, ok := m.Info(); ok && info.Provider == string(infer.CPU) && len(info.Passed) > 0 {
			why = r.GPUs[0].Name + "; " + strings.Join(info.Passed, "; ")
			break
		}
	}
	a.set(health.GPUUnused, "", why != "", why)
}

// computes is what a model runs on, nil before it is loaded.
func computes(m *infer.Worker) *api.Computes {
	i, ok := m.Info()
	if !ok {
		return nil
	}
	return &api.Computes{
		Provider: i.Provider, Precision: i.Precision, Runtime: i.Runtime, GPU: i.GPU, Driver: i.Driver, Engine: i.Engine, Passed: i.Passed, Batch: batchOf(i.Shared),
	}
}

// batchOf is how many pictures a run may look at, 0 for one.
func batchOf(takes []time.Duration) int {
	if len(takes) < 2 {
		return 0
	}
	return 1 << (len(takes) - 1)
}

// buildingOf is the engine that is built for a model now, nil for none.
func buildingOf(m *infer.Worker) *api.Building {
	b, ok := m.Building()
	if !ok {
		return nil
	}
	return &api.Building{Text: b.String(), Phase: b.Phase, Seconds: time.Since(b.Began).Seconds(), Usual: b.Usual.Seconds()}
}
