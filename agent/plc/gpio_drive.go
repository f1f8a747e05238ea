package plc

import (
	"context"
	"time"
)

// lamps are the levels of all outputs; true is active.
type lamps struct{ ready, pass, reject, gate, beat bool }

// safe is what stands on the lines at the start, on any fault and at the end: not
// ready, reject, the gate shut.
var safe = lamps{reject: true}

// edge is what an input line did.
type edge struct {
	what edgeKind
	at   time.Time
	lost int // edges of this line that the kernel had no room for, before this one
}

type edgeKind uint8

const (
	triggered edgeKind = iota
	released           // the trigger's other edge, told where the gate's place is counted in parts
	ackRose
	ackFell
	encoded
)

// chip is the lines of an open GPIO chip.
type chip struct {
	set   func(lamps) error
	close func() error
}

// panel is what the lines show, and until when.
type panel struct {
	gate     gate
	pulsing  bool      // the shown result stands on Pass or Reject
	pulseEnd time.Time // of it
	gapEnd   time.Time // the next may not begin before

	triggered, released time.Time // the trigger's last edges; zero before the first
}

// releaseBounces is for how many debounce times at least the trigger is inactive
// between two parts. Shorter may be a contact that bounces when the part leaves it.
const releaseBounces = 4

// askReady keeps the station's word fresh, apart from the lines: a station that
// hangs must not keep the outputs from becoming safe.
func (d *GPIO) askReady(ctx context.Context) {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		ok, _ := d.station.Ready()
		if old := d.asked.Swap(&readiness{ok, time.Now()}); old == nil || old.ok != ok {
			signal(d.wake)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// drive has the lines for as long as ctx lasts, and tries again where it can't.
func (d *GPIO) drive(ctx context.Context, open func(*GPIOConfig, func(edge)) (chip, error)) {
	for told := ""; ctx.Err() == nil; {
		err := d.hold(ctx, open)
		if err == nil {
			return
		}
		if told != err.Error() {
			told = err.Error()
			d.log.Error("the GPIO door has lost its lines", "chip", d.config.Chip, "err", err)
		}
		d.mu.Lock()
		d.fault = err.Error()
		d.mu.Unlock()
		wait(ctx, reopen)
	}
}

// hold takes the lines and drives them until ctx ends or one fails.
func (d *GPIO) hold(ctx context.Context, open func(*GPIOConfig, func(edge)) (chip, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	edges := make(chan edge, 256)
	c, err := open(&d.config, func(e edge) {
		select {
		case edges <- e:
		case <-ctx.Done():
		}
	})
	if err != nil {
		cancel()
		return err
	}
	d.mu.Lock()
	d.fault, d.opened = "", true
	d.panel = panel{gate: gate{place: d.config.Place, pulse: d.config.Pulse}}
	d.mu.Unlock()
	err = d.operate(ctx, c, edges)
	cancel()
	safeErr := c.set(safe)
	closeErr := c.close()
	d.mu.Lock()
	d.hs.forget()
	d.opened = false
	d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case safeErr != nil:
		d.log.Error("the GPIO door's outputs couldn't be made safe at its end", "err", safeErr)
	case closeErr != nil:
		d.log.Warn("the GPIO door's lines couldn't be given back", "err", closeErr)
	}
	return nil
}

// operate follows edges, results and time. It alone writes the outputs.
func (d *GPIO) operate(ctx context.Context, c chip, edges chan edge) error {
	shown := safe
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		want, again := d.panelAt(time.Now())
		if want != shown {
			if err := c.set(want); err != nil {
				return err
			}
			shown = want
		}
		timer.Reset(time.Until(again))
		select {
		case <-ctx.Done():
			return nil
		case e := <-edges:
			d.take(e, time.Now())
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// take follows one edge.
func (d *GPIO) take(e edge, now time.Time) {
	ready := d.promised(now)
	d.mu.Lock()
	defer d.mu.Unlock()
	g := &d.panel.gate
	switch e.what {
	case triggered:
		d.missLost(e, now)
		t := Trigger{At: e.at}
		i := d.hs.raise(t, ready)
		d.hs.lower()
		d.begin(i)
		if i == nil {
			d.hs.refuse(t)
		}
		if d.config.Gate == nil {
			return
		}
		if d.panel.doubtful(e.at, &d.config) { // a part or a bounce: it takes a place, and passes nothing
			d.doubt()
			i = nil
		}
		g.enter(i, e.at, now)
	case released:
		d.missLost(e, now)
		d.panel.released = e.at
	case ackRose, ackFell:
		d.hs.acknowledge(e.what == ackRose)
	case encoded:
		if e.lost > 0 {
			g.distrust()
			g.count += uint64(e.lost)
		}
		g.step(e.at, now)
	}
}

// doubtful takes the time of a trigger's edge, and tells whether it may be a bounce
// of the one before, or of its end. Where the gate's place is counted in parts one
// such edge would give each part the verdict of its neighbour.
func (p *panel) doubtful(at time.Time, c *GPIOConfig) bool {
	last := p.triggered
	p.triggered = at
	if c.Place.Parts == 0 {
		return false
	}
	return !last.IsZero() && at.Sub(last) < c.Pulse ||
		!p.released.IsZero() && at.Sub(p.released) < releaseBounces*c.Debounce
}

// doubt gives up the parts between trigger and gate. The caller holds mu.
func (d *GPIO) doubt() {
	if lost := d.panel.gate.distrust(); lost > 0 {
		d.log.Warn("the GPIO door's triggers came too close together to be parts, or were lost: the gate rejects what is on its way", "parts", lost)
	}
}

// missLost takes the triggers among the edges that were lost before this one. The
// caller holds mu.
func (d *GPIO) missLost(e edge, now time.Time) {
	if e.lost == 0 {
		return
	}
	n := e.lost
	if d.config.Place.Parts > 0 { // both edges are told, by turns
		d.doubt()
		if n /= 2; e.what == released {
			n = (e.lost + 1) / 2
		}
	}
	for range min(n, maxBetween) {
		d.miss(e.at, now)
	}
}

// miss takes a trigger that the kernel counted and didn't tell. The caller holds mu.
func (d *GPIO) miss(at, now time.Time) {
	d.hs.miss()
	d.hs.refuse(Trigger{At: at})
	if d.config.Gate != nil {
		d.panel.gate.enter(nil, at, now)
	}
}

// promised tells whether a trigger that came now gets a verdict.
func (d *GPIO) promised(now time.Time) bool {
	_, alive := d.beat.state()
	asked := d.asked.Load()
	return alive && asked != nil && asked.ok && now.Sub(asked.at) <= missingBeats*d.config.Heartbeat
}

// panelAt gives the outputs at a time, and when to look again if nothing happens.
func (d *GPIO) panelAt(now time.Time) (lamps, time.Time) {
	ready := d.promised(now)
	count, alive := d.beat.state()
	again := d.beat.expires()
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &d.panel
	if !alive { // what comes after this must not be taken for parts that are long past
		d.hs.forget()
		p.gate.distrust()
		p.pulsing = false
		return safe, now.Add(d.config.Heartbeat)
	}
	lit, next := d.lit(now)
	open, gateNext := p.gate.advance(now)
	for _, t := range []time.Time{next, gateNext} {
		if !t.IsZero() && t.Before(again) {
			again = t
		}
	}
	pass := lit && d.hs.shown.passes()
	return lamps{
		ready:  ready && d.hs.room(),
		pass:   pass,
		reject: lit && !pass,
		gate:   d.config.Gate != nil && open,
		beat:   count%2 == 1,
	}, again
}

// lit tells whether the oldest result stands on its line now: until it is
// acknowledged, or for one pulse. The caller holds mu.
func (d *GPIO) lit(now time.Time) (lit bool, again time.Time) {
	if d.config.Ack != nil {
		return d.hs.shown != nil, time.Time{}
	}
	p := &d.panel
	if p.pulsing && d.hs.shown == nil { // it was forgotten
		p.pulsing, p.gapEnd = false, now.Add(d.config.Gap)
	}
	if p.pulsing && !now.Before(p.pulseEnd) {
		p.pulsing, p.gapEnd = false, now.Add(d.config.Gap)
		d.hs.acknowledge(true)
		d.hs.acknowledge(false)
	}
	if !p.pulsing && d.hs.shown != nil && !now.Before(p.gapEnd) {
		p.pulsing, p.pulseEnd = true, now.Add(d.config.Pulse)
	}
	switch {
	case p.pulsing:
		return true, p.pulseEnd
	case d.hs.shown != nil:
		return false, p.gapEnd
	}
	return false, time.Time{}
}
