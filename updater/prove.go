package updater

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/updater/gate"
)

const (
	maxBegun = 3             // loads that nobody saw end, or that failed for no fault of the bundle
	loadTime = 8 * time.Hour // an engine may be built first, after others
	gateTime = 15 * time.Minute

	serveTime = 10 * time.Minute // from a start until what is active serves; its engine is there
)

// alone waits until no other bundle is loaded or gated: a device has memory
// for one more.
func (u *Updater) alone(ctx context.Context) (done func(), err error) {
	select {
	case u.heavy <- struct{}{}:
		return func() { <-u.heavy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// prove loads a staged bundle and runs its gate. It goes on to the activation
// with the same worker if the policy allows.
func (u *Updater) prove(ctx context.Context, s *station) error {
	done, err := u.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	if u.outdated(s) {
		return nil
	}
	c, err := u.loaded(ctx, s)
	if c == nil {
		return err
	}
	defer u.giveBack(s, c)
	g, err := u.gate(ctx, s, c)
	if g == nil {
		return err
	}
	err = u.record(s, passed, func(r *record) {
		r.slot(r.other()).Gate = g
		r.Begun, r.Reason, r.Text = 0, "", ""
	})
	if err != nil || u.outdated(s) || !u.allowed(s).now {
		return err
	}
	return u.activate(ctx, s, c)
}

// attend switches to a bundle that has passed its gate, once the policy
// allows.
func (u *Updater) attend(ctx context.Context, s *station) (time.Duration, error) {
	may := u.allowed(s)
	if !may.now {
		if s.rec.Load().Phase == Gated {
			return 0, u.record(s, hold, func(r *record) { r.Reason, r.Text = may.reason, may.text })
		}
		if s.waits().reason != may.reason {
			s.wait(u, may.reason, may.text)
		}
		return windowLook, nil
	}
	done, err := u.alone(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	if u.outdated(s) {
		return 0, nil
	}
	c, err := u.loaded(ctx, s)
	if c == nil {
		return 0, err
	}
	defer u.giveBack(s, c)
	if r := s.rec.Load(); !r.slot(r.other()).Gate.holds(c.Fingerprint()) { // the driver changed while it waited
		g, err := u.gate(ctx, s, c)
		if g == nil {
			return 0, err
		}
		if err := u.record(s, proved, func(r *record) { r.slot(r.other()).Gate = g }); err != nil {
			return 0, err
		}
	}
	return 0, u.activate(ctx, s, c)
}

// loaded loads the job's bundle, after that was counted and its files were
// verified. It is nil without an error if the job has ended by that.
func (u *Updater) loaded(ctx context.Context, s *station) (Candidate, error) {
	r := s.rec.Load()
	if r.Begun >= maxBegun {
		text := fmt.Sprintf("it was begun %d times and never got through", r.Begun)
		if n := s.waits(); n.text != "" {
			text += "; at last: " + n.text
		}
		return nil, u.reject(s, TooManyTries, text)
	}
	err := u.verify(r.Job.Digest)
	if staged := r.slot(r.other()).Digest; err == nil && staged != r.Job.Digest {
		err = fmt.Errorf("in the slot is %q", staged)
	}
	if err != nil {
		u.log.Error("a staged bundle is damaged: it is fetched again", "station", s.ID, "err", err)
		return nil, u.record(s, mislaid, func(r *record) { r.Begun++ })
	}
	if err := u.record(s, begin, func(r *record) { r.Begun++ }); err != nil {
		return nil, err
	}
	loading, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	dir := u.contentPath(r.Job.Digest)
	if err := u.cfg.Plant.Suits(s.ID, dir); err != nil {
		return nil, u.fault(ctx, s, err)
	}
	c, err := u.cfg.Plant.Load(loading, s.ID, dir, r.Job.Digest)
	if err != nil {
		return nil, u.fault(ctx, s, err)
	}
	return c, nil
}

// fault sorts what a load, a gate or an activation said: nil if the job ended
// by it. That the program ends meanwhile isn't counted.
func (u *Updater) fault(ctx context.Context, s *station, err error) error {
	var refused *Refused
	switch {
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), u.record(s, giveUp, func(r *record) { r.Begun = max(r.Begun-1, 0) }))
	case errors.As(err, &refused):
		return u.reject(s, BadModel, err.Error())
	}
	return fmt.Errorf("load the bundle: %w", err)
}

func (u *Updater) giveBack(s *station, c Candidate) {
	if err := c.Close(); err != nil {
		u.log.Warn("a second worker doesn't end well", "station", s.ID, "err", err)
	}
}

// gate proves the job's bundle, or takes over what another station's gate said
// of it on this hardware. It is nil without an error if the job has ended.
func (u *Updater) gate(ctx context.Context, s *station, c Candidate) (*result, error) {
	digest := s.rec.Load().Job.Digest
	if g := u.shared(digest, c.Fingerprint()); g != nil {
		return g, nil
	}
	g, text, err := u.golden(ctx, c, digest)
	if err != nil {
		return nil, u.fault(ctx, s, err)
	}
	if g == nil {
		return nil, u.reject(s, GoldenGate, text)
	}
	return g, nil
}

// golden runs the golden pictures. Without a result, text says what was wrong.
func (u *Updater) golden(ctx context.Context, c Candidate, digest string) (g *result, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, gateTime)
	defer cancel()
	r, err := c.Gate(ctx, u.newAlbum(digest).add)
	switch {
	case errors.Is(err, gate.ErrNoGolden):
		return nil, err.Error(), nil
	case err != nil:
		return nil, "", fmt.Errorf("run the golden pictures: %w", err)
	case !r.OK():
		return nil, r.Reason(), nil
	}
	return &result{
		Fingerprint: c.Fingerprint(), Pictures: uint32(r.Pictures), Passed: uint32(r.Passed),
		Provider: r.Provider, Runtime: r.Runtime, Driver: r.Driver, Unmeasured: r.Unmeasured, At: r.At,
	}, "", nil
}

// shared is what the gate said of a bundle here already, or nil.
func (u *Updater) shared(digest, fingerprint string) *result {
	for _, s := range u.stations {
		r := s.rec.Load()
		for _, p := range []place{r.A, r.B, r.Good, r.Older} {
			if p.Digest == digest && p.Gate.holds(fingerprint) {
				return p.Gate
			}
		}
	}
	return nil
}

// Regate is for the start, once what Active gave is loaded and before it
// serves: if the runtime, driver or hardware changed since the bundle passed
// its gate, it must pass again. Without ok it is refused and the last good one
// is now active: close the candidate, ask Active again, and Regate that. An
// error is the disk's or ctx's; the gate's result couldn't be had.
func (u *Updater) Regate(ctx context.Context, id string, c Candidate) (ok bool, err error) {
	s := u.station(id)
	if s == nil {
		return false, fmt.Errorf("prove the active bundle: there is no station %q that follows one", id)
	}
	p := s.rec.Load().active()
	if p.Digest == "" || p.Gate.holds(c.Fingerprint()) {
		return true, nil
	}
	g := u.shared(p.Digest, c.Fingerprint())
	if g == nil {
		var text string
		if g, text, err = u.golden(ctx, c, p.Digest); err != nil {
			return false, fmt.Errorf("prove the active bundle of %s again: %w", id, err)
		}
		if g == nil {
			u.log.Error("the active bundle fails its gate on what this machine is now", "station", id, "bundle", p.Digest, "text", text)
			u.fallBack(s, GoldenGate, text, u.sound)
			return false, nil
		}
	}
	u.setGate(s, p.Digest, g)
	return true, nil
}

// Unusable is for the start too: Load refuses what Active gave. If it takes
// what ran before, that is now active. Without ok nothing is changed: the
// machine may be at fault, and not the bundle.
func (u *Updater) Unusable(ctx context.Context, id string, r *Refused) (ok bool) {
	s := u.station(id)
	if s == nil || s.rec.Load().active().Digest == "" {
		return false
	}
	bad := s.rec.Load().active().Digest
	loads := func(p place) error {
		if err := u.sound(p); err != nil {
			return err
		}
		c, err := u.cfg.Plant.Load(ctx, id, u.pathOf(p), p.Digest)
		if err == nil {
			u.giveBack(s, c)
		}
		return err
	}
	for _, p := range s.rec.Load().fallbacks() {
		if loads(p) != nil {
			continue
		}
		u.log.Error("the active bundle can't be loaded: an earlier one runs instead", "station", id, "bundle", bad, "err", r)
		u.fallBack(s, BadModel, r.Text, func(q place) error {
			if !q.same(p) {
				return errNoGood
			}
			return nil
		})
		return true
	}
	return false
}
