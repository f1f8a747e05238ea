// Package rollout brings a signed bundle to a group of devices, wave by wave.
// A device counts only when it has proved that it runs the bundle; what it says
// without proof is shown and counts for nothing.
package rollout

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// Errors that callers tell apart. They come wrapped, with a text for people.
var (
	ErrRequest  = errors.New("the rollout can't be begun so")
	ErrConflict = errors.New("that can't be done now")
	ErrUnknown  = errors.New("the fleet has no such bundle") // Lookup's
	ErrLater    = errors.New("it can't be told now")         // Verify's, where it must be asked again
)

// tickEvery is how often the engine looks at what is open.
const tickEvery = time.Second

// restFor is how long the engine rests after a look, so that no device makes
// it look, and write, without end by reporting without end.
const restFor = 100 * time.Millisecond

// Bounds of the reports that wait for the engine. What has no room is reported
// again: devices are asked.
const (
	maxHeardOf    = 8        // of one device, each about another rollout
	maxHeardBytes = 64 << 20 // of all, encoded
)

// Target is a bundle as the fleet's repository has it.
type Target struct {
	Version string
	Digest  [32]byte // SHA-256 of the archive
	Path    string   // in the repository
	Golden  bool     // it has golden pictures
}

// Config says what an Engine works with. All but Changed and Log must be given.
type Config struct {
	Store *store.Store
	// Lookup finds a signed bundle, the newest with version "". Its error wraps
	// ErrUnknown where there is none.
	Lookup func(name, version string) (Target, error)
	// Send gives a command to a device, false where that isn't possible now. It
	// must not wait for the device.
	Send func(device string, c *wire.Command) bool
	// Verify tells whose certificate (DER) that is and its key, if it is the
	// fleet's, valid, and of a device that is known and not revoked. An error
	// that wraps ErrLater says nothing about that.
	Verify func(certificate []byte) (device string, key crypto.PublicKey, err error)
	// Changed is called after something about a rollout has changed, and must
	// not wait. May be nil.
	Changed func(id string)
	Now     func() time.Time // the fleet's clock; nil for the store's
	Log     *slog.Logger
}

// Engine runs the rollouts. All that it knows is in the store: another one on
// the same store goes on where this one was. There may be one at a time.
type Engine struct {
	cfg  Config
	kick chan struct{} // something was heard or asked for

	mu     sync.Mutex // protects what follows
	open   []*live    // oldest first
	loaded bool       // open is as the store has it
	looked time.Time  // when time was accounted for last

	heardMu    sync.Mutex                         // protects what follows; never held for long
	heard      map[string]map[string]*wire.Report // by device and rollout
	heardBytes int
}

// live is a rollout that hasn't ended.
type live struct {
	store.Rollout
	cond    Conditions
	devices []*device // by wave and ID
	of      map[string]*device
	dirty   bool
	events  []store.RolloutEvent
}

// device is one of a rollout's devices.
type device struct {
	store.RolloutDevice
	presence store.Presence
	since    time.Time   // of the presence
	seen     time.Time   // the newest message of any kind
	signed   *wire.Proof // of which the signature was found good
	recheck  time.Time   // when to look for the results again
	lines    int         // of the history that are its own, since the engine read it
	dirty    bool
}

// New makes an engine; Run starts it.
func New(cfg Config) *Engine {
	if cfg.Now == nil {
		cfg.Now = cfg.Store.Now
	}
	if cfg.Changed == nil {
		cfg.Changed = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{cfg: cfg, kick: make(chan struct{}, 1), heard: map[string]map[string]*wire.Report{}}
}

// Run works until the context ends.
func (e *Engine) Run(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	failing := false
	for {
		err := e.Step(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			e.cfg.Log.Error("rollouts stand still", "err", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restFor):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-e.kick:
		}
	}
}

// Heard takes a device's report. It doesn't wait; of several reports of a
// device about one rollout the newest is looked at.
func (e *Engine) Heard(device string, r *wire.Report) {
	if len(r.GetStations()) > maxStations || len(r.GetRollout()) > maxID {
		return
	}
	e.heardMu.Lock()
	e.keepLocked(device, r)
	e.heardMu.Unlock()
	e.wake()
}

// keepLocked puts a report in the place of the one before about its rollout.
func (e *Engine) keepLocked(device string, r *wire.Report) {
	of := e.heard[device]
	old, waits := of[r.GetRollout()]
	bytes := e.heardBytes + proto.Size(r)
	if waits {
		bytes -= proto.Size(old)
	}
	if bytes > maxHeardBytes || !waits && len(of) >= maxHeardOf {
		return
	}
	if of == nil {
		of = map[string]*wire.Report{}
		e.heard[device] = of
	}
	of[r.GetRollout()], e.heardBytes = r, bytes
}

func (e *Engine) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// take is what was heard since the last time, by device and rollout.
func (e *Engine) take() map[string]map[string]*wire.Report {
	e.heardMu.Lock()
	defer e.heardMu.Unlock()
	heard := e.heard
	e.heard, e.heardBytes = map[string]map[string]*wire.Report{}, 0
	return heard
}

// giveBack is for reports that couldn't be noted; newer ones stay.
func (e *Engine) giveBack(heard map[string]map[string]*wire.Report) {
	e.heardMu.Lock()
	defer e.heardMu.Unlock()
	for device, of := range heard {
		for id, r := range of {
			if _, newer := e.heard[device][id]; !newer {
				e.keepLocked(device, r)
			}
		}
	}
}

// load reads what is open, unless that is known. The caller holds mu.
func (e *Engine) load(ctx context.Context) error {
	if e.loaded {
		return nil
	}
	all, err := e.cfg.Store.OpenRollouts(ctx)
	if err != nil {
		return err
	}
	e.open = nil
	for _, r := range all {
		l, err := e.read(ctx, r)
		if err != nil {
			return err
		}
		e.open = append(e.open, l)
	}
	e.loaded = true
	return nil
}

// read makes a rollout of the store a live one.
func (e *Engine) read(ctx context.Context, r store.Rollout) (*live, error) {
	l := &live{Rollout: r, of: map[string]*device{}}
	var err error
	if l.cond, err = readConditions(r.Conditions); err != nil {
		return nil, fmt.Errorf("rollout %s: %w", r.ID, err)
	}
	all, err := e.cfg.Store.RolloutDevices(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		l.add(&device{RolloutDevice: d})
	}
	return l, nil
}

func (l *live) add(d *device) {
	l.devices = append(l.devices, d)
	l.of[d.Device] = d
}

// say notes an event.
func (l *live) say(at time.Time, device, who, what string) {
	l.events = append(l.events, store.RolloutEvent{At: at, Device: device, Who: who, What: what})
	l.dirty = true
}

// save writes what has changed of the rollouts. Where that fails, the store's
// word holds: all is read again. The caller holds mu.
func (e *Engine) save(ctx context.Context, all ...*live) error {
	var changes []store.RolloutChange
	for _, l := range all {
		c := store.RolloutChange{Rollout: &l.Rollout, Events: l.events}
		for _, d := range l.devices {
			if d.dirty {
				c.Devices = append(c.Devices, d.RolloutDevice)
			}
		}
		if l.dirty || len(c.Devices) > 0 {
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := e.cfg.Store.SetRollouts(ctx, changes...); err != nil {
		e.loaded = false
		return err
	}
	for _, l := range all {
		l.dirty, l.events = false, nil
		for _, d := range l.devices {
			d.dirty = false
		}
	}
	for _, c := range changes {
		e.cfg.Changed(c.Rollout.ID)
	}
	return nil
}
