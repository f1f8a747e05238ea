package rollout

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// TestReportsWithoutEnd: a device that reports about rollouts without end, or
// with more than a device has, fills no memory, and is no louder than others.
func TestReportsWithoutEnd(t *testing.T) {
	p := newPlant(t)
	long := strings.Repeat("x", 100<<10)
	for i := range 100 {
		p.engine.Heard("dev-001", &wire.Report{Rollout: fmt.Sprint("r", i), Text: long})
	}
	p.engine.Heard("dev-002", &wire.Report{Rollout: "r1", Stations: make([]*wire.StationUpdate, maxStations+1)})
	p.engine.Heard("dev-002", &wire.Report{Rollout: long})
	if n := len(p.engine.heard["dev-001"]); n != maxHeardOf || len(p.engine.heard) != 1 {
		t.Errorf("%d reports of one device wait, and those of %d devices", n, len(p.engine.heard))
	}
	for i := range 1000 {
		p.engine.Heard(fmt.Sprint("dev-", i), &wire.Report{Rollout: "r1", Text: long})
	}
	if p.engine.heardBytes > maxHeardBytes {
		t.Errorf("%d bytes wait", p.engine.heardBytes)
	}
	p.engine.giveBack(p.engine.take())
	if n := p.engine.heardBytes; n > maxHeardBytes || n < maxHeardBytes/2 {
		t.Errorf("%d bytes wait after they were given back", n)
	}
}

// TestLoudDevice: a device that reports all the time doesn't have the engine
// write all the time.
func TestLoudDevice(t *testing.T) {
	p := newPlant(t)
	p.add(1)
	told := make(chan []byte, 100)
	p.engine.cfg.Send = func(_ string, c *wire.Command) bool { told <- c.GetNonce(); return true }
	changes := 0
	p.engine.cfg.Changed = func(string) { changes++ }
	id := p.start()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.engine.Run(ctx) }()
	nonce := <-told
	loud := time.NewTicker(time.Millisecond)
	defer loud.Stop()
	end := time.After(10 * restFor)
	for n, open := 0, true; open; n++ {
		select {
		case <-end:
			open = false
		case <-loud.C:
			p.engine.Heard("dev-001", &wire.Report{Rollout: id, Nonce: nonce, Stations: []*wire.StationUpdate{{
				Station: "st1", Phase: wire.Phase_PHASE_TRANSFER, Done: uint64(n), Total: 1 << 30,
			}}})
		}
	}
	cancel()
	p.must(<-ended)
	if changes > 15 {
		t.Errorf("%d times it was written in ten times as long as the engine rests", changes)
	}
}

// TestRevokedDeviceReports: what a revoked device says isn't even noted.
func TestRevokedDeviceReports(t *testing.T) {
	p := newPlant(t)
	all := p.add(2)
	for _, a := range all {
		a.answer = says(wire.Phase_PHASE_TRANSFER, "")
	}
	id := p.start(func(s *Spec) { s.Waves = "all" })
	p.step()
	p.must(p.store.Revoke(t.Context(), all[0].id, p.store.Now()))
	p.must(p.engine.Step(t.Context()))
	before, err := p.engine.Events(t.Context(), id, 100)
	p.must(err)
	all[0].good(&wire.Command{Rollout: id, Nonce: all[0].last.GetNonce(), Digest: newDigest[:], Verdicts: 3})
	p.must(p.engine.Step(t.Context()))
	after, err := p.engine.Events(t.Context(), id, 100)
	p.must(err)
	if d := p.get(id).device(t, all[0].id); d.State != Gone || d.Report.GetProof() != nil || len(after) != len(before) {
		t.Errorf("it is %s, and %d events became %d", d.State, len(before), len(after))
	}
}

// TestHistoryIsBounded: a device that changes its mind without end doesn't fill
// the fleet's disk with that.
func TestHistoryIsBounded(t *testing.T) {
	p := newPlant(t)
	a := p.add(1)[0]
	a.answer = says(wire.Phase_PHASE_TRANSFER, "")
	id := p.start()
	p.step()
	c := &wire.Command{Rollout: id, Nonce: a.last.GetNonce()}
	for i := range maxLines + 50 {
		a.say(c, wire.Phase_PHASE_STAGED, fmt.Sprint("reason ", i))
		p.must(p.engine.Step(t.Context()))
	}
	a.say(c, wire.Phase_PHASE_REFUSED, "golden_gate")
	p.must(p.engine.Step(t.Context()))
	events, err := p.engine.Events(t.Context(), id, 10*maxLines)
	p.must(err)
	if len(events) > maxLines+5 || len(events) < maxLines || !strings.HasSuffix(events[0].What, ": dev-001 golden_gate") {
		t.Errorf("%d lines, the last is %q", len(events), events[0].What)
	}
	p.want(id, Halted, "golden_gate")
}

// TestWaveOfNobody: a first wave whose devices follow another bundle doesn't
// open the second: as many others take its place.
func TestWaveOfNobody(t *testing.T) {
	p := newPlant(t)
	all := p.add(6)
	for _, a := range all[:2] {
		a.answer = func(a *agent, c *wire.Command) {
			a.report(&wire.Report{Rollout: c.GetRollout(), Nonce: c.GetNonce(), Digest: c.GetDigest()})
		}
	}
	all[2].answer = says(wire.Phase_PHASE_TRANSFER, "")
	id := p.start(func(s *Spec) { s.Waves = "1,1,all" })
	for range 4 {
		p.step()
	}
	p.restart()
	p.step()
	v := p.want(id, Running, "wave 1 waits for 1 device at work")
	if s := v.states(); s[NoStations] != 2 || s[Transferring] != 1 || s[Planned] != 3 || len(v.Waves) != 2 || v.Waves[0].Size != 3 {
		t.Errorf("got %v, waves %+v", s, v.Waves)
	}
	all[2].good(&wire.Command{Rollout: id, Nonce: all[2].last.GetNonce(), Digest: newDigest[:], Verdicts: 3})
	for range 3 {
		p.step()
	}
	p.want(id, Succeeded, "4 devices")
}

// TestWaveOfFailures: failures that are allowed don't stand in for a proof. An
// operator may go on all the same.
func TestWaveOfFailures(t *testing.T) {
	p := newPlant(t)
	p.add(3)[0].answer = says(wire.Phase_PHASE_REFUSED, "golden_gate")
	id := p.start(func(s *Spec) { s.MaxFailures = Limit{N: 2} })
	p.step()
	p.want(id, Halted, "wave 1: no device has proved that it runs caps: dev-001 golden_gate")
	if p.sent != 1 {
		t.Errorf("%d commands were sent", p.sent)
	}
	p.must(p.engine.Resume(t.Context(), id, false, "ann"))
	p.step()
	p.want(id, Succeeded, "2 of 3 devices")
}
