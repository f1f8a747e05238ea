package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/uplink"
)

// lookEvery is how often an agent that isn't enrolled looks whether it is by
// now, so that enrolling needs no restart.
const lookEvery = 2 * time.Second

// againEvery is when an uplink that gave up is started again.
const againEvery = 30 * time.Second

// fleetLink sends the journal to the fleet once the device is enrolled. Nothing
// that happens to it touches inspection.
type fleetLink struct {
	data    string
	journal *journal.Journal
	report  time.Duration
	updates *updates // hears commands
	log     *slog.Logger

	mu       sync.Mutex // protects what follows
	identity *identity.Identity
	uplink   *uplink.Uplink
	broken   error // why nothing is sent now: no identity that can be read, or no uplink
	since    time.Time
}

// run waits until the device is enrolled, then sends until ctx ends.
func (l *fleetLink) run(ctx context.Context, a *agent.Agent) error {
	id := l.enrolled(ctx)
	if id == nil {
		return nil
	}
	inventory := a.Inventory()
	up := uplink.New(uplink.Config{
		Device: id.Device(), Broker: id.MQTT(), TLS: id.TLS(), Renew: id.Renew,
		Journal: l.journal, State: a.State, Inventory: inventory, Every: l.report, Changed: a.Changed(), Log: l.log,
		Heard: l.updates.heard, Greeted: l.updates.greeted,
	})
	l.updates.enrolled(id, up)
	l.mu.Lock()
	l.identity, l.uplink = id, up
	l.mu.Unlock()
	var g errgroup.Group
	g.Go(func() error { return id.Run(ctx) })
	g.Go(func() error {
		l.keep(ctx, up)
		return nil
	})
	return g.Wait()
}

// keep runs the uplink until ctx ends. What ends it before, such as a page of
// the journal that can't be read, is told and tried again: inspection goes on
// meanwhile, and so should sending.
func (l *fleetLink) keep(ctx context.Context, up *uplink.Uplink) {
	for ctx.Err() == nil {
		err := up.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.log.Error("nothing is sent to the fleet for now", "err", err, "again", againEvery)
		l.tell(err)
		select {
		case <-ctx.Done():
		case <-time.After(againEvery):
		}
		l.tell(nil)
	}
}

// enrolled waits for the device's identity; nil when ctx ends before. One that
// can't be read is told, and read again: a person may mend it.
func (l *fleetLink) enrolled(ctx context.Context) *identity.Identity {
	for said := ""; ; {
		id, err := identity.Open(l.data)
		if err == nil {
			l.tell(nil)
			return id
		}
		if errors.Is(err, identity.ErrNotEnrolled) {
			err = nil
		}
		l.tell(err)
		if err != nil && err.Error() != said {
			said = err.Error()
			l.log.Error("nothing is sent to the fleet", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}

// tell notes why nothing is sent, nil while something can be.
func (l *fleetLink) tell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.broken == nil {
		l.since = time.Now()
	}
	l.broken = err
}

// now is how the connection is doing, nil before the device is enrolled.
func (l *fleetLink) now() *api.Fleet {
	l.mu.Lock()
	id, up, broken, since := l.identity, l.uplink, l.broken, l.since
	l.mu.Unlock()
	switch {
	case up == nil && broken == nil:
		return nil
	case up == nil:
		return &api.Fleet{Error: broken.Error(), Since: &since, Backlog: l.journal.Stats().Last}
	}
	u, i := up.Stats(), id.Stats()
	f := &api.Fleet{
		Device: id.Device(), Group: id.Group(), Address: id.Fleet(),
		Connected: u.Connected && u.Located, Refusal: u.Refusal, Acknowledged: u.Watermark, Backlog: u.Backlog,
		Certificate: i.NotAfter, Sent: u.Sent + u.Resent, Resent: u.Resent, SentBytes: u.Bytes, Connects: u.Connects,
	}
	if !u.Since.IsZero() {
		f.Since = &u.Since
	}
	if !f.Connected {
		f.Error = u.LastError
	}
	if broken != nil {
		f.Error = broken.Error()
	}
	if i.Expiring || i.Expired {
		f.Renewal = i.LastError
	}
	return f
}
