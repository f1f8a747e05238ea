package store

import (
	"cmp"
	"context"
	"database/sql"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// maxOverlap is how many records that have come may be looked at for a hole
// that covers them too. A device's batches in flight are fewer.
const maxOverlap = 8192

const (
	sqlAddHole = `INSERT INTO hole (device, epoch, first, last, pass, fail, none, other, reason, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlJudged  = `SELECT judged, count(*) FROM result WHERE epoch = ? AND seq BETWEEN ? AND ? GROUP BY judged`
	sqlHolesIn = `SELECT first, last, pass, fail, none, other FROM hole WHERE epoch = ? AND last BETWEEN ? AND ?`
)

// hole stores the part of a hole above the watermark, with what its counts
// have beyond the records, and the holes, that came of it.
func (in *ingest) hole(e *epoch, it wire.Item, h *wire.Hole) error {
	said := counts{h.GetPass(), h.GetFail(), h.GetNone(), h.GetOther()}
	if it.First <= e.watermark {
		if e.watermark-it.First >= maxOverlap {
			said = counts{} // unknown, rather than counted twice
		}
		had, err := in.had(e, it.First)
		if err != nil {
			return err
		}
		said.less(had)
	}
	first := e.watermark + 1
	room := it.Last - e.watermark
	for i := range said {
		said[i] = min(said[i], room)
		room -= said[i]
	}
	e.holes += int64(it.Last - e.watermark)
	_, err := in.stmt(in.s.on.addHole).ExecContext(in.ctx, e.device, e.key, int64(first), int64(it.Last),
		int64(said[0]), int64(said[1]), int64(said[2]), int64(said[3]), h.GetReason(), in.now)
	return err
}

// counts are of records: pass, fail, none and other.
type counts [4]uint64

func (c *counts) less(d counts) {
	for i := range c {
		c[i] -= min(c[i], d[i])
	}
}

// had counts what is here from a number up to the watermark. Of a hole that
// began before it all counts are taken, as nobody knows which are whose.
func (in *ingest) had(e *epoch, from uint64) (counts, error) {
	if e.watermark-from >= maxOverlap {
		return counts{}, nil
	}
	var had counts
	others := e.watermark - from + 1
	judged, err := in.stmt(in.s.on.judged).QueryContext(in.ctx, e.key, int64(from), int64(e.watermark))
	if err != nil {
		return had, err
	}
	defer judged.Close()
	for judged.Next() {
		var verdict, n int64
		if err := judged.Scan(&verdict, &n); err != nil {
			return had, err
		}
		had[place(vision.Verdict(verdict))] += uint64(n)
		others -= uint64(n)
	}
	if err := judged.Err(); err != nil {
		return had, err
	}
	holes, err := in.stmt(in.s.on.holesIn).QueryContext(in.ctx, e.key, int64(from), int64(e.watermark))
	if err != nil {
		return had, err
	}
	defer holes.Close()
	for holes.Next() {
		var first, last int64
		var n [4]int64
		if err := holes.Scan(&first, &last, &n[0], &n[1], &n[2], &n[3]); err != nil {
			return had, err
		}
		for i := range n {
			had[i] += uint64(n[i])
		}
		others -= uint64(last) - max(uint64(first), from) + 1
	}
	had[3] += others
	return had, holes.Err()
}

func place(v vision.Verdict) int {
	switch v {
	case vision.Pass:
		return 0
	case vision.Fail:
		return 1
	}
	return 2
}

// Holes are the newest holes of a device, or of all with "", newest first.
func (s *Store) Holes(ctx context.Context, device string, limit int) ([]Hole, error) {
	where, args := "", []any{}
	if device != "" {
		where, args = "WHERE h.device = (SELECT key FROM device WHERE id = ?)", append(args, device)
	}
	return rows(ctx, s, func(r *sql.Rows) (Hole, error) {
		var h Hole
		var epoch, received int64
		err := r.Scan(&h.Device, &epoch, &h.First, &h.Last, &h.Pass, &h.Fail, &h.None, &h.Other, &h.Reason, &received)
		h.Epoch, h.Received = uint64(epoch), wire.Time(received)
		return h, err
	}, `SELECT d.id, e.epoch, h.first, h.last, h.pass, h.fail, h.none, h.other, h.reason, h.received
		FROM hole h CROSS JOIN epoch e ON e.key = h.epoch CROSS JOIN device d ON d.key = h.device `+where+`
		ORDER BY h.id DESC LIMIT ?`, append(args, cmp.Or(limit, 100))...)
}
