// Package journal keeps a device's results in one bbolt file. What was
// appended and acknowledged is there after a crash, in order and once;
// docs/journal.md has the promise, the argument for it and its limits.
//
// Records are bytes to this package. They are numbered from 1 without gaps,
// and each carries a CRC32C, because bbolt has none on its data pages.
package journal

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"go.etcd.io/bbolt"
)

// Errors that callers tell apart. They come wrapped.
var (
	ErrFull     = errors.New("no space is left for the journal")
	ErrBusy     = errors.New("too many records wait for the disk")
	ErrClosed   = errors.New("the journal is closed")
	ErrBroken   = errors.New("the journal can't be written any more until it is opened again")
	ErrInUse    = errors.New("in use by another process")
	ErrNotFound = errors.New("there is no such record")
)

// FileName is the journal's name in the data directory.
const FileName = "journal.db"

// Limits.
const (
	MaxBody    = 1 << 20  // bytes of one record's body
	maxQueue   = 1 << 16  // records that wait
	queueBytes = 64 << 20 // and bytes of them
	batchBytes = 4 << 20  // bytes committed at once, at least one record
	batchCount = 2048
)

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	db      *bbolt.DB
	lock    *os.File
	wake    chan struct{} // holds one token when something was queued
	writing sync.Mutex    // held from a transaction that writes until stats tell of it; taken before mu

	mu      sync.Mutex // protects what follows
	epoch   uint64
	queue   []*Pending
	queued  int   // bytes in queue
	ended   error // why nothing is taken any more; nil while it is
	stats   Stats
	saved   uint64                   // Acknowledged as it is on disk
	waiting map[uint64]chan struct{} // for a record above that number, see Changed
}

// Stats are the journal's figures, counted since it was opened where nothing
// else is said.
type Stats struct {
	First        uint64 // lowest number that is there; 0 if none is
	Last         uint64 // highest number ever committed; 0 if none
	Shown        uint64 // highest number that the fleet can know of this epoch: Last when the journal was opened, or what Replay gave since
	Acknowledged uint64 // the fleet has committed up to this number; 0 if nothing, or no fleet
	Dropped      uint64 // records that retention dropped before they were acknowledged, since the file was made
	DroppedAcked uint64 // and after they were, since the file was made
	Limit        int64  // bytes of data from which on records are dropped; 0 if never
	Used         int64  // bytes of the file that hold data

	Commits  uint64 // transactions
	Appended uint64 // records committed, amendments among them
	Failed   uint64 // records refused or not committed
	Bad      uint64 // times that a record was left out of an answer because its bytes are wrong
	Queued   int    // records waiting now
	Bytes    int64  // size of the file
}

// Pending is a record on its way to the disk.
type Pending struct {
	done   chan struct{}
	body   []byte
	amends uint64 // number of the record that this one amends; 0 if none
	seq    uint64 // valid once done is closed, as is err
	err    error
}

// Done is closed when the record is committed or has failed.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Result is the record's number, or why it isn't on disk. Only after Done.
func (p *Pending) Result() (uint64, error) { return p.seq, p.err }

// Stats are the current figures.
func (j *Journal) Stats() Stats {
	var size, used int64
	// Only a closed journal fails here, whose size nobody asks for.
	_ = j.view(func(tx *bbolt.Tx) error {
		size, used = tx.Size(), j.used(tx)
		return nil
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Queued, s.Bytes, s.Used = len(j.queue), size, used
	return s
}

// Append queues a record for the next commit and returns at once; the result
// tells when it is on disk, or why it isn't. Records are committed, and
// numbered, in the order of the calls. The journal owns body from here on.
func (j *Journal) Append(body []byte) *Pending {
	return j.enqueue(&Pending{done: make(chan struct{}), body: body})
}

// Amend queues a record that says something new about record seq: Query
// gives it beside that record from then on. The last amendment counts.
func (j *Journal) Amend(seq uint64, body []byte) *Pending {
	p := &Pending{done: make(chan struct{}), body: body, amends: seq}
	if seq == 0 {
		return j.refuse(p, fmt.Errorf("amend record 0: %w", ErrNotFound))
	}
	return j.enqueue(p)
}

func (j *Journal) enqueue(p *Pending) *Pending {
	if len(p.body) == 0 || len(p.body) > MaxBody {
		return j.refuse(p, fmt.Errorf("append to the journal: the record has %d bytes, 1 to %d will do", len(p.body), MaxBody))
	}
	j.mu.Lock()
	err := j.ended
	if err == nil && (len(j.queue) >= maxQueue || j.queued+len(p.body) > queueBytes) {
		err = ErrBusy
	}
	if err == nil {
		j.queue = append(j.queue, p)
		j.queued += len(p.body)
	}
	j.mu.Unlock()
	if err != nil {
		return j.refuse(p, fmt.Errorf("append to the journal: %w", err))
	}
	j.signal()
	return p
}

func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default: // a token is there already
	}
}

func (j *Journal) refuse(p *Pending, err error) *Pending {
	j.mu.Lock()
	j.stats.Failed++
	j.mu.Unlock()
	p.err = err
	close(p.done)
	return p
}

// Close releases the file and the data directory. Run must have returned.
func (j *Journal) Close() error {
	for _, p := range j.end(ErrClosed) { // queued and never run
		p.err = fmt.Errorf("append to the journal: %w", ErrClosed)
		close(p.done)
	}
	return errors.Join(j.save(), closeDB(j.db), j.lock.Close())
}

// end takes nothing any more, for the reason given unless there was one
// before, and hands over what still waits.
func (j *Journal) end(why error) []*Pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended == nil {
		j.ended = why
	}
	rest := j.queue
	j.queue, j.queued = nil, 0
	return rest
}
