package uplink

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

// alone is a talk whose session has queues and no network, at a time of its
// own.
type alone struct {
	*talk
	t   testing.TB
	j   *journal.Journal
	now time.Time
}

func newAlone(t testing.TB, records int) *alone {
	t.Helper()
	return over(t, New(quick("", older(t, records))))
}

// older is a journal of an earlier run of the program, in which anything may
// have been sent.
func older(t testing.TB, records int) *journal.Journal {
	t.Helper()
	dir := t.TempDir()
	j, stop := openJournal(t, dir)
	if records > 0 {
		fill(t, j, records)
	}
	stop()
	j, _ = openJournal(t, dir)
	return j
}

// over is another connection of that uplink.
func over(t testing.TB, u *Uplink) *alone {
	t.Helper()
	s := &session{device: device, id: 7, made: time.Now(), in: make(chan message, 9), out: make(chan message, queueOut), said: make(chan message, maxSaid), ended: make(chan struct{}), room: make(chan struct{}, 1)}
	a := &alone{talk: newTalk(u, s), t: t, j: u.cfg.Journal, now: s.made}
	return a
}

// step lets time pass and gives the kinds of what was sent.
func (a *alone) step(d time.Duration) (sent string) {
	a.t.Helper()
	a.now = a.now.Add(d)
	for {
		if _, err := a.talk.step(a.now); err != nil {
			a.t.Fatal(err)
		}
		if len(a.s.out) == 0 {
			return strings.TrimSpace(sent)
		}
		for len(a.s.out) > 0 {
			sent += " " + string((<-a.s.out).kind)
		}
	}
}

func (a *alone) tell(kind wire.Kind, m proto.Message) {
	a.t.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.hear(message{kind: kind, payload: b}, a.now); err != nil {
		a.t.Fatal(err)
	}
}

func (a *alone) ack(watermark, connection uint64) {
	a.t.Helper()
	a.tell(wire.KindAck, &wire.Ack{Epoch: a.j.Epoch(), Watermark: watermark, Connection: connection})
}

func (a *alone) expect(what, got, want string) {
	a.t.Helper()
	if got != want {
		a.t.Errorf("%s: it sent %q, want %q", what, got, want)
	}
}

func TestNothingGoesBeforeTheAnswer(t *testing.T) {
	a := newAlone(t, 300)
	a.expect("at once", a.step(0), "hello")
	a.ack(10, 0)
	a.ack(10, 99)
	a.tell(wire.KindAck, &wire.Ack{Epoch: 1, Watermark: 10, Connection: 7})
	a.expect("after answers to others", a.step(time.Millisecond), "")
	if s := a.u.Stats(); s.Ignored != 1 {
		t.Errorf("what an earlier connection's batches were answered with is no nonsense, another epoch's is: %+v", s)
	}
	a.expect("later", a.step(2*time.Second), "hello")
	a.ack(100, 7)
	a.expect("after the answer", a.step(time.Millisecond), "ev")
	a.expect("after lingering", a.step(time.Second), "ev")
	a.ack(300, 0)
	if s := a.u.Stats(); s.Sent != 200 || s.Backlog != 0 || a.j.Stats().Acknowledged != 300 {
		t.Errorf("%+v", s)
	}
	a.ack(100, 7)
	a.expect("after the answer came once more", a.step(0), "")
	a.expect("with nothing to do", a.step(time.Hour), "")
}

func TestWindowIsKept(t *testing.T) {
	a := newAlone(t, 20*defaultMaxBatch)
	a.step(0)
	a.ack(0, 7)
	a.expect("after the answer", a.step(0), "ev ev ev ev ev ev ev ev")
	a.ack(defaultMaxBatch+5, 0)
	a.expect("one arrived", a.step(0), "ev")
	a.expect("nothing moves", a.step(1600*time.Millisecond), "hello")
	a.ack(4*defaultMaxBatch, 7)
	a.expect("three more had arrived", a.step(0), "ev ev ev ev ev ev ev ev")
	if s := a.u.Stats(); s.Resent != 5*defaultMaxBatch || s.Sent != 12*defaultMaxBatch || s.Retries != 1 {
		t.Errorf("%+v", s)
	}
	a.expect("nothing moves again", a.step(1600*time.Millisecond), "hello")
	a.ack(4*defaultMaxBatch, 7)
	a.expect("the fleet is where it was", a.step(0), "ev ev ev ev ev ev ev ev")
	a.expect("twice the patience", a.step(1600*time.Millisecond), "")
	a.expect("twice the patience is over", a.step(1600*time.Millisecond), "hello")
}

