package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// says makes an agent answer with a phase and stay there.
func says(phase wire.Phase, reason string) func(*agent, *wire.Command) {
	return func(a *agent, c *wire.Command) { a.say(c, phase, reason) }
}

func (p *plant) want(id, state, reason string) *View {
	p.Helper()
	v := p.get(id)
	if v.State != state || !strings.Contains(v.Reason, reason) {
		p.Errorf("it is %s: %q, want %s: %q; %v", v.State, v.Reason, state, reason, v.states())
	}
	return v
}

// TestWaveAfterWave: a wave's devices hear of nothing before the one before
// has proved.
func TestWaveAfterWave(t *testing.T) {
	p := newPlant(t)
	p.add(4)
	id := p.start(func(s *Spec) { s.Waves = "1,2,all" })
	p.want(id, Running, "wave 1 waits for 1 device at work")
	for i, sent := range []int{1, 3, 4} {
		p.step()
		if p.sent != sent && p.sent != []int{1, 3, 4, 4}[i+1] { // the step's end opens the next wave
			t.Errorf("after wave %d %d commands were sent", i+1, p.sent)
		}
	}
	p.step()
	v := p.want(id, Succeeded, "4 devices proved that they run it")
	if v.Ended.IsZero() || len(v.Waves) != 3 || v.Waves[1].Proven != 2 {
		t.Errorf("got %+v", v.Waves)
	}
	events, err := p.engine.Events(t.Context(), id, 100)
	p.must(err)
	if first, last := events[len(events)-1], events[0]; first.Who != "ann" || !strings.HasPrefix(first.What, "begun: caps 1.2.0 to 4 devices") ||
		!strings.HasPrefix(last.What, "succeeded") {
		t.Errorf("the history begins with %+v and ends with %+v", first, last)
	}
}

// TestFirstWaveHalts: what goes wrong on the first device reaches no other.
func TestFirstWaveHalts(t *testing.T) {
	for _, tt := range []struct {
		phase  wire.Phase
		reason string
	}{{wire.Phase_PHASE_REFUSED, "golden_gate"}, {wire.Phase_PHASE_REFUSED, "untrusted"}, {wire.Phase_PHASE_ROLLED_BACK, "slow"}} {
		p := newPlant(t)
		p.add(3)[0].answer = says(tt.phase, tt.reason)
		id := p.start()
		p.step()
		p.pass(10 * time.Minute)
		p.want(id, Halted, "wave 1: 1 device failed, at most 0 may: dev-001 "+tt.reason)
		if p.sent != 1 {
			t.Errorf("%s: %d commands were sent", tt.reason, p.sent)
		}
	}
}

// TestPeopleAreWaitedFor: an operator's OK may take for ever, and it is said
// that it is waited for.
func TestPeopleAreWaitedFor(t *testing.T) {
	p := newPlant(t)
	all := p.add(3)
	all[0].answer = says(wire.Phase_PHASE_WAITING, "operator")
	all[1].answer = says(wire.Phase_PHASE_WAITING, "window")
	all[2].answer = says(wire.Phase_PHASE_PROBATION, "idle")
	id := p.start(func(s *Spec) { s.Waves, s.Timeout = "all", time.Minute })
	p.step()
	p.pass(time.Hour)
	v := p.want(id, Running, "waits for an operator's OK on 1 device, the window of 1 device, parts on 1 device")
	if v.Waves[0].Waiting != 2 || v.Devices[0].Waits == "" || v.Devices[2].Waits == "" {
		t.Errorf("got %+v", v)
	}
	for _, a := range all { // and then it goes on
		a.good(&wire.Command{Act: wire.Command_ACT_INSTALL, Rollout: id, Nonce: a.last.GetNonce(), Digest: newDigest[:], Bundle: "caps", Verdicts: 3})
	}
	p.step()
	p.want(id, Succeeded, "3 devices")
}

