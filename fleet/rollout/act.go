package rollout

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// AllGroups is the group that every device is in.
const AllGroups = "*"

// DefaultWaves is what a rollout without waves has.
const DefaultWaves = "1,all"

// Spec says what is to be rolled out. Bundle and Group must be given.
type Spec struct {
	Bundle  string
	Version string // "" for the newest
	Group   string // AllGroups for all devices
	Waves   string // see Waves; "" for DefaultWaves
	Conditions
}

// Start begins a rollout for the devices that are in the group now, those that
// are there first, and gives its id. Devices that enrol later, and revoked
// ones, are left out. Errors: ErrRequest, ErrUnknown, ErrConflict.
func (e *Engine) Start(ctx context.Context, s Spec, by string) (id string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, err := e.plan(ctx, s, by)
	if err != nil {
		return "", fmt.Errorf("roll out %s: %w", s.Bundle, err)
	}
	over := e.halted(l)
	for _, o := range over {
		o.set(l.Created, Halted, o.Reason, by)
		o.say(l.Created, "", by, "rollout "+l.ID+" follows")
		o.Ended = l.Created
	}
	e.open = append(e.open, l)
	if err := e.save(ctx, append(over, l)...); err != nil {
		return "", fmt.Errorf("roll out %s: %w", s.Bundle, err)
	}
	e.open = slices.DeleteFunc(e.open, func(l *live) bool { return !l.Ended.IsZero() })
	e.wake()
	return l.ID, nil
}

func (e *Engine) plan(ctx context.Context, s Spec, by string) (*live, error) {
	if err := e.load(ctx); err != nil {
		return nil, err
	}
	s.Waves, s.Conditions = cmp.Or(s.Waves, DefaultWaves), s.withDefaults()
	if err := s.check(); err != nil {
		return nil, err
	}
	target, err := e.cfg.Lookup(s.Bundle, s.Version)
	if err != nil {
		return nil, err
	}
	if !target.Golden && !s.WithoutGolden {
		return nil, fmt.Errorf("%w: %s %s has no golden pictures, so no device can show that it is right on its hardware: "+
			"make some with sightline bundle golden, or say that it may go without", ErrRequest, s.Bundle, target.Version)
	}
	conditions, err := json.Marshal(s.Conditions)
	if err != nil {
		return nil, err
	}
	now := e.cfg.Now()
	l := &live{cond: s.Conditions, of: map[string]*device{}, dirty: true, Rollout: store.Rollout{
		ID: newID(), Bundle: s.Bundle, Version: target.Version, Digest: target.Digest, Target: target.Path, Golden: target.Golden,
		Group: s.Group, Waves: s.Waves, Conditions: string(conditions), State: Running, By: by, Created: now, Opened: now, Changed: now,
	}}
	if err := e.crew(ctx, l, now); err != nil {
		return nil, err
	}
	if err := e.free(l); err != nil {
		return nil, err
	}
	l.say(now, "", by, fmt.Sprintf("begun: %s %s to %s of group %s in waves of %s", l.Bundle, l.Version, devices(len(l.devices)), l.Group, l.Waves))
	l.assign(now)
	return l, nil
}

// crew puts the group's devices into waves.
func (e *Engine) crew(ctx context.Context, l *live, now time.Time) error {
	group := l.Group
	switch group {
	case "":
		return fmt.Errorf("%w: name a group, or %s for all devices", ErrRequest, AllGroups)
	case AllGroups:
		group = ""
	}
	all, err := e.cfg.Store.Present(ctx, group)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(d store.Device) bool { return !d.Revoked.IsZero() })
	if len(all) == 0 {
		return fmt.Errorf("%w: no device is in group %q", ErrRequest, l.Group)
	}
	here := func(d store.Device) int {
		if p, _ := d.Presence(now); p == store.Online {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b store.Device) int { return cmp.Or(here(a)-here(b), strings.Compare(a.ID, b.ID)) })
	sizes, err := Waves(l.Waves, len(all))
	if err != nil {
		return err
	}
	at := 0
	for wave, size := range sizes {
		for _, d := range all[at : at+size] {
			o := &device{RolloutDevice: store.RolloutDevice{
				Device: d.ID, Wave: wave, State: Planned, Act: wire.Command_ACT_INSTALL, Nonce: newNonce(), Changed: now,
			}, dirty: true}
			o.presence, o.since = d.Presence(now)
			l.add(o)
		}
		at += size
	}
	return nil
}

