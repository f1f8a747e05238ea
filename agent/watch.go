package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/sched"
)

// watchEvery is how often the state of everything is turned into warnings.
const watchEvery = 250 * time.Millisecond

// noteEvery is in how many rounds the fleet is told of changes once: what it is told
// takes the figures of everything.
const noteEvery = 2

// oldest is a time that no device's clock can honestly show.
var oldest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// watch keeps the health warnings true until the context ends.
func (a *Agent) watch(ctx context.Context) error {
	if a.cfg.Opened.Quarantined != "" {
		a.health.Raise(health.JournalQuarantined, a.cfg.Opened.Quarantined, a.cfg.Opened.Reason)
	}
	a.set(health.NetworkOpen, "", a.cfg.Open, "")
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	watched := make([]watchedStation, len(a.stations))
	cameras := make([]watchedCamera, len(a.cameras))
	missed := make([]counted, len(a.doors))
	var noted string
	for round := 0; ; round++ {
		a.look(time.Now())
		a.govern(time.Now())
		for n, s := range a.stations {
			a.watchStation(s, &watched[n])
		}
		for n, c := range a.cameras {
			a.watchCamera(c, &cameras[n])
		}
		a.watchLine(time.Now(), missed)
		a.watchFleet(time.Now())
		a.watchCompute()
		a.shareRuns()
		a.watchUpdates()
		r := a.recorder.Stats()
		a.set(health.JournalFull, "", r.Full, fmt.Sprintf("%d records wait", r.Owed))
		a.set(health.JournalSlow, "", r.Owed > 0 && !r.Full, fmt.Sprintf("%d records wait", r.Owed))
		a.set(health.ClockImplausible, "", time.Now().Before(oldest), time.Now().UTC().Format(time.RFC3339))
		if round%noteEvery == 0 {
			a.note(&noted)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watchedStation is what the last look at a station saw.
type watchedStation struct {
	dropped, ruleFailed, restarts  uint64
	droppedAt, ruleAt, restartedAt time.Time
	unsure, outgrown, gaveWay      counted
}

// shown is how long a warning about something that happened stays.
const shown = time.Minute

func (a *Agent) watchStation(s *Station, w *watchedStation) {
	id, now := s.cfg.ID, time.Now()
	l, restarts := s.loadout(), uint64(0)
	if l.Model != nil {
		restarts = l.Model.Stats().Restarts
	}
	captured, dropped := s.missed()
	a.set(health.FramesDropped, id, l.Model != nil && recent(now, dropped, &w.dropped, &w.droppedAt), fmt.Sprintf("%d of %d so far", dropped, captured))

	unsure := uint64(0)
	for _, v := range s.views {
		unsure += v.unsure.Load()
	}
	a.set(health.PartsUnsure, id, recent(now, unsure, &w.unsure.n, &w.unsure.at), fmt.Sprintf("%d so far", unsure))

	a.watchCascade(s, l.Cascade, now, &w.gaveWay)
	failure := s.Failure()
	detail := fmt.Sprintf("%d times so far", restarts)
	if failure != nil {
		detail = failure.Error()
	}
	a.set(health.ModelWorkerRestarting, id, failure != nil || recent(now, restarts, &w.restarts, &w.restartedAt), detail)
	a.watchMemory(s, &l, w)
	a.set(health.NoRule, id, l.Rule == nil && l.Model != nil && !s.isLoading(), "")
	a.set(health.VerdictsUnrecordedAllowed, id, s.cfg.Allow, "")
	if l.Rule != nil {
		r := l.Rule.Stats()
		a.set(health.RuleFailing, id, recent(now, r.Failed, &w.ruleFailed, &w.ruleAt), r.LastError)
	}
}

// watchMemory looks at what the processes of the station's models take.
func (a *Agent) watchMemory(s *Station, l *Loadout, w *watchedStation) {
	var leaks []string
	outgrown, crowded := uint64(0), false
	for _, m := range l.lookers() {
		outgrown += m.worker.Stats().Outgrown
		crowded = crowded || m.worker.Crowded()
		if leak := m.worker.Leak(); leak != nil {
			text := strings.TrimSpace(m.about.Name+" "+m.about.Version) + ": " + leak.String()
			if left := time.Until(leak.Full); left > 0 {
				text += fmt.Sprintf(", which would meet its cap in %v", left.Round(time.Minute))
			}
			leaks = append(leaks, text)
		}
	}
	a.set(health.ModelLeaks, s.cfg.ID, len(leaks) > 0, strings.Join(leaks, "; "))
	grown := recent(time.Now(), outgrown, &w.outgrown.n, &w.outgrown.at)
	a.set(health.ModelMemory, s.cfg.ID, crowded || grown, fmt.Sprintf("replaced %d times so far", outgrown))
}

// counted is a count as the last look saw it, and when it grew last.
type counted struct {
	n  uint64
	at time.Time
}

// watchLine looks at how far stations are turned down, and at the doors to the line.
func (a *Agent) watchLine(now time.Time, missed []counted) {
	for _, s := range a.stations {
		m := s.member.Stats()
		a.set(health.StationDegraded, s.cfg.ID, m.Step == sched.Slower || m.Step == sched.Smaller, m.Step.String()+": "+m.Why)
		a.set(health.StationOverloaded, s.cfg.ID, m.Step == sched.Nothing, m.Why)
	}
	for n, d := range a.doors {
		st, subject := d.Stats(), d.Station
		a.set(health.DoorShut, subject, st.Open == "" && now.Sub(a.began) > doorPatience, d.Protocol+" "+d.Address+": "+st.Fault)
		a.set(health.DoorSilent, subject, st.Open != "" && st.Heartbeat >= 0 && !st.Alive, d.Protocol+" "+d.Address)
		a.set(health.TriggersMissed, subject, recent(now, st.Missed, &missed[n].n, &missed[n].at), fmt.Sprintf("%d so far, through %s %s", st.Missed, d.Protocol, d.Address))
	}
}

// doorPatience is how long a door may take to open after the start.
const doorPatience = 3 * time.Second

// recent tells whether a count has grown of late.
func recent(now time.Time, count uint64, before *uint64, at *time.Time) bool {
	if count > *before {
		*at = now
	}
	*before = count
	return !at.IsZero() && now.Sub(*at) < shown
}

// isLoading tells whether the rule is still to come.
func (s *Station) isLoading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loading
}

// missed counts the pictures of the station's cameras, and those of them for
// which a newer one came before their turn.
func (s *Station) missed() (captured, dropped uint64) {
	for _, v := range s.views {
		cam := v.camera.cfg.Source.Stats()
		captured += cam.Captured
		dropped += v.feed.Stats().Overwritten + cam.Dropped.NoSlot + cam.Dropped.Late
	}
	return captured, dropped
}

// watchedCamera is what the last look at a camera saw.
type watchedCamera struct {
	broken, incomplete     uint64
	brokenAt, incompleteAt time.Time
}

func (a *Agent) watchCamera(c *Camera, w *watchedCamera) {
	id, cam, now := a.cameraID(c), c.cfg.Source.Stats(), time.Now()
	a.set(health.CameraSilent, id, cam.State == capture.Silent, "last picture "+ago(now, cam.LastFrame))
	a.set(health.CameraUnreachable, id, cam.State == capture.Failed, cam.LastError)
	a.set(health.CameraRefuses, id, cam.State == capture.Refused, cam.LastError)
	d := cam.Dropped
	a.set(health.CameraPictureBroken, id, recent(now, d.Unreadable, &w.broken, &w.brokenAt), fmt.Sprintf("%d of %d so far", d.Unreadable, cam.Captured))
	a.set(health.CameraPictureIncomplete, id, recent(now, d.Incomplete, &w.incomplete, &w.incompleteAt), fmt.Sprintf("%d of %d so far", d.Incomplete, cam.Captured))
	unusable := ""
	if err := c.monitor.ReferenceErr(); err != nil {
		unusable = err.Error()
	}
	a.set(health.CameraReference, id, unusable != "", unusable)
	found := map[quality.Fault]string{}
	for _, f := range c.findings() {
		found[f.Fault] = f.Detail
		if c.cfg.Checks[f.Fault] == Rejects {
			found[f.Fault] = strings.TrimPrefix(f.Detail+"; parts get no decision and are rejected", "; ")
		}
	}
	for fault, warning := range lies {
		detail, on := found[fault]
		a.set(warning, id, on, detail)
	}
}

// lies are the warnings about pictures that can't be trusted.
var lies = map[quality.Fault]health.Warning{
	quality.Frozen: health.CameraFrozen, quality.Dark: health.CameraDark, quality.Overexposed: health.CameraOverexposed,
	quality.Blurred: health.CameraBlurred, quality.Moved: health.CameraMoved, quality.Flicker: health.CameraFlicker,
}

func (a *Agent) set(w health.Warning, subject string, on bool, detail string) {
	if on {
		a.health.Raise(w, subject, detail)
		return
	}
	a.health.Clear(w, subject)
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%.1f s ago", now.Sub(t).Seconds())
}
