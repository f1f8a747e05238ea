package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/track"
)

// Scores by which the tracker goes where nobody says otherwise: a part starts
// at startScore, and detections from keepScore on keep it.
const (
	startScore = 0.5
	keepScore  = 0.1

	lowestScore = 0.001 // that a worker is asked for; below lies noise without end
)

// programs are the executables and libraries that workers consist of.
type programs struct {
	self    string
	capture string // "" without
	runtime string // ONNX Runtime

	provider  infer.Provider
	batch     int   // most cameras whose pictures one run may look at; 0: by what computes
	memory    int64 // bytes that a model's process may have; 0: the usual
	precision infer.Precision
	engines   infer.Engines
	builds    *builds        // nil: nobody is told
	reserve   *infer.Reserve // the first model's process, which starts beside all else; nil: none

	bystanders *prompt.Bystanders // processes of models that nobody waits for
}

// findPrograms looks for what workers need, by the configuration's section
// infer. ONNX Runtime must be there.
func findPrograms(c config.Infer) (programs, error) {
	p, err := findCapture()
	if err != nil {
		return p, err
	}
	var unknown, inexact error
	p.memory, p.batch = int64(c.MemoryMB)*1e6, c.Batch
	p.runtime, err = infer.FindLibrary(c.ONNXRuntime)
	p.provider, unknown = infer.FindProvider(c.Provider)
	p.precision, inexact = infer.ParsePrecision(c.Precision)
	p.engines = infer.Engines{Dir: cacheDir("engines"), Limit: int64(c.EnginesMB) * 1e6}
	return p, errors.Join(err, unknown, inexact)
}

// hasten starts the process of the first model that will be loaded.
func (p *programs) hasten(log *slog.Logger) {
	p.reserve = infer.NewReserve(infer.Config{Executable: p.self, Args: inferArgs, Library: p.runtime, Log: log})
}

// findCapture looks for what reads cameras; sightline-capture may be missing.
func findCapture() (programs, error) {
	self, err := os.Executable()
	if err != nil {
		return programs{}, fmt.Errorf("find this program's own file: %w", err)
	}
	p := programs{self: self, bystanders: new(prompt.Bystanders), capture: filepath.Join(filepath.Dir(self), "sightline-capture")}
	if _, err := os.Stat(p.capture); err != nil {
		p.capture, _ = exec.LookPath("sightline-capture") // "" where it isn't installed
	}
	return p, nil
}

// stationOptions is what a person says about a station.
type stationOptions struct {
	id, line string
	cameras  []*agent.Camera
	mode     track.Mode // how their frames belong together
	pictures bool       // keep pictures of parts
	gate     time.Duration
	deadline time.Duration
	allow    bool
	threads  int
	limit    time.Duration // of a model's run; 0: the usual
	conf     float32
}

// assembly holds what stations are made of, for one agent.
type assembly struct {
	programs programs
	engine   *rules.Engine
	atOnce   bool // stations are to inspect at once, and not after an engine's build
	log      *slog.Logger
	mu       sync.Mutex               // protects workers and users
	workers  map[string]*infer.Worker // by model and settings; see hire
	users    map[*infer.Worker]int    // how many hold each worker, also those that were given up
	cameras  map[string]*agent.Camera // of the configuration, by name
	remotes  remotes
	loads    sync.WaitGroup
	broken   chan brokenRule // rules are loaded beside the start, and this says what is wrong with them; nil: before it
}

func newAssembly(ctx context.Context, p programs, log *slog.Logger) (*assembly, error) {
	engine, err := rules.NewEngine(ctx, rules.Config{CacheDir: cacheDir("rules")})
	if err != nil {
		return nil, err
	}
	if err := engine.CacheError(); err != nil {
		log.Warn("rules are compiled at each start", "err", err)
	}
	return &assembly{programs: p, engine: engine, log: log, workers: map[string]*infer.Worker{}, users: map[*infer.Worker]int{}, cameras: map[string]*agent.Camera{}}, nil
}

func (a *assembly) close(ctx context.Context) error {
	a.loads.Wait()
	return a.engine.Close(ctx)
}

