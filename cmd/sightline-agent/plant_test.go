package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/updater"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/vision/track"
)

// plantRig is an agent whose stations follow a bundle, in this process, with
// real workers. Each station looks at the same pictures again and again.
type plantRig struct {
	t       *testing.T
	cfg     *config.Config
	updates *updates
	plant   *plant
	self    string // a link to the program that workers are

	told atomic.Pointer[func(*agent.Inspection)] // hears verdicts; nil: nobody does
}

// newPlantRig makes stations one, two… without a model, or with the one that is
// named.
func newPlantRig(t *testing.T, stations int, model string) *plantRig {
	t.Helper()
	return newRecipeRig(t, stations, model, nil)
}

// newRecipeRig is newPlantRig with recipes at the first station, the first of which
// is active.
func newRecipeRig(t *testing.T, stations int, model string, recipes []config.Recipe) *plantRig {
	t.Helper()
	dir := t.TempDir()
	if _, err := mutant.Drawn(filepath.Join(dir, "shown"), 2); err != nil {
		t.Fatal(err)
	}
	return newRigOver(t, stations, model, recipes, config.Camera{Source: filepath.Join(dir, "shown", "golden"), Loop: true}, config.Infer{Threads: 1})
}

// newRigOver is newRecipeRig over any camera, with any settings of inference.
func newRigOver(t *testing.T, stations int, model string, recipes []config.Recipe, shown config.Camera, settings config.Infer) *plantRig {
	t.Helper()
	if !equipment(t).has["onnx"] {
		t.Skip("ONNX Runtime isn't here")
	}
	dir := t.TempDir()
	r := &plantRig{t: t, cfg: &config.Config{Data: filepath.Join(dir, "data"), Infer: settings}, self: filepath.Join(dir, "self")}
	programs, err := findPrograms(r.cfg.Infer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(programs.self, r.self); err != nil {
		t.Fatal(err)
	}
	programs.self = r.self
	made, err := newAssembly(t.Context(), programs, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for n := range stations {
		r.cfg.Stations = append(r.cfg.Stations, config.Station{
			ID: []string{"one", "two"}[n], Bundle: "caps", Model: model, Deadline: 5 * time.Second,
			Camera: shown,
		})
	}
	if recipes != nil {
		r.cfg.Stations[0].Recipes, r.cfg.Stations[0].Recipe = recipes, recipes[0].Name
	}
	j, opened, err := journal.Open(r.cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	r.plant = newPlant(made, 1)
	r.updates = newUpdates(r.cfg, r.plant, made.log)
	a := agent.New(agent.Config{Journal: j, Opened: opened, Log: made.log, Stay: true, Bystanders: programs.bystanders, Told: func(i *agent.Inspection) {
		if told := r.told.Load(); told != nil {
			(*told)(i)
		}
	}})
	r.plant.agent = a
	for i := range r.cfg.Stations {
		camera, err := made.camera(&r.cfg.Stations[i].Camera, "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := made.following(t.Context(), stationOptions{
			id: r.cfg.Stations[i].ID, cameras: []*agent.Camera{camera}, mode: track.Pictures, deadline: 5 * time.Second,
		}, "caps", nil)
		if err != nil {
			t.Fatal(err)
		}
		book := made.newCookbook(r.cfg, i, s.Track.Mode)
		if book != nil {
			book.agent, book.plant = a, r.plant
			book.offer(&s, book.recipe(book.chosen()))
		}
		a.Add(s)
		r.plant.add(&r.cfg.Stations[i], s.Track.Mode, book)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, j.Close(), made.close(context.Background())); err != nil {
			t.Error(err)
		}
		if n := len(r.children()); n > 0 {
			t.Errorf("%d workers are left", n)
		}
	})
	return r
}

// bundle makes a bundle's folder; each version has another model file.
func (r *plantRig) bundle(version string) (dir, digest string) {
	r.t.Helper()
	dir = filepath.Join(r.t.TempDir(), version)
	if _, err := mutant.Drawn(dir, 1); err != nil {
		r.t.Fatal(err)
	}
	return dir, "digest of " + version
}

