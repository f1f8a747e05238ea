package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/track"
)

// gateLimit is how long the golden pictures of a bundle may take.
const gateLimit = 10 * time.Minute

// plant lets the updater put bundles into the running agent's stations.
type plant struct {
	made     *assembly
	threads  int
	agent    *agent.Agent
	stations map[string]*planted // by wire.Unit

	mu      sync.Mutex // protects what follows, and the planted ones' running
	workers map[string]*shared
}

// planted is what follows a bundle: a station, or one recipe of it that has its own.
type planted struct {
	config  *config.Station // as it is with that recipe
	recipe  *config.Recipe  // nil: the station's own bundle
	book    *cookbook       // of a station with recipes, else nil
	mode    track.Mode
	turn    turn       // held by who changes what runs
	running *candidate // nil before its first
}

// shared is a worker that stations with the same bundle have in common, where they ask it
// for the same scores.
type shared struct {
	key    string
	digest string // of the bundle; "" for what the configuration names
	worker *infer.Worker
	users  int
}

func newPlant(made *assembly, threads int) *plant {
	return &plant{made: made, threads: threads, stations: map[string]*planted{}, workers: map[string]*shared{}}
}

// add makes a station of the configuration that begins without a model, and those of
// its recipes that follow bundles of their own; book is nil without recipes.
func (p *plant) add(s *config.Station, mode track.Mode, book *cookbook) {
	if s.Bundle != "" {
		p.stations[s.ID] = &planted{config: s, book: book, mode: mode, turn: make(turn, 1)}
	}
	for n := range s.Recipes {
		if r := &s.Recipes[n]; r.Own() {
			as := s.As(r)
			p.stations[wire.Unit(s.ID, r.Name)] = &planted{config: &as, recipe: r, book: book, mode: mode, turn: make(turn, 1)}
		}
	}
}

// of is what a station's recipe follows; nil: none.
func (p *plant) of(station string, r *config.Recipe) *planted {
	if r != nil && r.Own() {
		return p.stations[wire.Unit(station, r.Name)]
	}
	return p.stations[station]
}

// serves tells whether what the unit runs is what its station inspects with now.
func (p *plant) serves(s *planted) bool {
	return p.of(s.config.ID, p.recipe(s.config)) == s
}

// Load implements updater.Plant.
func (p *plant) Load(ctx context.Context, station, dir, digest string) (updater.Candidate, error) {
	c, err := p.load(ctx, station, dir, digest, false)
	if err != nil {
		return nil, err // not a candidate that is nil
	}
	return c, nil
}

