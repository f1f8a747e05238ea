package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// One transaction's rows: what eight devices send at once that have a backlog.
const (
	ingestDevices = 8
	ingestBatch   = 128 // records of each, the uplink's default
)

// p9 measures what the store adds to the inserts that it makes.
func p9() Figure {
	return Figure{
		ID:   "P9",
		What: "results/s of the fleet's store ÷ rows/s of a bare loop of the same inserts",
		Goal: ">= 0.5",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return nil, fmt.Errorf("make a folder: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			often := *env // a disk's syncs stumble: short turns and many
			often.Rounds = max(3*env.Rounds, 15)
			for _, c := range []ingestCase{
				{"P9/decoded", "storing decoded batches", ">= 0.5", false, 8},
				{"P9/raw", "decompressing and decoding MQTT's payloads, and storing them", toldMore, true, 8},
			} {
				row, err := c.measure(ctx, &often, filepath.Join(dir, filepath.Base(c.id)))
				if err != nil {
					return rows, err
				}
				rows = append(rows, row)
			}
			return rows, nil
		},
	}
}

// ingestCase is where the store's work begins.
type ingestCase struct {
	id, what, goal string
	raw            bool
	groups         int // transactions in a turn
}

func (c ingestCase) measure(ctx context.Context, env *Env, dir string) (row Row, err error) {
	s, err := store.Open(filepath.Join(dir, "ours", "fleet.db"))
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := addDevices(ctx, s); err != nil {
		return row, err
	}
	b, err := openInserts(ctx, filepath.Join(dir, "bare", "fleet.db"))
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, b.db.Close()) }()
	ours, bare := newSending(), newSending() // the same seeds
	what := fmt.Sprintf("%s, synchronous=FULL: results/s ÷ rows/s of a prepared insert of the same rows, ready made; %d rows a transaction",
		c.what, ingestDevices*ingestBatch)
	row, err = env.Compare(ctx, Row{ID: c.id, What: what, Goal: c.goal},
		func(ctx context.Context) (Sample, error) {
			return ours.turn(c.groups, func(g [][]byte) (time.Duration, error) { return c.ingest(ctx, s, g) })
		},
		func(ctx context.Context) (Sample, error) {
			return bare.turn(c.groups, func(g [][]byte) (time.Duration, error) { return b.insert(ctx, g) })
		})
	if err != nil {
		return row, err
	}
	var stored, inserted int
	for i := range ingestDevices {
		t, err := s.Totals(ctx, ingestDevice(i))
		if err != nil {
			return row, err
		}
		stored += int(t.Results)
	}
	if err := b.db.QueryRowContext(ctx, `SELECT count(*) FROM result`).Scan(&inserted); err != nil || stored != inserted || stored == 0 {
		return row, fmt.Errorf("%s: %d results were stored and %d rows inserted (%w)", c.id, stored, inserted, err)
	}
	return row, nil
}

func ingestDevice(i int) string { return fmt.Sprintf("device-%d", i+1) }

// ingestEpoch is every device's.
const ingestEpoch = uint64(1) << 63

func addDevices(ctx context.Context, s *store.Store) error {
	for i := range ingestDevices {
		key := [32]byte{byte(i + 1)}
		if err := s.AddEnrolToken(ctx, store.EnrolToken{Key: key, Group: "bench", Expires: s.Now().Add(time.Hour)}); err != nil {
			return err
		}
		if err := s.AddDevice(ctx, store.Device{ID: ingestDevice(i)}, key); err != nil {
			return err
		}
	}
	return nil
}

// sending is what the devices send, one side's.
type sending struct {
	devices [ingestDevices]*made
	next    uint64 // number
}

func newSending() *sending {
	s := &sending{next: 1}
	for i := range s.devices {
		s.devices[i] = newMade(uint64(i))
	}
	return s
}

