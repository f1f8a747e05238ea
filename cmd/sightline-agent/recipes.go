package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// cookbook gives one station the loadouts of its recipes.
type cookbook struct {
	made    *assembly
	station *config.Station
	mode    track.Mode
	threads int
	file    string // where the choice is kept

	turn  turn // one recipe is prepared at a time; protects what follows
	agent *agent.Agent
	plant *plant // has the recipes that follow bundles
	ready map[string]agent.Loadout
	began agent.Loadout // the workers that the station was started with; its rule was loaded beside the start
	spent agent.Loadout // whose worker was given up, and which the station has until it is changed over
	late  string        // the recipe that was still being loaded when its change gave up waiting; "" for none
}

// turn is held by one at a time.
type turn chan struct{}

// try takes it if it is free.
func (t turn) try() (done func(), ok bool) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, true
	default:
		return nil, false
	}
}

// take waits for it.
func (t turn) take(ctx context.Context) (done func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// newCookbook is nil for a station without recipes.
func (a *assembly) newCookbook(cfg *config.Config, i int, mode track.Mode) *cookbook {
	s := &cfg.Stations[i]
	if len(s.Recipes) == 0 {
		return nil
	}
	return &cookbook{
		made: a, station: s, mode: mode, threads: cfg.Infer.Threads, file: filepath.Join(cfg.Data, "recipes", s.ID),
		turn: make(turn, 1), ready: map[string]agent.Loadout{},
	}
}

// offer gives the station its recipes, of which one is active.
func (b *cookbook) offer(st *agent.StationConfig, active *config.Recipe) {
	st.Recipe, st.Recipes, st.Prepare, st.Exposure = active.Name, b.names(), b.prepare, active.Exposure
	for n := range b.station.Recipes {
		if r := &b.station.Recipes[n]; r.Apart() {
			st.Apart = append(st.Apart, r.Name)
		}
	}
	if len(active.ROI) == 4 {
		st.ROI = [4]int(active.ROI)
	}
	if st.Model != nil {
		b.began = agent.Loadout{Recipe: active.Name, Model: st.Model, Small: st.Small, Cascade: st.Cascade}
	}
}

// names are those of all recipes, in the order of the configuration.
func (b *cookbook) names() []string {
	var all []string
	for _, r := range b.station.Recipes {
		all = append(all, r.Name)
	}
	return all
}

// recipe is the one of that name, which must be there.
func (b *cookbook) recipe(name string) *config.Recipe {
	return &b.station.Recipes[b.index(name)]
}

func (b *cookbook) index(name string) int {
	return slices.IndexFunc(b.station.Recipes, func(r config.Recipe) bool { return r.Name == name })
}

// recipeSettings are those of a station that a recipe may have instead.
var recipeSettings = []string{"model", "small_model", "cascade.large", "cascade.remote", "family", "labels", "rule", "decide", "combine"}

// otherwise is about for an error that may say itself what it is about; of several,
// for each.
func otherwise(key string, err error) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, err := range several.Unwrap() {
			all = append(all, otherwise(key, err))
		}
		return errors.Join(all...)
	}
	if settingOf(err) != "" {
		return err
	}
	return about(key, err)
}

// settingOf is which setting an error is about, "" where it doesn't say.
func settingOf(err error) string {
	var known aboutSetting
	if errors.As(err, &known) {
		return known.key
	}
	return ""
}

// chosen is the recipe that the station begins with: the last that was chosen, if it
// is still there, else that of the configuration.
func (b *cookbook) chosen() string {
	text, err := os.ReadFile(b.file)
	name := strings.TrimSpace(string(text))
	switch {
	case err == nil && slices.Contains(b.names(), name):
		return name
	case err == nil:
		b.made.log.Warn("the recipe that was chosen last isn't there any more", "station", b.station.ID, "recipe", name, "instead", b.station.Recipe)
	case !errors.Is(err, fs.ErrNotExist):
		b.made.log.Warn("the recipe that was chosen last isn't known", "station", b.station.ID, "err", err)
	}
	return b.station.Recipe
}