// cacheDir is where compiled things are kept, "" where there is no place.
func cacheDir(what string) string {
	dir := cmp.Or(os.Getenv("SIGHTLINE_CACHE"), os.Getenv("CACHE_DIRECTORY"))
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(user, "sightline")
	}
	return filepath.Join(dir, what)
}

// station makes a station's configuration; stations with the same model share
// its worker.
func (a *assembly) station(ctx context.Context, o stationOptions, c *choice) (agent.StationConfig, error) {
	st := a.bare(o)
	st.Model, st.About = a.hire(c, o.threads, o.limit), c.about // for good, or until its recipe is changed
	var err error
	if a.broken != nil {
		st.Coming, err = a.loading(ctx, o, c, st.Model)
	} else {
		st.Rule, err = a.fits(ctx, o.mode, c)
	}
	if err != nil {
		return agent.StationConfig{}, err
	}
	st.Track = track.Config{Start: cmp.Or(o.conf, startScore), Keep: keepScore, Mode: o.mode, Roles: c.roles()}
	return st, nil
}

// loading is fits without waiting for the rule. It takes as much of the processor
// as the model, which comes first: pictures can be inspected long before the first
// part has left them. What is wrong with the rule comes by broken.
func (a *assembly) loading(ctx context.Context, o stationOptions, c *choice, model *infer.Worker) (<-chan *rules.Rule, error) {
	if err := c.inspects(o.mode); err != nil || c.rule.Module == "" {
		return nil, err
	}
	coming := make(chan *rules.Rule, 1)
	a.loads.Go(func() {
		defer close(coming)
		ready, cancel := context.WithTimeout(ctx, ruleWaits)
		_, _ = model.Ready(ready) // what is wrong with it is told by others
		cancel()
		var rule *rules.Rule
		err := humbly(ruleNice, func() (err error) {
			rule, err = a.engine.Load(ctx, c.rule)
			return err
		})
		if err != nil {
			if ctx.Err() == nil { // else the program ends, and it is no fault of the rule
				a.broken <- brokenRule{o.id, about("rule", err)}
			}
			return
		}
		coming <- rule
	})
	return coming, nil
}

// ruleWaits is how long a rule waits for the model at most.
const ruleWaits = 500 * time.Millisecond

// brokenRule is a station's rule that can't be loaded.
type brokenRule struct {
	station string
	err     error
}

// bare is a station's configuration without a model.
func (a *assembly) bare(o stationOptions) agent.StationConfig {
	return agent.StationConfig{
		ID: o.id, Line: o.line, Cameras: o.cameras, Track: track.Config{Mode: o.mode}, ChangeGate: o.gate,
		Deadline: o.deadline, Allow: o.allow, Pictures: o.pictures, Log: a.log,
	}
}

// following makes a station that waits for a bundle, or begins with the model
// that its configuration names; without one c is nil.
func (a *assembly) following(ctx context.Context, o stationOptions, bundle string, c *choice) (agent.StationConfig, error) {
	st := a.bare(o)
	st.Bundle = bundle
	if c == nil {
		return st, nil
	}
	rule, err := a.fits(ctx, o.mode, c) // for the plant to load
	if rule != nil {
		err = errors.Join(err, rule.Close(ctx))
	}
	return st, err
}

// fits checks that a model can inspect what a camera gives, and loads its rule,
// nil for none.
func (a *assembly) fits(ctx context.Context, mode track.Mode, c *choice) (*rules.Rule, error) {
	if err := c.inspects(mode); err != nil || c.rule.Module == "" {
		return nil, err
	}
	rule, err := a.engine.Load(ctx, c.rule)
	return rule, about("rule", err)
}

// inspects checks that the model has something to inspect.
func (c *choice) inspects(mode track.Mode) error {
	if mode == track.Stream && !c.hasPart() {
		return about("labels", fmt.Errorf("no label of model %s has the role part, so nothing would be inspected: give the part's label that role", c.about.Name))
	}
	return nil
}

// hire gives the worker of a model with its settings, which stations share; it is to
// be started, unless it is. One that was given up is left to those who have it.
func (a *assembly) hire(c *choice, threads int, limit time.Duration) *infer.Worker {
	w := a.hireOf(c, threads, limit, func() *infer.Worker { return a.newWorker(c, threads, limit) })
	w.Serve() // also if another one began to prove itself with it
	return w
}

