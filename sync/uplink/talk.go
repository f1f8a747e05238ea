package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Times of the conversation.
const (
	helloLeast = time.Second // between unanswered greetings
	helloMost  = 30 * time.Second
	refusedFor = 5 * time.Minute // between greetings of a device that the fleet refuses
	leastRetry = 500 * time.Millisecond
	deadLink   = 30 * time.Second
	linkCheck  = 250 * time.Millisecond
)

// talk is what is said over one session. One goroutine runs it and owns all of
// it, the uplink's window included.
type talk struct {
	u *Uplink
	s *session

	hello    pause
	helloAt  time.Time // when to greet; zero if not
	asked    bool      // a greeting waits for its answer
	located  bool      // the fleet has said where it is, batches may go
	answered bool      // it ever did on this session
	warned   bool      // of batches that the fleet can't read

	stateAt time.Time // when to send the next state
	stated  time.Time // when the last one was sent

	wait waiting // for records
}

func newTalk(u *Uplink, s *session) *talk {
	return &talk{u: u, s: s, hello: pause{least: helloLeast, most: helloMost}, helloAt: s.made, stateAt: s.made}
}

// run talks until ctx is done, which is nil, or until the session has to end.
func (t *talk) run(ctx context.Context) error {
	t.say(wire.KindLife, &wire.Life{Connection: t.s.id, Online: true, AgeMs: t.s.age()})
	changed := t.u.cfg.Changed
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at, err := t.step(time.Now())
		if err != nil {
			return err
		}
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return nil
		case err := <-t.s.lost:
			return err
		case m := <-t.s.in:
			if err := t.hear(m, time.Now()); err != nil {
				return err
			}
		case _, ok := <-changed:
			if !ok {
				changed = nil
			}
			t.stateAt = earlier(t.stateAt, t.stated.Add(changedGap))
		case <-t.s.room:
		case <-t.wait.some:
		case <-t.wait.full:
		case <-timer.C:
		}
	}
}

// step does what is due and tells when something will be.
func (t *talk) step(now time.Time) (next time.Time, err error) {
	next = now.Add(time.Hour)
	owed := t.s.unconfirmed()
	if !owed.IsZero() {
		if next = earlier(next, owed.Add(deadLink)); !now.Before(owed.Add(deadLink)) {
			return next, fmt.Errorf("what was sent to the broker %s ago isn't confirmed: %w", deadLink, context.DeadlineExceeded)
		}
	}
	if d := t.u.window.deadline(); t.located && !d.IsZero() {
		switch {
		case now.Before(d):
		case owed.IsZero():
			t.goBack(now)
		default: // the link is slow, and what is on it will arrive or the link will break
			d = now.Add(linkCheck)
		}
		next = earlier(next, d)
	}
	next = earlier(next, t.greet(now))
	next = earlier(next, t.state(now))
	if !t.located {
		return next, nil
	}
	at, err := t.send(now)
	return earlier(next, at), err
}

// earlier is the earlier of two times, of which a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// say queues a message of which it doesn't matter much whether it arrives, and
// reports whether there was room.
func (t *talk) say(kind wire.Kind, m proto.Message) bool {
	if t.s.full() {
		return false // room will wake the talk
	}
	b, err := wire.Marshal(m)
	if err != nil { // a text from outside that is no UTF-8
		t.u.cfg.Log.Warn("a message to the fleet can't be encoded", "kind", kind, "err", err)
		return true
	}
	qos := byte(1)
	if kind == wire.KindState {
		qos = 0
	}
	t.s.queue(message{kind: kind, qos: qos, payload: b})
	return true
}

var errMute = errors.New("the broker is there, but the fleet behind it doesn't answer")

// goBack asks the fleet where it is, and sends nothing until it has said so.
// If it was only the acknowledgements that were lost, nothing is sent twice.
func (t *talk) goBack(now time.Time) {
	t.u.window.goBack()
	t.lose(now)
	t.u.update(func(s *Stats) { s.Retries++ })
}

// lose is to know no longer where the fleet is, and to ask it at that time.
func (t *talk) lose(askAt time.Time) {
	t.located = false
	t.helloAt = askAt
	t.hello.reset()
	t.u.update(func(s *Stats) { s.Located = false })
}

func (t *talk) greet(now time.Time) time.Time {
	if t.helloAt.IsZero() || now.Before(t.helloAt) {
		return t.helloAt
	}
	if t.s.full() {
		return time.Time{} // room will wake the talk
	}
	if t.asked && !t.located && !t.u.silent {
		t.u.note(errMute)
	}
	j := t.u.cfg.Journal.Stats()
	if t.say(wire.KindHello, &wire.Hello{
		Protocol: wire.Protocol, Connection: t.s.id, Epoch: t.u.epoch,
		First: j.First, Last: j.Last, Inventory: t.u.cfg.Inventory,
	}) {
		t.asked = true
		wait := t.hello.next()
		if t.u.silent {
			wait = jitter(refusedFor)
		}
		t.helloAt = now.Add(wait)
	}
	return t.helloAt
}

func (t *talk) state(now time.Time) time.Time {
	if t.u.cfg.State == nil || t.u.silent {
		return time.Time{}
	}
	if now.Before(t.stateAt) {
		return t.stateAt
	}
	if t.s.full() {
		return time.Time{} // room will wake the talk
	}
	st := t.u.cfg.State()
	j := t.u.cfg.Journal.Stats()
	st.Connection, st.AgeMs, st.EveryMs = t.s.id, t.s.age(), uint32(t.u.cfg.Every.Milliseconds())
	st.Journal = &wire.JournalState{
		Epoch: t.u.epoch, Last: j.Last, Acknowledged: j.Acknowledged, Bytes: uint64(j.Bytes), Dropped: j.Dropped,
	}
	t.say(wire.KindState, st)
	t.stated, t.stateAt = now, now.Add(t.u.cfg.Every)
	return t.stateAt
}
