package updater

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/updater/gate"
)

// doubt is a sample of golden pictures that came out otherwise.
type doubt struct {
	digest string
	text   string // what differed, for people
	right  func() // hears that all of them came out right; may be nil
	due    time.Time
	tries  int // that something hindered
}

// Doubt is for after the start: golden pictures of the bundle that the station runs
// came out otherwise on the worker that serves. All of them run again, beside
// serving, and if they differ too the last good bundle serves instead; otherwise right
// is called, unless it is nil. It returns at once.
func (u *Updater) Doubt(id, digest, text string, right func()) error {
	s := u.station(id)
	if s == nil {
		return fmt.Errorf("prove a bundle again: there is no station %q that follows one", id)
	}
	u.log.Error("golden pictures of an active bundle came out otherwise: all of them run again", "station", id, "bundle", digest, "text", text)
	s.doubt.Store(&doubt{digest: digest, text: text, right: right})
	poke(s.wake)
	return nil
}

// settle looks into the station's doubt if that is due, and says in how long one will
// be. What hinders it hinders nothing else that the station does.
func (u *Updater) settle(ctx context.Context, s *station) time.Duration {
	d := s.doubt.Load()
	if d == nil {
		return idle
	}
	if left := time.Until(d.due); left > 0 {
		return left
	}
	s.doubt.CompareAndSwap(d, nil)
	err := u.reprove(ctx, s, d)
	if err == nil || ctx.Err() != nil {
		return idle
	}
	wait := pause(d.tries)
	u.log.Warn("the golden pictures of the active bundle can't run again now", "station", s.ID, "bundle", d.digest, "again_in", wait, "err", err)
	later := *d
	later.due, later.tries = time.Now().Add(wait), d.tries+1
	s.doubt.CompareAndSwap(nil, &later)
	return wait
}

// reprove runs the gate of what is active. What fails it leaves, if there is
// something good to go back to; without, it serves on, and the next start gates it
// before it serves.
func (u *Updater) reprove(ctx context.Context, s *station, d *doubt) error {
	p := s.rec.Load().active()
	if p.Digest == "" || p.Digest != d.digest {
		return nil // it was replaced meanwhile
	}
	g, text, err := u.again(ctx, s, p)
	switch {
	case err != nil:
		return err
	case g != nil:
		if d.right != nil {
			d.right()
		}
		u.log.Warn("all golden pictures came out right this time", "station", s.ID, "bundle", p.Digest, "before", d.text)
	case g == nil:
		u.log.Error("the active bundle fails its gate while it serves", "station", s.ID, "bundle", p.Digest, "text", text)
		if err := u.leaveFor(ctx, s, text); err != nil {
			u.log.Error("it serves on", "station", s.ID, "bundle", p.Digest, "err", err)
			u.setGate(s, p.Digest, nil)
		}
		return nil
	}
	u.setGate(s, p.Digest, g)
	return nil
}

// again loads the active bundle beside what serves, which shares its worker, and
// runs its golden pictures.
func (u *Updater) again(ctx context.Context, s *station, p place) (g *result, text string, err error) {
	done, err := u.alone(ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	loading, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	c, err := u.cfg.Plant.Load(loading, s.ID, u.contentPath(p.Digest), p.Digest)
	var refused *Refused
	if errors.As(err, &refused) {
		return nil, err.Error(), nil
	} else if err != nil {
		return nil, "", err
	}
	defer u.giveBack(s, c)
	g, text, err = u.golden(ctx, c, p.Digest)
	if errors.Is(err, gate.ErrNoGolden) {
		return nil, err.Error(), nil
	}
	return g, text, err
}

// leaveFor lets the best of what is left serve instead of the active bundle.
func (u *Updater) leaveFor(ctx context.Context, s *station, text string) error {
	faults := []error{errNoGood}
	for _, p := range s.rec.Load().fallbacks() {
		if err := u.serveAgain(ctx, s, p); err != nil {
			faults = append(faults, err)
			continue
		}
		u.fallBack(s, GoldenGate, text, func(q place) error {
			if !q.same(p) {
				return errNoGood
			}
			return nil
		})
		u.collect()
		return nil
	}
	return errors.Join(faults...)
}

// setGate notes what the gate said of a bundle wherever it stands.
func (u *Updater) setGate(s *station, digest string, g *result) {
	u.fact(s, proved, func(r *record) {
		for _, q := range []*place{&r.A, &r.B, &r.Good, &r.Older} {
			if q.Digest == digest {
				q.Gate = g
			}
		}
	})
}