// hireProved is hire for a model that is to prove itself while a station goes on with
// another one: it computes on one thing alone, whose engine is built before.
func (a *assembly) hireProved(c *choice, threads int, limit time.Duration) *infer.Worker {
	return a.hireOf(c, threads, limit, func() *infer.Worker { return a.provedWorker(c, threads, limit, false) })
}

func (a *assembly) hireOf(c *choice, threads int, limit time.Duration, fresh func() *infer.Worker) *infer.Worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := workerKey(c, threads, limit)
	w := a.workers[key]
	if w == nil || ended(w) {
		w = fresh()
		a.workers[key] = w
	}
	a.users[w]++
	return w
}

func workerKey(c *choice, threads int, limit time.Duration) string {
	return fmt.Sprint(c.about.Digest, c.stationSpec(), threads, limit)
}

// leave gives a worker back. It tells whether nobody has it any more: then it is
// forgotten, and to be stopped.
func (a *assembly) leave(w *infer.Worker) (last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users[w]--; a.users[w] > 0 {
		return false
	}
	delete(a.users, w)
	maps.DeleteFunc(a.workers, func(_ string, known *infer.Worker) bool { return known == w })
	return true
}

// hired are the workers that somebody has.
func (a *assembly) hired() []*infer.Worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.users))
}

// counts tells how many have each worker.
func (a *assembly) counts() map[*infer.Worker]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.users)
}

// drop gives back what a loadout holds, and tells which of its workers are to be
// stopped.
func (a *assembly) drop(l agent.Loadout) (last []*infer.Worker) {
	for _, w := range l.Workers() {
		if a.leave(w) {
			last = append(last, w)
		}
	}
	if c := l.Cascade; c != nil && c.Remote != nil {
		a.remotes.leave(c.Remote)
	}
	if l.Rule != nil {
		if err := l.Rule.Close(context.Background()); err != nil {
			a.log.Warn("a recipe's rule doesn't end well", "recipe", l.Recipe, "err", err)
		}
	}
	return last
}

// newWorker makes a worker that nothing else shares. A limit of 0 is the usual one.
func (a *assembly) newWorker(c *choice, threads int, limit time.Duration) *infer.Worker {
	a.log.Info("model read", "model", c.about.Name, "family", c.spec.Family, "why", c.why)
	cfg := a.programs.worker(c, c.stationSpec(), threads, a.log)
	cfg.Limit, cfg.AtOnce, cfg.Share = limit, a.atOnce, a.programs.share(c)
	return infer.New(cfg)
}

// provedWorker is newWorker for what proves itself: it computes on one thing alone, and
// gives way to what serves until it does.
func (a *assembly) provedWorker(c *choice, threads int, limit time.Duration, atOnce bool) *infer.Worker {
	a.log.Info("model read", "model", c.about.Name, "family", c.spec.Family, "why", c.why)
	cfg := a.programs.worker(c, c.stationSpec(), threads, a.log)
	cfg.Limit, cfg.AtOnce, cfg.Same, cfg.Aside, cfg.Share = limit, atOnce, true, true, a.programs.share(c)
	return infer.New(cfg)
}

// stationSpec is the model's as stations run it: the tracker and the rule
// choose among what is left.
func (c *choice) stationSpec() infer.Spec {
	spec := c.spec
	spec.Confidence = max(min(spec.Confidence, keepScore, c.rule.Lowest(), cmp.Or(c.least, keepScore)), lowestScore)
	return spec
}

// asPublished is stationSpec as who published the model ran it: nobody else looks at its
// scores.
func (c *choice) asPublished() infer.Spec {
	alone := *c
	alone.least = 0
	return alone.stationSpec()
}

// scratch makes a data directory that is removed by the function it gives.
func scratch() (string, func() error, error) {
	dir, err := os.MkdirTemp("", "sightline-")
	if err != nil {
		return "", nil, fmt.Errorf("make a scratch directory: %w: set TMPDIR to a folder with room", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// firstOf drops the errors that only say that something was cancelled.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}
