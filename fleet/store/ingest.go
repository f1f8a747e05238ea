package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// maxSeq is the highest number that a record may have: SQLite's integers are
// signed, and sums of what is below it can't overflow soon.
const maxSeq = 1 << 62

// keptBody is how many bytes of a record that is set aside are kept.
const keptBody = 4 << 10

// maxEpochs is how many journals of a device are kept apart. One that is begun
// anew each day gets there in three years, one that lies in a second.
const maxEpochs = 1000

// retoldBytes is how much of earlier results a transaction reads again, encoded.
const retoldBytes = 1 << 20

const (
	sqlDevice     = `SELECT key, revoked FROM device WHERE id = ?`
	sqlEpoch      = `SELECT key, watermark FROM epoch WHERE device = ? AND epoch = ?`
	sqlAddEpoch   = `INSERT INTO epoch (device, epoch, watermark, results, pass, fail, none, holes, unreadable) VALUES (?, ?, 0, 0, 0, 0, 0, 0, 0)`
	sqlSetEpoch   = `UPDATE epoch SET watermark = ?, results = results + ?, pass = pass + ?, fail = fail + ?, none = none + ?, holes = holes + ?, unreadable = unreadable + ? WHERE key = ?`
	sqlEpochs     = `SELECT count(*) FROM epoch WHERE device = ?`
	sqlAddResult  = `INSERT INTO result (device, epoch, seq, received, decided, station, part, label, verdict, judged, reason, body, trigger_id, recipe) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlFindResult = `SELECT id, verdict FROM result WHERE epoch = ? AND seq = ?`
	sqlAmend      = `UPDATE result SET verdict = ?, reason = ?, told = ? WHERE id = ?`

	sqlRetold = sqlRow + `FROM result r` + sqlOf + `WHERE r.id IN (SELECT value FROM json_each(?)) ORDER BY r.id`

	sqlAddAmendment  = `INSERT INTO amendment (epoch, seq, of, received, body) VALUES (?, ?, ?, ?, ?)`
	sqlAddUnreadable = `INSERT INTO unreadable (epoch, seq, received, why, body) VALUES (?, ?, ?, ?, coalesce(?, x''))`
)

// Ingest stores batches of any devices in one transaction: results, what
// amends them, holes, items that can't be read, and how far each epoch has
// come. A mark for each batch comes back, in their order, and holds once
// Ingest has returned; after an error nothing was stored.
//
// Of a batch that begins after the watermark's next number nothing is taken,
// and of others what is above the watermark: so that what comes twice, late or
// in any order is stored once and without a gap.
func (s *Store) Ingest(ctx context.Context, batches []Batch) ([]Mark, error) {
	marks := make([]Mark, len(batches))
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		in := ingest{s: s, ctx: ctx, tx: tx, now: s.Now().UnixNano(), devices: map[string]int64{}, epochs: map[epochOf]*epoch{}}
		in.addResult = tx.StmtContext(ctx, s.on.addResult)
		for i, b := range batches {
			if err := in.batch(b, &marks[i]); err != nil {
				return fmt.Errorf("device %s, epoch %x, from %d: %w", b.Device, b.Batch.Epoch, b.Batch.First(), err)
			}
		}
		if err := in.end(); err != nil {
			return err
		}
		return in.retell()
	})
	if err != nil {
		return nil, fmt.Errorf("store %d batches: %w", len(batches), err)
	}
	return marks, nil
}

// ingest is one transaction.
type ingest struct {
	s         *Store
	ctx       context.Context // lives as long as the transaction
	tx        *sql.Tx
	addResult *sql.Stmt
	now       int64
	devices   map[string]int64 // keys; 0 for one that may not send
	epochs    map[epochOf]*epoch
	retold    map[int64]*Mark // by the IDs of earlier results, the batch that amended them last; made when needed
}

type epochOf struct {
	device int64
	epoch  uint64
}

// epoch is one of a device's journals, with what the transaction adds.
type epoch struct {
	key, device       int64
	watermark         uint64
	changed           bool
	verdicts          [3]int64 // by vision.Verdict; an amendment takes from one
	results           int64
	holes, unreadable int64
	fresh             []*Took // whose rows an amendment may be about
}

func (in *ingest) stmt(st *sql.Stmt) *sql.Stmt { return in.tx.StmtContext(in.ctx, st) }

func (in *ingest) batch(b Batch, m *Mark) error {
	*m = Mark{Device: b.Device, Epoch: b.Batch.Epoch}
	device, err := in.device(b.Device)
	if err != nil || device == 0 {
		return err
	}
	m.Known = true
	e, err := in.epoch(device, b.Batch.Epoch)
	if err != nil {
		return err
	}
	m.Watermark = e.watermark
	if b.Batch.Last() > maxSeq {
		m.Took.Err = fmt.Errorf("%w: %d to %d", ErrRange, b.Batch.First(), b.Batch.Last())
		return nil
	}
	if e.key == 0 {
		var n int
		if err := in.tx.QueryRowContext(in.ctx, sqlEpochs, device).Scan(&n); err != nil {
			return err
		}
		if n >= maxEpochs {
			m.Took.Err = fmt.Errorf("%w: %d", ErrEpochs, n)
			return nil
		}
	}
	e.fresh = append(e.fresh, &m.Took)
	for _, it := range b.Batch.Items {
		if it.First == 0 || it.First > e.watermark+1 {
			m.Took.Gap = true
			break
		}
		if it.Last <= e.watermark {
			m.Took.Duplicates++
			continue
		}
		if err := in.item(e, it, m); err != nil {
			return err
		}
		e.watermark, e.changed = it.Last, true
	}
	m.Watermark = e.watermark
	return nil
}

// device gives its key, 0 if it isn't enrolled or was revoked.
func (in *ingest) device(id string) (int64, error) {
	key, ok := in.devices[id]
	if ok {
		return key, nil
	}
	var revoked int64
	err := in.stmt(in.s.on.device).QueryRowContext(in.ctx, id).Scan(&key, &revoked)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if revoked != 0 {
		key = 0
	}
	in.devices[id] = key
	return key, nil
}

func (in *ingest) epoch(device int64, number uint64) (*epoch, error) {
	of := epochOf{device, number}
	if e := in.epochs[of]; e != nil {
		return e, nil
	}
	e := &epoch{device: device}
	var watermark int64
	err := in.stmt(in.s.on.epoch).QueryRowContext(in.ctx, device, int64(number)).Scan(&e.key, &watermark)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	e.watermark = uint64(watermark)
	in.epochs[of] = e
	return e, nil
}

// item stores what the watermark hasn't passed.
func (in *ingest) item(e *epoch, it wire.Item, m *Mark) error {
	if e.key == 0 {
		r, err := in.stmt(in.s.on.addEpoch).ExecContext(in.ctx, e.device, int64(m.Epoch))
		if err != nil {
			return err
		}
		if e.key, err = r.LastInsertId(); err != nil {
			return err
		}
	}
	rec, err := wire.DecodeSent(it.Body)
	if hole := rec.GetHole(); hole != nil && err == nil {
		m.Took.Holes++
		return in.hole(e, it, hole)
	}
	switch {
	case err == nil && it.First != it.Last:
		err = fmt.Errorf("a record stands for %d to %d", it.First, it.Last)
	case err == nil && rec.GetResult() != nil:
		return in.result(e, it, rec.GetResult(), m)
	case err == nil && rec.GetTold() != nil:
		return in.told(e, it, rec.GetTold(), m)
	case err == nil:
		err = wire.ErrKind
	}
	m.Took.Unreadable++
	e.unreadable++
	_, err = in.stmt(in.s.on.addUnreadable).ExecContext(in.ctx, e.key, int64(it.First), in.now, err.Error(), it.Body[:min(len(it.Body), keptBody)])
	return err
}

func (in *ingest) result(e *epoch, it wire.Item, r *wire.Result, m *Mark) error {
	verdict, reason := r.Answered(nil)
	done, err := in.addResult.ExecContext(in.ctx, e.device, e.key, int64(it.First), in.now, r.GetDecided(),
		r.GetStation(), r.GetPartId(), r.GetLabel(), int64(verdict), int64(r.GetVerdict().Vision()), reason, it.Body, r.GetTriggerId(), r.GetRecipe())
	if err != nil {
		return err
	}
	id, err := done.LastInsertId()
	if err != nil {
		return err
	}
	e.results++
	e.verdicts[verdict]++
	m.Took.Rows = append(m.Took.Rows, Row{
		ID: id, Device: m.Device, Epoch: m.Epoch, Seq: it.First,
		Received: wire.Time(in.now), Decided: wire.Time(r.GetDecided()),
		Station: r.GetStation(), Part: r.GetPartId(), Label: r.GetLabel(), Verdict: verdict, Reason: reason, Record: r,
	})
	return nil
}

// told amends the result. One for a result that isn't here, which a hole
// stands for, is kept: it is part of the sequence.
func (in *ingest) told(e *epoch, it wire.Item, t *wire.Told, m *Mark) error {
	var id, before int64
	err := sql.ErrNoRows
	if t.GetAnswer() != nil {
		err = in.stmt(in.s.on.findResult).QueryRowContext(in.ctx, e.key, int64(t.GetSeq())).Scan(&id, &before)
	}
	if errors.Is(err, sql.ErrNoRows) {
		_, err = in.stmt(in.s.on.addAmendment).ExecContext(in.ctx, e.key, int64(it.First), int64(t.GetSeq()), in.now, it.Body)
		return err
	} else if err != nil {
		return err
	}
	verdict, reason := t.GetAnswer().GetVerdict().Vision(), t.GetAnswer().GetReason()
	if _, err := in.stmt(in.s.on.amend).ExecContext(in.ctx, int64(verdict), reason, it.Body, id); err != nil {
		return err
	}
	e.verdicts[before]--
	e.verdicts[verdict]++
	m.Took.Amended++
	for _, took := range e.fresh {
		for i := range took.Rows {
			if r := &took.Rows[i]; r.ID == id {
				r.Verdict, r.Reason, r.Told = verdict, reason, t
				return nil
			}
		}
	}
	if in.retold == nil {
		in.retold = map[int64]*Mark{}
	}
	in.retold[id] = m
	return nil
}

// retell gives the earlier results that were amended, for those who were told
// of them. A device may amend any number of long ones at once, so not all.
func (in *ingest) retell() error {
	if in.retold == nil {
		return nil
	}
	ids, err := json.Marshal(slices.Sorted(maps.Keys(in.retold)))
	if err != nil {
		return err
	}
	found, err := in.tx.QueryContext(in.ctx, sqlRetold, string(ids))
	if err != nil {
		return err
	}
	defer found.Close()
	for room := retoldBytes; room > 0 && found.Next(); {
		r, err := scanRow(found)
		if err != nil {
			continue // bytes that went bad on the disk are told where they are read, and hold nothing up here
		}
		room -= proto.Size(r.Record) + proto.Size(r.Told)
		r.Again = true
		took := &in.retold[r.ID].Took
		took.Retold = append(took.Retold, r)
	}
	return found.Err()
}

// end writes down how far the epochs have come.
func (in *ingest) end() error {
	for _, e := range in.epochs {
		if !e.changed {
			continue
		}
		v := &e.verdicts
		if _, err := in.stmt(in.s.on.setEpoch).ExecContext(in.ctx, int64(e.watermark), e.results,
			v[vision.Pass], v[vision.Fail], v[vision.None], e.holes, e.unreadable, e.key); err != nil {
			return err
		}
	}
	return nil
}