// free refuses a rollout over devices that another one of that bundle is at.
func (e *Engine) free(l *live) error {
	for _, o := range e.open {
		if o != l && o.Bundle == l.Bundle && (o.State == Running || o.State == Paused || o.State == RollingBack) && o.shares(l) {
			return fmt.Errorf("%w: rollout %s of %s %s is %s on devices of this one: wait for its end, or abort it first", ErrConflict, o.ID, o.Bundle, o.Version, o.State)
		}
	}
	return nil
}

// halted are the rollouts that this one ends by taking their devices.
func (e *Engine) halted(l *live) (all []*live) {
	for _, o := range e.open {
		if o.Bundle == l.Bundle && (o.State == Halted || o.State == Aborted) && o.shares(l) {
			all = append(all, o)
		}
	}
	return all
}

func (l *live) shares(other *live) bool {
	for id := range l.of {
		if other.of[id] != nil {
			return true
		}
	}
	return false
}

// Pause lets nothing new be sent; devices go on with what they were told.
func (e *Engine) Pause(ctx context.Context, id, by string) error {
	return e.act(ctx, "pause", id, func(l *live, now time.Time) error {
		if l.State != Running {
			return l.cannot("only a running one can be paused")
		}
		l.set(now, Paused, "", by)
		return nil
	})
}

// Resume lets a paused or halted rollout go on. What failed or was silent so
// far counts no more; with again, those devices are told to try once more.
func (e *Engine) Resume(ctx context.Context, id string, again bool, by string) error {
	return e.act(ctx, "resume", id, func(l *live, now time.Time) error {
		if l.State != Paused && l.State != Halted {
			return l.cannot("only a paused or halted one can be resumed")
		}
		if err := e.free(l); err != nil {
			return err
		}
		state := Running
		for _, d := range l.devices {
			if d.Act == wire.Command_ACT_ROLLBACK {
				state = RollingBack
			}
		}
		for _, d := range l.devices {
			switch {
			case !failed(d.State) && d.State != Silent:
			case again:
				l.order(d, now, d.Act, d.fresh())
				d.Forgiven = false
			case l.State == Halted:
				d.Forgiven, d.dirty = true, true
			}
		}
		l.set(now, state, "", by)
		l.Opened = now
		return nil
	})
}

// Abort ends a rollout. Devices that run the bundle keep it; the others are
// told to forget it. why is kept, and may be empty.
func (e *Engine) Abort(ctx context.Context, id, by, why string) error {
	return e.act(ctx, "abort", id, func(l *live, now time.Time) error {
		if l.State != Running && l.State != Paused && l.State != Halted {
			return l.cannot("it is over already")
		}
		for _, d := range l.devices {
			switch {
			case d.State == Gone || runs(d.State) || d.State == WentBack || d.State == NoStations || d.Act == wire.Command_ACT_ROLLBACK:
			case d.Sent == 0:
				l.put(d, now, Cancelled, "", "")
			case works(d.State) || waits(d.State) || d.State == Silent:
				l.order(d, now, wire.Command_ACT_CANCEL, Cancelling)
			}
		}
		l.set(now, Aborted, tidy(why), by)
		l.Opened = now
		return nil
	})
}