// keep writes down the choice for the next start.
func (b *cookbook) keep(name string) error {
	err := os.MkdirAll(filepath.Dir(b.file), 0o750)
	if err == nil {
		err = whole.Write(b.file, []byte(name+"\n"), 0o640)
	}
	if err != nil {
		return fmt.Errorf("keep the recipe: %w", err)
	}
	return nil
}

// prepare lets use have the loadout of a recipe with its worker ready, for
// agent.Prepare, and keeps the choice. What was prepared for another one, or for
// nothing, ends.
func (b *cookbook) prepare(ctx context.Context, name string, use func(agent.Loadout) error) error {
	done, err := b.turn.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	l, err := b.get(ctx, name)
	b.late = ""
	if err == nil {
		if err = use(l); err == nil {
			b.settle(name)
		}
	} else if l.Model != nil && ctx.Err() != nil { // the next try finds it loaded
		b.late = name
	}
	b.release()
	return err
}

// settle is for a recipe that has become the active one.
func (b *cookbook) settle(name string) {
	b.drop(b.began) // the station has one of ready now, or a bundle's
	b.drop(b.spent)
	b.began, b.spent = agent.Loadout{}, agent.Loadout{}
	if err := b.keep(name); err != nil {
		b.made.log.Error("the recipe is active, and won't be after a new start", "station", b.station.ID, "recipe", name, "err", err)
	}
}

// get gives a recipe's loadout, loaded now if it isn't; the caller has the turn. One
// that isn't ready by the end of ctx comes with the error.
func (b *cookbook) get(ctx context.Context, name string) (agent.Loadout, error) {
	if r := b.recipe(name); b.follows(r) {
		return b.plant.withRecipe(ctx, b.station.ID, r)
	}
	l, err := b.loaded(ctx, name)
	if err == nil {
		_, err = l.Model.Ready(ctx)
	}
	return l, err
}

// loaded is get without waiting for the worker.
func (b *cookbook) loaded(ctx context.Context, name string) (agent.Loadout, error) {
	l, ok := b.ready[name]
	if ok && !slices.ContainsFunc(l.Workers(), ended) {
		return l, nil
	}
	n, err := b.load(ctx, name)
	if err != nil {
		return agent.Loadout{}, err
	}
	if ok && b.active() == name && b.spent.Model == nil {
		b.spent = l
	} else if ok {
		b.drop(l)
	}
	b.ready[name] = n
	return n, nil
}

// follows tells whether a recipe's model comes with a bundle.
func (b *cookbook) follows(r *config.Recipe) bool {
	as := b.station.As(r)
	return as.Bundle != ""
}

// active is the name of the recipe that the station has.
func (b *cookbook) active() string {
	e, _ := b.agent.Recipe(b.station.ID) // the station is there
	return e.Recipe
}

// release lets go of recipes that are neither kept warm nor active, and ends the
// workers that nobody needs any more.
func (b *cookbook) release() {
	keep := append([]string{b.active(), b.late}, b.station.Preload...)
	for name, l := range b.ready {
		if !slices.Contains(keep, name) {
			delete(b.ready, name)
			b.drop(l)
		}
	}
	if b.plant != nil {
		b.plant.release(b.station.ID, keep)
	}
}

// drop gives back what a loadout holds that the station doesn't inspect with.
func (b *cookbook) drop(l agent.Loadout) {
	for _, w := range b.made.drop(l) {
		if !b.agent.StopWorker(w) {
			b.made.log.Error("BUG: a worker that nobody holds any more is in use", "station", b.station.ID, "recipe", l.Recipe)
		}
	}
}

// load makes a recipe's loadout and starts its worker.
func (b *cookbook) load(ctx context.Context, name string) (agent.Loadout, error) {
	l, err := b.made.recipe(ctx, b.station, b.recipe(name), b.mode, b.threads)
	if err != nil {
		b.drop(l)
		return agent.Loadout{}, err
	}
	for _, w := range l.Workers() {
		b.agent.StartWorker(w)
	}
	return l, nil
}

