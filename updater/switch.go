package updater

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errNoGood means that a station can't go back.
var errNoGood = errors.New("there is nothing good to go back to")

// leave says whether a station may switch now, and if not, what it waits for.
type leave struct {
	now    bool
	reason Reason
	text   string
}

func (u *Updater) allowed(s *station) leave {
	if s.rec.Load().Approved {
		return leave{now: true}
	}
	switch s.Policy {
	case InWindow:
		wall := time.Now().In(u.cfg.Zone)
		switch {
		case wall.Before(u.cfg.Build):
			return leave{reason: WaitsForWindow, text: "the clock isn't set, it shows " + wall.Format(time.DateTime)}
		case s.Window == nil || !s.Window.Open(wall):
			return leave{reason: WaitsForWindow}
		}
		return leave{now: true}
	case Ask:
		return leave{reason: WaitsForOperator}
	case DownloadOnly:
		return leave{reason: Downloaded}
	}
	return leave{now: true}
}

// Approve is an operator's OK to switch the station now, whatever its policy.
func (u *Updater) Approve(id string) error {
	s := u.station(id)
	if s == nil {
		return fmt.Errorf("approve the update: there is no station %q that follows a bundle", id)
	}
	phase := Phase("")
	waits := func(r *record) bool {
		phase = r.Phase
		return phase == Gated || phase == Waiting
	}
	if err := u.recordIf(s, approve, waits, func(r *record) { r.Approved = true }); err != nil {
		return fmt.Errorf("approve the update of %s: %w", id, err)
	}
	if phase != Gated && phase != Waiting {
		return fmt.Errorf("approve the update of %s: nothing waits for an OK, it is %s", id, phase)
	}
	u.log.Info("an operator approves an update", "station", id)
	return nil
}

// activate lets a proved candidate serve. It is counted before: it might take
// the program down.
func (u *Updater) activate(ctx context.Context, s *station, c Candidate) error {
	if s.rec.Load().Begun == 0 {
		if err := u.record(s, begin, func(r *record) { r.Begun++ }); err != nil {
			return err
		}
	}
	was := newBaseline(u.cfg.Plant.Vitals(s.ID))
	after, epoch, err := c.Activate(ctx)
	if err != nil {
		return u.fault(ctx, s, err)
	}
	s.watch = watch{digest: s.rec.Load().Job.Digest, began: time.Now()}
	s.unwait()
	u.fact(s, activated, func(r *record) {
		r.Active = r.other()
		r.After, r.Epoch, r.Before, r.Since = after, epoch, was, u.now()
		r.Boots, r.Begun, r.Approved, r.Reason, r.Text = 0, 0, false, "", ""
	})
	return nil
}

// watch is since when a bundle on probation is watched in this run of the
// program.
type watch struct {
	digest string
	began  time.Time // monotonic
	serves bool      // the station runs it
}

// watchOver judges a bundle on probation.
func (u *Updater) watchOver(ctx context.Context, s *station) (time.Duration, error) {
	r := s.rec.Load()
	v := u.cfg.Plant.Vitals(s.ID)
	serves := v.Digest == r.active().Digest
	if s.watch.digest != r.active().Digest || serves && !s.watch.serves {
		s.watch = watch{digest: r.active().Digest, began: time.Now(), serves: serves}
	}
	since := time.Since(s.watch.began)
	if !serves && v.Failure == "" && since < serveTime {
		return lookAgain, nil
	}
	t := trial{before: r.Before, now: v, since: since, lasts: defaultProbation, verdicts: r.Job.needs()}
	if r.Job.Probation > 0 {
		t.lasts = time.Duration(r.Job.Probation) * time.Millisecond
	}
	f := judge(t)
	if !serves && v.Failure == "" {
		f = finding{reason: Crashes, text: "the station doesn't run it"}
	}
	a := u.assignment(s.Bundle)
	other := a != nil && a.Act == install && a.Digest != r.Job.Digest
	switch {
	case f.waits && f.reason == Idle && other:
		return 0, u.goBack(ctx, s, Superseded, f.text, nil)
	case f.waits:
		if s.waits().reason != f.reason {
			s.wait(u, f.reason, f.text)
		}
		poke(u.tell) // verdicts for the proof may have come
		return lookAgain, nil
	case f.done:
		return 0, u.end(s, keep, func(r *record) {
			r.Older, r.Good, r.Boots, r.Reason, r.Text = r.Good, r.active(), 0, "", ""
		})
	}
	u.log.Error("a bundle on probation is rolled back", "station", s.ID, "bundle", r.active().Digest, "reason", string(f.reason), "text", f.text)
	return 0, u.goBack(ctx, s, f.reason, f.text, nil)
}

// needs is how many verdicts a station must tell.
func (c *command) needs() uint64 {
	if c.Verdicts == 0 {
		return defaultVerdicts
	}
	return uint64(c.Verdicts)
}

// goBack makes the last good one serve, or the one before that. by is the
// command that wants it, nil for none.
func (u *Updater) goBack(ctx context.Context, s *station, reason Reason, text string, by *command) error {
	faults := []error{errNoGood}
	for _, p := range s.rec.Load().fallbacks() {
		if err := u.serveAgain(ctx, s, p); err != nil {
			faults = append(faults, err)
			continue
		}
		e := back
		if by != nil {
			e = recall
		}
		u.fact(s, e, func(r *record) {
			if by != nil {
				r.Job, r.Begun, r.Approved, r.Reason, r.Text = *by, 0, false, reason, text
			} else {
				r.failed(reason, text, u.now())
			}
			if reason == Superseded { // nothing is known against it
				r.forgive()
			}
			r.fallTo(p)
			r.Since = u.now()
		})
		s.unwait()
		u.collect()
		return nil
	}
	return fmt.Errorf("go back from the bundle (%s): %w", reason, errors.Join(faults...))
}

// serveAgain loads and activates what ran before. It doesn't wait for another
// station's gate.
func (u *Updater) serveAgain(ctx context.Context, s *station, p place) error {
	if err := u.sound(p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	c, err := u.cfg.Plant.Load(ctx, s.ID, u.pathOf(p), p.Digest)
	if err != nil {
		return fmt.Errorf("load the bundle before: %w", err)
	}
	defer u.giveBack(s, c)
	if _, _, err := c.Activate(ctx); err != nil {
		return fmt.Errorf("activate the bundle before: %w", err)
	}
	return nil
}
