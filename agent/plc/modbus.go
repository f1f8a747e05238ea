package plc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// defaultHold is how long results and levels are kept for a controller that is
// away: longer than a lost connection, shorter than a restart.
const defaultHold = 2 * time.Second

// ModbusConfig sets up a door that is a Modbus TCP server.
type ModbusConfig struct {
	Access
	Heartbeat time.Duration // interval of beats. 0: 500ms
	// Hold is how long results are kept for a controller whose connection is gone.
	// After that, or for another controller, they are dropped: they would be taken
	// for those of other parts. 0: 2s.
	Hold time.Duration
}

// Modbus is the door for controllers that are Modbus TCP clients.
type Modbus struct {
	line
	hold     time.Duration
	entrance entrance
	switches chan string // at most one recipe waits to be made the active one

	// Under line.mu:
	holding     [holdingCount]uint16 // what the controller wrote
	recipeFault bool                 // the last change of recipe didn't come about
	owner       netip.Addr           // whose levels and results these are
	away        time.Time            // when it was last heard, once its connection is gone
	raised      bool                 // Trigger was raised over an earlier connection, and isn't lowered yet
	spell       int                  // of the heartbeat, that the results are of
}

// NewModbus checks c. Run opens the door.
func NewModbus(c ModbusConfig, s Station, log *slog.Logger) (*Modbus, error) {
	ad, err := c.check()
	heartbeat, wrong := checkHeartbeat(c.Heartbeat)
	err = errors.Join(err, wrong)
	if c.Hold < 0 || c.Hold > time.Minute {
		err = errors.Join(err, fmt.Errorf("hold: must be from 0 (2s) to 1m, got %v", c.Hold))
	}
	if err != nil {
		return nil, fmt.Errorf("modbus door: %w", err)
	}
	if c.Hold == 0 {
		c.Hold = defaultHold
	}
	d := &Modbus{hold: c.Hold, switches: make(chan string, 1)}
	d.line.open(s, log, heartbeat)
	d.changed = func() {} // the controller polls
	d.entrance = entrance{admission: ad, log: log, serve: d.serve}
	return d, nil
}

// Run keeps the door open until ctx ends. It gives nil: what goes wrong is told
// in Stats and tried again.
func (d *Modbus) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	d.line.run(ctx, g, d.expire)
	g.Go(func() error { d.changeRecipes(ctx); return nil })
	g.Go(func() error { d.entrance.run(ctx); return nil })
	return g.Wait()
}

// Stats is what the door has seen.
func (d *Modbus) Stats() Stats {
	s := d.stats()
	d.entrance.fill(&s)
	return s
}

// serve answers one controller's requests, each before the next is read.
func (d *Modbus) serve(ctx context.Context, c *client) {
	d.arrive(c.peer)
	defer func() {
		d.mu.Lock()
		d.away = c.lastHeard()
		d.mu.Unlock()
	}()
	r := newFrames(c)
	for {
		f, err := r.next()
		if err != nil {
			if errors.Is(err, errFrame) {
				d.garbled()
				d.log.Warn("a controller's connection was closed: it doesn't speak Modbus TCP", "peer", c.peer.String(), "err", err)
			}
			return
		}
		if f.protocol != 0 {
			d.garbled()
			continue
		}
		c.hears()
		if err := r.reply(f, d.process(ctx, f.pdu)); err != nil {
			return
		}
	}
}

// arrive begins anew for another controller, and for one that was away for too long.
func (d *Modbus) arrive(peer netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owner != peer || !d.away.IsZero() && time.Since(d.away) > d.hold {
		d.restart()
	}
	d.owner, d.away = peer, time.Time{}
	d.raised = d.holding[controlWord]&coilTrigger != 0
	d.holding[controlWord] &^= coilRestart | coilClear // raised again they are meant
}

// settle drops what was there before the agent was stuck: once it goes on, those
// parts are long past. The caller holds mu.
func (d *Modbus) settle() {
	if spell := d.beat.spells(); spell != d.spell {
		d.spell = spell
		d.hs.forget()
	}
}

// expire drops what is kept for a controller that doesn't come back.
func (d *Modbus) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	if !d.away.IsZero() && time.Since(d.away) > d.hold {
		d.restart()
		d.owner, d.away = netip.Addr{}, time.Time{}
	}
}

// restart drops results and levels. The caller holds mu.
func (d *Modbus) restart() {
	d.hs.forget()
	d.holding = [holdingCount]uint16{}
	d.recipeFault, d.raised = false, false
}

func (d *Modbus) changeRecipes(ctx context.Context) {
	for {
		var name string
		select {
		case <-ctx.Done():
			return
		case name = <-d.switches:
		}
		within, cancel := context.WithTimeout(ctx, recipeWithin)
		err := d.station.SetRecipe(within, name)
		cancel()
		if err != nil {
			d.log.Error("the recipe that the controller asked for is not the active one", "recipe", name, "err", err)
		}
		d.mu.Lock()
		d.switching, d.recipeFault = false, err != nil
		d.mu.Unlock()
	}
}
