package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// byFleet is who did what nobody did.
const byFleet = "fleet"

// Reasons of the fleet's own, beside the devices'.
const (
	ReasonTimeout  = "timeout"  // connected for too long, and not done
	ReasonUnproven = "unproven" // runs the bundle, and hasn't shown it in time
)

// Pace of commands.
const (
	firstAgain = 5 * time.Second
	lastAgain  = time.Minute
	askEvery   = time.Minute // how a device is that has reported
)

// letter is a command on its way.
type letter struct {
	device  string
	command *wire.Command
}

// Step looks once at all that is open: it notes what was heard, decides, writes
// that down, and then sends what is to be sent. Run calls it.
func (e *Engine) Step(ctx context.Context) error {
	e.mu.Lock()
	letters, err := e.step(ctx)
	e.mu.Unlock()
	for _, l := range letters {
		e.cfg.Send(l.device, l.command) // what isn't sent is sent again
	}
	return err
}

func (e *Engine) step(ctx context.Context) (letters []letter, err error) {
	if err := e.load(ctx); err != nil {
		return nil, err
	}
	now := e.cfg.Now()
	passed := max(0, min(now.Sub(e.looked), 5*tickEvery)) // a fleet that stood still doesn't count
	e.looked = now
	heard := e.take()
	if len(e.open) == 0 {
		return nil, nil
	}
	if err := e.look(ctx, now); err != nil {
		e.giveBack(heard)
		return nil, err
	}
	for _, l := range e.open {
		for id := range l.of {
			if r := heard[id][l.ID]; r != nil {
				e.hear(ctx, l, id, r, now)
			}
		}
		for _, d := range l.devices {
			e.age(ctx, l, d, now, passed)
		}
		e.turn(l, now)
		letters = append(letters, l.letters(now)...)
	}
	if err := e.save(ctx, e.open...); err != nil {
		e.giveBack(heard)
		return nil, err
	}
	e.open = slices.DeleteFunc(e.open, func(l *live) bool { return !l.Ended.IsZero() })
	return letters, nil
}

// look reads which devices are there.
func (e *Engine) look(ctx context.Context, now time.Time) error {
	present, err := e.cfg.Store.Present(ctx, "")
	if err != nil {
		return err
	}
	for i := range present {
		p := &present[i]
		for _, l := range e.open {
			if d := l.of[p.ID]; d != nil {
				d.presence, d.since = p.Presence(now)
				d.seen = p.Heard
			}
		}
	}
	return nil
}

// active reports whether the rollout's devices are under its clock.
func (l *live) active() bool {
	return l.State == Running || l.State == RollingBack || l.State == Aborted
}

// age does to a device what time does.
func (e *Engine) age(ctx context.Context, l *live, d *device, now time.Time, passed time.Duration) {
	if d.presence == store.Revoked {
		if d.State != Gone {
			l.put(d, now, Gone, Gone, "")
		}
		return
	}
	if d.State == Proving && d.Report.GetProof() != nil && d.Act == wire.Command_ACT_INSTALL && !now.Before(d.recheck) {
		e.prove(ctx, l, d, now)
	}
	if !l.active() || d.Wave > l.Wave || d.State == Planned {
		return
	}
	online := d.presence == store.Online
	switch {
	case d.State == Silent && online:
		l.put(d, now, d.fresh(), "", "")
		if d.Report != nil {
			e.judge(ctx, l, d, now)
		}
	case !works(d.State) && !waits(d.State) || d.Forgiven:
	case !online && now.Sub(later(d.seen, l.Opened)) >= l.cond.Silence:
		l.put(d, now, Silent, Silent, "nothing was heard of it for "+brief(l.cond.Silence))
	case online && works(d.State) && !idle(d):
		e.work(l, d, now, passed)
	}
}

// idle reports whether the device waits for parts, which nobody can hurry.
func idle(d *device) bool { return d.State == Probation && d.Reason == "idle" }

// fresh is the state of a device that has been told what to do and hasn't said
// anything about it.
func (d *device) fresh() string {
	switch d.Act {
	case wire.Command_ACT_ROLLBACK:
		return GoingBack
	case wire.Command_ACT_CANCEL:
		return Cancelling
	}
	return Assigned
}

func (e *Engine) work(l *live, d *device, now time.Time, passed time.Duration) {
	d.Worked += passed // written down with the next command, once in askEvery at least
	if d.Worked < l.cond.Timeout {
		return
	}
	reason, was := ReasonTimeout, d.State
	if d.State == Proving {
		reason, was = ReasonUnproven, d.Text
	} else if d.Text != "" {
		was += ": " + d.Text
	}
	l.put(d, now, Failed, reason, fmt.Sprintf("not done after %s: %s", brief(l.cond.Timeout), was))
}

// turn decides about the rollout as a whole.
func (e *Engine) turn(l *live, now time.Time) {
	switch l.State {
	case Running:
		for l.State == Running && l.next(now) {
		}
	case RollingBack, Aborted:
		l.finish(now)
	}
}

