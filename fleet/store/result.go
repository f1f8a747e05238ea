package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	// A page of usual results is far below pageBytes: of their records and,
	// for each piece of evidence, measurement and view, what it takes when read.
	pageBytes   = 8 << 20
	detailBytes = 128
	// lookAt is how many of the newest rows a page of a label may take; twice
	// as many each time that nothing was found.
	lookAt = 20_000

	sqlRow = `SELECT r.id, d.id, e.epoch, r.seq, r.received, r.decided, r.station, r.part, r.label, r.verdict, r.reason, r.body, r.told `
	sqlOf  = ` CROSS JOIN epoch e ON e.key = r.epoch CROSS JOIN device d ON d.key = r.device `
)

// Results are rows that fit the query, newest arrival first; more says that
// there may be others: the next page's Before is the last row's ID. No rows
// means that there are none. Few rows with a Label doesn't: a page looks at a
// bounded number of rows, unless there is no other way to find a first one.
func (s *Store) Results(ctx context.Context, q Query) (found []Row, more bool, err error) {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, maxLimit)
	if q.Before <= 0 {
		q.Before = math.MaxInt64
	}
	if q.Label == "" {
		return s.results(ctx, q, 0)
	}
	if q.Before, err = s.end(ctx, q.Before); err != nil {
		return nil, false, err
	}
	for look := int64(lookAt); q.Before > 1; look *= 2 {
		from := max(q.Before-look, 1)
		if found, more, err = s.results(ctx, q, from); err != nil || more {
			return found, more, err
		}
		if len(found) > 0 {
			return found, from > 1, nil
		}
		q.Before = from
	}
	return nil, false, nil
}

