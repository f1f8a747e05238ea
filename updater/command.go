package updater

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// maxInbox bounds what waits to be taken, one for each bundle's name.
const maxInbox = 64

// Command takes what the fleet wants. It never blocks; of several about one
// bundle that come faster than they can be written, the newest counts.
func (u *Updater) Command(c *wire.Command) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.GetAct() == wire.Command_ACT_REPORT {
		u.asked = true
		poke(u.tell)
	}
	if u.inbox[c.GetBundle()] == nil && len(u.inbox) >= maxInbox {
		return // the fleet sends it again
	}
	if old := u.inbox[c.GetBundle()]; old == nil || c.GetAct() != wire.Command_ACT_REPORT {
		u.inbox[c.GetBundle()] = c
	}
	poke(u.mail)
}

// Greeted says that the fleet can be reached again: what waits for that goes
// on, and all is reported anew.
func (u *Updater) Greeted() {
	u.mu.Lock()
	u.asked = true
	clear(u.trouble)
	u.mu.Unlock()
	u.changed()
}

// listen takes commands until ctx ends.
func (u *Updater) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.mail:
		}
		for c := u.next(); c != nil; c = u.next() {
			u.take(c)
		}
	}
}

func (u *Updater) next() *wire.Command {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, c := range u.inbox {
		delete(u.inbox, name)
		return c
	}
	return nil
}

// take puts a command on disk. What can't be done is answered at once.
func (u *Updater) take(w *wire.Command) {
	c, err := readCommand(w)
	switch {
	case err == nil && len(u.followers(c.Bundle)) == 0:
		u.answer(w, fmt.Sprintf("no station of this device follows the bundle %q", c.Bundle))
		return
	case err != nil:
		u.log.Warn("a command of the fleet is refused", "err", err)
		u.answer(w, err.Error())
		return
	case c.Act == "":
		if a := u.assignment(c.Bundle); a == nil || a.Nonce != c.Nonce {
			u.answer(w, "")
		}
		return
	}
	if err := u.assign(c); err != nil {
		u.log.Warn("a command can't be written down: the fleet sends it again", "err", err)
	}
}

// assign makes c what is wanted, unless it was wanted before.
func (u *Updater) assign(c *command) error {
	u.save.Lock()
	defer u.save.Unlock()
	old := u.device.Load()
	is := old.Commands[c.Bundle]
	// One that a person has overtaken with the same bundle is the fleet's again.
	overtaken := is != nil && is.Local && is.Digest == c.Digest && c.Act == install
	if slices.Contains(old.Seen, c.id()) && !overtaken {
		u.mu.Lock()
		u.asked = true
		u.mu.Unlock()
		poke(u.tell)
		return nil
	}
	d := old.clone()
	d.take(c)
	if err := u.file.save(encode(d)); err != nil {
		return err
	}
	u.device.Store(d)
	u.log.Info("the fleet wants", "act", c.Act, "bundle", c.Digest, "rollout", c.Rollout)
	u.mu.Lock()
	if u.running != nil && u.running.bundle == c.Bundle {
		u.running.stop()
	}
	u.mu.Unlock()
	u.changed()
	return nil
}

// readCommand checks what came from outside.
func readCommand(w *wire.Command) (*command, error) {
	c := &command{
		Rollout: w.GetRollout(), Nonce: hex.EncodeToString(w.GetNonce()), Bundle: w.GetBundle(), Version: w.GetVersion(),
		Target: w.GetTarget(), Digest: hex.EncodeToString(w.GetDigest()),
		Verdicts: min(w.GetVerdicts(), maxVerdicts), Probation: w.GetProbationMs(), At: time.Now(),
	}
	switch w.GetAct() {
	case wire.Command_ACT_INSTALL:
		c.Act = install
	case wire.Command_ACT_ROLLBACK:
		c.Act = rollback
	case wire.Command_ACT_CANCEL:
		c.Act = retract
	case wire.Command_ACT_REPORT:
	default:
		return nil, fmt.Errorf("the command's act %v isn't known here: update the agent", w.GetAct())
	}
	const maxName = 200
	switch {
	case len(w.GetNonce()) != 16:
		return nil, fmt.Errorf("the command's nonce has %d bytes, want 16", len(w.GetNonce()))
	case len(c.Rollout) > maxName || len(c.Version) > maxName || len(c.Target) > 2*maxName || len(c.Bundle) > maxName:
		return nil, fmt.Errorf("a name in the command is longer than %d bytes", maxName)
	case c.Act == "":
		return c, nil
	case !isDigest(c.Digest):
		return nil, fmt.Errorf("the command's digest has %d bytes, want 32", len(w.GetDigest()))
	case c.Act == install && c.Target != bundle.TargetPath(c.Bundle, c.Version):
		return nil, fmt.Errorf("the command's target %q isn't that of %s %s", c.Target, c.Bundle, c.Version)
	}
	return c, nil
}

// answer reports on a command that no station has anything to do with.
func (u *Updater) answer(w *wire.Command, text string) {
	if u.cfg.Report == nil {
		return
	}
	r := &wire.Report{Rollout: w.GetRollout(), Nonce: w.GetNonce(), Digest: w.GetDigest(), Bundle: w.GetBundle(), Text: text}
	if text == "" {
		for _, s := range u.followers(w.GetBundle()) {
			p := s.rec.Load().active()
			r.Stations = append(r.Stations, &wire.StationUpdate{Station: s.ID, Active: unhex(p.Digest), ActiveVersion: p.Version})
		}
	}
	u.cfg.Report(r)
}