// TestTimeouts: a device that is connected and doesn't come to an end fails
// after its time, one that isn't connected is silent after another, and comes
// back when it is there again.
func TestTimeouts(t *testing.T) {
	for _, state := range []wire.Phase{wire.Phase_PHASE_UNSPECIFIED, wire.Phase_PHASE_TRANSFER, wire.Phase_PHASE_PROBATION, wire.Phase_PHASE_COMMITTED} {
		p := newPlant(t)
		p.add(1)[0].answer = func(a *agent, c *wire.Command) {
			if state != wire.Phase_PHASE_UNSPECIFIED { // else it never answers
				a.say(c, state, "")
			}
		}
		id := p.start(func(s *Spec) { s.Waves, s.Timeout = "all", 10*time.Minute })
		p.step()
		p.pass(9 * time.Minute)
		p.want(id, Running, "1 device at work")
		p.restart() // what has passed is remembered, but for a minute
		p.pass(3 * time.Minute)
		reason := "dev-001 timeout"
		if state == wire.Phase_PHASE_COMMITTED {
			reason = "dev-001 unproven"
		}
		p.want(id, Halted, reason)
	}
}

func TestSilence(t *testing.T) {
	p := newPlant(t)
	all := p.add(2)
	all[0].answer = says(wire.Phase_PHASE_TRANSFER, "")
	id := p.start(func(s *Spec) { s.Waves, s.Silence, s.MaxSilent = "all", time.Hour, Limit{50, true} })
	p.step()
	p.offline(all[0])
	p.pass(50 * time.Minute)
	v := p.want(id, Running, "1 device that can't be reached")
	if d := v.device(t, all[0].id); !strings.Contains(d.Waits, "counts as silent from") || v.Waves[0].Away != 1 {
		t.Errorf("got %+v", d)
	}
	p.pass(20 * time.Minute)
	v = p.want(id, Succeeded, "1 of 2 devices") // one may be silent
	if v.Waves[0].Silent != 1 || p.sent != 2 {
		t.Errorf("got %+v, %d sent", v.Waves, p.sent)
	}

	id = p.start(func(s *Spec) { s.Waves, s.Silence = "all", time.Hour })
	p.step()
	p.pass(2 * time.Hour)
	p.want(id, Halted, "1 device is silent, at most 0 may be")
	p.must(p.engine.Resume(t.Context(), id, true, "ann"))
	all[0].answer = nil
	p.online(all...)
	p.step()
	p.want(id, Succeeded, "2 devices")
}

// TestPace: a device that doesn't answer is told less and less often, and at
// once when it has connected anew.
func TestPace(t *testing.T) {
	p := newPlant(t)
	a := p.add(1)[0]
	a.answer = func(*agent, *wire.Command) {}
	p.start(func(s *Spec) { s.Waves = "all" })
	p.step()
	p.pass(10 * time.Minute)
	if p.sent < 10 || p.sent > 15 {
		t.Errorf("told %d times in ten minutes", p.sent)
	}
	p.offline(a)
	p.pass(time.Minute)
	sent := p.sent
	p.pass(10 * time.Minute)
	if p.sent != sent {
		t.Errorf("told %d times while it wasn't there", p.sent-sent)
	}
	p.online(a)
	p.step()
	if p.sent != sent+1 {
		t.Errorf("told %d times when it was back", p.sent-sent)
	}
	p.pass(5 * time.Second)
	p.offline(a)
	p.pass(tickEvery)
	p.online(a)
	p.step()
	if p.sent != sent+2 {
		t.Errorf("told %d times when it was back soon", p.sent-sent-1)
	}
}

// TestPauseAndResume: nothing new is sent, and time doesn't run out.
func TestPauseAndResume(t *testing.T) {
	p := newPlant(t)
	p.add(3)
	id := p.start()
	p.must(p.engine.Pause(t.Context(), id, "ann"))
	p.step()
	p.pass(2 * time.Hour)
	p.want(id, Paused, "nothing new is sent")
	if p.sent != 0 {
		t.Errorf("%d were sent", p.sent)
	}
	p.restart()
	if err := p.engine.Pause(t.Context(), id, "ann"); !errors.Is(err, ErrConflict) {
		t.Errorf("paused twice: %v", err)
	}
	p.must(p.engine.Resume(t.Context(), id, false, "ann"))
	for range 3 {
		p.step()
	}
	p.want(id, Succeeded, "3 devices")
}

