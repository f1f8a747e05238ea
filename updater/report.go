package updater

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	reportEvery = 30 * time.Second       // while something is still to come
	coalesce    = 100 * time.Millisecond // changes that come together
)

// Reports says how this device is with each command that it has.
func (u *Updater) Reports() []*wire.Report {
	var list []*wire.Report
	for _, c := range u.device.Load().Commands {
		if len(u.followers(c.Bundle)) > 0 {
			list = append(list, u.reportOn(c))
		}
	}
	slices.SortFunc(list, func(a, b *wire.Report) int { return cmp.Compare(a.GetBundle(), b.GetBundle()) })
	return list
}

func (u *Updater) reportOn(c *command) *wire.Report {
	r := &wire.Report{Rollout: c.Rollout, Nonce: unhex(c.Nonce), Digest: unhex(c.Digest), Bundle: c.Bundle}
	for _, s := range u.followers(c.Bundle) {
		r.Stations = append(r.Stations, u.update(s, c))
	}
	r.Proof = u.proof(c)
	return r
}

// update is how one station is with a command.
func (u *Updater) update(s *station, c *command) *wire.StationUpdate {
	r := s.rec.Load()
	p := r.active()
	up := &wire.StationUpdate{Station: s.ID, Active: unhex(p.Digest), ActiveVersion: p.Version, Unmeasured: r.unmeasured(c.Digest)}
	phase, reason, text := r.Phase, r.Reason, r.Text
	if r.Job.id() != c.id() {
		phase, reason, text = foreign(r, c)
	} else if n := s.waits(); n.reason != "" && phase.Open() {
		reason, text = n.reason, n.text
	}
	up.Phase, up.Reason, up.Text = phase.Wire(), string(reason), text
	if phase == Transfer {
		up.Done, up.Total = u.fetched(c, up)
	}
	return up
}

// fetched is how far the transfer is; one that stands still says so.
func (u *Updater) fetched(c *command, up *wire.StationUpdate) (done, total uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	g := u.progress[c.Digest]
	if up.Reason == "" && !g.moved.IsZero() && time.Since(g.moved) > stallTime {
		up.Reason = string(FleetUnreachable)
	}
	return uint64(g.done), uint64(g.total)
}

// foreign is how a station is with a command that it hasn't taken up.
func foreign(r *record, c *command) (Phase, Reason, string) {
	active := r.active().Digest == c.Digest
	switch {
	case c.Act == install && r.Phase == Probation:
		return Assigned, OnProbation, "the bundle before is still on probation"
	case c.Act == install:
		return Assigned, "", ""
	case c.Act == rollback && active && len(r.fallbacks()) == 0:
		return Rejected, NoGoodLeft, "there is nothing to go back to, it runs on"
	case c.Act == rollback && active:
		return r.Phase, Commanded, "it is about to go back"
	case c.Act == rollback:
		return RolledBack, NotRunning, ""
	case active:
		return r.Phase, r.Reason, r.Text
	}
	return Cancelled, "", ""
}

// proof signs that all stations run the command's bundle, once they have told
// enough verdicts. It is nil before, and made once.
func (u *Updater) proof(c *command) *wire.Proof {
	if c.Act != install || u.cfg.Sign == nil {
		return nil
	}
	ran, gate := u.ran(c)
	if ran == nil {
		return nil
	}
	u.mu.Lock()
	p := u.proofs[c.id()]
	u.mu.Unlock()
	if p != nil {
		return p
	}
	p, err := u.cfg.Sign(&wire.Statement{
		Rollout: c.Rollout, Nonce: unhex(c.Nonce), Digest: unhex(c.Digest), Boot: u.cfg.Boot[:], Process: u.process[:],
		Stations: ran, Gate: gate.wire(), At: time.Now().UnixNano(),
	})
	if err != nil {
		u.mu.Lock()
		said := u.unproved
		u.unproved = err.Error()
		u.mu.Unlock()
		if said != err.Error() { // it is tried every second
			u.log.Warn("what runs can't be proved to the fleet", "bundle", c.Digest, "err", err)
		}
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unproved = ""
	if len(u.proofs) >= maxInbox {
		clear(u.proofs)
	}
	u.proofs[c.id()] = p
	return p
}

// ran is what each station told by the bundle; nil if one of them doesn't run
// it now, by its record and by what the plant says, or told too little.
func (u *Updater) ran(c *command) (list []*wire.Ran, gate *result) {
	for _, s := range u.followers(c.Bundle) {
		r, v := s.rec.Load(), u.cfg.Plant.Vitals(s.ID)
		p := r.active()
		if r.Phase != Probation && r.Phase != Committed || r.Job.id() != c.id() ||
			p.Digest != c.Digest || v.Digest != c.Digest || p.Gate == nil {
			return nil, nil
		}
		told := slices.DeleteFunc(slices.Clone(v.Seqs), func(seq uint64) bool { return seq <= v.After })
		if uint64(len(told)) < c.needs() {
			return nil, nil
		}
		list = append(list, &wire.Ran{Station: s.ID, Epoch: v.Epoch, After: v.After, Seq: told})
		if gate == nil || gate.Unmeasured == "" { // what is no proof on one station is none of the device
			gate = p.Gate
		}
	}
	return list, gate
}

// report tells the fleet at each change, when it asks, and from time to time
// while something is still to come.
func (u *Updater) report(ctx context.Context) {
	if u.cfg.Report == nil {
		return
	}
	last := map[string]*wire.Report{}
	every := time.NewTicker(reportEvery)
	defer every.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			all = true
		case <-u.tell:
			select { // more may come at once
			case <-ctx.Done():
			case <-time.After(coalesce):
			}
		}
		u.mu.Lock()
		asked := u.asked
		u.asked = false
		u.mu.Unlock()
		for _, r := range u.Reports() {
			if asked || all && u.open(r) || !proto.Equal(r, last[r.GetBundle()]) {
				u.cfg.Report(r)
			}
			last[r.GetBundle()] = r
		}
	}
}

// open says whether something is still to come of the command that r is about.
func (u *Updater) open(r *wire.Report) bool {
	c := u.assignment(r.GetBundle())
	if c == nil {
		return false
	}
	runs := true
	for _, s := range u.followers(r.GetBundle()) {
		rec := s.rec.Load()
		if rec.Job.id() != c.id() || rec.Phase.Open() {
			return true
		}
		runs = runs && rec.Phase == Committed
	}
	return runs && c.Act == install && r.GetProof() == nil && u.cfg.Sign != nil
}