// activated loads a bundle and lets it serve.
func (r *plantRig) activated(station, dir, digest string) updater.Candidate {
	r.t.Helper()
	c, err := r.plant.Load(r.t.Context(), station, dir, digest)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := c.Activate(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		r.t.Error(err)
	}
	return c
}

// tells waits for verdicts of the bundle that the station runs.
func (r *plantRig) tells(station, digest string) {
	r.t.Helper()
	r.eventually(station+" tells verdicts of "+digest, func() bool {
		v := r.plant.Vitals(station)
		return v.Digest == digest && v.Verdicts > 1 && v.None == 0
	})
}

func (r *plantRig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// children are the workers' processes that run a model.
func (r *plantRig) children() (pids []int) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is good
	for _, task := range tasks {
		b, _ := os.ReadFile(task) // a thread may have ended
		for _, word := range strings.Fields(string(b)) {
			if line, _ := os.ReadFile("/proc/" + word + "/cmdline"); !strings.Contains(string(line), "infer") {
				continue
			}
			var pid int
			if _, err := fmt.Sscan(word, &pid); err != nil {
				r.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestPlantOfTwoStationsOnOneBundle: they share its worker, which goes on while
// one of them needs it; rolled back, a station takes it up again.
func TestPlantOfTwoStationsOnOneBundle(t *testing.T) {
	r := newPlantRig(t, 2, "")
	dir1, digest1 := r.bundle("1")
	dir2, digest2 := r.bundle("2")
	for _, id := range []string{"one", "two"} {
		r.activated(id, dir1, digest1)
		r.tells(id, digest1)
	}
	if n := len(r.children()); n != 1 {
		t.Errorf("two stations on one bundle have %d workers", n)
	}
	r.activated("one", dir2, digest2)
	r.tells("one", digest2)
	if v := r.plant.Vitals("two"); v.Digest != digest1 || v.Failure != "" || v.Restarts != 0 {
		t.Errorf("the other station has %+v", v)
	}
	r.activated("one", dir1, digest1)
	r.tells("one", digest1)
	if n := len(r.children()); n != 1 {
		t.Errorf("after going back there are %d workers", n)
	}
	for _, id := range []string{"one", "two"} {
		r.activated(id, dir2, digest2)
		r.tells(id, digest2)
	}
	if n := len(r.children()); n != 1 {
		t.Errorf("after both have switched there are %d workers", n)
	}
}

// TestPlantGivesBackWhatIsNotActivated: whatever comes between.
func TestPlantGivesBackWhatIsNotActivated(t *testing.T) {
	r := newPlantRig(t, 1, "")
	dir, digest := r.bundle("1")
	broken := t.TempDir()
	if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	models, err := filepath.Glob(filepath.Join(broken, "*.onnx"))
	if err != nil || len(models) != 1 {
		t.Fatal(models, err)
	}
	if err := os.Truncate(models[0], 4000); err != nil {
		t.Fatal(err)
	}
	var refused *updater.Refused
	if _, err := r.plant.Load(t.Context(), "one", broken, "broken"); !errors.As(err, &refused) {
		t.Errorf("a broken model is %v", err)
	}
	if _, err := r.plant.Load(t.Context(), "one", "", ""); !errors.As(err, &refused) {
		t.Errorf("a configuration without a model is %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.plant.Load(ended, "one", dir, digest); !errors.Is(err, context.Canceled) {
		t.Errorf("a load that is over is %v", err)
	}
	c, err := r.plant.Load(t.Context(), "one", dir, digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Activate(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an activation that is over is %v", err)
	}
	if _, err := c.Gate(t.Context(), nil); !errors.Is(err, gate.ErrNoGolden) {
		t.Errorf("a gate without golden pictures is %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n := len(r.children()); n != 0 || len(r.plant.workers) != 0 {
		t.Errorf("%d workers run, %d are known", n, len(r.plant.workers))
	}
}

// TestPlantOfAModelThatIsGivenUp: its worker dies and can't be started again.
// The station says so, and takes the same bundle, or another, once it can.
func TestPlantOfAModelThatIsGivenUp(t *testing.T) {
	r := newPlantRig(t, 1, "")
	dir, digest := r.bundle("1")
	if err := r.updates.open(); err != nil {
		t.Fatal(err)
	}
	r.activated("one", dir, digest)
	r.tells("one", digest)
	target, err := os.Readlink(r.self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.self); err != nil {
		t.Fatal(err)
	}
	for _, pid := range r.children() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("the worker is given up", func() bool { return r.plant.lacks("one") && r.plant.Vitals("one").Failure != "" })
	if err := os.Symlink(target, r.self); err != nil {
		t.Fatal(err)
	}
	r.activated("one", dir, digest)
	r.tells("one", digest)
	if n := len(r.children()); n != 1 || len(r.plant.workers) != 1 || r.plant.lacks("one") {
		t.Errorf("%d workers run, %d are known", n, len(r.plant.workers))
	}
}

// TestModelThatCannotLoadKeepsNothingElse from being installed: the station of a
// configuration whose own model is gone must be able to get another.
func TestModelThatCannotLoadKeepsNothingElse(t *testing.T) {
	r := newPlantRig(t, 1, "no-such-model")
	if err := r.updates.open(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.updates.run(ctx) }()
	if err := mirror.Pin(metadataDir(r.cfg.Data), rootOf(t)); err != nil {
		t.Fatal(err)
	}
	r.eventually("commands can be carried out", r.updates.complete)
	dir, digest := r.bundle("1")
	r.activated("one", dir, digest)
	r.tells("one", digest)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestStationBeginsWithItsOwnModel until the first bundle was activated.
func TestStationBeginsWithItsOwnModel(t *testing.T) {
	r := newPlantRig(t, 2, "drawn-parts")
	if err := r.updates.open(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.updates.run(ctx) }()
	for _, id := range []string{"one", "two"} {
		r.tells(id, "")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestManySwitchesCostNothing: neither memory nor processes nor files grow with
// them. A model or a file that each leaves is seen after 10 as well as after 22.
func TestManySwitchesCostNothing(t *testing.T) {
	r := newPlantRig(t, 1, "")
	dir1, digest1 := r.bundle("1")
	dir2, digest2 := r.bundle("2")
	used := func() (heap uint64, resident, files int) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		statm, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Fatal(err)
		}
		var size int
		if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
			t.Fatal(err)
		}
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return m.HeapAlloc, resident * os.Getpagesize(), len(fds)
	}
	swap := func(n int) {
		for range n {
			r.activated("one", dir1, digest1)
			r.activated("one", dir2, digest2)
		}
		r.tells("one", digest2)
	}
	swap(3)
	heap, resident, files := used()
	rounds := 5
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		rounds = 11
	}
	swap(rounds)
	heap2, resident2, files2 := used()
	t.Logf("%d more switches: heap %d to %d MB, resident %d to %d MB, %d to %d files", 2*rounds, heap>>20, heap2>>20, resident>>20, resident2>>20, files, files2)
	if heap2 > heap+8<<20 || resident2 > resident+48<<20 || files2 > files+2 {
		t.Error("that is more than before")
	}
	if n := len(r.children()); n != 1 {
		t.Errorf("%d workers run", n)
	}
}

// TestWindowOfTheConfiguration is the one that the updater goes by.
func TestWindowOfTheConfiguration(t *testing.T) {
	u := &updates{cfg: &config.Config{Stations: []config.Station{
		{ID: "one", Bundle: "caps", Updates: "window", Window: "Sat 22:00-04:00, Sun"}, {ID: "two"},
	}}}
	list := u.stations()
	sunday := time.Date(2026, 3, 8, 15, 0, 0, 0, time.UTC)
	if len(list) != 1 || list[0].Policy != updater.InWindow || !list[0].Window.Open(sunday) || list[0].Window.Open(sunday.AddDate(0, 0, 1)) {
		t.Errorf("the updater is told %+v", list)
	}
}
