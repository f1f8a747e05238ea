package uplink

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/wire"
)

// sends is what the session's sender takes next.
func (a *alone) sends() string {
	a.t.Helper()
	if len(a.s.out)+len(a.s.said) == 0 {
		return ""
	}
	m, ok := a.s.next()
	if !ok {
		a.t.Error("the session has ended")
	}
	return string(m.kind)
}

// TestSayGoesAfterBatches: and only once the fleet has answered.
func TestSayGoesAfterBatches(t *testing.T) {
	a := newAlone(t, 20*defaultMaxBatch)
	greeted := 0
	a.u.cfg.Greeted = func() {
		greeted++
		if !a.u.Say(wire.KindReport, 1, []byte("report")) {
			t.Error("no report could be said with the greeting's answer")
		}
	}
	id, changed := a.u.Session()
	if id != 0 || a.u.Say(wire.KindGet, 0, nil) {
		t.Errorf("something was said before the fleet answered, session %d", id)
	}
	a.expect("at once", a.step(0), "hello")
	a.ack(0, 7)
	if id, _ := a.u.Session(); id != 7 || !closed(changed) || greeted != 1 {
		t.Errorf("session %d, greeted %d times", id, greeted)
	}
	a.u.Say(wire.KindGet, 0, []byte("get"))
	if _, err := a.talk.step(a.now); err != nil {
		t.Fatal(err)
	}
	var order []string
	for kind := a.sends(); kind != ""; kind = a.sends() {
		order = append(order, kind)
	}
	a.expect("after the answer", strings.Join(order, " "), "ev ev ev ev ev ev ev ev upd get")
	// It goes on while the place of the next batch is asked for.
	a.lose(a.now)
	if !a.u.Say(wire.KindGet, 0, []byte("get")) {
		t.Error("nothing can be said while it asks where the fleet is")
	}
	// A fleet that refuses the device hears nothing more.
	_, changed = a.u.Session()
	a.tell(wire.KindError, &wire.Refusal{Code: wire.Refusal_CODE_REVOKED})
	if id, _ := a.u.Session(); id != 0 || !closed(changed) || a.u.Say(wire.KindGet, 0, nil) {
		t.Errorf("refused, its session is %d", id)
	}
}

// TestSayHasLimits: what finds no room is refused, a lost connection's is
// forgotten, and an ended session sends no more.
func TestSayHasLimits(t *testing.T) {
	a := newAlone(t, 0)
	a.step(0)
	a.ack(0, 7)
	n := 0
	for a.u.Say(wire.KindGet, 0, []byte("get")) {
		n++
	}
	if n != maxSaid {
		t.Errorf("%d messages found room", n)
	}
	a.u.serve(nil)
	close(a.s.ended)
	if m, ok := a.s.next(); ok {
		t.Errorf("an ended session sends %s", m.kind)
	}
	b := over(t, a.u)
	b.step(0)
	b.ack(0, 7)
	if kind := b.sends(); kind != "" {
		t.Errorf("on another connection %s is sent", kind)
	}
	if !b.u.Say(wire.KindGet, 0, []byte("get")) || b.sends() != "get" {
		t.Error("there is no room on another connection")
	}
}

// TestOthers: over the real broker pieces and commands are heard, what is said
// arrives, and each connection is told.
func TestOthers(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	p := newProxy(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 100)
	var (
		mu      sync.Mutex
		heard   []string
		greeted atomic.Int32
	)
	cfg := quick(p.addr, j)
	cfg.Heard = func(kind wire.Kind, payload []byte) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, fmt.Sprintf("%s %d", kind, len(payload)))
	}
	cfg.Greeted = func() { greeted.Add(1) }
	u := start(t, cfg)
	u.drained(patient)
	came := make(chan string, 9)
	token := f.client.Subscribe(wire.Topic(device, wire.Up, wire.KindReport), 1, func(_ mqtt.Client, m mqtt.Message) { came <- string(m.Payload()) })
	if !token.WaitTimeout(patient) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	for round := range int32(2) {
		first, changed := u.Session()
		if !u.Say(wire.KindReport, 1, fmt.Append(nil, "report ", round)) {
			t.Error("nothing could be said")
		}
		if got := <-came; got != fmt.Sprint("report ", round) {
			t.Errorf("%q came", got)
		}
		for kind, size := range map[wire.Kind]int{wire.KindBlock: 64<<10 + 40, wire.KindCmd: 200} {
			f.client.Publish(wire.Topic(device, wire.Down, kind), 0, false, make([]byte, size))
		}
		eventually(t, patient, "both are heard", func() bool {
			mu.Lock()
			defer mu.Unlock()
			s := strings.Join(heard, ", ")
			return strings.Count(s, "blk 65576") == int(round)+1 && strings.Count(s, "cmd 200") == int(round)+1
		})
		if greeted.Load() != round+1 {
			t.Errorf("greeted %d times", greeted.Load())
		}
		p.cut("rst")
		<-changed
		eventually(t, patient, "another connection", func() bool { id, _ := u.Session(); return id != 0 && id != first })
	}
}

// TestPiecesDontDelayAcknowledgements: while 20 MB of pieces come, with a
// transfer's 256 KiB under way, a backlog drains, and nothing is sent twice.
func TestPiecesDontDelayAcknowledgements(t *testing.T) {
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 15_000)
	piece := make([]byte, 64<<10)
	for _, flood := range []bool{false, true} {
		f.setBack(j.Epoch(), 0)
		var got atomic.Int64
		cfg := quick(m.addr, j)
		window := make(chan struct{}, 4)
		cfg.Heard = func(wire.Kind, []byte) {
			got.Add(1)
			<-window
		}
		heard := make(chan struct{})
		cfg.Greeted = sync.OnceFunc(func() { close(heard) })
		stop, done := make(chan struct{}), make(chan struct{})
		u := start(t, cfg)
		go func() {
			defer close(done)
			<-heard
			for range 300 {
				if !flood {
					return
				}
				select {
				case <-stop:
					return
				case window <- struct{}{}:
					f.client.Publish(wire.Topic(device, wire.Down, wire.KindBlock), 0, false, piece).Wait()
				}
			}
		}()
		began := time.Now()
		u.drained(patient)
		took := time.Since(began)
		s := u.Stats()
		close(stop)
		<-done
		t.Logf("flood %v: %s for 15,000 records, a batch's round trip %s, %d pieces came", flood, took, s.RTT, got.Load())
		if s.Retries != 0 || s.Resent != 0 || s.Ignored != 0 || flood != (got.Load() > 0) {
			t.Errorf("flood %v: %d pieces, %+v", flood, got.Load(), s)
		}
		u.stop()
	}
	f.has(j)
}
