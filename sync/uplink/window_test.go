package uplink

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// event is something that happens in the model at a time.
type event struct {
	at time.Duration
	do func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, k int) bool { return e[i].at < e[k].at }
func (e events) Swap(i, k int)      { e[i], e[k] = e[k], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// channel is a model of broker and network between a window and a fleet that
// follows the protocol: it loses, delays, reorders and repeats.
type channel struct {
	t      *testing.T
	rand   *rand.Rand
	loss   float64
	again  float64
	delay  time.Duration // most; each message has its own
	queue  events
	now    time.Duration
	w      window
	lost   bool // the device doesn't know where the fleet is
	asked  bool
	fleet  uint64
	stored []uint64 // first of every number that was stored, in order
	last   uint64   // of the journal
	sent   int
}

func (c *channel) time() time.Time { return time.Unix(0, 0).Add(c.now) }

func (c *channel) after(d time.Duration, do func()) { heap.Push(&c.queue, event{c.now + d, do}) }

func (c *channel) deliver(do func()) {
	if c.rand.Float64() >= c.loss {
		c.after(c.delay/10+rand2(c.rand, c.delay), do)
	}
	if c.rand.Float64() < c.again {
		c.after(rand2(c.rand, 4*c.delay), do)
	}
}

func rand2(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }

// pump is what the talk does, in small.
func (c *channel) pump() {
	if d := c.w.deadline(); !c.lost && !d.IsZero() && !c.time().Before(d) {
		c.w.goBack()
		c.lost = true
		c.ask()
	}
	for !c.lost {
		b := c.w.due()
		if b == nil {
			if end := c.w.end(); c.w.room() && end < c.last {
				n := min(1+c.rand.Uint64N(20), c.last-end)
				c.w.add(&batch{first: end + 1, last: end + n, items: n, payload: make([]byte, c.rand.IntN(120<<10))})
				continue
			}
			break
		}
		c.sent++
		first, last := b.first, b.last
		c.w.sent(c.time())
		c.deliver(func() { c.take(first, last) })
	}
	c.check()
}

func (c *channel) ask() {
	c.asked = true
	c.deliver(func() {
		w := c.fleet
		c.deliver(func() {
			if c.asked {
				c.asked, c.lost = false, false
				c.w.locate(w, c.time())
			}
		})
	})
	c.after(time.Second, func() {
		if c.asked {
			c.ask()
		}
	})
}

func (c *channel) take(first, last uint64) {
	if first <= c.fleet+1 {
		for n := c.fleet + 1; n <= last; n++ {
			c.stored = append(c.stored, n)
			c.fleet = n
		}
	}
	w := c.fleet
	c.deliver(func() {
		if !c.lost && c.w.ack(w, c.time()) == beyond {
			c.t.Error("an honest acknowledgement was taken for a lie")
		}
	})
}

func (c *channel) check() {
	next, bytes := c.w.watermark+1, 0
	for i, b := range c.w.flight {
		if b.first > next || i > 0 && b.first != next || b.last < next {
			c.t.Fatalf("flight has %d to %d after %d", b.first, b.last, next-1)
		}
		next = b.last + 1
		bytes += len(b.payload)
	}
	if bytes != c.w.bytes || len(c.w.flight) > maxFlight || bytes > maxFlightBytes+120<<10 || c.w.next > len(c.w.flight) {
		c.t.Fatalf("%d batches, %d bytes in flight, counted %d, next is %d", len(c.w.flight), bytes, c.w.bytes, c.w.next)
	}
	if c.w.patience() > mostPatience {
		c.t.Fatalf("patience is %s", c.w.patience())
	}
}

func TestWindowOverABadChannel(t *testing.T) {
	runs := 300
	if full() {
		runs = 20000
	}
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := &channel{
			t: t, rand: r, loss: r.Float64() * 0.4, again: r.Float64() * 0.5, last: 1 + r.Uint64N(2000),
			delay: time.Millisecond + rand2(r, 3*time.Second), lost: true,
		}
		if seed%5 == 0 {
			c.loss, c.again, c.delay = 0, 0, time.Millisecond
		}
		c.ask()
		setBack := seed%3 == 0
		for c.w.watermark < c.last {
			c.pump()
			var at time.Duration
			if d := c.w.deadline(); !c.lost && !d.IsZero() {
				at = d.Sub(time.Unix(0, 0))
			}
			if len(c.queue) > 0 && (at == 0 || c.queue[0].at <= at) {
				e := heap.Pop(&c.queue).(event)
				c.now = max(c.now, e.at)
				e.do()
			} else if at != 0 {
				c.now = max(c.now, at)
			} else {
				t.Fatalf("seed %d: nothing will ever happen, the fleet is at %d of %d: %+v", seed, c.fleet, c.last, c.w)
			}
			if setBack && c.fleet > c.last/2 {
				setBack = false
				c.fleet = c.rand.Uint64N(c.fleet)
				c.stored = c.stored[:c.fleet]
			}
			if c.now > 10*24*time.Hour {
				t.Fatalf("seed %d: no end, the fleet is at %d of %d", seed, c.fleet, c.last)
			}
		}
		for i, n := range c.stored {
			if n != uint64(i+1) {
				t.Fatalf("seed %d: number %d was stored as the %dth", seed, n, i+1)
			}
		}
		if c.fleet < c.last && c.w.watermark == c.last && seed%3 != 0 {
			t.Fatalf("seed %d: the device thinks that the fleet has %d, it has %d", seed, c.w.watermark, c.fleet)
		}
	}
}

