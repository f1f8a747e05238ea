package journal

import (
	"bytes"
	"math"

	bolt "go.etcd.io/bbolt"
)

// scanPage is how many records one read transaction looks at: a long one
// would make the file grow.
const scanPage = 2000

// Row is a record with what was said about it later.
type Row struct {
	Seq   uint64
	Body  []byte
	Amend []byte // the last record that amends it, nil without
}

// Query gives at most limit records older than before that keep accepts,
// newest first; before 0 begins at the newest. Records that fail their
// checksum are left out and counted. keep must not hold on to its argument.
// More tells whether older records were not looked at.
func (j *Journal) Query(before uint64, limit int, keep func(seq uint64, body []byte) bool) (rows []Row, more bool, err error) {
	if before == 0 {
		before = math.MaxUint64
	}
	for len(rows) < limit {
		var end bool
		err := j.db.View(func(tx *bolt.Tx) error {
			rows, before, end = j.page(tx, rows, before, limit, keep)
			return nil
		})
		if err != nil || end {
			return rows, false, err
		}
	}
	return rows, true, nil
}

// page looks at up to scanPage records before the given one and returns the
// oldest it looked at, and whether that was the first of all.
func (j *Journal) page(tx *bolt.Tx, rows []Row, before uint64, limit int, keep func(uint64, []byte) bool) ([]Row, uint64, bool) {
	records, amends := tx.Bucket(bucketRecords), tx.Bucket(bucketAmends)
	c := records.Cursor()
	k, v := c.Seek(key(before))
	if k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	for n := 0; k != nil; k, v = c.Prev() {
		if n++; n > scanPage || len(rows) >= limit {
			return rows, before, false
		}
		seq, body, ok := open(k, v)
		before = seq
		if !ok {
			j.bad()
			continue
		}
		if !keep(seq, body) {
			continue
		}
		row := Row{Seq: seq, Body: bytes.Clone(body)}
		if at := amends.Get(k); at != nil {
			if _, amend, ok := open(at, records.Get(at)); ok {
				row.Amend = bytes.Clone(amend)
			}
		}
		rows = append(rows, row)
	}
	return rows, before, true
}

func (j *Journal) bad() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Bad++
}
