package agent

import (
	"context"
	"io"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
)

// updates are how the stations are with their bundles, by station.
func (a *Agent) updates() map[string]*api.Update {
	if a.cfg.Updates == nil {
		return nil
	}
	out := map[string]*api.Update{}
	for _, u := range a.cfg.Updates() {
		out[u.Station] = &u
	}
	return out
}

// Approve is an operator's OK for what a station waits with (api.Source).
func (a *Agent) Approve(station string) error {
	if a.cfg.Approve == nil {
		return api.ErrNoUpdates
	}
	return a.cfg.Approve(station)
}

// Install brings in bundles from a folder (api.Source).
func (a *Agent) Install(ctx context.Context, folder string) error {
	if a.cfg.Install == nil {
		return api.ErrNoUpdates
	}
	return a.cfg.Install(ctx, folder)
}

// Golden records golden vectors (api.Source).
func (a *Agent) Golden(ctx context.Context, archive io.Reader, pictures []string) ([]byte, error) {
	if a.cfg.Golden == nil {
		return nil, api.ErrNoGolden
	}
	return a.cfg.Golden(ctx, archive, pictures)
}

// RefusedPicture is a drawn picture of a refused bundle (api.Source).
func (a *Agent) RefusedPicture(name string) ([]byte, bool) {
	if a.cfg.RefusedPicture == nil {
		return nil, false
	}
	return a.cfg.RefusedPicture(name)
}

// watchUpdates keeps the warnings about bundles true.
func (a *Agent) watchUpdates() {
	all := a.updates()
	for _, s := range a.stations {
		id, l, u := s.cfg.ID, s.loadout(), all[s.cfg.ID]
		a.set(health.UnsignedModel, id, l.About.Unsigned, l.About.Name)
		runs := "it inspects nothing meanwhile"
		if l.Model != nil {
			runs = l.About.Name + " runs meanwhile"
		}
		a.set(health.NoBundleYet, id, s.cfg.Bundle != "" && l.About.Bundle == "", s.cfg.Bundle+"; "+runs)
		var next api.Coming
		var failure api.Failure
		if u != nil && u.Next != nil {
			next = *u.Next
		}
		if u != nil && u.Failure != nil {
			failure = *u.Failure
		}
		name := next.Name + " " + next.Version
		a.set(health.UpdateWaiting, id, next.Phase == api.Waiting && next.Reason == api.ForOperator, name)
		name = failure.Name + " " + failure.Version + ": " + failure.Text
		a.set(health.UpdateRefused, id, failure.Text != "" && failure.Phase != api.RolledBack, name)
		a.set(health.UpdateRolledBack, id, failure.Phase == api.RolledBack, name)
	}
}
