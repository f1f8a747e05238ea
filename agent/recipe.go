package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/vision/rules"
)

// Errors of SetRecipe that callers tell apart.
var (
	ErrNoRecipes = errors.New("the station has no recipes: list them in the configuration")
	ErrNoRecipe  = errors.New("there is no such recipe")
)

// Echo tells which recipe is active, and since when.
type Echo struct {
	Recipe  string
	Recipes []string // all, in the order of the configuration
	Cut     Cut      // the recipe's verdicts are all above it
	Took    time.Duration
}

// Recipe tells which recipe of a station is active.
func (a *Agent) Recipe(station string) (Echo, error) {
	s := a.find(station)
	if s == nil {
		return Echo{}, fmt.Errorf("recipe of station %s: %w", station, ErrNoStation)
	}
	return s.echo(), nil
}

func (s *Station) echo() Echo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Echo{Recipe: s.lane.Recipe, Recipes: slices.Clone(s.cfg.Recipes), Cut: s.lane.tally.cut}
}

// SetRecipe makes another recipe of a station the active one, between two parts. It
// returns when that decides alone; a recipe that isn't kept warm is loaded before.
// With an error the station goes on as it was.
func (a *Agent) SetRecipe(ctx context.Context, station, recipe string) (Echo, error) {
	s := a.find(station)
	if s == nil {
		return Echo{}, fmt.Errorf("recipe of station %s: %w", station, ErrNoStation)
	}
	e, err := s.setRecipe(ctx, recipe)
	if err != nil {
		return e, fmt.Errorf("recipe of station %s: %w", station, err)
	}
	return e, nil
}

func (s *Station) setRecipe(ctx context.Context, recipe string) (Echo, error) {
	began := time.Now()
	switch {
	case len(s.cfg.Recipes) == 0:
		return s.echo(), ErrNoRecipes
	case !slices.Contains(s.cfg.Recipes, recipe):
		return s.echo(), fmt.Errorf("%w as %q; there are %s", ErrNoRecipe, recipe, strings.Join(s.cfg.Recipes, ", "))
	case s.echo().Recipe == recipe && s.Failure() == nil:
		return s.echo(), nil
	}
	err := s.cfg.Prepare(ctx, recipe, func(l Loadout) error {
		l.Recipe = recipe
		_, err := s.change(ctx, l)
		return err
	})
	if err != nil {
		return s.echo(), fmt.Errorf("change over to %s: %w", recipe, err)
	}
	e := s.echo()
	e.Took = time.Since(began)
	return e, nil
}

// swap is a switch where each trigger is judged by the loadout that is active when it
// comes. It returns when the former one has none left to judge.
func (s *Station) swap(l Loadout) (Cut, error) {
	n := newLane(l, s.cfg.Track.Mode, s.views)
	n.tally.cut = s.cut()
	if l.Model != nil {
		n.tally.restarts = l.Model.Stats().Restarts
	}
	if err := s.reexpose(l.Exposure, s.current().Exposure); err != nil {
		return Cut{}, err
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return Cut{}, ErrStationEnded
	}
	old := s.lane
	s.lane = n
	if old.dead != nil {
		s.failure = nil
	}
	s.armLocked()
	if s.running {
		s.asking.Go(func() { s.practise(s.looking, n) })
	}
	idle := make(chan struct{})
	if old.pending > 0 {
		old.idle = idle
	} else {
		close(idle)
	}
	s.mu.Unlock()
	s.switched(&l, old)
	late := time.NewTimer(time.Until(s.ledger.last()))
	defer late.Stop()
	select {
	case <-idle:
	case <-late.C: // those are answered by now; the model that hangs over one is being ended
	}
	s.log.Info("station switched", "model", l.About.Name, "version", l.About.Version, "recipe", l.Recipe, "after", n.tally.cut.After)
	return n.tally.cut, nil
}

// exposeFor gives all cameras a recipe's exposure; 0 is that of their configuration,
// which is asked for only where a recipe has changed it. After an error they have the
// one of before.
func (s *Station) exposeFor(d, before time.Duration) error {
	if d == before {
		return nil
	}
	for n, v := range s.views {
		err := v.camera.cfg.Source.SetExposure(d)
		if err == nil {
			continue
		}
		for _, o := range s.views[:n+1] { // the last one, too: it may count once that is reached anew
			if _, configured := o.camera.cfg.Source.Exposure(); cmp.Or(before, configured) > 0 {
				// Where that fails it counts once the camera is reached anew; until then its pictures are refused.
				_ = o.camera.cfg.Source.SetExposure(before)
			}
		}
		return fmt.Errorf("set the exposure: %w", err)
	}
	return nil
}

// reexpose is exposeFor for a changeover. It refuses what there would be no way back from.
func (s *Station) reexpose(d, before time.Duration) error {
	for _, v := range s.views {
		if _, configured := v.camera.cfg.Source.Exposure(); d != before && cmp.Or(before, configured) == 0 {
			return fmt.Errorf("set the exposure: camera %s has none that is known to go back to: configure its exposure, or give all recipes one", s.cameraID(v.camera))
		}
	}
	return s.exposeFor(d, before)
}

// mindTriggered hears of the rule that is loaded beside the start.
func (s *Station) mindTriggered(ctx context.Context) error {
	for {
		select {
		case r := <-s.coming:
			s.ruleCame(r)
		case <-s.poked: // what it is about is seen by the next trigger
		case <-ctx.Done():
			return nil
		}
	}
}

// ruleOf is the rule of a lane, nil for none, or none yet.
func (s *Station) ruleOf(l *lane) *rules.Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.Rule
}
