package agent

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// Limits of what guests ask of a device that inspects.
var guestLimits = oip.Limits{Body: 32 << 20, Memory: 128 << 20, Requests: 16}

// newGuests lets programs use the stations' models. All of them have one place at
// the accelerator: what the stations leave over, a run at a time, which is stopped
// when a station wants the place.
func (a *Agent) newGuests() *oip.Handler {
	stream := a.sched.Join(sched.StreamConfig{Name: "guests", Class: sched.BestEffort})
	streams := map[sched.Class]*sched.Stream{sched.BestEffort: stream}
	return oip.NewHandler(oip.Config{Version: a.cfg.Version, Limits: guestLimits, Models: func() []oip.Model {
		return a.guestModels(streams)
	}})
}

// Guests answers requests of the Open Inference Protocol, under /v2.
func (a *Agent) Guests() http.Handler { return a.guests }

// guestModels lists what the stations look with now. One that several use is there
// once; of different ones of the same name and version all but the first have
// the beginning of their digest for a version.
func (a *Agent) guestModels(streams map[sched.Class]*sched.Stream) []oip.Model {
	var list []oip.Model
	add := func(station string, w *infer.Worker, about Model) {
		if w == nil || about.Name == "" {
			return
		}
		m := oip.Model{
			Name: about.Name, Version: oip.VersionOf(about.Version), Worker: w, Properties: map[string]string{"stations": station},
			Cost: a.sched.Model(costName(about)), Streams: streams, Yields: true,
		}
		same := func(o oip.Model) bool { return o.Name == m.Name && o.Version == m.Version }
		if i := slices.IndexFunc(list, same); i >= 0 && list[i].Cost != m.Cost {
			m.Version = about.Digest[:min(len(about.Digest), 12)]
		}
		if i := slices.IndexFunc(list, same); i >= 0 {
			if at := list[i].Properties; !slices.Contains(strings.Split(at["stations"], ", "), station) {
				at["stations"] += ", " + station
			}
			return
		}
		if about.Bundle != "" {
			m.Properties["bundle"] = about.Bundle
		}
		list = append(list, m)
	}
	for _, s := range a.stations {
		l := s.loadout()
		add(s.cfg.ID, l.Model, l.About)
		add(s.cfg.ID, l.Small, l.SmallAbout)
		if c := l.Cascade; c != nil {
			add(s.cfg.ID, c.Large, c.About)
		}
	}
	return list
}

// GuestsOf tells what guests asked a handler for.
func GuestsOf(h *oip.Handler) []api.Guest {
	var all []api.Guest
	for _, s := range h.Stats() {
		all = append(all, api.Guest(s))
	}
	return all
}
