package agent

import (
	"context"
	"io"
	"strings"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
)

// updates are how the stations are with the bundles that they inspect with, by station.
func (a *Agent) updates() map[string]*api.Update {
	out := map[string]*api.Update{}
	for station, all := range a.allUpdates() {
		e, _ := a.Recipe(station) // a station that isn't there has no recipe
		for _, u := range all {
			if u.Recipe == e.Recipe || u.Recipe == "" && out[station] == nil {
				out[station] = u
			}
		}
	}
	return out
}

// allUpdates are those of recipes that aren't active as well.
func (a *Agent) allUpdates() map[string][]*api.Update {
	if a.cfg.Updates == nil {
		return nil
	}
	out := map[string][]*api.Update{}
	for _, u := range a.cfg.Updates() {
		out[u.Station] = append(out[u.Station], &u)
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
	all := a.allUpdates()
	for _, s := range a.stations {
		id, l := s.cfg.ID, s.loadout()
		a.set(health.UnsignedModel, id, l.unsigned() != "", l.unsigned())
		runs := "it inspects nothing meanwhile"
		if l.Model != nil {
			runs = l.About.Name + " runs meanwhile"
		}
		a.set(health.NoBundleYet, id, l.Follows != "" && l.About.Bundle == "", l.Follows+"; "+runs)
		var waiting, refused, back, unmeasured []string
		for _, u := range all[id] {
			whose := ""
			if u.Recipe != "" {
				whose = " (recipe " + u.Recipe + ")"
			}
			if n := u.Next; n != nil && n.Phase == api.Waiting && n.Reason == api.ForOperator {
				waiting = append(waiting, n.Name+" "+n.Version+whose)
			}
			if b := u.Active; b != nil && b.Unmeasured != "" {
				unmeasured = append(unmeasured, b.Name+" "+b.Version+whose+": "+b.Unmeasured)
			}
			f := u.Failure
			switch {
			case f == nil:
			case f.Phase == api.RolledBack:
				back = append(back, f.Name+" "+f.Version+whose+": "+f.Text)
			case f.Text != "":
				refused = append(refused, f.Name+" "+f.Version+whose+": "+f.Text)
			}
		}
		a.set(health.BundleUnmeasured, id, len(unmeasured) > 0, strings.Join(unmeasured, "; "))
		a.set(health.UpdateWaiting, id, len(waiting) > 0, strings.Join(waiting, "; "))
		a.set(health.UpdateRefused, id, len(refused) > 0, strings.Join(refused, "; "))
		a.set(health.UpdateRolledBack, id, len(back) > 0, strings.Join(back, "; "))
	}
}
