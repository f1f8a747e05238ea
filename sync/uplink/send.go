package uplink

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// waiting is for records that follow what was read of the journal.
type waiting struct {
	some, full <-chan struct{} // to select on: nil unless nothing can be done before
	end        uint64          // the number after which they are awaited
	any, whole <-chan struct{} // closed when there is one, when there is a batch of them; nil if not asked yet
	since      time.Time       // when the first was seen
}

// send sends what is due and reads on, as far as window and queue allow.
func (t *talk) send(now time.Time) (next time.Time, err error) {
	t.wait.some, t.wait.full = nil, nil
	w := &t.u.window
	for !t.s.full() {
		if b := w.due(); b != nil {
			t.s.queue(message{kind: wire.KindEvents, qos: 1, payload: b.payload})
			w.sent(now)
			t.u.update(func(s *Stats) {
				s.Batches++
				s.Bytes += uint64(len(b.payload))
				if b.again {
					s.Resent += b.items
				} else {
					s.Sent += b.items
				}
				s.InFlight = len(w.flight)
			})
			continue
		}
		if !w.room() {
			break
		}
		more, at, err := t.read(now)
		if err != nil || !more {
			return at, err
		}
	}
	return time.Time{}, nil // an acknowledgement or room in the queue wakes the talk
}

// read puts the next batch into flight. Without one, at is when there will be
// one at the latest, or zero and t.wait tells.
func (t *talk) read(now time.Time) (more bool, at time.Time, err error) {
	j, w := t.u.cfg.Journal, &t.wait
	if end := t.u.window.end(); w.any == nil || w.end != end {
		*w = waiting{end: end, any: j.Changed(end), whole: j.Changed(end + uint64(t.u.cfg.MaxBatch) - 1)}
	}
	if !closed(w.any) {
		w.some = w.any
		return false, time.Time{}, nil
	}
	if w.since.IsZero() {
		w.since = now
	}
	if at := w.since.Add(t.u.cfg.Linger); now.Before(at) && !closed(w.whole) {
		w.full = w.whole
		return false, at, nil
	}
	items, err := j.Replay(w.end, t.u.cfg.MaxBatch, batchBytes)
	if err != nil {
		return false, time.Time{}, fatal{err}
	}
	if len(items) == 0 {
		return false, time.Time{}, fatal{fmt.Errorf("the journal has records above %d and gives none", w.end)}
	}
	b := &wire.Batch{Epoch: t.u.epoch, Items: items}
	payload, err := encode(b, wire.EncodeBatch, wire.EncodePlain)
	if err != nil {
		if payload, err = t.without(b, err); err != nil {
			return false, time.Time{}, fatal{err}
		}
	}
	t.u.window.add(&batch{first: b.First(), last: b.Last(), items: uint64(len(items)), payload: payload})
	w.any = nil
	return true, time.Time{}, nil
}

// encode gives the bytes of the batch by the first way whose bytes the fleet
// can read: what it can't would be sent for ever.
func encode(b *wire.Batch, ways ...func(*wire.Batch) ([]byte, error)) (payload []byte, err error) {
	for _, way := range ways {
		if payload, err = way(b); err != nil {
			continue
		}
		var back *wire.Batch
		if back, err = wire.DecodeBatch(payload); err != nil {
			continue
		}
		if back.Epoch == b.Epoch && slices.EqualFunc(back.Items, b.Items, sameItem) {
			return payload, nil
		}
		err = fmt.Errorf("batch %d to %d: it comes otherwise than it is sent", b.First(), b.Last())
	}
	return nil, err
}

func sameItem(a, b wire.Item) bool {
	return a.First == b.First && a.Last == b.Last && bytes.Equal(a.Body, b.Body)
}

// without encodes a batch that can't be, with holes for those of its records
// that are the reason. They stay in the journal.
func (t *talk) without(b *wire.Batch, why error) ([]byte, error) {
	for i, it := range b.Items {
		if _, err := encode(&wire.Batch{Epoch: b.Epoch, Items: []wire.Item{it}}, wire.EncodeBatch, wire.EncodePlain); err == nil {
			continue
		}
		hole, err := wire.NewHole(&wire.Hole{First: it.First, Last: it.Last, Reason: wire.HoleDamaged})
		if err != nil {
			return nil, err
		}
		b.Items[i] = hole
	}
	t.u.cfg.Log.Error("records can't be sent to the fleet, which is told of a hole instead", "first", b.First(), "last", b.Last(), "err", why)
	return encode(b, wire.EncodeBatch, wire.EncodePlain)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
