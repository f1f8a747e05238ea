package ingest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestFlood: a device that floods loses its own messages; the others' all get
// their turn, in their order.
func TestFlood(t *testing.T) {
	q := newQueue()
	for i := range 10 * maxOfOne {
		q.put(message{device: "flood", body: []byte{byte(i)}})
	}
	for i := range 3 {
		for d := range 5 {
			q.put(message{device: fmt.Sprint("dev-", d), body: []byte{byte(i)}})
		}
	}
	if dropped, queued := q.stats(); dropped != 9*maxOfOne || queued != maxOfOne+15 {
		t.Errorf("%d dropped, %d queued", dropped, queued)
	}
	next := map[string]byte{}
	for i := range maxOfOne + 15 {
		m, ok := q.next()
		if !ok || m.body[0] != next[m.device] {
			t.Fatalf("message %d is %s's %d, want %d", i, m.device, m.body, next[m.device])
		}
		next[m.device]++
		if i == 17 && (next["dev-4"] != 3 || next["flood"] != 3) {
			t.Errorf("after 18 messages: %v", next)
		}
	}
	if _, ok := q.next(); ok || q.bytes != 0 || q.n != 0 || len(q.of) != 0 {
		t.Errorf("left: %+v", q)
	}
}

func TestQueueBounds(t *testing.T) {
	q := newQueue()
	for i := range 100 { // devices with as much as they may have
		for range 20 {
			q.put(message{device: fmt.Sprint("dev-", i), body: make([]byte, 1<<20)})
		}
	}
	if q.bytes != maxQueuedBytes || q.n != maxQueuedBytes>>20 || len(q.of["dev-0"].messages) != maxBytesOfOne>>20 {
		t.Errorf("%d bytes in %d messages", q.bytes, q.n)
	}
	q = newQueue()
	for i := range maxQueued + 100 {
		q.put(message{device: fmt.Sprint("dev-", i)})
	}
	if dropped, queued := q.stats(); dropped != 100 || queued != maxQueued {
		t.Errorf("%d dropped, %d queued", dropped, queued)
	}
}

func TestOutbox(t *testing.T) {
	o := newOutbox()
	for i := range uint64(maxAnswers + 10) {
		o.put(answerTo{"a", i % 3, 0}, &wire.Ack{Watermark: i})
		o.put(answerTo{fmt.Sprint(i), 0, 0}, &wire.Ack{})
	}
	if len(o.order) != maxAnswers {
		t.Errorf("%d answers wait", len(o.order))
	}
	topic, body, ok := o.next()
	a := new(wire.Ack)
	if err := wire.Unmarshal(body, a); err != nil || !ok || topic != "a" || a.GetWatermark() < maxAnswers {
		t.Errorf("%s: %v, %v", topic, a, err)
	}
	o.clear()
	if _, _, ok := o.next(); ok {
		t.Error("there is one after the end")
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limiter
		revoked, unreadable := wire.Refusal_CODE_REVOKED, wire.Refusal_CODE_UNREADABLE
		if !l.allow("a", revoked) || l.allow("a", revoked) || !l.allow("a", unreadable) || !l.allow("b", revoked) {
			t.Error("each device and code has its own limit")
		}
		time.Sleep(refuseEvery)
		if !l.allow("a", revoked) {
			t.Error("not allowed after a second")
		}
		for i := range 2 * maxLimited {
			l.allow(fmt.Sprint(i), revoked)
		}
		if len(l.now) > maxLimited || l.allow("c", revoked) {
			t.Errorf("%d are remembered", len(l.now))
		}
		time.Sleep(refuseEvery / 2)
		if l.allow("c", revoked) || l.allow("1", revoked) {
			t.Error("allowed within the second")
		}
		time.Sleep(refuseEvery / 2)
		if !l.allow("c", revoked) || !l.allow("1", revoked) || l.allow("1", revoked) || len(l.now) != 2 {
			t.Errorf("%d are remembered", len(l.now))
		}
	})
}

func TestSignsAreMerged(t *testing.T) {
	var s signs
	for i := range 2 * maxSigns {
		s.add(store.Sign{Device: "a", At: time.Unix(int64(i), 0)})
	}
	if len(s.of["a"]) != 1 || s.of["a"][0].At.Unix() != 2*maxSigns-1 {
		t.Errorf("got %+v", s.of)
	}
	for i := range uint64(100) {
		s.add(store.Sign{Device: "a", Hello: &wire.Hello{Connection: i}})
		s.add(store.Sign{Device: "a", State: &wire.State{Connection: i}})
		s.add(store.Sign{Device: "a", Life: &wire.Life{Connection: i}})
	}
	a := s.of["a"]
	if len(a) != maxOfSigns || s.n != maxOfSigns {
		t.Errorf("got %d", len(a))
	}
	if h, st, l := a[len(a)-3], a[len(a)-2], a[len(a)-1]; h.Hello.GetConnection() != 99 || st.State.GetConnection() != 99 || l.Life.GetConnection() != 99 {
		t.Errorf("the newest are %+v", a[len(a)-3:])
	}
	for i := range 2 * maxSigns {
		s.add(store.Sign{Device: fmt.Sprint(i)})
	}
	s.add(store.Sign{Device: "a", Life: &wire.Life{Connection: 100}})
	if n := len(s.all()); n != maxSigns || s.of["a"][maxOfSigns-1].Life.GetConnection() != 100 {
		t.Errorf("got %d", n)
	}
}

// TestCostlyBatches: a device whose batches are large when they are decoded
// gets no more of the writer than others.
func TestCostlyBatches(t *testing.T) {
	q := newQueue()
	for range 20 {
		q.put(message{device: "costly"})
		for d := range 3 {
			q.put(message{device: fmt.Sprint("dev-", d)})
		}
	}
	served := map[string]int{}
	for range 33 {
		m, _ := q.next()
		served[m.device]++
		if m.device == "costly" {
			q.charge(m.device, 10*turnBytes)
		} else {
			q.charge(m.device, turnBytes/2)
		}
	}
	if served["costly"] > 2 || served["dev-0"] < 10 {
		t.Errorf("got %v", served)
	}
	for {
		m, ok := q.next()
		if !ok {
			break
		}
		served[m.device]++
		q.charge(m.device, turnBytes*10)
	}
	if served["costly"] != 20 || served["dev-2"] != 20 || len(q.of) != 0 || len(q.turns) != 0 {
		t.Errorf("got %v; left: %+v", served, q)
	}
}