// TestResumeAfterFailure: what failed counts no more, or is told once more
// under another number.
func TestResumeAfterFailure(t *testing.T) {
	for _, again := range []bool{false, true} {
		p := newPlant(t)
		all := p.add(3)
		all[0].answer = says(wire.Phase_PHASE_REFUSED, "golden_gate")
		id := p.start()
		p.step()
		p.want(id, Halted, "golden_gate")
		p.restart()
		if all[0].answer = nil; !again {
			all[0].answer = says(wire.Phase_PHASE_REFUSED, "golden_gate")
		}
		p.must(p.engine.Resume(t.Context(), id, again, "ann"))
		for range 3 {
			p.step()
		}
		v := p.want(id, Succeeded, fmt.Sprintf("%d", 3))
		if d := v.device(t, all[0].id); again == (d.State == Failed) || again == d.Forgiven {
			t.Errorf("again %v: %s, forgiven %v", again, d.State, d.Forgiven)
		}
	}
}

// TestAbort: who runs it keeps it, the others forget it.
func TestAbort(t *testing.T) {
	p := newPlant(t)
	all := p.add(5)
	all[1].answer = func(a *agent, c *wire.Command) {
		if c.GetAct() == wire.Command_ACT_INSTALL {
			a.say(c, wire.Phase_PHASE_WAITING, "operator")
			return
		}
		a.good(c)
	}
	all[2].answer = func(*agent, *wire.Command) {}
	all[3].answer = func(a *agent, c *wire.Command) {
		if c.GetAct() == wire.Command_ACT_CANCEL { // it has just switched
			a.active = newDigest
			a.say(c, wire.Phase_PHASE_PROBATION, "")
			return
		}
		a.say(c, wire.Phase_PHASE_GATED, "")
	}
	id := p.start(func(s *Spec) { s.Waves = "4,all" })
	p.step()
	p.must(p.engine.Abort(t.Context(), id, "ann", "a better one is ready"))
	p.step()
	p.restart()
	p.pass(2 * time.Hour) // until the mute one is given up
	v := p.want(id, Aborted, "a better one is ready")
	for i, want := range []string{Proven, Cancelled, Failed, Kept, Cancelled} {
		if d := v.device(t, all[i].id); d.State != want {
			t.Errorf("%s is %s, want %s", d.Device, d.State, want)
		}
	}
	if v.Ended.IsZero() || all[0].active != newDigest {
		t.Error("it goes on")
	}
}

// TestRollback: all that were told go back, whatever had become of them.
func TestRollback(t *testing.T) {
	p := newPlant(t)
	all := p.add(4)
	all[1].answer = func(a *agent, c *wire.Command) {
		if c.GetAct() == wire.Command_ACT_ROLLBACK {
			a.say(c, wire.Phase_PHASE_REFUSED, "not_running")
			return
		}
		a.say(c, wire.Phase_PHASE_STAGED, "")
	}
	id := p.start(func(s *Spec) { s.Waves = "3,all" })
	p.step()
	p.offline(all[2])
	p.must(p.engine.Rollback(t.Context(), id, "ann", "false rejects"))
	p.step()
	p.want(id, RollingBack, "1 device to go back")
	p.restart()
	p.online(all[2])
	p.step()
	v := p.want(id, RolledBack, "3 devices went back")
	if v.states()[WentBack] != 3 || v.states()[Cancelled] != 1 || all[0].active != oldDigest || all[2].active != oldDigest {
		t.Errorf("got %v", v.states())
	}
	if err := p.engine.Rollback(t.Context(), id, "ann", ""); !errors.Is(err, ErrConflict) {
		t.Errorf("rolled back twice: %v", err)
	}
}

// TestRollbackThatFails: a device that can't go back is named, and so is one
// that has gone. It can be tried again.
func TestRollbackThatFails(t *testing.T) {
	p := newPlant(t)
	all := p.add(2)
	stuck := func(a *agent, c *wire.Command) {
		if c.GetAct() == wire.Command_ACT_ROLLBACK {
			a.say(c, wire.Phase_PHASE_REFUSED, "no_good_left")
			return
		}
		a.good(c)
	}
	all[0].answer = stuck
	id := p.start(func(s *Spec) { s.Waves = "all" })
	p.step()
	p.want(id, Succeeded, "")
	p.must(p.engine.Rollback(t.Context(), id, "ann", ""))
	p.step()
	p.want(id, Halted, "1 device went back, 1 couldn't, 0 silent: dev-001 no_good_left")
	all[0].answer = nil
	p.must(p.engine.Resume(t.Context(), id, true, "ann"))
	p.step()
	p.want(id, RolledBack, "2 devices went back")
}