// end is the ID after the newest row's, if that is below before.
func (s *Store) end(ctx context.Context, before int64) (int64, error) {
	var newest int64
	err := s.reader.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM result`).Scan(&newest)
	return min(before, newest+1), s.explain(err)
}

// results are the newest rows from that ID on, and whether there are others.
func (s *Store) results(ctx context.Context, q Query, from int64) (all []Row, more bool, err error) {
	text, args := q.sql(from)
	return s.someRows(ctx, q.Limit, func(r *Row) bool { return q.Label == "" || labelled(r, q.Label) }, text, args...)
}

// sql asks for rows from that ID on, by the index of what is likely to be
// rarest.
func (q *Query) sql(from int64) (text string, args []any) {
	where := "r.id < ? AND r.id >= ?"
	args = []any{q.Before, from}
	add := func(condition string, arg ...any) { where, args = where+" AND "+condition, append(args, arg...) }
	index := "NOT INDEXED" // by r.id
	if q.Recipe != "" {
		add("r.recipe = ? AND r.recipe <> ''", q.Recipe)
		index = "INDEXED BY result_recipe"
	}
	if q.Station != "" {
		add("r.station = ?", q.Station)
		index = "INDEXED BY result_station"
	}
	if q.Device != "" {
		add("r.device = (SELECT key FROM device WHERE id = ?)", q.Device)
		index = "INDEXED BY result_device"
	}
	if q.Verdict != nil {
		add("r.verdict = ?", int64(*q.Verdict))
		if *q.Verdict != vision.Pass {
			add("r.verdict <> 1") // as the index has it
			index = "INDEXED BY result_rejected"
			if q.Device != "" {
				index = "INDEXED BY result_device_rejected"
			}
		}
	}
	if q.Part != "" {
		add("r.part = ? AND r.part <> ''", q.Part)
		index = "INDEXED BY result_part"
	}
	if q.Trigger != "" {
		add("r.trigger_id = ? AND r.trigger_id <> ''", q.Trigger)
		index = "INDEXED BY result_trigger"
	}
	if q.Label != "" {
		add("(r.label = ? OR instr(r.body, ?))", q.Label, []byte(q.Label))
	}
	return sqlRow + "FROM result r " + index + sqlOf + "WHERE " + where + " ORDER BY r.id DESC", args
}

// someRows reads rows until a page is full with those that pass the filter;
// more says that another one does.
func (s *Store) someRows(ctx context.Context, limit int, keep func(*Row) bool, text string, args ...any) (all []Row, more bool, err error) {
	found, err := s.reader.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, false, s.explain(err)
	}
	defer found.Close()
	for room := pageBytes; found.Next(); {
		r, err := scanRow(found)
		if err != nil {
			return nil, false, s.explain(err)
		}
		if !keep(&r) {
			continue
		}
		room -= proto.Size(r.Record) + proto.Size(r.Told) + detailBytes*(len(r.Record.GetEvidence())+len(r.Record.GetMeasurements())+len(r.Record.GetViews()))
		if len(all) == limit || room < 0 && len(all) > 0 {
			return all, true, nil
		}
		all = append(all, r)
	}
	return all, false, s.explain(found.Err())
}

func labelled(r *Row, label string) bool {
	if r.Label == label {
		return true
	}
	for _, e := range r.Record.GetEvidence() {
		if e.GetLabel() == label {
			return true
		}
	}
	return false
}

func scanRow(from *sql.Rows) (Row, error) {
	var r Row
	var epoch, received, decided, verdict int64
	var body, told sql.RawBytes
	if err := from.Scan(&r.ID, &r.Device, &epoch, &r.Seq, &received, &decided, &r.Station, &r.Part, &r.Label,
		&verdict, &r.Reason, &body, &told); err != nil {
		return r, err
	}
	r.Epoch, r.Received, r.Decided, r.Verdict = uint64(epoch), wire.Time(received), wire.Time(decided), vision.Verdict(verdict)
	rec, err := wire.Decode(body)
	if err != nil {
		return r, fmt.Errorf("result %d: %w", r.ID, err)
	}
	r.Record = rec.GetResult()
	if len(told) > 0 {
		if rec, err = wire.Decode(told); err != nil {
			return r, fmt.Errorf("amendment of result %d: %w", r.ID, err)
		}
		r.Told = rec.GetTold()
	}
	return r, nil
}

// Result is one row; ErrNotFound without.
func (s *Store) Result(ctx context.Context, id int64) (*Row, error) {
	r, err := first(rows(ctx, s, scanRow, sqlRow+"FROM result r"+sqlOf+"WHERE r.id = ?", id))
	if err != nil {
		return nil, fmt.Errorf("result %d: %w", id, err)
	}
	return r, nil
}

// Watermark is how far a device's epoch has come, 0 for one that is unknown.
func (s *Store) Watermark(ctx context.Context, device string, epoch uint64) (Mark, error) {
	m := Mark{Device: device, Epoch: epoch}
	var revoked, watermark int64
	err := s.reader.QueryRowContext(ctx, `SELECT d.revoked, coalesce(e.watermark, 0)
		FROM device d LEFT JOIN epoch e ON e.device = d.key AND e.epoch = ? WHERE d.id = ?`, int64(epoch), device).Scan(&revoked, &watermark)
	if errors.Is(err, sql.ErrNoRows) {
		return m, nil
	} else if err != nil {
		return m, fmt.Errorf("watermark of device %s: %w", device, s.explain(err))
	}
	m.Known, m.Watermark = revoked == 0, uint64(watermark)
	return m, nil
}

// Totals count what a device sent, or with "" all of them.
func (s *Store) Totals(ctx context.Context, device string) (Totals, error) {
	where, args := "", []any{}
	if device != "" {
		where, args = " WHERE device = (SELECT key FROM device WHERE id = ?)", append(args, device)
	}
	// The holes in halves: a device may claim any, and SQLite's sums may not overflow.
	var t Totals
	var high, low uint64
	err := s.reader.QueryRowContext(ctx, `SELECT coalesce(sum(results), 0), coalesce(sum(pass), 0), coalesce(sum(fail), 0), coalesce(sum(none), 0),
		coalesce(sum(holes >> 32), 0), coalesce(sum(holes & 0xffffffff), 0), coalesce(sum(unreadable), 0) FROM epoch`+where, args...).
		Scan(&t.Results, &t.Pass, &t.Fail, &t.None, &high, &low, &t.Unreadable)
	if err != nil {
		return Totals{}, fmt.Errorf("totals: %w", s.explain(err))
	}
	if high += low >> 32; high > math.MaxUint32 {
		t.Holes = math.MaxUint64
	} else {
		t.Holes = high<<32 | low&math.MaxUint32
	}
	return t, nil
}
