// Package ingest takes what devices send from an MQTT broker, any broker, into
// the store, and answers how far it has come. Nothing rests on the broker but
// that messages mostly get through: what it loses, repeats or reorders the
// devices send again, from the watermark that they are told.
package ingest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync/atomic"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// Config says where from and where to.
type Config struct {
	Store  *store.Store
	Broker string      // host:port
	TLS    *tls.Config // with the ingester's client certificate; nil is plain TCP, for tests
	Log    *slog.Logger
	// Told gets the results that were just committed, of any devices, for live
	// pages, and those that are told otherwise since, see store.Row.Again. It
	// may be nil, and must not block: nothing is stored meanwhile.
	Told func([]store.Row)
	// Heard gets what devices that are let in say about bundles: wire.KindGet
	// and wire.KindReport, each device's in order. It may be nil, and must not
	// block: other devices' words wait meanwhile, results don't.
	Heard func(device string, kind wire.Kind, body []byte)
}

// Ingest is an ingester. More than one may work on a store and a broker at
// once; they do the same work then.
type Ingest struct {
	cfg    Config
	queue  *queue
	heard  *queue // what is for cfg.Heard
	out    *outbox
	said   *speech
	client atomic.Pointer[mqtt.Client] // nil without a connection that is subscribed
	limit  limiter
	signs  signs
	count  counters
}

type counters struct {
	batches, records, duplicates, gaps, holes, unreadable, refused, transactions, failed atomic.Uint64
}

// Stats are counts since New.
type Stats struct {
	Connected    bool   // to the broker, and subscribed
	Batches      uint64 // taken from the queue
	Records      uint64 // results stored
	Duplicates   uint64 // records that had come before
	Gaps         uint64 // batches of which nothing could be stored yet
	Holes        uint64
	Unreadable   uint64 // messages that were no messages, and records set aside
	Dropped      uint64 // messages for which the queue had no room
	Refused      uint64 // answers that refuse a message
	Transactions uint64 // with batches
	Failed       uint64 // transactions that the store couldn't take
	Queued       int    // messages that wait
}

// New makes an ingester; Run starts it.
func New(cfg Config) *Ingest {
	return &Ingest{cfg: cfg, queue: newQueue(), heard: newQueue(), out: newOutbox(), said: newSpeech()}
}

// Run connects, and connects again, stores and answers until ctx ends.
func (in *Ingest) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.link(ctx) })
	g.Go(func() error { return in.store(ctx) })
	g.Go(func() error { return in.answer(ctx) })
	g.Go(func() error { return in.hear(ctx) })
	g.Go(func() error { return in.say(ctx) })
	return g.Wait()
}

// Stats are the counts so far.
func (in *Ingest) Stats() Stats {
	c := &in.count
	dropped, queued := in.queue.stats()
	deaf, _ := in.heard.stats()
	return Stats{
		Connected: in.client.Load() != nil, Batches: c.batches.Load(), Records: c.records.Load(), Duplicates: c.duplicates.Load(),
		Gaps: c.gaps.Load(), Holes: c.holes.Load(), Unreadable: c.unreadable.Load(), Dropped: dropped + deaf, Refused: c.refused.Load(),
		Transactions: c.transactions.Load(), Failed: c.failed.Load(), Queued: queued,
	}
}
