package updater

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	maxFailed  = 5           // failures of a bundle under different commands
	idle       = time.Hour   // where nothing is due
	lookAgain  = time.Second // at a bundle on probation
	windowLook = 15 * time.Second
)

// wait notes why the station waits.
func (s *station) wait(u *Updater, reason Reason, text string) {
	s.mu.Lock()
	same := s.note.reason == reason
	s.note = note{reason, clip(text)}
	s.mu.Unlock()
	if !same {
		poke(u.tell)
	}
}

// unwait forgets it.
func (s *station) unwait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = note{}
}

func (s *station) waits() note {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

// serve takes one station through its commands until ctx ends.
func (u *Updater) serve(ctx context.Context, s *station) {
	for ctx.Err() == nil {
		wait, err := u.turn(ctx, s)
		if err != nil && ctx.Err() == nil {
			reason, _ := classify(err)
			switch {
			case errors.Is(err, errNoGood):
				reason = NoGoodLeft
			case reason != NoSpace && reason != Storage:
				reason = Busy // the fleet has no part in it
			}
			s.wait(u, reason, err.Error())
			wait = pause(s.tries)
			s.tries++
			u.log.Warn("an update waits", "station", s.ID, "again_in", wait, "err", err)
			s.resume, s.failed = time.Now().Add(wait), u.newest(s)
		} else if err == nil {
			s.tries = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// turn does what is due, and says how long there is nothing to do by itself.
func (u *Updater) turn(ctx context.Context, s *station) (time.Duration, error) {
	if left := time.Until(s.resume); left > 0 && s.failed == u.newest(s) {
		return left, nil
	}
	if err := u.flush(s); err != nil {
		if s.rec.Load().Phase != Probation {
			return 0, err
		}
		s.wait(u, Storage, err.Error())
		return u.watchOver(ctx, s) // what serves may misbehave whether or not that is on disk
	}
	if err := u.follow(ctx, s); err != nil {
		return 0, err
	}
	doubtful := u.settle(ctx, s)
	wait, err := u.step(ctx, s)
	return min(wait, doubtful), err
}

// step does what the station's phase asks for.
func (u *Updater) step(ctx context.Context, s *station) (time.Duration, error) {
	switch r := s.rec.Load(); r.Phase {
	case Staged:
		return 0, u.prove(ctx, s)
	case Gated, Waiting:
		return u.attend(ctx, s)
	case Probation:
		return u.watchOver(ctx, s)
	}
	return idle, nil
}

// follow takes over the newest command about the station's bundle.
func (u *Updater) follow(ctx context.Context, s *station) error {
	a, r := u.assignment(s.Bundle), s.rec.Load()
	if a == nil || a.id() == r.Job.id() {
		return nil
	}
	pending := r.Phase.Open() && r.Phase != Probation && r.Job.Digest == a.Digest
	switch a.Act {
	case install:
		return u.followInstall(s, a, r)
	case rollback:
		if r.active().Digest == a.Digest {
			return u.goBack(ctx, s, Commanded, "", a)
		}
	}
	switch {
	case pending:
		return u.end(s, cancel, func(r *record) { r.Job.Act, r.Job.Nonce, r.Job.Rollout, r.Job.At = a.Act, a.Nonce, a.Rollout, a.At })
	case a.Act == rollback && r.Phase == RolledBack && r.Job.Digest == a.Digest:
		return u.record(s, renew, func(r *record) { r.Job = *a })
	}
	return nil
}

func (u *Updater) followInstall(s *station, a *command, r *record) error {
	if r.Phase == Probation {
		if a.Digest != r.Job.Digest {
			return nil // see watchOver
		}
		return u.record(s, renew, func(r *record) { r.Job = *a })
	}
	e, reason, text := assign, Reason(""), ""
	switch t := r.Tries[a.Digest]; {
	case r.active().Digest == a.Digest && r.active().same(r.Good):
		e = runs
	case t.Failed > 0 && t.Last == a.Nonce:
		e, reason, text = decline, TooManyTries, "it failed under this very command"
	case t.Failed >= maxFailed:
		e, reason, text = decline, TooManyTries, fmt.Sprintf("it failed %d times on this station: publish another version", t.Failed)
	}
	return u.end(s, e, func(r *record) {
		r.Job, r.Begun, r.Approved, r.Reason, r.Text = *a, 0, false, reason, text
	})
}

// end makes a transition after which bundles may be garbage.
func (u *Updater) end(s *station, e event, change func(r *record)) error {
	if err := u.record(s, e, change); err != nil {
		return err
	}
	s.unwait()
	u.collect()
	return nil
}

// reject refuses the job's bundle for good.
func (u *Updater) reject(s *station, reason Reason, text string) error {
	return u.end(s, refuse, func(r *record) { r.failed(reason, text, u.now()) })
}

// newest is the id of the newest command about the station's bundle, or "".
func (u *Updater) newest(s *station) string {
	if a := u.assignment(s.Bundle); a != nil {
		return a.id()
	}
	return ""
}

// outdated says whether the job was replaced meanwhile.
func (u *Updater) outdated(s *station) bool {
	a := u.assignment(s.Bundle)
	return a != nil && a.id() != s.rec.Load().Job.id()
}