// load is Load; atOnce is for a station that has nothing meanwhile.
func (p *plant) load(ctx context.Context, station, dir, digest string, atOnce bool) (*candidate, error) {
	s := p.stations[station]
	if s == nil {
		return nil, &updater.Refused{Text: "the station isn't configured any more"}
	}
	var c *choice
	var golden *bundle.Golden
	var subject gate.Subject
	p.mu.Lock()
	first := s.running == nil // the station waits for it
	p.mu.Unlock()
	err := aside(!first, func() (err error) {
		if c, golden, err = s.choose(dir); err == nil {
			c.least = s.least()
			subject, err = p.made.subjectFor(ctx, s.mode, c, p.threads, atOnce)
		}
		return err
	})
	if err != nil {
		return nil, unusable(err)
	}
	if digest != "" { // its signature was checked on the way here
		c.about.Bundle, c.about.Unsigned = digest, false
	}
	key := digest
	if digest == "" {
		key = "factory/" + station
	}
	w := p.hire(fmt.Sprint(key, " from ", c.stationSpec().Confidence), digest, subject.Worker)
	if first {
		w.worker.Serve() // also if another station began to prove itself with it
	}
	c.data = nil // the worker has it
	n := &candidate{plant: p, station: s, shared: w, subject: subject, own: c, golden: golden, dir: dir, digest: digest}
	n.subject.Worker = w.worker
	n.loadout = agent.Loadout{Model: w.worker, About: c.about, Rule: subject.Rule, Track: subject.Track}
	if conf := float32(s.config.Confidence); conf > 0 {
		n.loadout.Track.Start = conf
	}
	info, err := w.worker.Ready(ctx)
	if err == nil {
		n.fingerprint, err = gate.Fingerprint(info)
	} else if ctx.Err() == nil {
		err = &updater.Refused{Text: err.Error()}
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// aside does what no station waits for, if that is so, at a lower priority.
func aside(yes bool, do func() error) error {
	if !yes {
		return do()
	}
	return humbly(asideNice, do)
}

// choose reads a bundle's folder, or for "" what the configuration names.
func (s *planted) choose(dir string) (*choice, *bundle.Golden, error) {
	if dir != "" {
		c, golden, err := loadBundle(dir)
		if err == nil {
			c.cameras = s.config.Alike
		}
		return c, golden, err
	}
	if s.config.Model == "" {
		return nil, nil, &updater.Refused{Text: "the configuration names no model of the station's own"}
	}
	c, err := chooseConfigured(s.config)
	return c, nil, err
}

// unusable tells a bundle that is no good from a disk that can't be read.
func unusable(err error) error {
	var disk *fs.PathError
	var known *updater.Refused
	if errors.As(err, &disk) && !errors.Is(err, fs.ErrNotExist) || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	return &updater.Refused{Text: err.Error()}
}

// hire gives the worker of that key, which is started if there is none that can
// work. Who has one that was given up keeps it until they leave.
func (p *plant) hire(key, digest string, fresh *infer.Worker) *shared {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.workers[key]
	if w == nil || ended(w.worker) {
		w = &shared{key: key, digest: digest, worker: fresh}
		p.workers[key] = w
		p.agent.StartWorker(fresh)
	}
	w.users++
	return w
}

// leave stops the worker when nobody uses it any more.
func (p *plant) leave(w *shared) {
	p.mu.Lock()
	w.users--
	last := w.users == 0
	if last {
		if p.workers[w.key] == w {
			delete(p.workers, w.key)
		}
	}
	p.mu.Unlock()
	if last {
		p.stop(w.worker, w.key)
	}
}

// building tells of the engine that is built for a bundle now, false if none is.
func (p *plant) building(digest string) (infer.Building, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.digest != digest {
			continue
		}
		if b, ok := w.worker.Building(); ok {
			return b, true
		}
	}
	return infer.Building{}, false
}

// ended says whether a worker was given up or stopped: it won't work again.
func ended(w *infer.Worker) bool {
	_, err := w.Up()
	return err != nil && err != infer.ErrLoading
}

// had says whether the station had a model in this run of the program.
func (p *plant) had(station string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stations[station].running != nil
}

// lacks says whether the station has no model, or one that was given up.
func (p *plant) lacks(station string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.stations[station].running
	return c == nil || ended(c.shared.worker)
}

// Vitals implements updater.Plant.
func (p *plant) Vitals(station string) updater.Vitals {
	if s := p.stations[station]; s != nil && !p.serves(s) {
		return p.idle(s)
	}
	name, _ := wire.SplitUnit(station)
	v, err := p.agent.Vitals(name)
	if err != nil {
		return updater.Vitals{Failure: err.Error()}
	}
	return updater.Vitals{
		Digest: v.Bundle, Epoch: v.Cut.Epoch, After: v.Cut.After, Verdicts: v.Verdicts, None: v.None, Late: v.Late, Restarts: v.Restarts,
		Seqs: v.Seqs, ModelP50: v.ModelP50, ModelP99: v.ModelP99, AgeP99: v.AgeP99, Period: v.Period, Deadline: v.Deadline,
		Celsius: v.Celsius, Failure: v.Failure,
	}
}

// idle are the vitals of a recipe that isn't the active one: it is loaded, and nothing
// is asked of it.
func (p *plant) idle(s *planted) updater.Vitals {
	p.mu.Lock()
	c := s.running
	p.mu.Unlock()
	v := updater.Vitals{Celsius: math.NaN()}
	if c == nil {
		return v
	}
	v.Digest, v.After, v.Epoch = c.digest, c.cut.After, c.cut.Epoch
	if ended(c.shared.worker) {
		v.Failure = "its model's worker was given up"
	}
	return v
}

// candidate is a bundle with a worker, beside what its station runs or as that.
type candidate struct {
	plant       *plant
	station     *planted
	shared      *shared
	subject     gate.Subject
	own         *choice // without its data
	golden      *bundle.Golden
	dir, digest string
	fingerprint string
	loadout     agent.Loadout
	cascades    map[string]*agent.Cascade // by the recipe's name; for who has the turn of the station's book, or of the station without one
	rules       map[string]*rules.Rule    // of recipes that have their own, by the recipe's name; protected by plant.mu
	active      bool
	cut         agent.Cut // where the journal was when it became active
}

// Fingerprint implements updater.Candidate.
func (c *candidate) Fingerprint() string { return c.fingerprint }

// Gate implements updater.Candidate.
func (c *candidate) Gate(ctx context.Context, draw func(string, []byte)) (*gate.Report, error) {
	if c.golden == nil {
		return nil, gate.ErrNoGolden
	}
	ctx, cancel := context.WithTimeout(ctx, gateLimit)
	defer cancel()
	var report *gate.Report
	err := aside(true, func() (err error) {
		report, err = gate.Run(ctx, c.subject, os.DirFS(c.dir), c.golden, draw)
		return err
	})
	if err == nil {
		c.plant.agent.Gated(c.loadout.About, report.OK())
	}
	return report, err
}

// Activate implements updater.Candidate.
func (c *candidate) Activate(ctx context.Context) (after, epoch uint64, err error) {
	done, err := c.station.turn.take(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer done()
	return c.activate(ctx)
}

// activate is Activate for who has the station's turn. A bundle of a recipe that isn't
// the active one is kept for when it is.
func (c *candidate) activate(ctx context.Context) (after, epoch uint64, err error) {
	if b := c.station.book; b != nil { // no change of recipe meanwhile
		done, err := b.turn.take(ctx)
		if err != nil {
			return 0, 0, err
		}
		defer done()
	}
	c.shared.worker.Serve()
	if c.cut, err = c.begin(ctx); err != nil {
		return 0, 0, err
	}
	c.plant.mu.Lock()
	before := c.station.running
	c.active, c.station.running = true, c
	c.plant.mu.Unlock()
	if before != nil {
		if err := before.free(); err != nil {
			c.plant.made.log.Warn("a rule that was replaced doesn't end well", "station", c.station.config.ID, "err", err)
		}
	}
	return c.cut.After, c.cut.Epoch, nil
}

// begin lets the station inspect with the candidate, if its recipe is the active one.
func (c *candidate) begin(ctx context.Context) (agent.Cut, error) {
	if !c.plant.serves(c.station) {
		return c.plant.agent.Cut(), nil
	}
	l, err := c.under(ctx, c.plant.recipe(c.station.config))
	if err != nil {
		return agent.Cut{}, err
	}
	return c.plant.agent.Switch(ctx, c.station.config.ID, l)
}

// Close implements updater.Candidate.
func (c *candidate) Close() error {
	if c.active {
		return nil
	}
	return c.free()
}

// free gives back what only a candidate that doesn't run any more holds.
func (c *candidate) free() error {
	c.plant.leave(c.shared)
	for recipe := range c.cascades {
		c.dropCascade(recipe)
	}
	var errs []error
	for _, r := range c.rules {
		errs = append(errs, r.Close(context.Background()))
	}
	if c.subject.Rule != nil {
		errs = append(errs, c.subject.Rule.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// recipe is the active one of a station, nil for a station without recipes.
func (p *plant) recipe(s *config.Station) *config.Recipe {
	e, err := p.agent.Recipe(s.ID)
	if err != nil {
		return nil
	}
	n := slices.IndexFunc(s.Recipes, func(r config.Recipe) bool { return r.Name == e.Recipe })
	if n < 0 {
		return nil
	}
	return &s.Recipes[n]
}
