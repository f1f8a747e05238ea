package plc

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
)

// answerOf is what the station says of a trigger, whoever asks.
func answerOf(id string) vision.Verdict {
	h := uint32(2166136261)
	for _, b := range []byte(id) {
		h = (h ^ uint32(b)) * 16777619
	}
	return vision.Verdict(h>>7%3) % 3
}

// controller is the model of a PLC: it sees the door by requests alone, at times
// of its own, and keeps the books that the door's must agree with.
type controller struct {
	t      *testing.T
	d      *Modbus
	rng    *rand.Rand
	word   uint16
	sent   int
	miss   int
	queue  []string // accepted, in order
	got    int
	counts [3]int
	last   uint16 // sequence
}

func (c *controller) ask(pdu []byte) []byte {
	out := c.d.process(c.t.Context(), pdu)
	if out[0]&0x80 != 0 {
		c.t.Fatalf("% x was refused: % x", pdu, out)
	}
	return out
}

func (c *controller) look() [inputCount]uint16 {
	return words(c.ask([]byte{readInput, 0, 0, 0, inputCount}))
}

func (c *controller) set(bit uint16, on bool) {
	c.word &^= bit
	if on {
		c.word |= bit
	}
	c.ask(binary.BigEndian.AppendUint16([]byte{writeRegister, 0, controlWord}, c.word))
}

// trigger asks for one part, ready or not, and sees whether it was accepted.
func (c *controller) trigger() {
	c.sent++
	id := fmt.Sprintf("part-%d", c.sent)
	pdu := []byte{writeRegisters, 0, triggerIDAt, 0, idRegisters, 2 * idRegisters}
	regs := make([]uint16, idRegisters)
	pack(regs, id)
	for _, r := range regs {
		pdu = binary.BigEndian.AppendUint16(pdu, r)
	}
	c.ask(pdu)
	before := c.look()
	c.set(coilTrigger, true)
	after := c.look()
	switch accepted := after[0]&bitAck != 0; {
	case accepted && before[0]&bitReady == 0 && before[2] == queueLength && after[2] == queueLength:
		c.t.Fatalf("%s was accepted without a place", id)
	case !accepted && before[0]&bitReady != 0:
		c.t.Fatalf("%s was missed, though the door was ready", id)
	case accepted:
		c.queue = append(c.queue, id)
	default:
		c.miss++
		if after[0]&bitMiss == 0 {
			c.t.Fatalf("%s was missed in silence", id)
		}
	}
	c.set(coilTrigger, false)
}

// fetch reads a result if there is one: it must be the oldest trigger's.
func (c *controller) fetch() {
	in := c.look()
	if in[0]&bitValid == 0 {
		if in[0]&(bitPass|bitRej) != bitRej || in[8] != 0 {
			c.t.Fatalf("without a result the status is %012b", in[0])
		}
		return
	}
	if len(c.queue) == 0 {
		c.t.Fatalf("a result that nobody asked for: %q", unpack(in[16:48]))
	}
	want := c.queue[0]
	c.queue = c.queue[1:]
	if id := unpack(in[16:48]); id != want || in[8] != uint16(answerOf(want)) || in[7] != next(c.last) {
		c.t.Fatalf("result of %q is %d, sequence %d after %d; want %q, %d", id, in[8], in[7], c.last, want, answerOf(want))
	}
	c.last = in[7]
	c.got++
	c.counts[in[8]]++
	c.set(coilAck, true)
	c.pause(2)
	c.set(coilAck, false)
}

func (c *controller) pause(ms int) {
	time.Sleep(time.Duration(c.rng.IntN(ms*1000+1)) * time.Microsecond)
}

