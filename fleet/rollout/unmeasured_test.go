package rollout

import (
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/sync/wire"
)

const nobodyMeasured = "how far cuda float32 moves was never measured for this bundle"

// unmeasured runs the bundle and proves that, on a provider that nobody measured.
// It says so in what it signs, in its report, or in both.
func unmeasured(signed, reported bool) func(*agent, *wire.Command) {
	return func(a *agent, c *wire.Command) {
		a.active, a.after = [32]byte(c.GetDigest()), a.seq
		s := a.statement(c, a.inspect(int(c.GetVerdicts())))
		if signed {
			s.Gate.Unmeasured = nobodyMeasured
		}
		r := a.say(c, wire.Phase_PHASE_COMMITTED, "")
		if reported {
			r.Stations[0].Unmeasured = nobodyMeasured
		}
		r.Proof = a.proof(s)
		a.report(r)
	}
}

// TestUnmeasuredIsNotPlainlyProven: such a device counts for its wave, and is told
// apart in counts, states, the reason at the end and the history; also by a fleet
// that was started anew.
func TestUnmeasuredIsNotPlainlyProven(t *testing.T) {
	p := newPlant(t)
	all := p.add(4)
	all[1].answer, all[2].answer, all[3].answer = unmeasured(true, false), unmeasured(false, true), unmeasured(true, true)
	id := p.start(func(s *Spec) { s.Waves = "1,all" })
	p.step()
	p.step()
	p.restart()
	v := p.want(id, Succeeded, "4 devices proved that they run it; on 3 of them its golden pictures passed, but are unmeasured")
	if w := v.Waves; w[0].Proven != 1 || w[0].Unmeasured != 0 || w[1].Proven != 3 || w[1].Unmeasured != 3 || w[1].Size != 3 {
		t.Errorf("waves %+v", w)
	}
	if d := v.device(t, "dev-001"); d.State != Proven || d.Reason != "" || d.Unmeasured != "" {
		t.Errorf("a measured one: %+v", d)
	}
	for _, a := range all[1:] {
		if d := v.device(t, a.id); d.State != Proven || d.Reason != ReasonUnmeasured || d.Unmeasured != nobodyMeasured || d.Proven.IsZero() {
			t.Errorf("%s: %+v", a.id, d)
		}
	}
	events, err := p.engine.Events(t.Context(), id, 100)
	p.must(err)
	told := 0
	for _, e := range events {
		if e.What == "proven, unmeasured: "+nobodyMeasured {
			told++
		}
	}
	if told != 3 {
		t.Errorf("the history tells it of %d devices: %+v", told, events)
	}
}

// TestUnmeasuredOnTheWay: it is known from the gate on, and not of a device that
// doesn't run the bundle any more.
func TestUnmeasuredOnTheWay(t *testing.T) {
	for phase, want := range map[wire.Phase]string{
		wire.Phase_PHASE_STAGED: "", wire.Phase_PHASE_GATED: nobodyMeasured, wire.Phase_PHASE_WAITING: nobodyMeasured,
		wire.Phase_PHASE_PROBATION: nobodyMeasured, wire.Phase_PHASE_COMMITTED: nobodyMeasured, wire.Phase_PHASE_ROLLED_BACK: "",
	} {
		p := newPlant(t)
		p.add(1)[0].answer = func(a *agent, c *wire.Command) {
			r := a.say(c, phase, "")
			r.Stations[0].Unmeasured = nobodyMeasured
			a.report(r)
		}
		id := p.start()
		p.step()
		v := p.get(id)
		if d := v.device(t, "dev-001"); d.Unmeasured != want || v.Waves[0].Unmeasured != 0 || d.Reason == ReasonUnmeasured {
			t.Errorf("%s: it is %s, %s, %q, waves %+v", phase, d.State, d.Reason, d.Unmeasured, v.Waves)
		}
	}
}

// TestUnmeasuredAtLength: what a device says without end is cut.
func TestUnmeasuredAtLength(t *testing.T) {
	p := newPlant(t)
	p.add(1)[0].answer = func(a *agent, c *wire.Command) {
		a.active, a.after = [32]byte(c.GetDigest()), a.seq
		s := a.statement(c, a.inspect(3))
		s.Gate.Unmeasured = strings.Repeat("x", 4000)
		r := a.say(c, wire.Phase_PHASE_COMMITTED, "")
		r.Proof = a.proof(s)
		a.report(r)
	}
	id := p.start()
	p.step()
	if d := p.get(id).device(t, "dev-001"); d.State != Proven || len(d.Unmeasured) < 100 || len(d.Unmeasured) > maxText+len("…") {
		t.Errorf("%s, %d bytes", d.State, len(d.Unmeasured))
	}
}
