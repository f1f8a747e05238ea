package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/internal/whole"
)

// kept is a model that was swapped in, for the next start.
type kept struct {
	Model   string `json:"model"`      // as it was asked for
	Digest  string `json:"digest"`     // of its file, as it was proved
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
	text, err := json.Marshal(kept{Model: n.ask.Model, Digest: n.state.Digest, Instead: n.station.configured.model})
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

// recallModels lets stations begin with the models that were swapped in. It gives what
// the configuration names, by station. A model that isn't the one that was proved, or a
// configuration that names another one since, ends the choice.
func recallModels(cfg *config.Config, log *slog.Logger) map[string]named {
	all := map[string]named{}
	for i := range cfg.Stations {
		s := &cfg.Stations[i]
		all[s.ID] = named{s.Model, s.Family}
		if s.Follows() || len(s.Recipes) > 0 {
			continue
		}
		k, err := recallModel(modelsDir(cfg), s)
		switch {
		case err != nil:
			log.Error("the model that was swapped in can't be begun with, what the configuration names serves", "station", s.ID, "model", k.Model, "instead", s.Model, "err", err)
		case k.Model != "":
			log.Warn("the station begins with the model that was swapped in, not with what the configuration names", "station", s.ID, "model", k.Model, "configured", s.Model)
			s.Model, s.Family = k.Model, ""
		}
	}
	return all
}

// recallModel gives the model that was swapped into a station, the zero value for none.
func recallModel(dir string, s *config.Station) (k kept, err error) {
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
		return k, fmt.Errorf("the configuration named %s then, and names another one now", k.Instead)
	}
	as := *s
	as.Model, as.Family = k.Model, ""
	c, err := chooseConfigured(&as)
	if err != nil {
		return k, err
	}
	if c.about.Digest != k.Digest {
		return k, fmt.Errorf("it has changed since it proved itself: its sha256 is %s, it was %s", c.about.Digest, k.Digest)
	}
	return k, nil
}