func TestLies(t *testing.T) {
	a := newAlone(t, 300)
	a.step(0)
	a.ack(0, 7)
	a.expect("after the answer", a.step(0), "ev ev")
	for _, w := range []uint64{257, 300, 1 << 63, 1<<64 - 1} {
		a.ack(w, 0)
	}
	if s := a.u.Stats(); s.Watermark != 0 || s.Ignored != 4 || a.j.Stats().Acknowledged != 0 {
		t.Errorf("a watermark of what was never sent: %+v", s)
	}
	if sent := a.step(1400 * time.Millisecond); !strings.Contains(sent, "hello") {
		t.Errorf("the fleet isn't asked: %q", sent)
	}
	a.ack(300, 7)
	if s := a.u.Stats(); s.Watermark != 300 {
		t.Errorf("the answer to a greeting: %+v", s)
	}
}

// TestLiesAboutANewEpoch: a fleet that claims more of an epoch than there is
// makes the device begin one, and no second time.
func TestLiesAboutANewEpoch(t *testing.T) {
	a := newAlone(t, 10)
	a.step(0)
	for range 50 {
		a.ack(1<<63, 7)
		a.step(time.Minute)
	}
	if s := a.u.Stats(); s.NewEpochs != 1 || s.Ignored != 49 || s.Watermark != 0 {
		t.Errorf("%+v", s)
	}
	a.ack(0, 7)
	a.step(0)
	a.expect("the truth", a.step(time.Second), "ev")
}

// TestPutBackAndGrown: a journal was put back from a copy, and by the time the
// fleet says that it has more, it has grown past that. None of the new records
// may pass for those that the fleet has.
func TestPutBackAndGrown(t *testing.T) {
	a := newAlone(t, 10)
	old := a.j.Epoch()
	a.expect("at once", a.step(0), "hello")
	fill(t, a.j, 10)
	a.ack(15, 7)
	if s := a.u.Stats(); s.NewEpochs != 1 || s.Watermark != 0 || a.j.Stats().Acknowledged != 0 || a.j.Epoch() == old {
		t.Fatalf("the fleet has 15 of 10 records: %+v", s)
	}
	a.expect("after that", a.step(0), "hello")
	a.ack(12, 7) // nothing of this epoch was ever sent
	if s := a.u.Stats(); s.NewEpochs != 1 || s.Watermark != 0 || s.Ignored != 1 {
		t.Errorf("a lie about the new epoch: %+v", s)
	}
	a.ack(0, 7)
	a.expect("after the answer", a.step(time.Second)+a.step(time.Second), "ev")
	a.ack(20, 0)
	if s := a.u.Stats(); s.Watermark != 20 || s.Sent != 20 {
		t.Errorf("%+v", s)
	}
}

// TestFullQueue: while nothing can be queued, nothing is due: room wakes the
// talk, which otherwise would spin until there is some.
func TestFullQueue(t *testing.T) {
	a := newAlone(t, 10)
	a.u.cfg.State = func() *wire.State { return new(wire.State) }
	for !a.s.full() {
		a.s.queue(message{})
	}
	never, later := time.Time{}, a.now.Add(time.Hour)
	for what, due := range map[string][2]time.Time{"greeting and state": {a.now, a.now}, "state": {never, a.now}, "greeting": {a.now, later}} {
		a.helloAt, a.stateAt = due[0], due[1]
		if at, err := a.talk.step(a.now.Add(time.Second)); err != nil || !at.After(a.now.Add(2*time.Second)) {
			t.Errorf("%s due: the next step is due in %s, %v", what, at.Sub(a.now)-time.Second, err)
		}
	}
	<-a.s.out
	a.helloAt, a.stateAt = a.now, a.now
	if _, err := a.talk.step(a.now); err != nil || !a.s.full() {
		t.Errorf("with room nothing is queued, %v", err)
	}
}

