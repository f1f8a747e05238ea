package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/sightline-edge/sightline/sync/wire"
)

// In bucketState: the marks under keyMarks, and under 'h' and a number u64 BE
// the hole that begins there, as wire writes it. All are sealed as records
// are, with kinds of their own.
var keyMarks = []byte("marks")

const (
	holePrefix      = 'h'
	kindMarks  byte = 3
	kindHole   byte = 4
	marksSize       = 4 * 8
)

// marks is how far things have come. On disk they are four u64 LE, in this
// order.
type marks struct {
	acked        uint64 // the fleet has committed up to this number
	floor        uint64 // what acked was when this epoch began: told under an earlier one; 0 in the first
	dropped      uint64 // records dropped before they were acknowledged
	droppedAcked uint64 // and after
}

func (m *marks) encode() []byte {
	var b []byte
	for _, v := range []uint64{m.acked, m.floor, m.dropped, m.droppedAcked} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return seal(0, kindMarks, 0, b)
}

// loadMarks reads them. Without any they are zero, and with damaged ones too,
// which is told: the fleet says where it is at each connection, so nothing is
// lost by that; what it has may be sent again.
func loadMarks(tx *bbolt.Tx) (m marks, ok bool) {
	v := tx.Bucket(bucketState).Get(keyMarks)
	if v == nil {
		return marks{}, true
	}
	b, err := open(0, v, kindMarks)
	if err != nil || len(b) < marksSize {
		return marks{}, false
	}
	for i, p := range []*uint64{&m.acked, &m.floor, &m.dropped, &m.droppedAcked} {
		*p = binary.LittleEndian.Uint64(b[8*i:])
	}
	if last := tx.Bucket(bucketRecords).Sequence(); m.acked > last || m.floor > m.acked {
		return marks{}, false
	}
	return m, true
}

func (m *marks) store(tx *bbolt.Tx) error { return tx.Bucket(bucketState).Put(keyMarks, m.encode()) }

func holeKey(first uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{holePrefix}, first)
}

// loadHoles gives what retention dropped unacknowledged, in order, and the
// keys of what can't be read, whose spans count as gone.
func loadHoles(tx *bbolt.Tx) (holes []*wire.Hole, bad [][]byte) {
	c := tx.Bucket(bucketState).Cursor()
	for k, v := c.Seek([]byte{holePrefix}); len(k) > 0 && k[0] == holePrefix; k, v = c.Next() {
		if h := readHole(k, v); h != nil && (len(holes) == 0 || h.GetFirst() > holes[len(holes)-1].GetLast()) {
			holes = append(holes, h)
		} else {
			bad = append(bad, bytes.Clone(k))
		}
	}
	return holes, bad
}

// readHole is nil for one that can't be read.
func readHole(k, v []byte) *wire.Hole {
	if len(k) != 9 {
		return nil
	}
	first := binary.BigEndian.Uint64(k[1:])
	b, err := open(first, v, kindHole)
	if err != nil {
		return nil
	}
	r, err := wire.Decode(b)
	if err != nil {
		return nil
	}
	h := r.GetHole()
	if h.GetFirst() != first || h.GetLast() < first {
		return nil
	}
	return h
}

func storeHole(tx *bbolt.Tx, h *wire.Hole) error {
	it, err := wire.NewHole(h)
	if err != nil {
		return fmt.Errorf("note what was dropped: %w", err)
	}
	return tx.Bucket(bucketState).Put(holeKey(h.GetFirst()), seal(h.GetFirst(), kindHole, 0, it.Body))
}

// forget removes the holes that the fleet has taken, and unreadable ones.
func forget(tx *bbolt.Tx, acked uint64) error {
	holes, gone := loadHoles(tx)
	for _, h := range holes {
		if h.GetLast() <= acked {
			gone = append(gone, holeKey(h.GetFirst()))
		}
	}
	for _, k := range gone {
		if err := tx.Bucket(bucketState).Delete(k); err != nil {
			return err
		}
	}
	return nil
}