// next decides about the open wave; true if another one has been opened.
func (l *live) next(now time.Time) bool {
	var wave, sofar tally
	last := 0
	for _, d := range l.devices {
		if d.Wave <= l.Wave {
			sofar.add(d)
		}
		if d.Wave == l.Wave {
			wave.add(d)
		}
		last = max(last, d.Wave)
	}
	v, why := decide(l.cond, wave, sofar)
	switch {
	case v == halt:
		l.set(now, Halted, fmt.Sprintf("wave %d: %s%s", l.Wave+1, why, l.example()), byFleet)
	case v == advance && l.Wave < last && wave.counted == 0:
		l.refill(now)
	case v == advance && l.Wave < last && wave.proven+wave.forgiven == 0:
		l.set(now, Halted, fmt.Sprintf("wave %d: no device has proved that it runs %s%s", l.Wave+1, l.Bundle, l.example()), byFleet)
	case v == advance && l.Wave == last && sofar.proven == 0:
		l.set(now, Halted, "no device has proved that it runs "+l.Bundle+l.example(), byFleet)
	case v == advance && l.Wave == last:
		l.set(now, Succeeded, sofar.success(), byFleet)
		l.Ended = now
	case v == advance:
		l.Wave, l.Opened = l.Wave+1, now
		l.say(now, "", byFleet, fmt.Sprintf("wave %d is open", l.Wave+1))
		l.assign(now)
		return true
	}
	return false
}

// refill gives the open wave, none of whose devices counts, as many of those
// to come: a wave that nobody proved anything in opens no larger one.
func (l *live) refill(now time.Time) {
	sizes, err := Waves(l.Waves, len(l.devices))
	want := 1
	if err == nil && l.Wave < len(sizes) {
		want = sizes[l.Wave]
	}
	taken, wave, was := 0, l.Wave, l.Wave
	for _, d := range l.devices { // by wave
		if d.Wave <= l.Wave {
			continue
		}
		to := l.Wave
		if taken < want {
			taken++
		} else {
			if d.Wave != was {
				wave, was = wave+1, d.Wave
			}
			to = wave
		}
		d.dirty = d.dirty || d.Wave != to
		d.Wave = to
	}
	l.say(now, "", byFleet, fmt.Sprintf("wave %d goes on with %s of those to come: none of its own counts", l.Wave+1, devices(taken)))
	l.assign(now)
}

// example is why the first device failed, for the rollout's reason.
func (l *live) example() string {
	for _, d := range l.devices {
		if failed(d.State) && !d.Forgiven {
			return strings.TrimSuffix(fmt.Sprintf(": %s %s: %s", d.Device, d.Reason, d.Text), ": ")
		}
	}
	for _, d := range l.devices {
		if d.State == NoStations {
			return fmt.Sprintf(": %s: %s", d.Device, d.Text)
		}
	}
	return ""
}

// success is what a rollout has come to: that a device runs the bundle may be proved
// where its golden pictures are no proof.
func (t *tally) success() string {
	text := ofDevices(t.proven, t.counted) + " proved that they run it"
	if t.unmeasured > 0 {
		text += fmt.Sprintf("; on %d of them its golden pictures passed, but are unmeasured", t.unmeasured)
	}
	return text
}

func ofDevices(n, of int) string {
	if n == of {
		return devices(n)
	}
	return fmt.Sprintf("%d of %s", n, devices(of))
}

// assign begins with the devices of the open wave.
func (l *live) assign(now time.Time) {
	for _, d := range l.devices {
		if d.State == Planned && d.Wave <= l.Wave {
			l.put(d, now, Assigned, "", "")
		}
	}
}

// finish ends what goes back or was aborted once nobody is left to wait for.
func (l *live) finish(now time.Time) {
	back, bad, silent := 0, 0, 0
	for _, d := range l.devices {
		switch {
		case d.State == GoingBack || d.State == Cancelling || l.State == Aborted && (d.State == Probation || d.State == Proving):
			return
		case d.State == WentBack:
			back++
		case d.State == Failed:
			bad++
		case d.State == Silent:
			silent++
		}
	}
	if l.State == Aborted {
		l.Ended, l.dirty = now, true
		return
	}
	if bad+silent > 0 {
		l.set(now, Halted, fmt.Sprintf("%s went back, %d couldn't, %d silent%s", devices(back), bad, silent, l.example()), byFleet)
		return
	}
	l.set(now, RolledBack, devices(back)+" went back", byFleet)
	l.Ended = now
}

// set gives the rollout another state.
func (l *live) set(now time.Time, state, reason, who string) {
	l.State, l.Reason, l.Changed = state, reason, now
	what := state
	if reason != "" {
		what += ": " + reason
	}
	l.say(now, "", who, what)
}

// letters are the commands that are due.
func (l *live) letters(now time.Time) (all []letter) {
	if !l.active() {
		return nil
	}
	for _, d := range l.devices {
		if d.Wave > l.Wave || d.Forgiven || d.presence != store.Online || !works(d.State) && !waits(d.State) || !d.due(now) {
			continue
		}
		d.Sent, d.SentAt, d.dirty = d.Sent+1, now, true
		all = append(all, letter{d.Device, l.command(d)})
	}
	return all
}

// due reports whether the device is to be told now: again and again until it
// has reported, and then once in a while, for a report can be lost with the
// fleet.
func (d *device) due(now time.Time) bool {
	if d.Heard.IsZero() {
		wait := min(firstAgain<<min(max(d.Sent-1, 0), 10), lastAgain)
		return d.Sent == 0 || now.Sub(d.SentAt) >= wait || d.since.After(d.SentAt)
	}
	return now.Sub(later(d.Heard, d.SentAt)) >= askEvery
}

// command is what the device is told. It says the same each time: a device
// that knows the nonce answers with a report and does nothing twice.
func (l *live) command(d *device) *wire.Command {
	return &wire.Command{
		Act: d.Act, Rollout: l.ID, Nonce: d.Nonce[:], Bundle: l.Bundle, Version: l.Version, Target: l.Target, Digest: l.Digest[:],
		Verdicts: uint32(l.cond.Verdicts), ProbationMs: uint32(l.cond.Probation.Milliseconds()),
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