func TestRefusals(t *testing.T) {
	const code = wire.Refusal_CODE_UNAVAILABLE
	for _, tt := range []struct {
		name    string
		refusal *wire.Refusal
		quiet   time.Duration // nothing is sent so long
		want    string        // Stats.Refusal
	}{
		{"revoked", &wire.Refusal{Code: wire.Refusal_CODE_REVOKED, Text: "by alice"}, 3 * time.Minute, "the fleet has revoked this device: by alice"},
		{"protocol", &wire.Refusal{Code: wire.Refusal_CODE_PROTOCOL}, 3 * time.Minute, "the fleet doesn't know this program's protocol, update one of the two"},
		{"unavailable", &wire.Refusal{Code: code, Text: "disk full\xff", RetryMs: 30000}, 19 * time.Second, ""},
		{"for 50 days", &wire.Refusal{Code: code, RetryMs: 1<<32 - 1}, 3 * time.Minute, "the fleet can't store results now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAlone(t, 300)
			a.u.cfg.State = func() *wire.State { return new(wire.State) }
			a.step(0)
			a.ack(0, 7)
			a.step(0)
			if tt.want == "" { // no message of ours can hold that text
				tt.refusal.Text, tt.want = "disk full", "the fleet can't store results now: disk full"
			}
			a.tell(wire.KindError, tt.refusal)
			if got := a.u.Stats().Refusal; got != tt.want {
				t.Errorf("it says %q", got)
			}
			if sent := strings.TrimLeft(strings.ReplaceAll(a.step(tt.quiet), "st", ""), " "); sent != "" {
				t.Errorf("it sent %q", sent)
			}
			if tt.refusal.GetCode() != code {
				b := over(t, a.u)
				b.expect("on another connection", b.step(0), "hello")
				b.expect("and after it", b.step(3*time.Minute), "")
			}
			if sent := a.step(5 * time.Minute); !strings.Contains(sent, "hello") {
				t.Errorf("it never asks again: %q", sent)
			}
			a.ack(0, 7)
			if sent := a.step(0); !strings.Contains(sent, "ev") || a.u.Stats().Refusal != "" {
				t.Errorf("after the fleet changed its mind: sent %q, %+v", sent, a.u.Stats())
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	a := newAlone(t, 3)
	a.step(0)
	a.ack(0, 7)
	for range 3 {
		a.tell(wire.KindError, &wire.Refusal{Code: wire.Refusal_CODE_UNREADABLE, Text: strings.Repeat("é", 1000)})
	}
	a.tell(wire.KindError, &wire.Refusal{Code: 77})
	if s := a.u.Stats(); s.Unreadable != 3 || s.Ignored != 1 || s.Refusal != "" {
		t.Errorf("%+v", s)
	}
}

// TestDeadLink: a broker that confirms nothing for half a minute isn't there.
func TestDeadLink(t *testing.T) {
	a := newAlone(t, 3)
	a.s.pending = []*handed{{at: a.now}}
	if _, err := a.talk.step(a.now.Add(deadLink - 1)); err != nil {
		t.Error(err)
	}
	if _, err := a.talk.step(a.now.Add(deadLink)); err == nil {
		t.Error("the link is taken for alive")
	}
}

// TestSlowLink: what is still on its way to the broker isn't sent again.
func TestSlowLink(t *testing.T) {
	a := newAlone(t, 300)
	a.step(0)
	a.ack(0, 7)
	a.step(0)
	a.expect("after lingering", a.step(time.Second), "ev")
	a.s.pending = []*handed{{at: a.now}}
	a.expect("while the broker doesn't confirm", a.step(20*time.Second), "")
	a.s.pending = nil
	a.expect("when it did", a.step(time.Second), "hello")
}

func TestState(t *testing.T) {
	a := newAlone(t, 5)
	n := uint64(0)
	a.u.cfg.State = func() *wire.State { n++; return &wire.State{UptimeMs: n} }
	if _, err := a.talk.step(a.now); err != nil {
		t.Fatal(err)
	}
	<-a.s.out // hello
	got := new(wire.State)
	if err := wire.Unmarshal((<-a.s.out).payload, got); err != nil {
		t.Fatal(err)
	}
	want := &wire.State{Connection: 7, EveryMs: 10000, UptimeMs: 1, AgeMs: got.GetAgeMs(),
		Journal: &wire.JournalState{Epoch: a.j.Epoch(), Last: 5, Bytes: uint64(a.j.Stats().Bytes)}}
	if !proto.Equal(got, want) {
		t.Error(cmp.Diff(want.String(), got.String()))
	}
	a.helloAt = time.Time{}
	a.expect("soon", a.step(9*time.Second), "")
	a.expect("after its time", a.step(time.Second), "st")
	a.stateAt = earlier(a.stateAt, a.stated.Add(changedGap)) // as at a change
	a.expect("at once after a change", a.step(900*time.Millisecond), "")
	a.expect("a second after the last", a.step(100*time.Millisecond), "st")
	a.u.cfg.State = func() *wire.State { return &wire.State{Stations: []*wire.StationState{{Id: "\xff"}}} }
	a.expect("a text that can't be sent", a.step(10*time.Second), "")
}

func FuzzHear(f *testing.F) {
	for _, m := range []proto.Message{
		&wire.Ack{Epoch: 1, Watermark: 2, Connection: 7}, &wire.Ack{Watermark: 1 << 63}, &wire.Refusal{Code: 4, RetryMs: 9, Text: "x"}, &wire.Refusal{Code: 1},
	} {
		b, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(true, b)
		f.Add(false, b)
	}
	j := older(f, 50)
	f.Fuzz(func(t *testing.T, ack bool, payload []byte) {
		a := over(t, New(quick("", j)))
		a.step(0)
		for range 2 {
			kind := wire.KindError
			if ack {
				kind = wire.KindAck
				// Else no message that was made at random names this epoch.
				m := new(wire.Ack)
				if wire.Unmarshal(payload, m) == nil && m.GetEpoch()%2 == 1 {
					m.Epoch = j.Epoch()
					payload, _ = wire.Marshal(m)
				}
			}
			if err := a.hear(message{kind: kind, payload: payload}, a.now); err != nil {
				t.Fatal(err)
			}
			a.step(time.Minute)
		}
		if w := j.Stats(); w.Acknowledged > w.Last {
			t.Fatalf("%+v", w)
		}
	})
}
