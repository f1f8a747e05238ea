// Package journal is the device's record of what it decided: one bbolt file
// that is appended to in groups, queried newest first, and checked record by
// record. docs/journal.md has the promise and the crash argument.
package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// FileName is the journal's name in the data directory.
const FileName = "journal.db"

// MaxBody is the largest record in bytes.
const MaxBody = 1 << 20

// Limits of one commit.
const (
	maxBatch      = 4096
	maxBatchBytes = 4 << 20
)

// Errors that callers decide by.
var (
	ErrFull   = errors.New("no space is left on the disk")
	ErrClosed = errors.New("the journal is closed")
)

// The buckets: records by sequence, and amendments: the sequence of a record
// → the sequence of the last record that amends it. Keys are big-endian.
var (
	bucketMeta    = []byte("meta")
	bucketRecords = []byte("records")
	bucketAmends  = []byte("amends")
	keyEpoch      = []byte("epoch")
	keyFormat     = []byte("format")
)

// Journal is an open journal. Its methods are safe for concurrent use, Run may
// be called once.
type Journal struct {
	db    *bolt.DB
	lock  *lock
	epoch uint64
	wake  chan struct{} // something is queued; room for one

	mu     sync.Mutex // protects all below
	queue  []*Pending
	closed bool
	stats  Stats
}

// Stats are the journal's figures since it was opened.
type Stats struct {
	Commits  uint64 // transactions
	Appended uint64 // records committed
	Failed   uint64 // records refused, by a full disk for example
	Bad      uint64 // records whose checksum didn't fit when they were read
	Bytes    int64  // size of the file
}

// Pending is a record on its way to the disk.
type Pending struct {
	body   []byte
	amends uint64
	done   chan struct{}
	seq    uint64
	err    error
}

// Done is closed when the record is on disk, or it is certain that this
// attempt won't put it there.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Result is the record's sequence, from 1, or why it isn't on disk. Only after Done.
func (p *Pending) Result() (uint64, error) { return p.seq, p.err }

// Epoch is drawn when the file is made: a new file counts from 1 again.
func (j *Journal) Epoch() uint64 { return j.epoch }

// Append queues a record. It doesn't wait and doesn't keep body's memory
// beyond Done.
func (j *Journal) Append(body []byte) *Pending { return j.enqueue(body, 0) }

// Amend queues a record that says something new about the record seq, which
// Query gives beside it from then on.
func (j *Journal) Amend(seq uint64, body []byte) *Pending { return j.enqueue(body, seq) }

func (j *Journal) enqueue(body []byte, amends uint64) *Pending {
	p := &Pending{body: body, amends: amends, done: make(chan struct{})}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		p.err = ErrClosed
	case len(body) == 0 || len(body) > MaxBody:
		p.err = fmt.Errorf("append to the journal: a record of %d bytes, 1 to %d are possible", len(body), MaxBody)
	default:
		j.queue = append(j.queue, p)
		select {
		case j.wake <- struct{}{}:
		default:
		}
		return p
	}
	close(p.done)
	return p
}

// Run commits what is queued: each transaction takes all that was queued while
// the last one ran. When the context ends it commits the rest and returns;
// what is appended after that fails with ErrClosed.
func (j *Journal) Run(ctx context.Context) error {
	for {
		select {
		case <-j.wake:
		case <-ctx.Done():
			j.mu.Lock()
			j.closed = true
			j.mu.Unlock()
			for j.commit() > 0 {
			}
			return nil
		}
		for j.commit() > 0 {
		}
	}
}

// take removes the next batch from the queue.
func (j *Journal) take() []*Pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, bytes := 0, 0
	for n < len(j.queue) && n < maxBatch && bytes < maxBatchBytes {
		bytes += len(j.queue[n].body)
		n++
	}
	batch := j.queue[:n:n]
	if j.queue = j.queue[n:]; len(j.queue) == 0 {
		j.queue = nil
	}
	return batch
}

// commit writes one batch and tells its owners.
func (j *Journal) commit() int {
	batch := j.take()
	if len(batch) == 0 {
		return 0
	}
	err := j.db.Update(func(tx *bolt.Tx) error { return write(tx, batch) })
	if err != nil {
		err = fmt.Errorf("append %d records to the journal: %w", len(batch), classify(err))
	}
	j.mu.Lock()
	j.stats.Commits++
	if err != nil {
		j.stats.Failed += uint64(len(batch))
	} else {
		j.stats.Appended += uint64(len(batch))
	}
	j.mu.Unlock()
	for _, p := range batch {
		if p.err = err; err != nil {
			p.seq = 0
		}
		close(p.done)
	}
	return len(batch)
}

func write(tx *bolt.Tx, batch []*Pending) error {
	records, amends := tx.Bucket(bucketRecords), tx.Bucket(bucketAmends)
	records.FillPercent = 0.95 // keys only grow
	for _, p := range batch {
		seq, err := records.NextSequence()
		if err != nil {
			return err
		}
		if err := records.Put(key(seq), seal(seq, p.body)); err != nil {
			return err
		}
		if p.amends != 0 {
			if err := amends.Put(key(p.amends), key(seq)); err != nil {
				return err
			}
		}
		p.seq = seq
	}
	return nil
}

// classify turns what a full disk gives into ErrFull.
func classify(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w (%w)", ErrFull, err)
		}
	}
	return err
}

// Stats are the current figures.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	s := j.stats
	j.mu.Unlock()
	// Only a closed journal fails here, whose size nobody asks for.
	_ = j.db.View(func(tx *bolt.Tx) error {
		s.Bytes = tx.Size()
		return nil
	})
	return s
}

// Close closes the file and frees the data directory. Call it after Run has returned.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	return errors.Join(j.db.Close(), j.lock.release())
}

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts the checksum before the body: CRC-32C over the sequence and the
// body, so that a record in another's place is noticed too.
func seal(seq uint64, body []byte) []byte {
	out := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(out, sum(seq, body))
	return append(out, body...)
}

func sum(seq uint64, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key(seq), castagnoli), castagnoli, body)
}

// open is the sequence and the body of a sealed record, false if the checksum
// doesn't fit.
func open(k, v []byte) (uint64, []byte, bool) {
	var seq uint64
	if len(k) == 8 {
		seq = binary.BigEndian.Uint64(k)
	}
	if len(v) < 5 || seq == 0 {
		return seq, nil, false
	}
	return seq, v[4:], binary.BigEndian.Uint32(v) == sum(seq, v[4:])
}
