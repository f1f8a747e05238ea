package rollout

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
)

// lies are what devices do that don't run the bundle and say that they do.
// Each gets what a good report would be, and changes it.
var lies = []struct {
	name string
	lie  func(a *agent, c *wire.Command)
}{
	{"the old bundle is kept", func(a *agent, c *wire.Command) {
		s := a.statement(c, a.inspect(3)) // by the old one
		a.lie(c, a.proof(s))
	}},
	{"another's proof", func(a *agent, c *wire.Command) {
		other := a.agents["dev-001"]
		a.inspect(3)
		a.lie(c, other.proof(other.statement(c, []uint64{1, 2, 3})))
	}},
	{"another's proof that names this device", func(a *agent, c *wire.Command) {
		a.lie(c, a.agents["dev-001"].proof(a.statement(c, a.by(c, 3))))
	}},
	{"a stale proof of an earlier rollout", func(a *agent, c *wire.Command) {
		earlier := proto.Clone(c).(*wire.Command)
		earlier.Rollout = "rearlier"
		a.lie(c, a.proof(a.statement(earlier, a.by(c, 3))))
	}},
	{"a stale proof of an earlier command", func(a *agent, c *wire.Command) {
		earlier := proto.Clone(c).(*wire.Command)
		earlier.Nonce = make([]byte, 16)
		a.lie(c, a.proof(a.statement(earlier, a.by(c, 3))))
	}},
	{"records that don't exist", func(a *agent, c *wire.Command) {
		a.by(c, 3)
		a.lie(c, a.proof(a.statement(c, []uint64{a.seq + 1000, a.seq + 1001, a.seq + 1002})))
	}},
	{"a signature over something else", func(a *agent, c *wire.Command) {
		p := a.proof(a.statement(c, a.by(c, 3)))
		p.Signature[8] ^= 1
		a.lie(c, p)
	}},
	{"a statement changed after it was signed", func(a *agent, c *wire.Command) {
		p := a.proof(a.statement(c, a.by(c, 3)))
		p.Statement[len(p.Statement)-1] ^= 1
		a.lie(c, p)
	}},
	{"too few verdicts", func(a *agent, c *wire.Command) { a.lie(c, a.proof(a.statement(c, a.by(c, 2)))) }},
	{"one verdict counted three times", func(a *agent, c *wire.Command) {
		seq := a.by(c, 1)[0]
		a.lie(c, a.proof(a.statement(c, []uint64{seq, seq, seq})))
	}},
	{"verdicts of before it was active", func(a *agent, c *wire.Command) {
		seqs := a.by(c, 3)
		a.after = a.seq
		a.lie(c, a.proof(a.statement(c, seqs)))
	}},
	{"a gate that didn't pass", func(a *agent, c *wire.Command) {
		s := a.statement(c, a.by(c, 3))
		s.Gate.Passed--
		a.lie(c, a.proof(s))
	}},
	{"no gate", func(a *agent, c *wire.Command) {
		s := a.statement(c, a.by(c, 3))
		s.Gate = nil
		a.lie(c, a.proof(s))
	}},
	{"another bundle's digest", func(a *agent, c *wire.Command) {
		s := a.statement(c, a.by(c, 3))
		s.Digest = oldDigest[:]
		a.lie(c, a.proof(s))
	}},
	{"a station left out", func(a *agent, c *wire.Command) {
		p := a.proof(a.statement(c, a.by(c, 3)))
		r := a.say(c, wire.Phase_PHASE_COMMITTED, "")
		r.Stations = append(r.Stations, &wire.StationUpdate{Station: "st2", Phase: wire.Phase_PHASE_COMMITTED, Active: newDigest[:]})
		r.Proof = p
		a.report(r)
	}},
	{"another station's verdicts", func(a *agent, c *wire.Command) {
		s := a.statement(c, a.by(c, 3))
		s.Stations[0].Station = "st2"
		r := a.say(c, wire.Phase_PHASE_COMMITTED, "")
		r.Stations[0].Station = "st2"
		r.Proof = a.proof(s)
		a.report(r)
	}},
	{"no boot", func(a *agent, c *wire.Command) {
		s := a.statement(c, a.by(c, 3))
		s.Boot = nil
		a.lie(c, a.proof(s))
	}},
	{"a certificate of its own making", func(a *agent, c *wire.Command) {
		p := a.proof(a.statement(c, a.by(c, 3)))
		p.Certificate[len(p.Certificate)-5] ^= 1
		a.lie(c, p)
	}},
	{"it says so without a proof", func(a *agent, c *wire.Command) {
		a.by(c, 3)
		a.say(c, wire.Phase_PHASE_COMMITTED, "")
	}},
	{"it ran for three parts and has gone back", func(a *agent, c *wire.Command) {
		seqs := a.by(c, 3)
		a.active = oldDigest
		a.inspect(1)
		a.lie(c, a.proof(a.statement(c, seqs)))
	}},
}

