package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	// knownFor is how long a device that was revoked may still be heard.
	knownFor   = 3 * time.Second
	maxKnown   = 1 << 14
	maxHeard   = 128 << 10   // bytes of a message; wire.Unmarshal takes no longer one
	knownWrong = time.Second // before the store is asked again about a device that it doesn't let in
)

// heard reports whether messages of a kind are others' work, see Config.Heard.
func heard(kind wire.Kind) bool { return kind == wire.KindGet || kind == wire.KindReport }

// hear passes on what devices say beside their results, until ctx ends. It has
// a queue of its own: pieces of a bundle don't wait for the store's disk, and
// results don't wait for pieces.
func (in *Ingest) hear(ctx context.Context) error {
	known := letIn{store: in.cfg.Store, until: map[string]verdict{}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-in.heard.ready:
		}
		for ctx.Err() == nil {
			m, ok := in.heard.next()
			if !ok {
				break
			}
			in.pass(ctx, &known, m)
		}
	}
}

func (in *Ingest) pass(ctx context.Context, known *letIn, m message) {
	if in.cfg.Heard == nil {
		return
	}
	ok, err := known.is(ctx, m.device)
	switch {
	case ok:
		in.cfg.Heard(m.device, m.kind, m.body)
	case err != nil && ctx.Err() == nil:
		in.cfg.Log.Debug("look up a device", "device", m.device, "err", err) // the writer says it loudly
	}
}

// letIn remembers for a moment who is enrolled and not revoked.
type letIn struct {
	store *store.Store
	until map[string]verdict
}

type verdict struct {
	in   bool
	ends time.Time
}

func (l *letIn) is(ctx context.Context, device string) (bool, error) {
	now := time.Now()
	if v, ok := l.until[device]; ok && now.Before(v.ends) {
		return v.in, nil
	}
	d, err := l.store.Device(ctx, device)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if len(l.until) >= maxKnown {
		clear(l.until)
	}
	v := verdict{in: err == nil && d.Revoked.IsZero(), ends: now.Add(knownFor)}
	if !v.in {
		v.ends = now.Add(knownWrong)
	}
	l.until[device] = v
	return v.in, nil
}
