package agent

import (
	"cmp"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
	"github.com/sightline-edge/sightline/vision/track"
)

// running is an agent over drawn cameras until the test's end.
type running struct {
	*Agent
	t    testing.TB
	mu   sync.Mutex // protects told
	told []*Inspection
	done chan error
}

// plant starts an agent whose stations have these names and loadouts.
func plant(t testing.TB, workers []*infer.Worker, stations ...StationConfig) *running {
	t.Helper()
	return plantWith(t, workers, func(*Agent) {}, stations...)
}

// plantWith is plant for an agent that is prepared before its stations join.
func plantWith(t testing.TB, workers []*infer.Worker, prepare func(*Agent), stations ...StationConfig) *running {
	t.Helper()
	j, opened, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, done: make(chan error, 1)}
	r.Agent = New(Config{Journal: j, Opened: opened, Models: workers, Log: quiet, Stay: true, Told: func(i *Inspection) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told = append(r.told, i)
	}})
	prepare(r.Agent)
	ctx, cancel := context.WithCancel(context.Background())
	for n, cfg := range stations {
		cfg.Log, cfg.Pictures, cfg.Deadline = quiet, true, cmp.Or(cfg.Deadline, 10*time.Second)
		if cfg.Cameras == nil {
			cfg.Cameras = []*Camera{drawnCamera(t, drawnBelt(t, n), CameraConfig{})}
		}
		r.Add(cfg)
	}
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Errorf("the agent ended with: %v", err)
		}
		j.Close()
	})
	return r
}