// by inspects with the commanded bundle, which really runs.
func (a *agent) by(c *wire.Command, n int) []uint64 {
	a.active, a.after = [32]byte(c.GetDigest()), a.seq
	return a.inspect(n)
}

// lie reports that all is done, with that proof.
func (a *agent) lie(c *wire.Command, p *wire.Proof) {
	is := a.active
	a.active = [32]byte(c.GetDigest())
	r := a.say(c, wire.Phase_PHASE_COMMITTED, "")
	a.active = is
	r.Proof = p
	a.report(r)
}

// TestLies: none of them counts, and each ends as a failure that says why.
func TestLies(t *testing.T) {
	for _, l := range lies {
		t.Run(l.name, func(t *testing.T) {
			p := newPlant(t)
			all := p.add(2) // dev-001 is honest
			all[1].answer = l.lie
			id := p.start(func(s *Spec) { s.Waves, s.MaxFailures, s.Timeout = "all", Limit{N: 2}, 2*time.Minute })
			p.step()
			if got := p.get(id).device(t, "dev-001"); got.State != Proven {
				t.Fatalf("the honest one is %s: %s", got.State, got.Text)
			}
			p.pass(5 * time.Minute)
			v := p.get(id)
			d := v.device(t, "dev-002")
			if v.Waves[0].Proven != 1 || !failed(d.State) || d.Text == "" || !d.Proven.IsZero() {
				t.Errorf("it is %s, %s: %q", d.State, d.Reason, d.Text)
			}
			t.Logf("%s, %s: %s", d.State, d.Reason, d.Text)
		})
	}
}

// TestLiarsAmong200: of 200 agents 5 % lie, half of them are cut off and come
// back, and the fleet is restarted in the middle. All the honest ones count and
// none of the others.
func TestLiarsAmong200(t *testing.T) {
	p := newPlant(t)
	all := p.add(200)
	liars := map[string]bool{}
	for i := range 10 {
		a := all[20*i+19]
		a.answer, liars[a.id] = lies[i].lie, true
	}
	p.offline(all[100:]...)
	began := time.Now()
	id := p.start(func(s *Spec) {
		s.Waves, s.MaxFailures, s.Timeout = "1,10%,all", Limit{N: 10}, 2*time.Minute
	})
	for range 4 {
		p.step()
	}
	half := p.get(id)
	if half.State != Running || half.Waves[2].Proven == 0 || half.Waves[2].Away == 0 {
		t.Fatalf("half way it is %s, %+v: %s", half.State, half.Waves, half.Reason)
	}
	p.restart()
	p.online(all[100:]...)
	for range 3 {
		p.step()
	}
	p.restart()
	p.pass(3 * time.Minute)
	took := time.Since(began)
	v := p.get(id)
	if want := "190 of 200 devices proved that they run it"; v.State != Succeeded || v.Reason != want {
		t.Errorf("it is %s: %s; %v", v.State, v.Reason, v.states())
	}
	for _, d := range v.Devices {
		if liars[d.Device] == (d.State == Proven) {
			t.Errorf("%s, liar %v, is %s: %s", d.Device, liars[d.Device], d.State, d.Text)
		}
	}
	if p.sent > 3*200 {
		t.Errorf("%d commands for 200 devices", p.sent)
	}
	t.Logf("%v, %d commands, %s", v.states(), p.sent, took)
}
