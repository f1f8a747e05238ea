package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision/infer"
)

func (r *running) model(digest string) *api.ModelUse {
	all := r.Now().Models
	for n := range all {
		if all[n].Digest == digest {
			return &all[n]
		}
	}
	return nil
}

// TestModelsInUse: what is told of models while stations switch between them. Counts
// outlive the processes.
func TestModelsInUse(t *testing.T) {
	t.Parallel()
	first, second := shipped(t, "first", 0.1), shipped(t, "second", 0.1)
	first.About.Digest, second.About.Digest = "digest 1", "digest 2" // the same file, as if they were two
	r := plant(t, []*infer.Worker{first.Model}, StationConfig{ID: "one", Model: first.Model, About: first.About, Rule: first.Rule, Track: first.Track})
	r.Gated(second.About, true)
	r.Gated(second.About, false)
	r.eventually("verdicts of the first", func() bool { return r.judged("one", "first") > 0 })
	m := r.model("digest 1")
	if m == nil || !m.Ready || m.Provider == "" || m.Memory < 1<<20 || m.Start <= 0 || m.Swaps != 0 || fmt.Sprint(m.Stations) != "[one]" {
		t.Fatalf("the first model is %+v", m)
	}
	if m.Requests == 0 || m.Failures.Total() != 0 || m.Stages.Run.Count == 0 || m.Stages.Run.P50 <= 0 || m.Stages.Run.Upto[len(api.StageBounds)-1] != m.Stages.Run.Count {
		t.Errorf("its pictures are %+v", m)
	}
	if m := r.model("digest 2"); m == nil || m.Workers != 0 || m.Ready || m.Gates != (api.Gates{Passed: 1, Refused: 1}) || len(m.Stations) != 0 {
		t.Errorf("a model that was only gated is %+v", m)
	}
	for round, l := range []Loadout{second, first, second} {
		if round > 0 { // a worker that was stopped doesn't run again
			name, digest := l.About.Name, l.About.Digest
			l = shipped(t, name, 0.1)
			l.About.Digest = digest
		}
		old := r.stations[0].loadout()
		before := r.model(old.About.Digest).Requests
		r.StartWorker(l.Model)
		if _, err := r.Switch(t.Context(), "one", l); err != nil {
			t.Fatal(err)
		}
		if !r.StopWorker(old.Model) {
			t.Fatal("nobody needs the former worker, and it goes on")
		}
		m := r.model(old.About.Digest)
		if m.Workers != 0 || m.Ready || m.Memory != 0 || m.Requests < before || m.Stages.Run.Count == 0 || m.Provider == "" || len(m.Stations) != 0 {
			t.Errorf("round %d: what %s counted isn't kept: %+v", round, old.About.Name, m)
		}
		if list := r.Now().Models; list[0].Digest != l.About.Digest || len(list) != 2 {
			t.Errorf("round %d: the list is %+v", round, list)
		}
	}
	if one, two := r.model("digest 1").Swaps, r.model("digest 2").Swaps; one != 1 || two != 2 {
		t.Errorf("swaps are %d and %d, want 1 and 2", one, two)
	}
}

// TestModelThatLeaks: its process is replaced while the station goes on, and people hear
// of it.
func TestModelThatLeaks(t *testing.T) {
	t.Parallel()
	l := shippedAs(t, "leaky", 0.1, infer.Config{Env: []string{asWorker + "=leak"}, Memory: 4 << 30, Weigh: 10 * time.Millisecond})
	r := plant(t, []*infer.Worker{l.Model}, StationConfig{ID: "one", Model: l.Model, About: l.About, Rule: l.Rule, Track: l.Track})
	r.eventually("the warning", func() bool { return r.warned(health.ModelLeaks, "one") })
	r.eventually("another process", func() bool { return r.model(l.About.Digest).Recycles.Leak > 0 })
	before := r.judged("one", "leaky")
	r.eventually("verdicts of the next process", func() bool { return r.judged("one", "leaky") > before+1 })
	m, s := r.model(l.About.Digest), r.named("one")
	if m.Leak == nil || m.Leak.PerHour < 40e6*3600/3 || m.Leak.PerHour > 40e6*3600*3 || m.Cap != 4<<30 {
		t.Errorf("the model is told as %+v, leaking %+v", m, m.Leak)
	}
	if m.Restarts != 0 || m.Failures.Total() != 0 || s.Views[0].Failed != 0 || s.State != api.Inspecting || r.warned(health.ModelWorkerRestarting, "one") {
		t.Errorf("something was lost: %+v, the station is %s", m, s.State)
	}
}

// TestModelsAreBounded: those that ran long ago are forgotten, those that run never.
func TestModelsAreBounded(t *testing.T) {
	var b modelBook
	w := infer.New(infer.Config{})
	b.use(&Loadout{Model: w, About: Model{Digest: "kept"}}, false)
	for n := range 100 {
		b.gated(Model{Digest: fmt.Sprint(n)}, true)
	}
	if len(b.list) != keepModels+1 || b.list[0].about.Digest != "kept" || b.list[1].about.Digest != fmt.Sprint(100-keepModels) {
		t.Errorf("%d models are kept, the first are %+v, %+v", len(b.list), b.list[0], b.list[1])
	}
	b.retire(w)
	if len(b.list) != keepModels || b.list[0].about.Digest == "kept" {
		t.Errorf("%d models are kept, the first is %+v", len(b.list), b.list[0])
	}
}
