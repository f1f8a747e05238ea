package journal

import (
	"encoding/binary"
	"errors"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// chunk is how many records one read transaction looks at at most, and
// chunkBytes about how much it copies: a long transaction makes the file grow
// and can hold up the writer.
const (
	chunk      = 512
	chunkBytes = 1 << 20
)

// Query gives at most limit records older than before that keep accepts,
// newest first; before 0 begins at the newest. Amendments come beside the
// records they amend, not as rows. A record whose checksum doesn't fit, or
// that of its amendment, is left out and counted in Stats. No transaction is
// open while keep runs, so it may be slow; body is the row's own. More tells
// whether older records were not looked at.
func (j *Journal) Query(before uint64, limit int, keep func(seq uint64, body []byte) bool) (rows []Row, more bool, err error) {
	// Few rows are wanted, few are copied; the fewer keep takes, the more.
	for most := min(limit+8, chunk); ; most = min(2*most, chunk) {
		part, next, err := j.older(before, max(most, 1))
		if err != nil {
			return nil, false, err
		}
		for i, r := range part {
			if len(rows) >= limit {
				return rows, true, nil
			}
			if keep(r.Seq, r.Body) {
				rows = append(rows, part[i])
			}
		}
		if next == 0 || len(rows) >= limit {
			return rows, next != 0, nil
		}
		before = next
	}
}

// After gives at most limit records above number seq, oldest first, as they
// were written: amendments in their own place. Damaged ones are left out and
// counted, and dropped ones aren't there. An empty answer means that there is
// nothing above seq yet.
func (j *Journal) After(seq uint64, limit int) (rows []Row, err error) {
	last := j.last()
	for len(rows) < limit && seq < last {
		var part []Row
		var next uint64
		err := j.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketRecords).Cursor()
			k, v := c.Seek(key(seq + 1))
			part, next = j.gather(nil, k, v, c.Next, min(chunk, limit-len(rows)))
			return nil
		})
		if err != nil {
			return nil, err
		}
		for len(part) > 0 && part[len(part)-1].Seq > last {
			part = part[:len(part)-1]
		}
		rows = append(rows, part...)
		if next == 0 {
			break
		}
		seq = next
	}
	return rows, nil
}

// older reads records below before (0: from the newest), newest first, with
// the amendments of each, in one transaction. It goes on below next; 0 is the
// end.
func (j *Journal) older(before uint64, most int) (rows []Row, next uint64, err error) {
	if last := j.last(); before == 0 || before > last {
		before = last + 1
	}
	err = j.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRecords).Cursor()
		step := c.Prev
		if k, _ := c.Seek(key(before)); k == nil {
			step = c.Last
		}
		k, v := step()
		rows, next = j.gather(tx, k, v, c.Prev, most)
		return nil
	})
	return rows, next, err
}

// gather copies up to most records from the cursor's place on. With a
// transaction it leaves out amendments and puts them beside their records.
// next is the last record looked at, 0 if there are no more.
func (j *Journal) gather(tx *bbolt.Tx, k, v []byte, step func() (k, v []byte), most int) (rows []Row, next uint64) {
	for n, size := 0, 0; k != nil && n < most && size < chunkBytes; n++ {
		next = 0
		if len(k) == 8 {
			next = binary.BigEndian.Uint64(k)
		}
		r, err := unseal(next, v)
		if err == nil && tx != nil {
			r.Amend, err = amendment(tx, k, r.Seq)
		}
		switch {
		case err != nil:
			j.bad(1)
		case tx == nil || r.Amends == 0:
			rows = append(rows, r)
			size += len(r.Body) + len(r.Amend)
		}
		k, v = step()
	}
	if k == nil {
		next = 0
	}
	return rows, next
}

// amendment is the last one of the record with that key; nil without.
func amendment(tx *bbolt.Tx, k []byte, seq uint64) ([]byte, error) {
	at := tx.Bucket(bucketAmended).Get(k)
	if at == nil {
		return nil, nil
	}
	if len(at) != 8 {
		return nil, errDamaged
	}
	number := binary.BigEndian.Uint64(at)
	r, err := unseal(number, tx.Bucket(bucketRecords).Get(at))
	if err != nil || r.Amends != seq {
		return nil, errDamaged
	}
	return r.Body, nil
}

func (j *Journal) bad(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Bad += uint64(n)
}

// last is the highest number that is surely on disk. bbolt's readers see a
// commit before its last sync has returned.
func (j *Journal) last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats.Last
}

func (j *Journal) view(f func(*bbolt.Tx) error) (err error) {
	defer guard(&err)()
	err = j.db.View(f)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
