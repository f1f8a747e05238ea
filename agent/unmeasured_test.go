package agent

import (
	"testing"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision/infer"
)

// TestFleetIsToldWhatIsUnmeasured: of the bundle that runs, and not of another one
// that the updater has in mind.
func TestFleetIsToldWhatIsUnmeasured(t *testing.T) {
	const why = "how far cuda float32 moves was never measured for this bundle"
	first := shipped(t, "first", 0.1)
	station := func(id, follows string) StationConfig {
		return StationConfig{ID: id, Bundle: follows, Model: first.Model, About: first.About, Rule: first.Rule, Track: first.Track}
	}
	bundle := func(station, digest string) api.Update {
		return api.Update{Station: station, Active: &api.Bundle{Name: "caps", Version: "1.2.0", Digest: digest, Unmeasured: why}}
	}
	r := plantWith(t, []*infer.Worker{first.Model}, func(a *Agent) {
		a.cfg.Updates = func() []api.Update {
			return []api.Update{bundle("one", first.About.Bundle), bundle("two", "digest of another"), {Station: "three"}}
		}
	}, station("one", "caps"), station("two", "caps"), station("three", "caps"), station("four", ""))
	r.eventually("the warning", func() bool { return r.warned(health.BundleUnmeasured, "one") })
	for i, want := range []string{why, "", "", ""} {
		if s := r.State().Stations[i]; s.GetUnmeasured() != want || s.GetBundleDigest() != "digest of first" {
			t.Errorf("%v", s)
		}
	}
}