// drawnBelt is a belt whose parts come quickly.
func drawnBelt(t testing.TB, seed int) *scene.Scene {
	t.Helper()
	sc, err := scene.New(scene.Config{Seed: uint64(seed), Speed: 3, Width: 512, Height: 288})
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// drawnCamera is an MJPEG camera over what is drawn.
func drawnCamera(t testing.TB, d ipcam.Drawer, cfg CameraConfig) *Camera {
	t.Helper()
	c, _ := gatedCamera(t, d, cfg)
	return c
}

// gatedCamera is drawnCamera with what makes it misbehave.
func gatedCamera(t testing.TB, d ipcam.Drawer, cfg CameraConfig) (*Camera, *ipcam.Gate) {
	t.Helper()
	rate := 15.0
	if _, repeats := d.(slow); repeats {
		rate = 60
	}
	m, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: d, Width: 512, Height: 288, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(m)
	drawn := make(chan error, 1)
	go func() { drawn <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-drawn
		server.CloseClientConnections()
		server.Close()
	})
	gate, err := ipcam.NewGate(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gate.Close)
	c, err := capture.New(capture.Config{Source: "http://" + gate.Addr() + "/", SelfExecutable: os.Args[0], SelfArgs: []string{"capture"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Source = c
	return NewCamera(cfg), gate
}

func (r *running) eventually(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within 30 s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// judged counts what a loadout has told at a station.
func (r *running) judged(station, loadout string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, i := range r.told {
		if i.Station == station && i.Model.Name == loadout && i.Told.Reason != "model_failed" {
			n++
		}
	}
	return n
}

func (r *running) warned(w health.Warning, station string) bool {
	return slices.ContainsFunc(r.health.List(), func(x health.Raised) bool { return x.Code == w.Code && x.Subject == station })
}

func (r *running) named(name string) *api.Station {
	n := r.Now()
	for i := range n.Stations {
		if n.Stations[i].ID == name {
			return &n.Stations[i]
		}
	}
	return nil
}

// TestFirstBundle: a station that follows a bundle and has none inspects
// nothing, says so, and inspects with the first that comes; when that is taken
// away again it waits as before.
func TestFirstBundle(t *testing.T) {
	t.Parallel()
	first := shipped(t, "first", 0.1)
	r := plant(t, nil, StationConfig{ID: "one", Bundle: "caps"})
	r.eventually("the warning", func() bool { return r.warned(health.NoBundleYet, "one") })
	if s := r.named("one"); s.State != api.Starting || s.StateText != "waiting for its first bundle" || s.Bundle != "caps" || !s.Signed {
		t.Errorf("%+v", s)
	}
	r.StartWorker(first.Model)
	if _, err := r.Switch(t.Context(), "one", first); err != nil {
		t.Fatal(err)
	}
	if r.StopWorker(first.Model) {
		t.Fatal("a worker that a station needs was stopped")
	}
	r.eventually("verdicts of the first bundle", func() bool { return r.judged("one", "first") > 1 })
	r.eventually("the warning's end", func() bool { return !r.warned(health.NoBundleYet, "one") })
	if s := r.State().Stations[0]; s.GetBundle() != "caps" || s.GetBundleDigest() != "digest of first" || s.GetModel() != "first" || s.GetUnsigned() {
		t.Errorf("%+v", s)
	}
	if _, err := r.Switch(t.Context(), "one", Loadout{}); err != nil {
		t.Fatal(err)
	}
	if !r.StopWorker(first.Model) {
		t.Error("the worker still is needed")
	}
	if _, err := first.Model.Ready(t.Context()); err == nil {
		t.Error("the worker still runs")
	}
	r.eventually("waiting again", func() bool {
		return r.named("one").StateText == "waiting for its first bundle" && r.warned(health.NoBundleYet, "one")
	})
	if !r.Alive(time.Now()) {
		t.Error("a station that waits for a bundle makes the agent look hung")
	}
}

// TestSwitchOfTwoStations: they share a worker, and one of them switches. The
// worker goes on for the other, whose frames it doesn't lose.
func TestSwitchOfTwoStations(t *testing.T) {
	t.Parallel()
	shared, second := shipped(t, "shared", 0.1), shipped(t, "second", 0.1)
	cfg := func(id string) StationConfig {
		return StationConfig{ID: id, Model: shared.Model, About: shared.About, Rule: shared.Rule, Track: shared.Track}
	}
	r := plant(t, []*infer.Worker{shared.Model}, cfg("one"), cfg("two"))
	r.eventually("verdicts of both", func() bool { return r.judged("one", "shared") > 0 && r.judged("two", "shared") > 0 })
	r.StartWorker(second.Model)
	if _, err := r.Switch(t.Context(), "one", second); err != nil {
		t.Fatal(err)
	}
	if r.StopWorker(shared.Model) {
		t.Fatal("a worker that station two needs was stopped")
	}
	before := r.judged("two", "shared")
	r.eventually("verdicts of both models", func() bool { return r.judged("one", "second") > 1 && r.judged("two", "shared") > before+1 })
	if _, err := r.Switch(t.Context(), "two", second); err != nil {
		t.Fatal(err)
	}
	if !r.StopWorker(shared.Model) {
		t.Error("nobody needs the former worker, and it goes on")
	}
	r.eventually("verdicts of the new model", func() bool { return r.judged("two", "second") > 1 })
	for _, s := range r.Now().Stations {
		if s.Views[0].Failed > 0 || s.State != api.Inspecting {
			t.Errorf("%s is %s, %d frames failed", s.ID, s.State, s.Views[0].Failed)
		}
	}
	if late := r.Recorder().Late; late > 0 {
		t.Errorf("%d late verdicts", late)
	}
}

// TestSwitchToAModelThatCannotLoad: whoever waits for it hears why, and the
// station goes on; when the model that decides is given up, the station fails.
func TestSwitchToAModelThatCannotLoad(t *testing.T) {
	first := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{first.Model}, StationConfig{ID: "one", Model: first.Model, About: first.About, Rule: first.Rule, Track: first.Track})
	bad := shipped(t, "bad", 0.1)
	bad.Model = infer.New(infer.Config{Executable: os.Args[0], Env: []string{asWorker + "=infer"}, Model: infer.Model{Path: "bad", Data: []byte("no model")}, Log: quiet})
	dying := shipped(t, "dying", 0.1)
	dying.Model = infer.New(infer.Config{Executable: os.Args[0], Env: []string{asWorker + "=die"}, Model: infer.Model{Path: "dying", Data: []byte("x")}, Log: quiet})
	for _, l := range []Loadout{bad, dying} {
		r.StartWorker(l.Model)
		_, err := r.Switch(t.Context(), "one", l)
		if err == nil || !strings.Contains(err.Error(), "load "+l.About.Name) {
			t.Errorf("the switch to %s says %v", l.About.Name, err)
		}
		if !r.StopWorker(l.Model) {
			t.Errorf("%s isn't stopped", l.About.Name)
		}
	}
	before := r.judged("one", "first")
	r.eventually("verdicts as before", func() bool { return r.judged("one", "first") > before })
	if s := r.named("one"); s.State != api.Inspecting || s.Model.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

// TestModelGivenUpWhereABundleIsFollowed: the station says why it inspects
// nothing, tells what was in view as NONE, and goes on with the next model that
// comes: what ran before must be able to run again.
func TestModelGivenUpWhereABundleIsFollowed(t *testing.T) {
	t.Parallel()
	first, second := shipped(t, "first", 0.1), shipped(t, "second", 0.1)
	r := plant(t, nil, StationConfig{ID: "one", Bundle: "caps"})
	r.StartWorker(first.Model)
	if _, err := r.Switch(t.Context(), "one", first); err != nil {
		t.Fatal(err)
	}
	r.eventually("verdicts of the first bundle", func() bool { return r.judged("one", "first") > 1 })
	if !r.stations[0].lost(first.Model, errors.New("given up")) {
		t.Error("nobody rests on the only model")
	}
	r.eventually("the failure", func() bool { return r.named("one").State == api.Failed && r.named("one").StateText == "given up" })
	if v, err := r.Vitals("one"); err != nil || v.Failure != "given up" {
		t.Errorf("%+v, %v", v, err)
	}
	r.StartWorker(second.Model)
	if _, err := r.Switch(t.Context(), "one", second); err != nil {
		t.Fatal(err)
	}
	r.eventually("verdicts of the second bundle", func() bool { return r.judged("one", "second") > 1 })
	if v, err := r.Vitals("one"); err != nil || v.Failure != "" || r.named("one").State != api.Inspecting {
		t.Errorf("%+v, %v, %+v", v, err, r.named("one"))
	}
	if !r.StopWorker(first.Model) {
		t.Error("the model that was given up still is needed")
	}
}

// TestModelGivenUpDuringASwitchToIt: other rules on the same model were coming.
func TestModelGivenUpDuringASwitchToIt(t *testing.T) {
	first := seeing(t, "first")
	b := newBelt(t, first, track.Stream)
	b.station.lane.Follows = "caps"
	for range 50 {
		b.step()
	}
	other := first
	other.About.Name = "other"
	wait := b.change(t.Context(), other)
	b.station.lost(first.Model, errors.New("given up"))
	b.mind()
	b.mind()
	if _, err := wait(); err == nil || err.Error() != "given up" {
		t.Errorf("the switch says %v", err)
	}
	all := b.finish()
	if len(all) == 0 || all[len(all)-1].Told.Reason != vision.ReasonModelFailed {
		t.Error("what was in view wasn't told")
	}
}
