// Package uplink brings a device's journal to the fleet over MQTT 3.1.1. What
// the fleet hasn't acknowledged stays in the journal and is sent again; of
// what MQTT itself says (PUBACK, retained messages, sessions) nothing is
// believed. docs/sync.md has the promise and the argument for it.
package uplink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

// Config says what is sent where. Device, Broker and Journal must be set.
type Config struct {
	Device string      // the device's id, also the client's
	Broker string      // host:port
	TLS    *tls.Config // nil for a plain connection; the server's name is the broker's host unless it is set

	// Renew gets a new certificate; it is called when the broker refuses the
	// one that there is, about once an hour at most. May be nil.
	Renew func(context.Context) error

	Journal   *journal.Journal
	State     func() *wire.State // a new one, all but connection, age, interval and journal filled in; nil for none
	Inventory *wire.Inventory    // may be nil
	Every     time.Duration      // between states; 0 for 10 s
	Changed   <-chan struct{}    // something in the state changed: it goes out early, at most once a second; may be nil

	Linger   time.Duration // how long a record waits for others to share its batch; 0 for 100 ms, below for not at all
	MaxBatch int           // records in a batch; 0 for 128, at most wire.MaxBatchItems
	Spread   time.Duration // within which devices come back after their connection ended; 0 for 4 s

	// Heard gets commands and pieces of bundles (wire.KindCmd, wire.KindBlock) as
	// they come, in order, on the goroutine that takes acknowledgements as well:
	// it must not block. It may keep payload, and may be called for a moment
	// after Run has returned. May be nil.
	Heard func(kind wire.Kind, payload []byte)

	// Greeted is called each time that the fleet has answered a greeting, when
	// Say already takes messages. It must not block. May be nil.
	Greeted func()

	Log *slog.Logger
}

// Defaults and fixed limits.
const (
	defaultEvery    = 10 * time.Second
	defaultLinger   = 100 * time.Millisecond
	defaultMaxBatch = 128
	defaultSpread   = 4 * time.Second

	batchBytes = 256 << 10 // of records in a batch
	changedGap = time.Second

	renewLimit = 30 * time.Second // for one call of Renew
)

// Uplink drains one journal. Use New.
type Uplink struct {
	cfg    Config
	window window // of the epoch; it outlives connections
	epoch  uint64
	begun  uint64 // the epoch that this process began; 0 if none
	silent bool   // the fleet refuses this device

	renewal   pause
	renewNext time.Time

	mu     sync.Mutex // protects what follows
	stats  Stats
	others others
}

// New makes an uplink that does nothing until Run.
func New(cfg Config) *Uplink {
	cfg.Every = cmp.Or(cfg.Every, defaultEvery)
	cfg.Linger = cmp.Or(cfg.Linger, defaultLinger)
	cfg.MaxBatch = min(cmp.Or(cfg.MaxBatch, defaultMaxBatch), wire.MaxBatchItems)
	cfg.Spread = cmp.Or(cfg.Spread, defaultSpread)
	u := &Uplink{
		cfg: cfg, renewal: pause{least: time.Minute, most: time.Hour},
		others: others{turned: make(chan struct{})},
	}
	s := cfg.Journal.Stats()
	u.epoch = cfg.Journal.Epoch()
	u.window = window{watermark: s.Acknowledged, highest: s.Acknowledged}
	u.stats.Watermark = s.Acknowledged
	return u
}

// fatal is an error that no further connection helps against.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// Run keeps a connection to the broker and sends over it until ctx is done;
// then it says goodbye and returns nil, within a second. It returns an error
// only if it can't go on: the journal is closed or broken, or the device's id
// can't be one. The network and the fleet never end it.
func (u *Uplink) Run(ctx context.Context) error {
	if !wire.ValidDevice(u.cfg.Device) {
		return fmt.Errorf("send the journal to the fleet: %q can't be a device's id", u.cfg.Device)
	}
	away := newOutage(time.Now(), u.cfg.Spread)
	for {
		answered, err := u.connect(ctx)
		if f := (fatal{}); errors.As(err, &f) {
			return fmt.Errorf("send the journal to the fleet: %w", f)
		}
		if ctx.Err() != nil {
			return nil
		}
		u.note(inWords(u.cfg.Broker, err))
		if answered || refused(err) && u.renew(ctx) {
			away = newOutage(time.Now(), u.cfg.Spread)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(away.next(time.Now()))):
		}
	}
}

// connect is one connection from its beginning to its end, and why it ended.
// It tells whether the fleet was there.
func (u *Uplink) connect(ctx context.Context) (answered bool, err error) {
	s, err := dial(ctx, u.cfg.Device, u.cfg.Broker, u.cfg.TLS, u.cfg.Heard)
	if err != nil {
		return false, err
	}
	u.connected(s.made)
	t := newTalk(u, s)
	err = t.run(ctx)
	u.serve(nil)
	s.close(err == nil)
	u.disconnected(s)
	return t.answered, err
}

// renew gets a new certificate if that hasn't just been tried.
func (u *Uplink) renew(ctx context.Context) bool {
	if u.cfg.Renew == nil || time.Now().Before(u.renewNext) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	if err := u.cfg.Renew(ctx); err != nil {
		u.renewNext = time.Now().Add(u.renewal.next())
		u.note(fmt.Errorf("the broker refuses this device's certificate, and it gets no new one: %w", err))
		return false
	}
	u.renewal.reset()
	u.renewNext = time.Now().Add(jitter(time.Hour))
	u.cfg.Log.Info("certificate renewed, the broker refused the old one")
	return true
}
