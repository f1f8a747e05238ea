package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// TestDegradationNamesWhoLooked: a verdict names the model that saw the part last, not
// the one that would look when it is recorded.
func TestDegradationNamesWhoLooked(t *testing.T) {
	l := seeing(t, "large")
	b := newBelt(t, l, track.Stream)
	b.station.lane.Small, b.station.lane.SmallAbout = l.Model, Model{Name: "small"}
	const small = 60
	for b.n < 120 {
		b.n++
		f := &flight{view: b.station.views[0], frame: &capture.Frame{Frame: b.frame, Pool: b.pool}, done: make(chan struct{})}
		f.frame.Seq, f.frame.Captured = uint64(b.n), time.Now()
		f.frame.Media = time.Duration(float64(b.n) / b.scene.Config().Rate * float64(time.Second))
		b.station.depart(f, b.flights)
		<-b.flights
		b.look(f)
		f.runs[0].small = b.n <= small
		b.station.judge(t.Context(), f)
	}
	count := map[string]int{}
	for _, i := range b.finish() {
		want := "large"
		if i.Part.Last <= small {
			want = "small"
		}
		if i.Model.Name != want {
			t.Errorf("part %s, frames %d to %d, was judged by %s", i.Part.ID, i.Part.First, i.Part.Last, i.Model.Name)
		}
		count[want]++
	}
	if count["large"] < 3 || count["small"] < 3 || len(b.station.lane.little) > 0 {
		t.Errorf("%v parts, %d left", count, len(b.station.lane.little))
	}
}

// TestDegradationWithoutItsSmallModel: where that is given up, the other one looks.
func TestDegradationWithoutItsSmallModel(t *testing.T) {
	l := shipped(t, "large", 0.1)
	bad := infer.New(infer.Config{Executable: os.Args[0], Env: []string{asWorker + "=infer"}, Model: infer.Model{Path: "bad", Data: []byte("no model")}, Log: quiet})
	cfg := triggered(t, l)
	cfg.Class, cfg.Small, cfg.SmallAbout = sched.BestEffort, bad, Model{Name: "bad"}
	belt := with("belt", l, drawnCamera(t, drawnBelt(t, 3), CameraConfig{ID: "belt"}))
	belt.Class, belt.Small, belt.SmallAbout = cfg.Class, cfg.Small, cfg.SmallAbout
	r := plantWith(t, []*infer.Worker{l.Model, bad}, func(*Agent) {}, cfg, belt)
	s := r.ready()
	r.Pressure("heat", 0.7)
	r.eventually("the small one is given up", func() bool { err := ready(bad); return err != nil && !errors.Is(err, context.Canceled) })
	s.member.Shrinks(true) // as before the governor hears of it
	r.governor.Tick(time.Now())
	if a := r.inspects(); a.Verdict != vision.Pass || r.result(a).Model.Name != "large" {
		t.Errorf("%+v by %s", a, r.result(a).Model.Name)
	}
	r.eventually("the governor hears of it", func() bool { return s.step() == sched.Full })
	before := r.saw("belt", "belt")
	r.eventually("verdicts of what is followed", func() bool { return r.saw("belt", "belt") > before+1 })
}

// inRecipes lets a station change over between loadouts, the first of which it has.
func inRecipes(cfg *StationConfig, all map[string]Loadout, first string) {
	for name := range all {
		cfg.Recipes = append(cfg.Recipes, name)
	}
	cfg.Recipe = first
	cfg.Prepare = func(_ context.Context, name string, use func(Loadout) error) error { return use(all[name]) }
}

