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

// fleetLink sends the journal to the fleet once the device is enrolled. Nothing
// that happens to it touches inspection.
type fleetLink struct {
	data    string
	journal *journal.Journal
	report  time.Duration
	log     *slog.Logger

	mu       sync.Mutex // protects what follows
	identity *identity.Identity
	uplink   *uplink.Uplink
}

// run waits until the device is enrolled, then sends until ctx ends.
func (l *fleetLink) run(ctx context.Context, a *agent.Agent) error {
	id, err := l.enrolled(ctx)
	if id == nil {
		if err != nil {
			l.log.Error("nothing is sent to the fleet", "err", err)
		}
		return nil
	}
	inventory := a.Inventory()
	up := uplink.New(uplink.Config{
		Device: id.Device(), Broker: id.MQTT(), TLS: id.TLS(), Renew: id.Renew,
		Journal: l.journal, State: a.State, Inventory: inventory, Every: l.report, Changed: a.Changed(), Log: l.log,
	})
	l.mu.Lock()
	l.identity, l.uplink = id, up
	l.mu.Unlock()
	var g errgroup.Group
	g.Go(func() error { return id.Run(ctx) })
	g.Go(func() error { return up.Run(ctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		l.log.Error("nothing is sent to the fleet any more", "err", err)
	}
	return nil
}

// enrolled waits for the device's identity; nil when ctx ends before, or with
// why it can't be read.
func (l *fleetLink) enrolled(ctx context.Context) (*identity.Identity, error) {
	for {
		id, err := identity.Open(l.data)
		if !errors.Is(err, identity.ErrNotEnrolled) {
			return id, err
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(lookEvery):
		}
	}
}

// now is how the connection is doing, nil before the device is enrolled.
func (l *fleetLink) now() *api.Fleet {
	l.mu.Lock()
	id, up := l.identity, l.uplink
	l.mu.Unlock()
	if up == nil {
		return nil
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
	if i.Expiring || i.Expired {
		f.Renewal = i.LastError
	}
	return f
}
