package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// BenchmarkIngest holds Ingest against a bare loop that inserts the same rows
// with one prepared statement, in transactions of the same size, into the same
// schema with the same settings. Both take turns, so that a disk whose syncs
// drift is the same for both. ratio is bare time ÷ Ingest's: 1 is no overhead.
func BenchmarkIngest(b *testing.B) {
	for _, batches := range []int{1, 8} {
		b.Run(fmt.Sprintf("batches=%d", batches), func(b *testing.B) {
			const size = 64
			s, bare := fresh(b), newBare(b)
			var devices []string
			for i := range batches {
				devices = append(devices, fmt.Sprintf("dev-%d", i))
			}
			enrol(b, s, devices...)
			enrol(b, bare.s, devices...)
			if _, err := bare.s.writer.Exec(`INSERT INTO epoch SELECT key, key, 1, 0, 0, 0, 0, 0, 0, 0 FROM device`); err != nil {
				b.Fatal(err)
			}
			var ours, theirs time.Duration
			first, even := uint64(1), false
			for b.Loop() {
				var group []Batch
				for _, d := range devices {
					one := Batch{d, &wire.Batch{Epoch: 1 << 63}}
					for i := range uint64(size) {
						one.Batch.Items = append(one.Batch.Items, record(first+i, vision.Verdict(i%3)))
					}
					group = append(group, one)
				}
				first += size
				decoded := bare.decode(b, group)
				turn := []func(){
					func() { theirs += timed(func() { bare.insert(b, decoded) }) },
					func() {
						ours += timed(func() {
							if _, err := s.Ingest(b.Context(), group); err != nil {
								b.Fatal(err)
							}
						})
					},
				}
				even = !even
				if even {
					slices.Reverse(turn)
				}
				turn[0]()
				turn[1]()
			}
			b.ReportMetric(0, "ns/op") // both, and what makes the rows
			rows := float64(first-1) * float64(batches)
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
			b.ReportMetric(rows/ours.Seconds(), "rows/s")
			b.ReportMetric(rows/theirs.Seconds(), "bare-rows/s")
		})
	}
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// bare is a database that knows nothing of watermarks.
type bare struct {
	s      *Store
	insert func(testing.TB, [][]any)
}

func newBare(b *testing.B) *bare {
	path := filepath.Join(b.TempDir(), "bare.db")
	t := &bare{s: open(b, path)}
	db := t.s.writer
	insert, err := db.Prepare(sqlAddResult)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = insert.Close() })
	t.insert = func(b testing.TB, rows [][]any) {
		tx, err := db.Begin()
		if err != nil {
			b.Fatal(err)
		}
		stmt := tx.Stmt(insert)
		for _, args := range rows {
			if _, err := stmt.Exec(args...); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	return t
}

// decode gives the rows' values, untimed.
func (t *bare) decode(b *testing.B, group []Batch) (rows [][]any) {
	for i, batch := range group {
		for _, it := range batch.Batch.Items {
			rec, err := wire.Decode(it.Body)
			if err != nil {
				b.Fatal(err)
			}
			r := rec.GetResult()
			verdict, reason := r.Answered(nil)
			rows = append(rows, []any{int64(i + 1), int64(i + 1), int64(it.First), int64(1), r.GetDecided(), r.GetStation(), r.GetPartId(), r.GetLabel(),
				int64(verdict), int64(verdict), reason, it.Body, r.GetTriggerId(), r.GetRecipe()})
		}
	}
	return rows
}
