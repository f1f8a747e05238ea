package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision/capture"
)

// watchEvery is how often the state of everything is turned into warnings.
const watchEvery = 500 * time.Millisecond

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
	var noted string
	for {
		a.look(time.Now())
		for n, s := range a.stations {
			a.watchStation(s, &watched[n])
		}
		a.watchFleet(time.Now())
		a.watchUpdates()
		r := a.recorder.Stats()
		a.set(health.JournalFull, "", r.Full, fmt.Sprintf("%d records wait", r.Owed))
		a.set(health.JournalSlow, "", r.Owed > 0 && !r.Full, fmt.Sprintf("%d records wait", r.Owed))
		a.set(health.ClockImplausible, "", time.Now().Before(oldest), time.Now().UTC().Format(time.RFC3339))
		a.note(&noted)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watchedStation is what the last look at a station saw.
type watchedStation struct {
	dropped, unreadable, ruleFailed uint64
	droppedAt, unreadableAt, ruleAt time.Time
	restarts                        uint64
	restartedAt                     time.Time
}

// shown is how long a warning about something that happened stays.
const shown = time.Minute

func (a *Agent) watchStation(s *Station, w *watchedStation) {
	id, cam, now := s.cfg.ID, s.cfg.Camera.Stats(), time.Now()
	recent := func(count uint64, before *uint64, at *time.Time) bool {
		if count > *before {
			*at = now
		}
		*before = count
		return !at.IsZero() && now.Sub(*at) < shown
	}
	a.set(health.CameraSilent, id, cam.State == capture.Silent, "last picture "+ago(now, cam.LastFrame))
	a.set(health.CameraUnreachable, id, cam.State == capture.Failed, cam.LastError)
	unreadable := recent(cam.Dropped.Unreadable, &w.unreadable, &w.unreadableAt)
	a.set(health.CameraPictureBroken, id, unreadable, fmt.Sprintf("%d so far", cam.Dropped.Unreadable))
	l, restarts := s.loadout(), uint64(0)
	if l.Model != nil {
		restarts = l.Model.Stats().Restarts
	}
	dropped := cam.Dropped.Overwritten + cam.Dropped.NoSlot + cam.Dropped.Late
	a.set(health.FramesDropped, id, l.Model != nil && recent(dropped, &w.dropped, &w.droppedAt), fmt.Sprintf("%d of %d so far", dropped, cam.Captured))

	failure := s.Failure()
	detail := fmt.Sprintf("%d times so far", restarts)
	if failure != nil {
		detail = failure.Error()
	}
	a.set(health.ModelWorkerRestarting, id, failure != nil || recent(restarts, &w.restarts, &w.restartedAt), detail)
	a.set(health.NoRule, id, l.Rule == nil && l.Model != nil, "")
	a.set(health.VerdictsUnrecordedAllowed, id, s.cfg.Allow, "")
	if l.Rule != nil {
		r := l.Rule.Stats()
		a.set(health.RuleFailing, id, recent(r.Failed, &w.ruleFailed, &w.ruleAt), r.LastError)
	}
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
