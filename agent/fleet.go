package agent

import (
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/wire"
)

// Limits from which the fleet's absence is worth a warning.
const (
	awayLong   = 15 * time.Second   // without a connection
	endingSoon = 2 * 24 * time.Hour // before a certificate ends that couldn't be renewed
)

// fleet is the connection to the fleet, nil without one.
func (a *Agent) fleet() *api.Fleet {
	if a.cfg.Fleet == nil {
		return nil
	}
	return a.cfg.Fleet()
}

// watchFleet keeps the warnings about the fleet true.
func (a *Agent) watchFleet(now time.Time) {
	dropped := a.cfg.Journal.Stats().Dropped
	f := a.fleet()
	a.set(health.JournalDropped, "", dropped > 0 && f != nil, fmt.Sprintf("%d so far", dropped))
	if f == nil {
		for _, w := range []health.Warning{health.FleetUnreachable, health.FleetRefuses, health.CertificateEnding} {
			a.health.Clear(w, "")
		}
		return
	}
	since := a.began
	if f.Since != nil {
		since = *f.Since
	}
	waiting := fmt.Sprintf("%d records wait", f.Backlog)
	if f.Error != "" {
		waiting = f.Error + "; " + waiting
	}
	a.set(health.FleetRefuses, "", f.Refusal != "", f.Refusal)
	a.set(health.FleetUnreachable, "", !f.Connected && f.Refusal == "" && now.Sub(since) > awayLong, waiting)
	a.set(health.CertificateEnding, "", f.Renewal != "" && now.Add(endingSoon).After(f.Certificate), f.Renewal)
}

// State is how the device is doing, as the fleet is told it; what concerns the
// connection and the journal is the uplink's to add.
func (a *Agent) State() *wire.State {
	n := a.Now()
	s := &wire.State{Clock: time.Now().UnixNano(), UptimeMs: uint64(time.Since(n.Began).Milliseconds()), Board: a.Board()}
	for i := range n.Stations {
		st, bundle := &n.Stations[i], a.stations[i].loadout().About.Bundle
		frames, rate := uint64(0), 0.0
		for _, v := range a.stations[i].views {
			cam := v.camera.cfg.Source.Stats()
			frames, rate = frames+cam.Captured, rate+cam.Rate
		}
		s.Stations = append(s.Stations, &wire.StationState{
			Id: st.ID, Line: st.Line, State: string(st.State), Text: st.StateText,
			Model: st.Model.Name, ModelVersion: st.Model.Version, ModelDigest: st.Model.Digest, Rule: st.Rule.Name,
			Pass: st.Counts.Pass, Fail: st.Counts.Fail, None: st.Counts.None,
			Frames: frames, Inferred: st.Inferred(), Rate: float32(rate),
			Bundle: st.Bundle, BundleDigest: bundle, Unsigned: !st.Signed,
			Recipe: st.Recipe, Step: st.Degraded.Step, Unmeasured: unmeasured(st.Update, bundle),
		})
	}
	for _, w := range n.Health {
		s.Warnings = append(s.Warnings, &wire.Warning{
			Code: w.Code, Severity: uint32(w.Severity), Subject: w.Subject, Text: w.Text, Act: w.Do, Since: w.Since.UnixNano(),
		})
	}
	return s
}

// unmeasured says why the bundle that runs isn't proved by the golden pictures that it
// passed; "" where it is, or where u tells of another one.
func unmeasured(u *api.Update, running string) string {
	if u == nil || u.Active == nil || u.Active.Digest != running {
		return ""
	}
	return u.Active.Unmeasured
}

// Changed gets one token when a station's state, or a warning, is another than
// the fleet was told last.
func (a *Agent) Changed() <-chan struct{} { return a.changed }

// note compares what a person would want to know at once with what it was.
func (a *Agent) note(before *string) {
	now, warnings := "", a.health.List()
	for _, s := range a.stations {
		s.mu.Lock()
		f := Figures{Stats: s.stats}
		s.mu.Unlock()
		state, _ := s.state(&f, time.Now())
		now += s.cfg.ID + " " + string(state) + " " + s.echo().Recipe + " " + s.member.Stats().Step.String() + "\n"
	}
	for _, w := range warnings {
		now += w.Code + " " + w.Subject + "\n"
	}
	if now == *before {
		return
	}
	*before = now
	select {
	case a.changed <- struct{}{}:
	default: // a token is there already
	}
}
