package journal

import (
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Replay gives what follows number after, oldest first and without a gap: at
// most limit items, whose bodies have at most so many bytes together, but
// always one. Nothing at all means that nothing above after is committed yet.
//
// A record is an item with its body, an amendment in its own place. What will
// never come is a hole: what retention dropped before it was acknowledged
// (wire.HoleRetention, with counts), records that are damaged
// (wire.HoleDamaged), what was told under an earlier epoch
// (wire.HoleEarlierEpoch), and what isn't there for no noted reason
// (wire.HoleGone), such as records that were dropped after the fleet had them
// when the fleet was set back.
//
// A hole from retention or an earlier epoch is always given whole, because
// its counts can't be cut: where after lies inside one, the first item begins
// at or below after. The fleet takes from it what it has already.
func (j *Journal) Replay(after uint64, limit, bytes int) ([]wire.Item, error) {
	r := replay{limit: limit, bytes: bytes, last: j.last(), next: after + 1}
	if after >= r.last {
		return nil, nil
	}
	for !r.full && r.next <= r.last && limit > 0 {
		var bad int
		err := j.view(func(tx *bbolt.Tx) (err error) {
			bad, err = r.read(tx)
			return err
		})
		j.bad(bad)
		if err != nil {
			return nil, err
		}
	}
	if err := r.flush(); err != nil {
		return nil, err
	}
	if n := len(r.items); n > 0 {
		j.shown(r.items[n-1].Last)
	}
	return r.items, nil
}

// shown notes that somebody outside may know of that number now.
func (j *Journal) shown(last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Shown = max(j.stats.Shown, last)
}

// replay is an answer that is being put together.
type replay struct {
	limit, bytes int
	last         uint64 // the newest record to give
	next         uint64 // number that is to be told next
	items        []wire.Item
	run          *wire.Hole // damaged or gone, still growing; not among items yet
	full         bool       // no more fits
}

// read goes on in one transaction, by at most chunk steps and about
// chunkBytes.
func (r *replay) read(tx *bbolt.Tx) (bad int, err error) {
	holes, _ := loadHoles(tx)
	m, _ := loadMarks(tx)
	if m.floor > 0 {
		holes = append([]*wire.Hole{{First: 1, Last: m.floor, Reason: wire.HoleEarlierEpoch}}, holes...)
	}
	c := tx.Bucket(bucketRecords).Cursor()
	k, v := c.Seek(key(r.next))
	for n, size := 0, 0; n < chunk && size < chunkBytes && !r.full && r.next <= r.last; n++ {
		for len(holes) > 0 && holes[0].GetLast() < r.next {
			holes = holes[1:]
		}
		if len(holes) > 0 && holes[0].GetFirst() <= r.next {
			if err := r.hole(holes[0]); err != nil {
				return bad, err
			}
			k, v = c.Seek(key(r.next)) // a hole of an earlier epoch may have records
			continue
		}
		for k != nil && (len(k) != 8 || binary.BigEndian.Uint64(k) < r.next) { // told, or no number
			k, v = c.Next()
		}
		if k == nil || binary.BigEndian.Uint64(k) != r.next {
			err = r.missing(wire.HoleGone, gap(k, holes, r.last))
		} else if row, wrong := unseal(r.next, v); wrong != nil {
			bad++
			err = r.missing(wire.HoleDamaged, r.next)
		} else {
			err = r.add(wire.Item{First: r.next, Last: r.next, Body: row.Body})
			size += len(row.Body)
		}
		if err != nil {
			return bad, err
		}
	}
	return bad, nil
}

// gap is the last number that is missing before the record with key k and
// the first hole.
func gap(k []byte, holes []*wire.Hole, last uint64) uint64 {
	if k != nil {
		last = min(last, binary.BigEndian.Uint64(k)-1)
	}
	if len(holes) > 0 {
		last = min(last, holes[0].GetFirst()-1)
	}
	return last
}

// hole adds one that is noted. One that begins below what was told already
// waits for the next call, where it is the first.
func (r *replay) hole(h *wire.Hole) error {
	if err := r.flush(); err != nil {
		return err
	}
	if h.GetFirst() < r.next && len(r.items) > 0 {
		r.full = true
		return nil
	}
	it, err := wire.NewHole(h)
	if err != nil {
		return err
	}
	return r.add(it)
}

// missing adds the numbers from next to last to the hole that grows.
func (r *replay) missing(reason string, last uint64) error {
	if r.run.GetReason() != reason {
		if err := r.flush(); err != nil {
			return err
		}
		if r.full || len(r.items) >= r.limit {
			r.full = true
			return nil
		}
		r.run = &wire.Hole{First: r.next, Reason: reason}
	}
	r.run.Last = last
	r.next = last + 1
	return nil
}

// flush puts the hole that grew among the items.
func (r *replay) flush() error {
	if r.run == nil {
		return nil
	}
	it, err := wire.NewHole(r.run)
	if err != nil {
		return err
	}
	r.run, r.next = nil, it.First
	return r.add(it)
}

// add takes an item, if it fits.
func (r *replay) add(it wire.Item) error {
	if err := r.flush(); err != nil {
		return err
	}
	if r.full || len(r.items) >= r.limit || (len(r.items) > 0 && len(it.Body) > r.bytes) {
		r.full = true
		return nil
	}
	r.items = append(r.items, it)
	r.bytes -= len(it.Body)
	r.next = it.Last + 1
	return nil
}
