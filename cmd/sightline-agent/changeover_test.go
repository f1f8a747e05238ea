package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/sync/journal"
)

// lineRig is an agent whose stations have recipes with models that the configuration
// names, in this process, with real workers.
type lineRig struct {
	*plantRig
	made  *assembly
	agent *agent.Agent
	books []*cookbook
}

// Rules by which the same model needs another worker: it is asked for lower scores.
const (
	rule1 = "threshold:defect>0.05"
	rule2 = "threshold:defect>0.06"
	rule3 = "threshold:defect>0.07"
)

// newLineRig makes stations one, two… with these recipes, the first of which is active.
func newLineRig(t *testing.T, stations ...[]config.Recipe) *lineRig {
	t.Helper()
	r := bareLineRig(t)
	r.cfg.Stations[0].Recipes, r.cfg.Stations[0].Recipe = stations[0], stations[0][0].Name
	if len(stations) > 1 {
		two := r.cfg.Stations[0]
		two.ID, two.Cameras, two.Recipes, two.Recipe = "two", []string{"two"}, stations[1], stations[1][0].Name
		r.cfg.Cameras = append(r.cfg.Cameras, r.cfg.Cameras[0])
		r.cfg.Cameras[1].ID, r.cfg.Stations = "two", append(r.cfg.Stations, two)
	}
	var all []agent.StationConfig
	for i := range r.cfg.Stations {
		s, book, err := r.made.configured(t.Context(), r.cfg, i)
		if err != nil {
			t.Fatal(err)
		}
		all, r.books = append(all, s), append(r.books, book)
	}
	r.run(all, func(c agent.Config) agent.Config { return c })
	return r
}

// bareLineRig has the station one without recipes, and no agent yet.
func bareLineRig(t *testing.T) *lineRig {
	t.Helper()
	if !equipment(t).has["onnx"] {
		t.Skip("ONNX Runtime isn't here")
	}
	dir := t.TempDir()
	r := &lineRig{plantRig: &plantRig{t: t, self: filepath.Join(dir, "self"), cfg: &config.Config{Data: filepath.Join(dir, "data"), Infer: config.Infer{Threads: 1}}}}
	if _, err := mutant.Drawn(filepath.Join(dir, "shown"), 2); err != nil {
		t.Fatal(err)
	}
	programs, err := findPrograms(r.cfg.Infer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(programs.self, r.self); err != nil {
		t.Fatal(err)
	}
	programs.self = r.self
	if r.made, err = newAssembly(t.Context(), programs, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r.cfg.Cameras = []config.Camera{{ID: "one", Source: filepath.Join(dir, "shown", "golden"), Loop: true}}
	r.cfg.Stations = []config.Station{{ID: "one", Cameras: []string{"one"}, Model: "drawn-parts", Deadline: 5 * time.Second, Criticality: "normal"}}
	return r
}

// run starts the agent, until the test's end.
func (r *lineRig) run(stations []agent.StationConfig, with func(agent.Config) agent.Config) {
	j, opened, err := journal.Open(r.cfg.Data)
	if err != nil {
		r.t.Fatal(err)
	}
	r.agent = agent.New(with(agent.Config{Journal: j, Opened: opened, Models: r.made.hired(), Log: r.made.log, Stay: true}))
	for i, s := range stations {
		r.agent.Add(s)
		if r.books != nil {
			r.books[i].agent = r.agent
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.agent.Run(ctx) }()
	r.t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, j.Close(), r.made.close(context.Background())); err != nil {
			r.t.Error(err)
		}
		if n := len(r.children()); n > 0 {
			r.t.Errorf("%d workers are left", n)
		}
	})
}

// neverReady is a program that as a worker says nothing.
func neverReady(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "never")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// to changes a station over.
func (r *lineRig) to(station, recipe string) {
	r.t.Helper()
	if e, err := r.agent.SetRecipe(r.t.Context(), station, recipe); err != nil || e.Recipe != recipe {
		r.t.Fatalf("%+v %v", e, err)
	}
}

