package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/updater"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
)

// withRecipe is what a station that follows a bundle inspects with under a recipe.
func (p *plant) withRecipe(ctx context.Context, station string, r *config.Recipe) (agent.Loadout, error) {
	s := p.of(station, r)
	if s == nil {
		return agent.Loadout{}, fmt.Errorf("recipe %s follows no bundle", r.Name)
	}
	p.mu.Lock()
	c := s.running
	p.mu.Unlock()
	if c == nil {
		return agent.Loadout{}, fmt.Errorf("its bundle %s hasn't come to this device yet", s.config.Bundle)
	}
	return c.under(ctx, r)
}

// under is the candidate's loadout under a recipe; nil: without one.
func (c *candidate) under(ctx context.Context, r *config.Recipe) (agent.Loadout, error) {
	l := c.loadout
	l.Follows = c.station.config.Bundle
	if r == nil {
		l.Cascade = c.cascadeUnder("", c.station.config)
		return l, nil
	}
	as := c.station.config.As(r)
	if as.Confidence > 0 {
		l.Track.Start = float32(as.Confidence)
	}
	if err := follows(&l.Track, as.Decide, as.Combine); err != nil {
		return l, err
	}
	season(&l, r)
	if r.Rule != "" {
		var err error
		if l.Rule, err = c.ruleUnder(ctx, r); err != nil {
			return l, err
		}
	}
	l.Cascade = c.cascadeUnder(r.Name, &as)
	return l, nil
}

// ruleUnder is a recipe's own rule.
func (c *candidate) ruleUnder(ctx context.Context, r *config.Recipe) (*rules.Rule, error) {
	c.plant.mu.Lock()
	defer c.plant.mu.Unlock()
	if rule := c.rules[r.Name]; rule != nil {
		return rule, nil
	}
	spec, err := rules.Parse(r.Rule)
	if err != nil {
		return nil, about("rule", err)
	}
	rule, err := c.plant.made.engine.Load(ctx, spec)
	if err != nil {
		return nil, about("rule", err)
	}
	if c.rules == nil {
		c.rules = map[string]*rules.Rule{}
	}
	c.rules[r.Name] = rule
	return rule, nil
}

// user is the station's configuration with a recipe that inspects with the bundle.
type user struct {
	config.Station
	where string // for people, as a prefix; "" without recipes
}

func (s *planted) users() []user {
	if len(s.config.Recipes) == 0 {
		return []user{{Station: *s.config}}
	}
	var all []user
	for n := range s.config.Recipes {
		r := &s.config.Recipes[n]
		if s.recipe == nil && !r.Own() || s.recipe != nil && s.recipe.Name == r.Name {
			all = append(all, user{s.config.As(r), "recipe " + r.Name + ": "})
		}
	}
	return all
}

// least is the lowest score that a band of doubt looks at, 0 for none: what the worker
// leaves out scores 0, as a part without defects does.
func (s *planted) least() (least float32) {
	for _, u := range s.users() {
		if b := band(&u.Cascade); b != nil && b.Low > 0 && (least == 0 || b.Low < least) {
			least = b.Low
		}
	}
	return least
}

// Suits implements updater.Plant. A large model that can't be read is no fault of the
// version: it serves without, which cascadeUnder tells.
func (p *plant) Suits(station, dir string) error {
	s := p.stations[station]
	if s == nil {
		return nil // Load says so
	}
	users := slices.DeleteFunc(s.users(), func(u user) bool { return u.Cascade.Large == "" })
	if len(users) == 0 {
		return nil
	}
	return aside(p.had(station), func() error {
		c, _, err := s.choose(dir)
		if err != nil {
			return unusable(err)
		}
		for n := range users {
			u := &users[n]
			l, err := readLarge(&u.Station)
			if err != nil {
				continue
			}
			if err := l.mustMatch(c); err != nil {
				return &updater.Refused{Text: u.where + err.Error()}
			}
		}
		return nil
	})
}

// cascadeUnder is the large model beside the bundle's own under a recipe ("" without
// recipes), nil for none. It stays hired until the recipe isn't active any more, or
// another version serves, which has it then. What serves goes on where it doesn't fit:
// parts in doubt get the configured answer.
func (c *candidate) cascadeUnder(recipe string, as *config.Station) *agent.Cascade {
	if k := c.cascades[recipe]; k != nil && (k.Large == nil || !ended(k.Large)) {
		return k
	}
	k, err := c.plant.made.cascade(as, c.own, c.plant.threads, runLimit(as))
	if err != nil {
		c.plant.made.log.Error("the large model can't look beside the bundle", "station", as.ID, "bundle", c.own.fullName(), "err", err)
		return unfit(as, err)
	}
	if k == nil {
		return nil
	}
	if k.Large != nil {
		c.plant.agent.StartWorker(k.Large)
	}
	c.dropCascade(recipe)
	if c.cascades == nil {
		c.cascades = map[string]*agent.Cascade{}
	}
	c.cascades[recipe] = k
	return k
}

// unfit is a large model that can't look, which leaves parts in doubt to the configured
// answer.
func unfit(s *config.Station, why error) *agent.Cascade {
	k := newCascade(&s.Cascade)
	k.About, k.Unfit = agent.Model{Name: s.Cascade.Remote.Model}, why.Error()
	if s.Cascade.Large != "" {
		k.About.Name = filepath.Base(s.Cascade.Large)
	}
	return k
}

// dropCascade gives back what a recipe had.
func (c *candidate) dropCascade(recipe string) {
	k := c.cascades[recipe]
	if k == nil {
		return
	}
	delete(c.cascades, recipe)
	for _, w := range c.plant.made.drop(agent.Loadout{Recipe: recipe, Cascade: k}) {
		c.plant.stop(w, c.own.about.Name)
	}
}

// stop ends a worker that nobody holds any more.
func (p *plant) stop(w *infer.Worker, of string) {
	if !p.agent.StopWorker(w) {
		p.made.log.Error("BUG: a worker that nobody uses any more is in use", "bundle", of)
	}
}

// release lets go of the large models of a station's recipes that aren't kept. Its book's
// turn is the caller's.
func (p *plant) release(station string, keep []string) {
	for _, s := range p.stations {
		if s.config.ID != station {
			continue
		}
		p.mu.Lock()
		c := s.running
		p.mu.Unlock()
		if c == nil {
			continue
		}
		for recipe := range c.cascades {
			if !slices.Contains(keep, recipe) {
				c.dropCascade(recipe)
			}
		}
	}
}
