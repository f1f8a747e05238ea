package journal

import (
	"bytes"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

const (
	elementBytes = 8 + elementSize // of a leaf for each record, besides its value
	dropLeast    = 64 << 10        // bytes dropped at once when anything must be, so that most commits drop nothing
	dropMost     = 256 << 10       // and at most, unless twice the bytes that come are more
	dropTight    = 16 << 10        // at first on a full disk, where deleting needs pages too
)

// Retain keeps the file's data under so many bytes by dropping the oldest
// records; 0 is no limit. Call it before Run. What counts is the pages in use:
// the file keeps its free ones and grows to about the limit. The limit may be
// passed by what one commit adds, and for as long as it takes to drop a journal that was larger
// down to it, a piece with each commit. What is dropped before it was
// acknowledged is kept as a hole with its counts, see Replay.
func (j *Journal) Retain(bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Limit = max(bytes, 0)
}

// used is how many bytes of the file's pages hold data: all but the free ones
// and those that only older readers still see. It is exact while nobody
// writes, and after a crash, because bbolt finds the free pages when it opens
// the file.
func (j *Journal) used(tx *bbolt.Tx) int64 {
	s := j.db.Stats()
	free := int64(s.FreePageN+s.PendingPageN) * int64(j.db.Info().PageSize)
	return max(tx.Size()-free, 0)
}

// excess is how many bytes to drop so that those coming fit under the limit,
// and some more; 0 if they fit.
func (j *Journal) excess(coming int) int {
	s := j.Stats()
	over := s.Used + int64(coming) - s.Limit
	if s.Limit == 0 || over <= 0 {
		return 0
	}
	return int(over + min(dropLeast, s.Limit/16))
}

// grown reports whether the file holds as much as the limit allows, with what
// is coming and free pages among it.
func (j *Journal) grown(coming int) bool {
	s := j.Stats()
	return s.Limit > 0 && s.Bytes+int64(coming) > s.Limit
}

// drop removes the oldest records, so many bytes of them and what is left of
// the last one, and counts them in m. Those above m.acked become a hole.
func drop(tx *bbolt.Tx, m *marks, bytes int) (n int, err error) {
	if bytes <= 0 {
		return 0, nil
	}
	records := tx.Bucket(bucketRecords)
	keys, holes := oldest(tx, m, bytes)
	for _, h := range holes {
		if err := storeHole(tx, h); err != nil {
			return 0, err
		}
	}
	for _, k := range keys {
		if err := records.Delete(k); err != nil {
			return 0, err
		}
	}
	if len(keys) == 0 {
		return 0, nil
	}
	return len(keys), dropAmended(tx, keys[len(keys)-1])
}

// oldest collects what to drop, because deleting under a cursor makes bbolt
// skip keys, and the holes that this leaves, the newest one of the file
// continued where they touch.
func oldest(tx *bbolt.Tx, m *marks, most int) (keys [][]byte, holes []*wire.Hole) {
	var h *wire.Hole
	if noted, _ := loadHoles(tx); len(noted) > 0 {
		h = noted[len(noted)-1]
	}
	c := tx.Bucket(bucketRecords).Cursor()
	for k, v := c.First(); k != nil && most > 0; k, v = c.Next() {
		keys = append(keys, bytes.Clone(k))
		most -= len(v) + elementBytes
		if len(k) != 8 {
			continue // damage, which no number names
		}
		seq := binary.BigEndian.Uint64(k)
		if seq <= m.acked {
			m.droppedAcked++
			continue
		}
		m.dropped++
		switch {
		case h != nil && seq == h.GetLast()+1:
			h.Last = seq
		case h == nil || seq > h.GetLast():
			h = &wire.Hole{First: seq, Last: seq, Reason: wire.HoleRetention}
		default:
			continue // a damaged key; its number is in a hole already
		}
		count(h, seq, v)
		if len(holes) == 0 || holes[len(holes)-1] != h {
			holes = append(holes, h)
		}
	}
	return keys, holes
}

// count adds a record to the hole's counts; a damaged one counts as nothing,
// because what it was nobody knows.
func count(h *wire.Hole, seq uint64, v []byte) {
	row, err := parse(seq, v)
	if err != nil {
		return
	}
	r, err := wire.Decode(row.Body)
	if err != nil || r.GetResult() == nil {
		h.Other++
		return
	}
	switch r.GetResult().GetVerdict().Vision() {
	case vision.Pass:
		h.Pass++
	case vision.Fail:
		h.Fail++
	default:
		h.None++
	}
}

// dropAmended forgets the amendments of records up to that key. The
// amendments themselves stay until they are the oldest.
func dropAmended(tx *bbolt.Tx, last []byte) error {
	amended := tx.Bucket(bucketAmended)
	var keys [][]byte
	c := amended.Cursor()
	for k, _ := c.First(); k != nil && bytes.Compare(k, last) <= 0; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := amended.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// lowest is the number of the first record that is there; 0 without.
func lowest(tx *bbolt.Tx) uint64 {
	k, _ := tx.Bucket(bucketRecords).Cursor().First()
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}