// TestDegradationByRecipe: a station has the step of the smaller model while the recipe
// that is active has one.
func TestDegradationByRecipe(t *testing.T) {
	l, small := shipped(t, "large", 0.1), shipped(t, "small", 0.1)
	both := l
	both.Small, both.SmallAbout = small.Model, small.About
	cfg := triggered(t, l)
	cfg.Class = sched.BestEffort
	inRecipes(&cfg, map[string]Loadout{"bare": l, "both": both}, "bare")
	r := plantWith(t, []*infer.Worker{l.Model, small.Model}, func(a *Agent) {
		a.governor = sched.NewGovernor(sched.GovernorConfig{Calm: time.Second})
	}, cfg)
	s := r.ready()
	r.eventually("the small one can look", func() bool { return ready(small.Model) == nil })
	r.Pressure("heat", 0.7)
	for _, c := range []struct {
		recipe, model string
		step          sched.Step
	}{{"both", "small", sched.Smaller}, {"bare", "large", sched.Full}, {"both", "small", sched.Smaller}} {
		if _, err := r.SetRecipe(t.Context(), "gate", c.recipe); err != nil {
			t.Fatal(err)
		}
		r.eventually("the step of "+c.recipe, func() bool { return s.step() == c.step })
		if a := r.inspects(); a.Verdict != vision.Pass || r.result(a).Model.Name != c.model {
			t.Errorf("%s: %+v by %s", c.recipe, a, r.result(a).Model.Name)
		}
	}
}

// TestRecipeRescuesTriggers: a station whose model is given up answers NONE, and another
// recipe mends it.
func TestRecipeRescuesTriggers(t *testing.T) {
	first, second := shipped(t, "first", 0.1), shipped(t, "second", 0.1)
	cfg := triggered(t, first)
	inRecipes(&cfg, map[string]Loadout{"a": first, "b": second}, "a")
	r := plant(t, []*infer.Worker{first.Model, second.Model}, cfg)
	s := r.ready()
	if !s.lost(first.Model, errors.New("given up")) {
		t.Error("the station doesn't rest on its model")
	}
	if a := r.trigger(Trigger{}); a.Verdict != vision.None || a.Reason != vision.ReasonModelFailed {
		t.Errorf("%+v", a)
	}
	if ok, why := s.Ready(); ok || why == "" {
		t.Errorf("ready: %v %q", ok, why)
	}
	r.eventually("a warning", func() bool { return r.hasWarning("model_worker_restarting") })
	if _, err := r.SetRecipe(t.Context(), "gate", "b"); err != nil {
		t.Fatal(err)
	}
	r.ready()
	if a := r.inspects(); a.Verdict != vision.Pass || r.result(a).Model.Name != "second" {
		t.Errorf("%+v", a)
	}
	r.eventually("no warning", func() bool { return !r.hasWarning("model_worker_restarting") })
}

// TestDegradationKeepsNoMemory: the small model's worker too is told that nothing comes
// in a camera's former memory any more; a lane that goes leaves it to the next one's.
func TestDegradationKeepsNoMemory(t *testing.T) {
	l, small := seeing(t, "large"), shipped(t, "small", 0.1)
	works(t, small.Model)
	b := newBelt(t, l, track.Stream)
	v := b.station.views[0]
	l.Small = small.Model
	both, bare := newLane(l, track.Stream, b.station.views), newLane(seeing(t, "large"), track.Stream, b.station.views)
	next := newLane(small, track.Stream, b.station.views) // whose only model it is
	seen := func() *shm.Pool {
		p, err := shm.NewPool(1, 1, len(b.frame.Pix))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := small.Model.Infer(t.Context(), &b.frame, p, 0); err != nil {
			t.Fatal(err)
		}
		both.use(v, p)
		return p
	}
	kept := func(p *shm.Pool) bool {
		fd := fmt.Sprintf("/proc/self/fd/%d", p.FD())
		p.Release()
		_, err := os.Readlink(fd)
		return err == nil
	}
	p := seen()
	q := seen()
	if kept(p) {
		t.Error("the worker keeps the memory before")
	}
	both.leave(bare)
	if kept(q) {
		t.Error("the worker keeps memory of a lane that went")
	}
	p = seen()
	both.leave(next)
	if !kept(p) {
		t.Error("the next lane's worker has lost its memory")
	}
	small.Model.Forget(p)
}
