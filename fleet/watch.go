package fleet

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/fleet/api"
	"github.com/sightline-edge/sightline/fleet/depot"
	"github.com/sightline-edge/sightline/internal/health"
)

const (
	watchEvery  = 2 * time.Second
	revokeEvery = 5 * time.Second // a device revoked by another process is cut after so long at most
	brokerAway  = 15 * time.Second
	endsSoon    = 30 * 24 * time.Hour // in which people find the time, and the keys, to sign anew
)

// watch keeps the service's own warnings true.
func (f *Fleet) watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var away time.Time
	failed := f.ingest.Stats().Failed
	for {
		s := f.ingest.Stats()
		switch {
		case s.Connected:
			away = time.Time{}
		case away.IsZero():
			away = time.Now()
		}
		f.set(health.BrokerAway, !away.IsZero() && time.Since(away) > brokerAway)
		f.set(health.StoreFailing, s.Failed > failed)
		failed = s.Failed
		// The store's clock is the newest time that it ever saw.
		f.set(health.ClockBehind, time.Until(f.store.Now()) > time.Minute)
		f.watchUpdates(f.depot.State())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (f *Fleet) set(w health.Warning, on bool) {
	if on {
		f.health.Raise(w, "", "")
		return
	}
	f.health.Clear(w, "")
}

// watchUpdates keeps the warnings about the depot true.
func (f *Fleet) watchUpdates(s depot.State) {
	now := f.store.Now()
	for subject, ends := range map[string]time.Time{"root": s.RootEnds, "targets": s.TargetsEnds} {
		if !ends.IsZero() && ends.Sub(now) < endsSoon {
			f.health.Raise(health.UpdatesEnding, subject, subject+" ends on "+ends.Format(time.DateOnly))
		} else {
			f.health.Clear(health.UpdatesEnding, subject)
		}
	}
	for w, err := range map[health.Warning]error{health.UpdatesStale: s.Stale, health.UpdatesFailing: s.Trouble} {
		if err != nil {
			f.health.Raise(w, "", err.Error())
		} else {
			f.health.Clear(w, "")
		}
	}
}

// watchRevoked cuts devices that the command revoked, which is another process.
func (f *Fleet) watchRevoked(ctx context.Context) error {
	tick := time.NewTicker(revokeEvery)
	defer tick.Stop()
	for {
		for name := range f.broker.Connected() {
			d, err := f.store.Device(ctx, name)
			if err == nil && !d.Revoked.IsZero() {
				f.broker.Cut(name)
				f.cfg.Log.Info("device revoked, its connection is cut", "device", name)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Alive reports whether the service makes progress: whether its database
// answers. What lies outside, as a broker that is away, isn't for a restart to mend.
func (f *Fleet) Alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := f.store.Users(ctx)
	return err == nil || ctx.Err() == nil
}

// figures are the ingester's, for /metrics.
func (f *Fleet) figures() []api.Figure {
	s := f.ingest.Stats()
	connected := 0.0
	if s.Connected {
		connected = 1
	}
	total := func(name, help string, n uint64) api.Figure {
		return api.Figure{Name: "sightline_ingest_" + name + "_total", Help: help, Total: true, Value: float64(n)}
	}
	return []api.Figure{
		{Name: "sightline_ingest_connected", Help: "1 while the ingester is connected to the broker.", Value: connected},
		{Name: "sightline_ingest_queued_messages", Help: "Messages that wait to be stored.", Value: float64(s.Queued)},
		total("batches", "Batches taken from the queue.", s.Batches),
		total("records", "Results stored.", s.Records),
		total("duplicates", "Records that had come before.", s.Duplicates),
		total("gaps", "Batches of which nothing could be stored yet.", s.Gaps),
		total("holes", "Holes stored.", s.Holes),
		total("unreadable", "Messages and records that couldn't be read.", s.Unreadable),
		total("dropped", "Messages for which the queue had no room; devices send again.", s.Dropped),
		total("refused", "Answers that refuse a message.", s.Refused),
		total("transactions", "Transactions with batches.", s.Transactions),
		total("failed", "Transactions that the database couldn't take.", s.Failed),
	}
}