// TestRolledBackAfterItsProof: a device that proved and goes back later fails.
func TestRolledBackAfterItsProof(t *testing.T) {
	p := newPlant(t)
	all := p.add(2)
	all[1].answer = says(wire.Phase_PHASE_TRANSFER, "")
	id := p.start()
	p.step()
	p.step()
	r := all[0].last
	r.Stations[0].Phase, r.Stations[0].Reason = wire.Phase_PHASE_ROLLED_BACK, "crashes"
	all[0].report(r)
	p.step()
	p.want(id, Halted, "dev-001 crashes")
}

// TestOneAtATime: a second rollout of the bundle over the same devices is
// refused while one is at work, and takes over from one that was halted.
func TestOneAtATime(t *testing.T) {
	p := newPlant(t)
	all := p.add(2)
	all[0].answer = says(wire.Phase_PHASE_REFUSED, "golden_gate")
	id := p.start()
	for _, group := range []string{"line1", AllGroups} {
		if _, err := p.engine.Start(t.Context(), Spec{Bundle: "caps", Group: group}, "bob"); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), id) {
			t.Errorf("group %s: %v", group, err)
		}
	}
	p.step()
	p.want(id, Halted, "")
	all[0].answer = nil
	second := p.start()
	for range 3 {
		p.step()
	}
	p.want(second, Succeeded, "2 devices")
	for what, err := range map[string]error{
		"resume": p.engine.Resume(t.Context(), id, true, "ann"), "roll back": p.engine.Rollback(t.Context(), id, "ann", ""),
	} {
		if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), second) {
			t.Errorf("%s of what was followed by another: %v", what, err)
		}
	}
}

func TestRefusedSpecs(t *testing.T) {
	p := newPlant(t)
	p.add(1)
	for i, tt := range []struct {
		spec Spec
		want error
		text string
	}{
		{Spec{Bundle: "nuts", Group: "line1"}, ErrUnknown, "nuts"},
		{Spec{Bundle: "caps"}, ErrRequest, "name a group"},
		{Spec{Bundle: "caps", Group: "line2"}, ErrRequest, `no device is in group "line2"`},
		{Spec{Bundle: "caps", Group: "line1", Waves: "1"}, ErrRequest, "all at the end"},
		{Spec{Bundle: "caps", Group: "line1", Conditions: Conditions{Verdicts: 65}}, ErrRequest, "verdicts can be 1 to 64"},
		{Spec{Bundle: "caps", Group: "line1", Conditions: Conditions{Success: 101}}, ErrRequest, "success"},
		{Spec{Bundle: "caps", Group: "line1", Conditions: Conditions{Silence: -1}}, ErrRequest, "silence"},
	} {
		if _, err := p.engine.Start(t.Context(), tt.spec, "ann"); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%d: %v", i, err)
		}
	}
	p.golden = false
	if _, err := p.engine.Start(t.Context(), Spec{Bundle: "caps", Group: "line1"}, "ann"); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "golden") {
		t.Errorf("without golden pictures: %v", err)
	}
	if all, err := p.engine.List(t.Context(), 10); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	p.agents["dev-001"].answer = func(a *agent, c *wire.Command) {
		s := a.statement(c, a.by(c, 3))
		s.Gate = &wire.Gate{}
		a.lie(c, a.proof(s))
	}
	id := p.start(func(s *Spec) { s.WithoutGolden = true })
	p.step()
	p.want(id, Succeeded, "1 device")
}

// TestNobodyIsConcerned: a rollout that no device follows isn't a success.
func TestNobodyIsConcerned(t *testing.T) {
	p := newPlant(t)
	for _, a := range p.add(2) {
		a.answer = func(a *agent, c *wire.Command) {
			a.report(&wire.Report{Rollout: c.GetRollout(), Nonce: c.GetNonce(), Digest: c.GetDigest(), Text: "no station follows caps"})
		}
	}
	id := p.start(func(s *Spec) { s.Waves = "1,all" })
	for range 3 {
		p.step()
	}
	p.want(id, Halted, "no device has proved that it runs caps: dev-001: no station follows caps")
}