// turn makes one turn's groups, a batch of each device, and gives them to do,
// which tells how long it took.
func (s *sending) turn(groups int, do func(group [][]byte) (time.Duration, error)) (Sample, error) {
	var took time.Duration
	var each []float64
	for range groups {
		var group [][]byte
		for _, m := range s.devices {
			bodies, err := m.bodies(ingestBatch)
			if err != nil {
				return Sample{}, err
			}
			b := &wire.Batch{Epoch: ingestEpoch}
			for i, body := range bodies {
				seq := s.next + uint64(i)
				b.Items = append(b.Items, wire.Item{First: seq, Last: seq, Body: body})
			}
			raw, err := wire.EncodeBatch(b)
			if err != nil {
				return Sample{}, err
			}
			group = append(group, raw)
		}
		s.next += ingestBatch
		d, err := do(group)
		if err != nil {
			return Sample{}, err
		}
		took += d
		each = append(each, d.Seconds())
	}
	return Sample{Value: float64(groups*ingestDevices*ingestBatch) / took.Seconds(), Each: each}, nil
}

func decodeGroup(group [][]byte) (batches []store.Batch, err error) {
	for i, raw := range group {
		b, err := wire.DecodeBatch(raw)
		if err != nil {
			return nil, err
		}
		batches = append(batches, store.Batch{Device: ingestDevice(i), Batch: b})
	}
	return batches, nil
}

func (c ingestCase) ingest(ctx context.Context, s *store.Store, group [][]byte) (time.Duration, error) {
	began := time.Now()
	batches, err := decodeGroup(group)
	if err != nil {
		return 0, err
	}
	if !c.raw {
		began = time.Now()
	}
	marks, err := s.Ingest(ctx, batches)
	took := time.Since(began)
	for _, m := range marks {
		if len(m.Took.Rows) != ingestBatch {
			return 0, fmt.Errorf("of a batch of %d, %d results were stored", ingestBatch, len(m.Took.Rows))
		}
	}
	return took, err
}

// inserts is a database of the same schema and settings, and one statement.
type inserts struct {
	db  *sql.DB
	add *sql.Stmt
}

// insertSettings are those of fleet/store's writer.
const insertSettings = "?_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=foreign_keys(1)&_pragma=cache_size(-32000)" +
	"&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)&_pragma=busy_timeout(10000)"

func openInserts(ctx context.Context, path string) (*inserts, error) {
	s, err := store.Open(path) // makes the schema
	if err != nil {
		return nil, err
	}
	if err := errors.Join(addDevices(ctx, s), s.Close()); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+path+insertSettings)
	if err != nil {
		return nil, fmt.Errorf("open a bare database: %w", err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `INSERT INTO epoch SELECT key, key, 1, 0, 0, 0, 0, 0, 0, 0 FROM device`); err != nil {
		return nil, errors.Join(fmt.Errorf("fill a bare database: %w", err), db.Close())
	}
	insert, err := db.PrepareContext(ctx, `INSERT INTO result (device, epoch, seq, received, decided, station, part, label, verdict, judged, reason, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a bare insert: %w", err), db.Close())
	}
	return &inserts{db, insert}, nil
}

// insert stores the group's rows. Their values are there before the clock
// starts, in the columns' order.
func (in *inserts) insert(ctx context.Context, group [][]byte) (time.Duration, error) {
	batches, err := decodeGroup(group)
	if err != nil {
		return 0, err
	}
	var rows [][]any
	now := time.Now().UnixNano()
	for i, b := range batches {
		for _, it := range b.Batch.Items {
			rec, err := wire.Decode(it.Body)
			if err != nil {
				return 0, err
			}
			r, key := rec.GetResult(), int64(i+1)
			verdict, reason := r.Answered(nil)
			rows = append(rows, []any{key, key, int64(it.First), now, r.GetDecided(), r.GetStation(), r.GetPartId(), r.GetLabel(),
				int64(verdict), int64(verdict), reason, it.Body})
		}
	}
	began := time.Now()
	tx, err := in.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("begin a bare transaction: %w", err)
	}
	stmt := tx.StmtContext(ctx, in.add)
	for _, r := range rows {
		if _, err := stmt.ExecContext(ctx, r...); err != nil {
			return 0, errors.Join(fmt.Errorf("insert a bare row: %w", err), tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("commit bare rows: %w", err)
	}
	return time.Since(began), nil
}