// inspects waits for new verdicts of a station.
func (r *lineRig) inspects(station string) {
	r.t.Helper()
	before, _ := r.agent.Vitals(station)
	r.eventually(station+" tells verdicts", func() bool {
		v, err := r.agent.Vitals(station)
		return err == nil && v.Failure == "" && v.Verdicts-v.None > before.Verdicts-before.None+1 // a slow machine has NONE too
	})
}

// holds checks how many workers run, and that no others are known.
func (r *lineRig) holds(when string, workers int) {
	r.t.Helper()
	r.eventually("the workers run", func() bool { return len(r.children()) == workers || r.t.Failed() })
	if n := len(r.made.hired()); n != workers || len(r.made.workers) != workers {
		r.t.Errorf("%s: %d workers are held, %d are known, want %d", when, n, len(r.made.workers), workers)
	}
}

// TestRecipesOfTwoStations: one changes over, and what the other has, or keeps warm,
// goes on.
func TestRecipesOfTwoStations(t *testing.T) {
	both := []config.Recipe{{Name: "a"}, {Name: "b", Rule: rule1}}
	r := newLineRig(t, both, slices.Clone(both))
	r.cfg.Stations[1].Preload = []string{"b"}
	if err := r.books[1].warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.holds("one is warm", 2)
	r.to("one", "b")
	r.inspects("one")
	r.holds("the other keeps its own", 2)
	r.to("one", "a")
	r.inspects("one")
	r.holds("what is warm at the other stays", 2)
	r.to("two", "b") // was warm all the time
	r.inspects("two")
	r.to("two", "a")
	r.inspects("two")
	if e := r.books[1].ready["b"]; e.Model.Stats().Restarts != 0 || ended(e.Model) {
		t.Error("the warm worker was stopped")
	}
	r.holds("at the end", 2)
}

// TestRecipeThatIsLoadedAgainAndAgain keeps nothing.
func TestRecipeThatIsLoadedAgainAndAgain(t *testing.T) {
	r := newLineRig(t, []config.Recipe{{Name: "a"}, {Name: "b", Rule: rule1}})
	for range 3 {
		r.to("one", "b")
		r.holds("changed over", 1)
		r.to("one", "a")
		r.holds("changed back", 1)
	}
	r.inspects("one")
	for what, bad := range map[string]config.Recipe{
		"a way to decide that isn't one": {Name: "x", Rule: rule2, Decide: "nonsense"},
		"a small model that isn't there": {Name: "x", Rule: rule3, Small: "no-such-model"},
	} {
		book := r.books[0]
		book.station.Recipes = append(book.station.Recipes[:2:2], bad)
		err := book.prepare(t.Context(), "x", func(agent.Loadout) error { return nil })
		if err == nil {
			t.Error(what, "is taken")
		}
		r.holds(what, 1)
	}
}

