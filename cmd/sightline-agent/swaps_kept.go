package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/internal/whole"
)

// kept is a model that was swapped in, for the next start.
type kept struct {
	Model   string `json:"model"`      // as it was asked for
	Proved  string `json:"proved"`     // its identity, as it was proved
	Instead string `json:"instead_of"` // what the configuration named
}

// named is the model that a station's configuration names.
type named struct{ model, family string }

// familyOf is how the output of a model is read, as far as the configuration says: a
// model that it doesn't name tells that itself.
func (n named) familyOf(model string) string {
	if model == n.model {
		return n.family
	}
	return ""
}

// keep writes down which model a station has. What the configuration names isn't kept:
// it may come to name another one.
func (w *swaps) keep(n *swap) error {
	path := keptFile(w.dir, n.station.config.ID)
	if n.ask.Model == n.station.configured.model {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget the model that was swapped in before: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(kept{Model: n.ask.Model, Proved: n.proved, Instead: n.station.configured.model})
	if err == nil {
		err = os.MkdirAll(w.dir, 0o750)
	}
	if err == nil {
		err = whole.Write(path, append(text, '\n'), 0o640)
	}
	if err != nil {
		return fmt.Errorf("keep the choice of the model: %w", err)
	}
	return nil
}

func keptFile(dir, station string) string { return filepath.Join(dir, station+".json") }

// identity tells models apart by all that decides: the file's digest, and what its
// manifest says.
func (c *choice) identity() string {
	h := sha256.New()
	for _, part := range append([]string{c.about.Digest}, c.settings...) {
		fmt.Fprintf(h, "%q\n", part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// errOver is why a choice doesn't hold any more.
var errOver = errors.New("the choice is over")

// recallModels lets stations begin with the models that were swapped in. It gives what
// the configuration names, by station.
func recallModels(cfg *config.Config, log *slog.Logger) map[string]named {
	all := map[string]named{}
	for i := range cfg.Stations {
		s := &cfg.Stations[i]
		all[s.ID] = named{s.Model, s.Family}
		k, err := recallModel(modelsDir(cfg), s)
		switch {
		case err != nil:
			log.Error("the model that was swapped in isn't begun with, what the configuration names serves", "station", s.ID, "model", k.Model, "instead", s.Model, "err", err)
			if errors.Is(err, errOver) {
				forget(modelsDir(cfg), s.ID, log)
			}
		case k.Model != "":
			log.Warn("the station begins with the model that was swapped in, not with what the configuration names", "station", s.ID, "model", k.Model, "configured", s.Model)
			s.Model, s.Family = k.Model, ""
		}
	}
	return all
}

// forget ends a station's choice for good.
func forget(dir, station string, log *slog.Logger) {
	if err := os.Remove(keptFile(dir, station)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("the choice of a model can't be forgotten", "station", station, "err", err)
	}
}

// recallModel gives the model that was swapped into a station, the zero value for none.
// A model that isn't the one that was proved, or a configuration that names another one
// since, ends the choice: errOver.
func recallModel(dir string, s *config.Station) (k kept, err error) {
	if s.Follows() || len(s.Recipes) > 0 {
		return k, nil
	}
	text, err := os.ReadFile(keptFile(dir, s.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	switch {
	case err != nil:
		return k, fmt.Errorf("read the choice: %w", err)
	case k.Instead != s.Model:
		return k, fmt.Errorf("%w: the configuration named %s then, and names another one now", errOver, k.Instead)
	}
	as := *s
	as.Model, as.Family = k.Model, ""
	c, err := chooseConfigured(&as)
	if err != nil {
		return k, err
	}
	if c.identity() != k.Proved {
		return k, fmt.Errorf("%w: the model or its manifest has changed since it proved itself", errOver)
	}
	return k, nil
}

// begin makes the station i of a configuration whose model may have been swapped in. One
// that doesn't fit the configuration any more gives way to what that names: a choice must
// not keep the device from inspecting.
func (a *assembly) begin(ctx context.Context, cfg *config.Config, i int, n named) (agent.StationConfig, *cookbook, error) {
	before := a.counts()
	st, book, err := a.configured(ctx, cfg, i)
	s := &cfg.Stations[i]
	if err == nil || s.Model == n.model {
		return st, book, err
	}
	a.log.Error("the model that was swapped in doesn't fit the configuration any more, what that names serves", "station", s.ID, "model", s.Model, "instead", n.model, "err", err)
	forget(modelsDir(cfg), s.ID, a.log)
	for w, holders := range a.counts() {
		for range holders - before[w] {
			a.leave(w)
		}
	}
	s.Model, s.Family = n.model, n.family
	return a.configured(ctx, cfg, i)
}