// warm loads the recipes that are to be kept so, and says of the others whether they
// could be loaded. Those that follow bundles are kept by the plant: here it says whether
// what the configuration sets beside them could be read.
func (b *cookbook) warm(ctx context.Context) error {
	for n := range b.station.Recipes {
		r := &b.station.Recipes[n]
		if b.follows(r) {
			b.foresee(r)
			continue
		}
		var err error
		if slices.Contains(b.station.Preload, r.Name) {
			err = b.preload(ctx, r.Name)
		} else {
			as := b.station.As(r)
			_, err = chooseConfigured(&as)
		}
		if err != nil && ctx.Err() == nil {
			b.made.log.Error("a recipe can't be changed over to", "station", b.station.ID, "recipe", r.Name, "err", err)
		}
	}
	return nil
}

// foresee says whether the large model beside a recipe's bundle can't be read. Of the
// active one the start has said it.
func (b *cookbook) foresee(r *config.Recipe) {
	if r.Name == b.active() {
		return
	}
	as := b.station.As(r)
	if err := b.made.foresee(&as, nil); err != nil {
		b.made.log.Error("the large model of a recipe can't look beside its bundle", "station", b.station.ID, "recipe", r.Name, "err", err)
	}
}

// preload loads a recipe. Others may be changed over to while its worker gets ready.
func (b *cookbook) preload(ctx context.Context, name string) error {
	done, err := b.turn.take(ctx)
	if err != nil {
		return err
	}
	l, err := b.loaded(ctx, name)
	done()
	if err == nil {
		_, err = l.Model.Ready(ctx)
	}
	return err
}

// recipe makes the loadout of a recipe whose model the configuration names. What it
// holds, also with an error, is to be dropped.
func (a *assembly) recipe(ctx context.Context, s *config.Station, r *config.Recipe, mode track.Mode, threads int) (agent.Loadout, error) {
	as := s.As(r)
	c, err := chooseConfigured(&as)
	if err != nil {
		return agent.Loadout{}, otherwise("model", err)
	}
	rule, err := a.fits(ctx, mode, c)
	if err != nil {
		return agent.Loadout{}, err
	}
	l := agent.Loadout{Model: a.hire(c, threads, runLimit(s)), About: c.about, Rule: rule, Track: a.track(&as, c, mode)}
	if err := follows(&l.Track, as.Decide, as.Combine); err != nil {
		return l, err
	}
	if l.Small, l.SmallAbout, err = a.small(&as, c, threads, runLimit(s)); err != nil {
		return l, err
	}
	if l.Cascade, err = a.cascade(&as, c, threads, runLimit(s)); err != nil {
		return l, err
	}
	season(&l, r)
	return l, nil
}

// season adds what a recipe says besides model and rule.
func season(l *agent.Loadout, r *config.Recipe) {
	l.Recipe, l.Exposure = r.Name, r.Exposure
	if len(r.ROI) == 4 {
		l.ROI = [4]int(r.ROI)
	}
}

// track is how a station follows parts with a model.
func (a *assembly) track(s *config.Station, c *choice, mode track.Mode) track.Config {
	t := track.Config{Start: startScore, Keep: keepScore, Mode: mode, Roles: c.roles()}
	if s.Confidence > 0 {
		t.Start = float32(s.Confidence)
	}
	return t
}

// small hires the worker of a station's smaller model, nil for none. It must have the
// labels of the one that it stands in for.
func (a *assembly) small(s *config.Station, c *choice, threads int, limit time.Duration) (*infer.Worker, agent.Model, error) {
	if s.Small == "" {
		return nil, agent.Model{}, nil
	}
	as := *s
	as.Model, as.Family = s.Small, ""
	n, err := chooseConfigured(&as)
	if err != nil {
		return nil, agent.Model{}, about("small_model", err)
	}
	if !n.labelledAs(c) {
		return nil, agent.Model{}, about("small_model", fmt.Errorf("model %s has the labels %s, the one that it stands in for has %s: they must be the same", n.about.Name, n.labelNames(), c.labelNames()))
	}
	return a.hire(n, threads, limit), n.about, nil
}