// TestRevokedOnTheWay: a device that is revoked is waited for no more.
func TestRevokedOnTheWay(t *testing.T) {
	p := newPlant(t)
	all := p.add(3)
	p.must(p.store.Revoke(t.Context(), all[2].id, p.store.Now()))
	all[1].answer = says(wire.Phase_PHASE_TRANSFER, "")
	id := p.start(func(s *Spec) { s.Waves = "all" })
	p.step()
	p.must(p.store.Revoke(t.Context(), all[1].id, p.store.Now()))
	p.step()
	v := p.want(id, Succeeded, "1 device")
	if len(v.Devices) != 2 || v.Waves[0].Out != 1 {
		t.Errorf("got %v", v.states())
	}
}

// TestLateResults: a proof may come before the results that it names, and the
// fleet may not be able to tell whose certificate it is for a while.
func TestLateResults(t *testing.T) {
	p := newPlant(t)
	a := p.add(1)[0]
	a.answer = func(a *agent, c *wire.Command) {
		a.active = newDigest
		a.lie(c, a.proof(a.statement(c, []uint64{1, 2, 3})))
	}
	id := p.start()
	p.step()
	p.want(id, Running, "")
	if d := p.get(id).Devices[0]; d.State != Proving || !strings.Contains(d.Text, "waits for 3 results of station st1") {
		t.Errorf("it is %s: %s", d.State, d.Text)
	}
	a.inspect(2)
	p.pass(10 * time.Second)
	p.want(id, Running, "")
	a.inspect(1)
	p.restart() // which must verify the signature again
	p.late = errors.New("disk I/O error")
	p.pass(10 * time.Second)
	p.want(id, Running, "")
	p.late = nil
	p.pass(10 * time.Second)
	p.want(id, Succeeded, "1 device")
}

// TestStoreAway: what was heard while the store couldn't be written isn't lost.
func TestStoreAway(t *testing.T) {
	p := newPlant(t)
	a := p.add(1)[0]
	id := p.start()
	p.must(p.engine.Step(t.Context()))
	p.mu.Lock()
	c := p.mailbox[a.id][0]
	p.mu.Unlock()
	a.good(c)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.engine.Step(gone); err == nil {
		t.Fatal("a step without a store is well")
	}
	p.must(p.engine.Step(t.Context()))
	p.want(id, Succeeded, "1 device")
}

// TestStrayReports: what isn't about the device's present command changes
// nothing.
func TestStrayReports(t *testing.T) {
	p := newPlant(t)
	all := p.add(2)
	all[0].answer = func(*agent, *wire.Command) {}
	id := p.start()
	refused := []*wire.StationUpdate{{Station: "st1", Phase: wire.Phase_PHASE_REFUSED}}
	p.step()
	for _, r := range []*wire.Report{
		nil, {}, {Rollout: id}, {Rollout: id, Stations: refused}, {Rollout: id, Nonce: make([]byte, 16), Stations: refused},
		{Rollout: "other", Stations: refused},
	} {
		p.engine.Heard(all[0].id, r)
		p.engine.Heard(all[1].id, r)
		p.engine.Heard("dev-stranger", r)
		p.must(p.engine.Step(t.Context()))
	}
	v := p.want(id, Running, "")
	if v.states()[Assigned] != 1 || v.states()[Planned] != 1 || !v.Devices[0].Heard.IsZero() {
		t.Errorf("got %v", v.states())
	}
}

// TestRun: the engine works by itself, and ends with its context.
func TestRun(t *testing.T) {
	p := newPlant(t)
	a := p.add(1)[0]
	p.engine.cfg.Send = func(_ string, c *wire.Command) bool { go a.do(c); return true }
	proven := make(chan bool, 1)
	p.engine.cfg.Changed = func(id string) {
		if r, err := p.store.Rollout(context.Background(), id); err == nil && r.State == Succeeded {
			select {
			case proven <- true:
			default:
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.engine.Run(ctx) }()
	p.start()
	select {
	case <-proven:
	case <-time.After(20 * time.Second):
		t.Error("nothing is proven")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := p.engine.Get(t.Context(), "rnone"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
