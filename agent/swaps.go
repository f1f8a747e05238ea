package agent

import (
	"fmt"

	"github.com/sightline-edge/sightline/agent/api"
)

// Swapping is what is known of a station's model beside what it inspects with.
type Swapping struct {
	Configured string    // what the configuration names; "" where a bundle or a recipe brings the model
	Source     string    // where the present one comes from
	Swap       *api.Swap // that is on, or the last one; nil for none
}

func (a *Agent) swapping(station string) Swapping {
	if a.cfg.Swapping == nil {
		return Swapping{}
	}
	return a.cfg.Swapping(station)
}

// Model implements api.Source.
func (s source) Model(station string) (api.StationModel, error) {
	st := s.find(station)
	if st == nil {
		return api.StationModel{}, asAPI(fmt.Errorf("model of station %s: %w", station, ErrNoStation))
	}
	f, l, n := st.figures(liveFrames), st.loadout(), s.swapping(station)
	return api.StationModel{Model: modelNow(&l, &f), Configured: n.Configured, Source: n.Source, Swap: n.Swap}, nil
}

// SwapModel implements api.Source.
func (s source) SwapModel(station string, ask api.SwapAsk) (api.StationModel, error) {
	switch {
	case s.find(station) == nil:
		return s.Model(station)
	case s.cfg.Swap == nil:
		return api.StationModel{}, api.ErrBadSwap
	}
	if err := s.cfg.Swap(station, ask); err != nil {
		return api.StationModel{}, err
	}
	return s.Model(station)
}

// CancelSwap implements api.Source.
func (s source) CancelSwap(station string) error {
	switch {
	case s.find(station) == nil:
		_, err := s.Model(station)
		return err
	case s.cfg.CancelSwap == nil:
		return api.ErrNoSwap
	}
	return s.cfg.CancelSwap(station)
}