func at(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }

func flying(t *testing.T, batches int) *window {
	t.Helper()
	w := new(window)
	for i := range uint64(batches) {
		w.add(&batch{first: 10*i + 1, last: 10*i + 10, items: 10, payload: make([]byte, 100)})
		w.sent(at(int(i)))
	}
	return w
}

func TestWindowAnswers(t *testing.T) {
	for _, tt := range []struct {
		watermark uint64
		want      answer
		flight    int
	}{
		{0, stale, 3}, {5, progress, 3}, {9, progress, 3}, {10, progress, 2}, {30, progress, 0}, {31, beyond, 3}, {1<<64 - 1, beyond, 3},
	} {
		w := flying(t, 3)
		if got := w.ack(tt.watermark, at(50)); got != tt.want || len(w.flight) != tt.flight {
			t.Errorf("ack of %d: %d with %d in flight, want %d with %d", tt.watermark, got, len(w.flight), tt.want, tt.flight)
		}
	}
}

func TestWindowPatience(t *testing.T) {
	w := flying(t, 2)
	if d := w.deadline(); !d.Equal(at(1500)) {
		t.Errorf("goes back at %s", d)
	}
	w.ack(10, at(600)) // measured: 600 ms
	if d := w.deadline(); !d.Equal(at(600 + 4*600)) {
		t.Errorf("goes back at %s, 4 RTT after the progress", d)
	}
	for range 20 {
		w.goBack()
		if !w.deadline().IsZero() {
			t.Error("waits for what isn't sent")
		}
		w.sent(at(3000))
	}
	if d := w.deadline().Sub(at(3000)); d != mostPatience {
		t.Errorf("patience grew to %s", d)
	}
	rtt := w.rtt
	w.ack(20, at(90000))
	if w.rtt != rtt {
		t.Error("a batch that was sent often told the time of one sending")
	}
	w.add(&batch{first: 21, last: 21, payload: []byte{0}})
	w.sent(at(90000))
	if d := w.deadline().Sub(at(90000)); d != 4*600*time.Millisecond {
		t.Errorf("progress left a patience of %s", d)
	}
}

// TestWindowLocates: wherever the fleet says it is, sending goes on after it.
func TestWindowLocates(t *testing.T) {
	for _, tt := range []struct {
		watermark      uint64
		flight         int
		end, firstSent uint64
	}{
		{10, 3, 40, 11}, {15, 3, 40, 11}, {20, 2, 40, 21}, {40, 0, 40, 0}, {4, 0, 4, 0}, {0, 0, 0, 0}, {41, 0, 41, 0}, {500, 0, 500, 0},
	} {
		w := flying(t, 4)
		w.ack(10, at(5))
		w.locate(tt.watermark, at(50))
		var first uint64
		if b := w.due(); b != nil {
			first = b.first
		}
		if w.watermark != tt.watermark || len(w.flight) != tt.flight || w.end() != tt.end || first != tt.firstSent {
			t.Errorf("at %d: watermark %d, %d in flight up to %d, first %d", tt.watermark, w.watermark, len(w.flight), w.end(), first)
		}
		if w.highest != max(tt.watermark, 40) {
			t.Errorf("at %d: highest is %d", tt.watermark, w.highest)
		}
	}
}