// TestRecipeThatIsNotChangedTo leaves no worker; and the choice is the former one.
func TestRecipeThatIsNotChangedTo(t *testing.T) {
	r := newLineRig(t, []config.Recipe{{Name: "a"}, {Name: "b", Rule: rule1}})
	refused := errors.New("refused")
	if err := r.books[0].prepare(t.Context(), "b", func(agent.Loadout) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	r.holds("a change that failed", 1)
	if got := r.books[0].chosen(); got != "a" {
		t.Errorf("after a new start the recipe would be %q", got)
	}
	r.to("one", "b")
	if got := r.books[0].chosen(); got != "b" {
		t.Errorf("after a new start the recipe would be %q", got)
	}
}

// TestRecipeThatWaits: a change ends with its context, also while another recipe is
// being loaded, and that one keeps nobody waiting.
func TestRecipeThatWaits(t *testing.T) {
	r := newLineRig(t, []config.Recipe{{Name: "a"}, {Name: "slow", Rule: rule1}, {Name: "c", Rule: rule2}})
	book := r.books[0]
	r.cfg.Stations[0].Preload = []string{"slow"}
	r.made.programs.self = neverReady(t)
	ctx, stop := context.WithCancel(t.Context())
	warmed := make(chan error, 1)
	go func() { warmed <- book.warm(ctx) }()
	r.eventually("the slow one is being loaded", func() bool { return len(r.made.hired()) == 2 })
	done, err := book.turn.take(t.Context()) // once warm has let go of it
	if err != nil {
		t.Fatal(err)
	}
	r.made.programs.self = r.self
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.agent.SetRecipe(brief, "one", "c"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another change is on: %v", err)
	}
	done()
	r.to("one", "c")
	r.inspects("one")
	select {
	case err := <-warmed:
		t.Errorf("the slow one is no more waited for: %v", err)
	default:
	}
	stop()
	if err := <-warmed; err != nil {
		t.Error(err)
	}
	book.station.Preload = nil
	done, err = book.turn.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	book.release()
	done()
	r.holds("the slow one is let go of", 1)
}

// TestRecipeThatComesLate: what was still being loaded when its change gave up waiting
// goes on, so that the next try finds it, until another one is tried.
func TestRecipeThatComesLate(t *testing.T) {
	r := newLineRig(t, []config.Recipe{{Name: "a"}, {Name: "slow", Rule: rule1}, {Name: "c", Rule: rule2}})
	r.made.programs.self = neverReady(t)
	brief, cancel := context.WithCancel(t.Context())
	tried := make(chan error, 1)
	go func() {
		_, err := r.agent.SetRecipe(brief, "one", "slow")
		tried <- err
	}()
	r.eventually("it is being loaded", func() bool { return len(r.made.hired()) == 2 })
	cancel()
	if err := <-tried; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(r.made.hired()); n != 2 {
		t.Errorf("%d workers are held", n)
	}
	r.made.programs.self = r.self
	r.to("one", "c")
	r.holds("another one is tried", 1)
}

// TestRecipeRescues: the active recipe's model is given up, which another one mends.
func TestRecipeRescues(t *testing.T) {
	r := newLineRig(t, []config.Recipe{{Name: "a"}, {Name: "b", Rule: rule1}})
	r.inspects("one")
	target, err := os.Readlink(r.self)
	if err == nil {
		err = os.Remove(r.self)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range r.children() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("the station says so", func() bool {
		v, err := r.agent.Vitals("one")
		return err == nil && v.Failure != ""
	})
	if _, err := r.agent.SetRecipe(t.Context(), "one", "b"); err == nil {
		t.Error("a recipe whose worker can't start either is taken")
	}
	if err := os.Symlink(target, r.self); err != nil {
		t.Fatal(err)
	}
	r.to("one", "b")
	r.inspects("one")
	r.holds("mended", 1)
	r.to("one", "a")
	r.inspects("one")
	r.holds("changed back", 1)
}

// TestUnitsOfApproval: an operator's OK is meant for what the page shows.
func TestUnitsOfApproval(t *testing.T) {
	r := newRecipeRig(t, 1, "", []config.Recipe{{Name: "plain"}, {Name: "blue", Bundle: "blue"}, {Name: "red", Bundle: "red"}})
	want := func(first string) {
		t.Helper()
		if all := r.updates.units("one"); len(all) != 3 || all[0] != first {
			t.Errorf("%v, want %s first", all, first)
		}
	}
	want("one")
	dir, digest := r.bundle("1")
	r.activated("one@red", dir, digest)
	if _, err := r.plant.agent.SetRecipe(t.Context(), "one", "red"); err != nil {
		t.Fatal(err)
	}
	want("one@red")
	if err := r.updates.open(); err != nil {
		t.Fatal(err)
	}
	if err := r.updates.approve("one"); err == nil || !strings.Contains(err.Error(), "one@red") {
		t.Errorf("nothing waits: %v", err)
	}
	if all := r.updates.units("on"); len(all) != 0 {
		t.Error(all)
	}
}
