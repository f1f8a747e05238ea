package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// TestDegradationSteps: pressed from outside, a station goes to the smaller model and
// to no decision at all, says so, and comes back.
func TestDegradationSteps(t *testing.T) {
	l, small := shipped(t, "large", 0.1), shipped(t, "small", 0.1)
	cfg := triggered(t, l)
	cfg.Class, cfg.Small, cfg.SmallAbout = sched.BestEffort, small.Model, small.About
	r := plantWith(t, []*infer.Worker{l.Model, small.Model}, func(a *Agent) {
		a.governor = sched.NewGovernor(sched.GovernorConfig{Calm: time.Second})
	}, cfg)
	s := r.ready()
	inspected := func(step string) Answer {
		t.Helper()
		r.eventually("the step "+step, func() bool { return r.named("gate").Degraded.Step == step })
		return r.trigger(Trigger{})
	}
	model := func(a Answer) string { return r.result(a).Model.Name }
	if a := inspected("full"); a.Verdict != vision.Pass || model(a) != "large" {
		t.Errorf("at full: %+v", a)
	}
	r.Pressure("heat", 0.7)
	if a := inspected("smaller"); a.Verdict != vision.Pass || model(a) != "small" {
		t.Errorf("at smaller: %+v by %s", a, model(a))
	}
	r.eventually("a warning", func() bool { return r.hasWarning("station_degraded") })
	r.Pressure("heat", 0.9)
	if a := inspected("none"); a.Verdict != vision.None || a.Reason != vision.ReasonOverload {
		t.Errorf("at none: %+v", a)
	}
	if ok, why := s.Ready(); ok || why != vision.ReasonOverload {
		t.Errorf("at none it is ready: %v %s", ok, why)
	}
	r.eventually("an error", func() bool { return r.hasWarning("station_overloaded") && !r.hasWarning("station_degraded") })
	r.Pressure("heat", 0)
	if a := inspected("full"); a.Verdict != vision.Pass || model(a) != "large" {
		t.Errorf("at full again: %+v", a)
	}
	if d := r.named("gate").Degraded; d.Smaller == 0 || d.None == 0 || d.Since == nil {
		t.Errorf("%+v", d)
	}
}

// TestOverloadRejectsWhatIsFollowed: at the last step parts that are followed get no
// verdict but NONE.
func TestOverloadRejectsWhatIsFollowed(t *testing.T) {
	l := shipped(t, "first", 0.1)
	cfg := with("belt", l, drawnCamera(t, drawnBelt(t, 3), CameraConfig{ID: "cam"}))
	cfg.Class = sched.BestEffort
	r := plantWith(t, []*infer.Worker{l.Model}, func(*Agent) {}, cfg)
	r.eventually("verdicts", func() bool { return r.saw("belt", "cam") > 1 })
	r.Pressure("power", 1)
	r.eventually("parts without a decision, for the overload", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := len(r.told)
		return n > 2 && r.told[n-1].Told.Reason == vision.ReasonOverload && r.told[n-2].Told.Reason == vision.ReasonOverload
	})
}

// hasWarning tells whether a health warning stands.
func (r *running) hasWarning(code string) bool {
	return slices.ContainsFunc(r.Now().Health, func(w health.Raised) bool { return w.Code == code })
}
