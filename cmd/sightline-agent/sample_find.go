package main

import (
	"context"
	"slices"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision/infer"
)

// plate is what a sample may run of: a station's bundle, or a recipe's.
type plate struct {
	id      string          // of the station, or wire.Unit of a recipe with a model or bundle of its own
	station *config.Station // as the configuration has it
	as      config.Station  // as it is with the recipe
	recipe  bool
	active  bool          // the station inspects with it
	model   *infer.Worker // that a station without recipes began with; nil where it follows a bundle
}

// plates are those of all stations. What stations inspect with comes first, then what
// is kept loaded beside it.
func (s *sampler) plates() []plate {
	var active, kept []plate
	for i := range s.cfg.Stations {
		st := &s.cfg.Stations[i]
		if len(st.Recipes) == 0 {
			active = append(active, plate{id: st.ID, station: st, as: *st, active: true, model: s.models[i]})
			continue
		}
		e, _ := s.agent.Recipe(st.ID) // the station is there
		own := st.Bundle == ""        // nothing is left to be kept of the station's own bundle
		for n := range st.Recipes {
			r := &st.Recipes[n]
			p := plate{id: st.ID, station: st, as: st.As(r), recipe: true, active: r.Name == e.Recipe}
			if r.Apart() {
				p.id = wire.Unit(st.ID, r.Name)
			}
			switch {
			case p.active:
				active, own = append(active, p), own || p.id == st.ID
			case r.Own(), p.as.Bundle == "" && slices.Contains(st.Preload, r.Name): // bundles are kept loaded for all recipes
				kept = append(kept, p)
			}
		}
		if !own {
			kept = append(kept, plate{id: st.ID, station: st, as: *st, recipe: true})
		}
	}
	return append(active, kept...)
}

// find waits until a station has seen its first frames, and gives the bundle; nil if
// there is none with golden vectors, or none that is loaded, or the configuration reads
// the model otherwise than the bundle says.
func (s *sampler) find(ctx context.Context, p *plate) (*sampled, error) {
	b, err := s.loaded(ctx, p)
	if err != nil || b == nil {
		return nil, err
	}
	if err := s.first(ctx, p, b.worker); err != nil {
		return nil, err
	}
	if fsys, err := openBundle(b.dir); err != nil || fsys == nil {
		return nil, err
	}
	if b.choice, b.golden, err = loadBundle(b.dir); err != nil || b.golden == nil {
		return nil, err
	}
	if !b.still() {
		return nil, nil // the configuration reads the model in its own way, or the model was given back
	}
	_, err = b.worker.Ready(ctx) // no turn is taken for that
	return b, err
}

// loaded waits for the worker.
func (s *sampler) loaded(ctx context.Context, p *plate) (*sampled, error) {
	switch {
	case p.as.Bundle != "":
		return s.planted(ctx, p)
	case p.recipe:
		return s.cooked(ctx, p)
	case p.model == nil:
		return nil, nil
	}
	b := &sampled{dir: p.as.Model, worker: p.model}
	b.still = func() bool { return s.running(b.choice, p) == b.worker }
	return b, nil
}

func (s *sampler) running(c *choice, p *plate) *infer.Worker {
	return s.made.running(c, s.cfg.Infer.Threads, runLimit(p.station))
}

// planted is what came with a signed bundle.
func (s *sampler) planted(ctx context.Context, p *plate) (*sampled, error) {
	if _, digest, _, _ := s.updates.now().Active(p.id); digest == "" {
		return nil, nil // none has come to this device
	}
	if err := s.wait(ctx, func() bool { return !s.updates.plant.lacks(p.id) }); err != nil {
		return nil, err
	}
	dir, digest, w := s.updates.plant.serving(p.id)
	if digest == "" {
		return nil, nil
	}
	return &sampled{dir: dir, digest: digest, worker: w, still: func() bool {
		_, _, now := s.updates.plant.serving(p.id)
		return now == w
	}}, nil
}

// cooked is what the configuration names for a recipe.
func (s *sampler) cooked(ctx context.Context, p *plate) (*sampled, error) {
	c, err := choose(modelOptions{model: p.as.Model})
	if err != nil {
		return nil, err
	}
	own, err := chooseConfigured(&p.as)
	if err != nil || workerKey(own, 0, 0) != workerKey(c, 0, 0) {
		return nil, err // the recipe reads the model in its own way
	}
	if err := s.wait(ctx, func() bool { return s.running(c, p) != nil }); err != nil {
		return nil, err
	}
	w := s.running(c, p)
	if w == nil {
		return nil, nil
	}
	return &sampled{dir: p.as.Model, worker: w, still: func() bool { return s.running(c, p) == w }}, nil
}

// first waits for the first pictures that a station inspects: what it inspects with
// must have seen them, what is kept beside that never will.
func (s *sampler) first(ctx context.Context, p *plate, w *infer.Worker) error {
	id := p.station.ID
	switch {
	case p.active:
		s.waited[id] = true
		return s.wait(ctx, func() bool { return w.Stats().Inferred >= sampleAfter })
	case s.waited[id]:
		return nil
	}
	s.waited[id] = true
	return s.wait(ctx, func() bool { return s.inspected(id) >= sampleAfter })
}

// inspected counts the pictures that a station's models have seen.
func (s *sampler) inspected(id string) uint64 {
	n := s.agent.Now()
	for i := range n.Stations {
		if n.Stations[i].ID == id {
			return n.Stations[i].Inferred()
		}
	}
	return 0
}
