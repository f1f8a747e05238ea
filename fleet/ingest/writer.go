package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// One transaction takes what came while the last one was written, up to these.
const (
	maxGroup      = 256     // messages
	maxGroupBytes = 8 << 20 // of messages and decoded records
)

// store writes what is queued and answers it, until ctx ends.
func (in *Ingest) store(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			in.flush(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			in.flushDue(ctx)
		case <-in.queue.ready:
			for ctx.Err() == nil && in.group(ctx) {
				in.flushDue(ctx)
			}
		}
	}
}

// group takes one transaction's messages. False: there was none.
func (in *Ingest) group(ctx context.Context) bool {
	var g group
	taken := 0
	for ; taken < maxGroup && g.bytes < maxGroupBytes; taken++ {
		m, ok := in.queue.next()
		if !ok {
			break
		}
		in.read(&g, m)
	}
	in.write(ctx, g.batches)
	for _, h := range g.hellos {
		in.greet(ctx, h)
	}
	return taken > 0
}

// group is what one transaction is about.
type group struct {
	batches []store.Batch
	bytes   int
	hellos  []hello
}

type hello struct {
	device            string
	epoch, connection uint64
}

// read decodes a message.
func (in *Ingest) read(g *group, m message) {
	sign := store.Sign{Device: m.device, At: m.at}
	size := len(m.body)
	defer func() {
		g.bytes += size
		in.queue.charge(m.device, size)
	}()
	var err error
	switch m.kind {
	case wire.KindEvents:
		var b *wire.Batch
		if b, err = wire.DecodeBatch(m.body); err == nil {
			g.batches = append(g.batches, store.Batch{Device: m.device, Batch: b})
			for _, it := range b.Items {
				size += len(it.Body)
			}
		}
	case wire.KindHello:
		sign.Hello = new(wire.Hello)
		if err = wire.Unmarshal(m.body, sign.Hello); err == nil {
			if p := sign.Hello.GetProtocol(); p != wire.Protocol {
				in.refuse(m.device, wire.Refusal_CODE_PROTOCOL, fmt.Sprintf("the device speaks protocol %d, the fleet knows %d: update the older one", p, wire.Protocol))
				return
			}
			g.hellos = append(g.hellos, hello{m.device, sign.Hello.GetEpoch(), sign.Hello.GetConnection()})
		}
	case wire.KindLife:
		sign.Life = new(wire.Life)
		err = wire.Unmarshal(m.body, sign.Life)
	case wire.KindState:
		sign.State = new(wire.State)
		err = wire.Unmarshal(m.body, sign.State)
	default:
		err = fmt.Errorf("no message is of kind %q", m.kind)
	}
	if err != nil {
		in.count.unreadable.Add(1)
		in.refuse(m.device, wire.Refusal_CODE_UNREADABLE, err.Error())
		return
	}
	in.signs.add(sign)
}

// write stores batches and answers them. Where the store can't take them they
// are dropped, and their devices told to try again: it is they who keep them.
func (in *Ingest) write(ctx context.Context, batches []store.Batch) {
	if len(batches) == 0 {
		return
	}
	in.count.batches.Add(uint64(len(batches)))
	marks, err := in.cfg.Store.Ingest(ctx, batches)
	switch {
	case err == nil:
		in.count.transactions.Add(1)
		in.answers(marks)
	case ctx.Err() != nil:
	case len(batches) > 1 && !errors.Is(err, store.ErrFull):
		// One batch may be at fault: the others don't wait for it.
		for _, b := range batches {
			in.count.batches.Add(^uint64(0))
			in.write(ctx, []store.Batch{b})
		}
	default:
		in.count.failed.Add(1)
		in.unavailable(err)
		for _, b := range batches {
			in.refuse(b.Device, wire.Refusal_CODE_UNAVAILABLE, "its log says why")
		}
	}
}

// answers acknowledges each epoch once, gaps and repetitions too: the device
// learns from the watermark where to go on.
func (in *Ingest) answers(marks []store.Mark) {
	type of struct {
		device string
		epoch  uint64
	}
	newest := map[of]uint64{}
	var rows []store.Row
	for _, m := range marks {
		in.tally(m.Took)
		rows = append(append(rows, m.Took.Rows...), m.Took.Retold...)
		switch {
		case !m.Known:
			in.refuseUnknown(m.Device)
		case m.Took.Err != nil:
			in.count.unreadable.Add(1)
			in.refuse(m.Device, wire.Refusal_CODE_UNREADABLE, m.Took.Err.Error())
		default:
			newest[of{m.Device, m.Epoch}] = m.Watermark
		}
	}
	for o, watermark := range newest {
		in.ack(o.device, o.epoch, watermark, 0)
	}
	if in.cfg.Told != nil && len(rows) > 0 {
		in.cfg.Told(rows)
	}
}

func (in *Ingest) tally(t store.Took) {
	in.count.records.Add(uint64(len(t.Rows)))
	in.count.duplicates.Add(uint64(t.Duplicates))
	in.count.holes.Add(uint64(t.Holes))
	in.count.unreadable.Add(uint64(t.Unreadable))
	if t.Gap {
		in.count.gaps.Add(1)
	}
}

// greet answers a Hello with how far its epoch has come.
func (in *Ingest) greet(ctx context.Context, h hello) {
	m, err := in.cfg.Store.Watermark(ctx, h.device, h.epoch)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		in.unavailable(err)
		in.refuse(h.device, wire.Refusal_CODE_UNAVAILABLE, "the fleet can't read its database now, and its log says why")
	case !m.Known:
		in.refuseUnknown(h.device)
	default:
		in.ack(h.device, h.epoch, m.Watermark, h.connection)
	}
}

// unavailable says so in the log, once a second at most.
func (in *Ingest) unavailable(err error) {
	if in.limit.allow("", wire.Refusal_CODE_UNAVAILABLE) {
		in.cfg.Log.Error("the store takes nothing; devices keep their results and try again", "err", err)
	}
}
