package ingest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	// flushEvery is how far behind the store's presence of devices is: each
	// note of it is a write to the disk.
	flushEvery = 250 * time.Millisecond
	maxSigns   = 1 << 14
	maxOfSigns = 16 // of one device
)

// signs collects what devices' messages say of their presence. Only the writer
// uses it.
type signs struct {
	of      map[string][]store.Sign // of each device, in order
	n       int
	flushed time.Time
}

// add takes a sign in. Of a device's mere messages, Hellos and States only the
// newest counts, and of all its signs the newest few: a device can't make the
// fleet keep much, whatever it sends.
func (s *signs) add(sign store.Sign) {
	if s.of == nil {
		s.of = map[string][]store.Sign{}
	}
	list := s.of[sign.Device]
	old := slices.IndexFunc(list, func(o store.Sign) bool { return kind(&o) == kind(&sign) && o.Life == nil })
	if old < 0 && len(list) == maxOfSigns {
		old = slices.IndexFunc(list, func(o store.Sign) bool { return o.Life != nil })
	}
	switch {
	case old >= 0:
		list = slices.Delete(list, old, old+1)
	case s.n >= maxSigns: // while the store takes nothing
		return
	default:
		s.n++
	}
	s.of[sign.Device] = append(list, sign)
}

// kind tells signs of a Hello, a Life and a State and mere ones apart.
func kind(s *store.Sign) wire.Kind {
	switch {
	case s.Hello != nil:
		return wire.KindHello
	case s.Life != nil:
		return wire.KindLife
	case s.State != nil:
		return wire.KindState
	}
	return wire.KindEvents
}

// all are the signs, each device's in order.
func (s *signs) all() []store.Sign { return slices.Concat(slices.Collect(maps.Values(s.of))...) }

// flushDue is flush, once in a while.
func (in *Ingest) flushDue(ctx context.Context) {
	if time.Since(in.signs.flushed) >= flushEvery {
		in.flush(ctx)
	}
}

// flush notes the signs. Where the store can't they wait for the next time.
func (in *Ingest) flush(ctx context.Context) {
	s := &in.signs
	if s.n == 0 {
		return
	}
	s.flushed = time.Now()
	if err := in.cfg.Store.Heard(ctx, s.all()); err != nil {
		if ctx.Err() == nil {
			in.unavailable(err)
		}
		return
	}
	s.of, s.n = nil, 0
}