// Rollback has all devices that were told to install the bundle go back to
// what ran before. why is kept, and may be empty.
func (e *Engine) Rollback(ctx context.Context, id, by, why string) error {
	return e.act(ctx, "roll back", id, func(l *live, now time.Time) error {
		if l.State == RollingBack || l.State == RolledBack {
			return l.cannot("it is so already")
		}
		if err := e.free(l); err != nil {
			return err
		}
		for _, d := range l.devices {
			switch {
			case d.State == Gone || d.State == NoStations || d.State == WentBack:
			case d.Sent == 0 && d.Act == wire.Command_ACT_INSTALL:
				l.put(d, now, Cancelled, "", "")
			default:
				l.order(d, now, wire.Command_ACT_ROLLBACK, GoingBack)
				d.Forgiven = false
			}
		}
		l.set(now, RollingBack, "", by)
		if why != "" {
			l.say(now, "", by, "why: "+tidy(why))
		}
		l.Opened = now
		for _, d := range l.devices { // all of them, whatever their wave
			l.Wave = max(l.Wave, d.Wave)
		}
		return nil
	})
}

// order gives a device another command.
func (l *live) order(d *device, now time.Time, act wire.Command_Act, state string) {
	d.Act, d.Nonce, d.Sent, d.SentAt, d.Heard, d.Worked, d.Report, d.Proven = act, newNonce(), 0, time.Time{}, time.Time{}, 0, nil, time.Time{}
	d.signed = nil
	l.put(d, now, state, "", "")
}

func (l *live) cannot(why string) error {
	return fmt.Errorf("%w: it is %s, and %s", ErrConflict, l.State, why)
}

// act changes a rollout. One that has ended is read for it.
func (e *Engine) act(ctx context.Context, what, id string, do func(*live, time.Time) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.load(ctx)
	if err != nil {
		return fmt.Errorf("%s rollout %s: %w", what, id, err)
	}
	at := slices.IndexFunc(e.open, func(l *live) bool { return l.ID == id })
	var l *live
	if at >= 0 {
		l = e.open[at]
	} else if l, err = e.ended(ctx, id); err != nil {
		return fmt.Errorf("%s rollout %s: %w", what, id, err)
	}
	if err := do(l, e.cfg.Now()); err != nil {
		return fmt.Errorf("%s rollout %s: %w", what, id, err)
	}
	if at < 0 {
		l.Ended = time.Time{}
		e.open = append(e.open, l)
	}
	if err := e.save(ctx, l); err != nil {
		return fmt.Errorf("%s rollout %s: %w", what, id, err)
	}
	e.wake()
	return nil
}

// ended reads a rollout that is over, as only the newest over its devices: a
// later one has had the last word.
func (e *Engine) ended(ctx context.Context, id string) (*live, error) {
	r, err := e.cfg.Store.Rollout(ctx, id)
	if err != nil {
		return nil, err
	}
	l, err := e.read(ctx, *r)
	if err != nil {
		return nil, err
	}
	newer, err := e.cfg.Store.Rollouts(ctx, maxNewer)
	if err != nil {
		return nil, err
	}
	for _, n := range newer {
		if n.ID == id {
			return l, nil
		}
		if n.Bundle != l.Bundle {
			continue
		}
		o, err := e.read(ctx, n)
		if err != nil {
			return nil, err
		}
		if o.shares(l) {
			return nil, fmt.Errorf("%w: rollout %s of %s %s came after it on the same devices", ErrConflict, o.ID, o.Bundle, o.Version)
		}
	}
	return nil, fmt.Errorf("%w: it is too long ago", ErrConflict)
}

// maxNewer is how many rollouts ago one may be changed still.
const maxNewer = 100

var idLetters = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// newID names a rollout, for people to type too.
func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // it never fails: see its documentation
	return "r" + idLetters.EncodeToString(b[:])
}

func newNonce() (n [16]byte) {
	_, _ = rand.Read(n[:]) // it never fails: see its documentation
	return n
}
