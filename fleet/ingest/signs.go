package ingest

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
)

const (
	// flushEvery is how far behind the store's presence of devices is: each
	// note of it is a write to the disk.
	flushEvery = 250 * time.Millisecond
	maxSigns   = 1 << 14
)

// signs collects what devices' messages say of their presence. Only the writer
// uses it.
type signs struct {
	all     []store.Sign
	bare    map[string]int // where in all a device's mere message stands
	flushed time.Time
}

func (s *signs) add(sign store.Sign) {
	if s.bare == nil {
		s.bare = map[string]int{}
	}
	bare := sign.Hello == nil && sign.Life == nil && sign.State == nil
	if i, ok := s.bare[sign.Device]; bare && ok {
		s.all[i].At = sign.At
		return
	}
	if len(s.all) >= maxSigns { // while the store takes nothing
		return
	}
	if bare {
		s.bare[sign.Device] = len(s.all)
	}
	s.all = append(s.all, sign)
}

// flushDue is flush, once in a while.
func (in *Ingest) flushDue(ctx context.Context) {
	if time.Since(in.signs.flushed) >= flushEvery {
		in.flush(ctx)
	}
}

// flush notes the signs. Where the store can't they wait for the next time.
func (in *Ingest) flush(ctx context.Context) {
	s := &in.signs
	if len(s.all) == 0 {
		return
	}
	s.flushed = time.Now()
	if err := in.cfg.Store.Heard(ctx, s.all); err != nil {
		if ctx.Err() == nil {
			in.unavailable(err)
		}
		return
	}
	s.all = nil
	clear(s.bare)
}
