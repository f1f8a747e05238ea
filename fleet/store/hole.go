package store

import (
	"cmp"
	"context"
	"database/sql"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// How much that has come may be looked at for a hole that covers it too. Beyond
// that its counts are taken for unknown.
const (
	maxOverlap      = 8192 // records; a device's batches in flight are fewer
	maxOverlapHoles = 512  // a device has one as a rule, and one for each spot of damage
)

const (
	sqlAddHole = `INSERT INTO hole (device, epoch, first, last, pass, fail, none, other, reason, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlJudged  = `SELECT judged, count(*) FROM result WHERE epoch = ? AND seq BETWEEN ? AND ? GROUP BY judged`
	sqlHolesIn = `SELECT first, last, pass, fail, none, other, reason FROM hole WHERE epoch = ? AND last BETWEEN ? AND ? LIMIT ?`
)

// hole stores the part of a hole above the watermark, with what its counts
// have beyond the records, and the holes, that came of it.
func (in *ingest) hole(e *epoch, it wire.Item, h *wire.Hole) error {
	said := counts{h.GetPass(), h.GetFail(), h.GetNone(), h.GetOther()}
	if it.First <= e.watermark {
		had, known, err := in.had(e, it.First)
		if err != nil {
			return err
		}
		if !known {
			said = counts{} // rather than counted twice
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

// had counts what is here from a number up to the watermark, unless that isn't
// known: an older hole there may stand for records that nobody counted but the
// new one did, or there is too much. Of a hole that began before the number all
// counts are taken, as nobody knows which are whose.
func (in *ingest) had(e *epoch, from uint64) (had counts, known bool, err error) {
	holes, others, known, err := in.holes(e, from)
	if err != nil || !known || others > maxOverlap {
		return had, false, err
	}
	judged, err := in.stmt(in.s.on.judged).QueryContext(in.ctx, e.key, int64(from), int64(e.watermark))
	if err != nil {
		return had, false, err
	}
	defer judged.Close()
	had = holes
	for judged.Next() {
		var verdict, n int64
		if err := judged.Scan(&verdict, &n); err != nil {
			return had, false, err
		}
		had[place(vision.Verdict(verdict))] += uint64(n)
		others -= uint64(n)
	}
	had[3] += others
	return had, true, judged.Err()
}

// holes sums up the holes that end there, and tells how many numbers they
// leave.
func (in *ingest) holes(e *epoch, from uint64) (sum counts, others uint64, known bool, err error) {
	found, err := in.stmt(in.s.on.holesIn).QueryContext(in.ctx, e.key, int64(from), int64(e.watermark), maxOverlapHoles+1)
	if err != nil {
		return sum, 0, false, err
	}
	defer found.Close()
	others = e.watermark - from + 1
	n := 0
	for ; found.Next(); n++ {
		var first, last int64
		var c [4]int64
		var reason string
		if err := found.Scan(&first, &last, &c[0], &c[1], &c[2], &c[3], &reason); err != nil {
			return sum, 0, false, err
		}
		if reason == wire.HoleEarlierEpoch || reason == wire.HoleGone {
			return sum, 0, false, nil
		}
		for i := range c {
			sum[i] += uint64(c[i])
		}
		others -= uint64(last) - max(uint64(first), from) + 1
	}
	return sum, others, n <= maxOverlapHoles, found.Err()
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
