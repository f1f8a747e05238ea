package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater"
)

// status is how each station is with its bundle, as page and REST tell it.
func (u *updates) status() []api.Update {
	var list []api.Update
	for _, s := range u.now().Status() {
		one := api.Update{Active: activeOf(s), Next: nextOf(s), Failure: failureOf(s)}
		if n := one.Next; n != nil && n.Phase == api.Staged {
			if b, ok := u.plant.building(n.Digest); ok {
				n.Text = b.String()
			}
		}
		one.Station, one.Recipe = wire.SplitUnit(s.Station)
		list = append(list, one)
	}
	return list
}

func activeOf(s updater.StationStatus) *api.Bundle {
	if s.Active.Factory || s.Active.None {
		return nil
	}
	return &api.Bundle{Name: s.Bundle, Version: s.Active.Version, Digest: s.Active.Digest, Since: moment(s.Active.Since), Unmeasured: s.Active.Unmeasured}
}

func nextOf(s updater.StationStatus) *api.Coming {
	n := s.Next
	if n == nil {
		return nil
	}
	return &api.Coming{
		Name: s.Bundle, Version: n.Version, Digest: n.Digest, Phase: api.Phase(n.Phase), Reason: string(n.Reason), Text: n.Text,
		Done: n.Done, Total: n.Total, Unmeasured: n.Unmeasured,
	}
}

func failureOf(s updater.StationStatus) *api.Failure {
	f := s.Failure
	if f == nil && s.Active.None && s.Active.Text != "" {
		return &api.Failure{Name: s.Bundle, Reason: string(s.Active.Reason), Text: s.Active.Text}
	}
	if f == nil {
		return nil
	}
	out := &api.Failure{
		Name: s.Bundle, Version: f.Version, Digest: f.Digest, Phase: api.Phase(f.Phase), Reason: string(f.Reason), Text: f.Text, At: moment(f.At),
	}
	for _, path := range f.Pictures {
		out.Pictures = append(out.Pictures, pictureName(path))
	}
	return out
}

// moment is nil for a time that isn't.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// pictureName is what a drawn picture of a refused bundle is called outside:
// its folder is the bundle's digest.
func pictureName(path string) string {
	return filepath.Base(filepath.Dir(path)) + "-" + filepath.Base(path)
}

// picture is a drawn picture by the name that status gave.
func (u *updates) picture(name string) ([]byte, bool) {
	for _, s := range u.now().Status() {
		if s.Failure == nil {
			continue
		}
		for _, path := range s.Failure.Pictures {
			if pictureName(path) != name {
				continue
			}
			b, err := os.ReadFile(path)
			return b, err == nil
		}
	}
	return nil, false
}

// approve is an operator's OK for what a station waits with: of the recipe that is
// active, which the page shows, else of another one. The error is that of the first.
func (u *updates) approve(station string) error {
	now := u.now()
	first := fmt.Errorf("station %s follows no bundle", station)
	for n, unit := range u.units(station) {
		err := now.Approve(unit)
		if err == nil {
			return nil
		}
		if n == 0 {
			first = err
		}
	}
	return first
}

// units are what of a station follows a bundle; that of the active recipe comes first.
func (u *updates) units(station string) (all []string) {
	for _, s := range u.stations() {
		name, _ := wire.SplitUnit(s.ID)
		switch p := u.plant.stations[s.ID]; {
		case name != station:
		case p != nil && u.plant.serves(p):
			all = append([]string{s.ID}, all...)
		default:
			all = append(all, s.ID)
		}
	}
	return all
}

func (u *updates) install(ctx context.Context, folder string) error {
	if !filepath.IsAbs(folder) {
		return fmt.Errorf("update from %s: give the folder's whole path, beginning with /", folder)
	}
	return u.now().Local(ctx, folder)
}