// Thousands of parts at random times: none is lost, none comes twice, the order
// holds, and what was missed was told.
func TestHandshakeAgainstAModel(t *testing.T) {
	parts, seeds := 3000, uint64(3)
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		parts, seeds = 20000, 50
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			s := &station{answer: func(ctx context.Context, tr Trigger) Answer {
				wait(ctx, time.Duration(1+binary.BigEndian.Uint16([]byte(tr.ID)[len(tr.ID)-2:])%40)*time.Millisecond)
				return Answer{TriggerID: tr.ID, Verdict: answerOf(tr.ID), Reason: "ok"}
			}}
			d, err := NewModbus(ModbusConfig{Access: loopback(), Heartbeat: 20 * time.Millisecond}, s, quiet())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			g, ctx := errgroup.WithContext(ctx)
			d.line.run(ctx, g, func() {})
			time.Sleep(50 * time.Millisecond)
			c := &controller{t: t, d: d, rng: rng}
			for c.sent < parts {
				c.trigger()
				c.pause(1 + rng.IntN(20))
				for range rng.IntN(4) {
					c.fetch()
				}
				s.busy.Store(rng.IntN(50) == 0)
			}
			for len(c.queue) > 0 {
				c.fetch()
				c.pause(5)
			}
			stats := d.stats()
			cancel()
			_ = g.Wait()
			if c.got+c.miss != parts || c.miss == 0 || stats.Overruns == 0 || c.counts[1] == 0 || c.counts[2] == 0 {
				t.Errorf("seed %d: %d results and %d missed of %d parts: %+v", seed, c.got, c.miss, parts, c.counts)
			}
			if stats.Acknowledged != uint64(c.got) || stats.Missed != uint64(c.miss) || stats.Waiting != 0 || stats.Lost != 0 {
				t.Errorf("seed %d: the controller got %d and missed %d, the door says %+v", seed, c.got, c.miss, stats)
			}
		})
	}
}

func TestHandshakeEdges(t *testing.T) {
	var h handshake
	if h.acknowledge(true); h.raise(Trigger{ID: "a"}, true) == nil {
		t.Fatal("a trigger was refused")
	}
	if h.raise(Trigger{ID: "b"}, true) != nil {
		t.Error("a level that stays high triggered twice")
	}
	a := h.queue[0]
	h.answer(a, Answer{Verdict: vision.Pass})
	if h.shown != nil {
		t.Error("a result is shown under an acknowledgement that still stands: it would never be seen as fetched")
	}
	h.acknowledge(false)
	if h.shown != a {
		t.Error("no result is shown")
	}
	h.lower()
	b := h.raise(Trigger{ID: "b"}, true)
	h.forget()
	h.answer(b, Answer{Verdict: vision.Pass})
	if h.shown != nil || b.passes() || a.passes() || h.open != 0 || h.counts.Lost != 2 {
		t.Errorf("what was forgotten lives on: %+v", h)
	}
	h.sequence = 65535
	h.lower()
	h.answer(h.raise(Trigger{}, true), Answer{})
	if h.sequence != 1 {
		t.Errorf("65535 is followed by %d", h.sequence)
	}
}

// Inspections that were forgotten still take a place until they end: a station
// that hangs is never asked for more than eight at once.
func TestForgottenInspectionsCount(t *testing.T) {
	var h handshake
	for range queueLength {
		if h.raise(Trigger{}, true) == nil {
			t.Fatal("missed")
		}
		h.forget()
	}
	if h.room() || h.raise(Trigger{}, true) != nil {
		t.Error("a ninth was accepted")
	}
}

// Triggers that come together reach the station in their order, however slowly it takes each.
func TestTriggersDontOvertake(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			s := &station{taking: func(int) { time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond) }, keeps: seed%5 == 0}
			s.answer = func(ctx context.Context, tr Trigger) Answer {
				wait(ctx, 10*time.Millisecond)
				return passed(tr)
			}
			var l line
			l.open(s, quiet(), 10*time.Millisecond)
			l.changed = func() {}
			ctx, cancel := context.WithCancel(t.Context())
			g, ctx := errgroup.WithContext(ctx)
			l.run(ctx, g, func() {})
			start := time.Now()
			for n := range queueLength {
				l.mu.Lock()
				l.begin(l.hs.raise(Trigger{ID: fmt.Sprint(n)}, true))
				l.hs.lower()
				l.mu.Unlock()
			}
			for l.stats().Results == 0 || l.finishedNow() < queueLength {
				time.Sleep(time.Millisecond)
			}
			took := time.Since(start)
			cancel()
			_ = g.Wait()
			for n, tr := range s.seen {
				if tr.ID != fmt.Sprint(n) {
					t.Fatalf("seed %d: trigger %s came as number %d", seed, tr.ID, n)
				}
			}
			if together := took < 40*time.Millisecond; together == s.keeps {
				t.Errorf("seed %d: eight inspections took %v, the station keeps triggers: %v", seed, took, s.keeps)
			}
		})
	}
}

func (l *line) finishedNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hs.finished()
}
