package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
)

// Run commits what is appended until ctx is done; then it commits what still
// waits and returns nil. Each commit takes what was queued while the one
// before it ran, so that there is no timer and one writer waits for one sync.
// It returns an error, and the journal takes nothing more, when a commit left
// in doubt what is on disk: close it and open it again.
func (j *Journal) Run(ctx context.Context) error {
	for {
		batch := j.take()
		if len(batch) > 0 {
			if err := j.commit(batch); err != nil {
				return err
			}
			continue
		}
		select {
		case <-j.wake:
		case <-ctx.Done():
			return j.drain()
		}
	}
}

// drain stops taking records and commits those that wait.
func (j *Journal) drain() error {
	rest := j.end(ErrClosed)
	for len(rest) > 0 {
		n := min(len(rest), batchCount)
		if err := j.commit(rest[:n]); err != nil {
			j.fail(rest[n:], err)
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// take cuts the next batch off the queue.
func (j *Journal) take() []*Pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, size := 0, 0
	for n < len(j.queue) && n < batchCount && (n == 0 || size+len(j.queue[n].body) <= batchBytes) {
		size += len(j.queue[n].body)
		n++
	}
	batch := j.queue[:n:n]
	j.queue = j.queue[n:]
	j.queued -= size
	if len(j.queue) == 0 {
		j.queue = nil
	}
	return batch
}

// commit writes the batch in one transaction and tells its owners. The error
// is for Run: the journal is broken. A full disk isn't that: nothing of the
// batch is on disk then, and the next one may fit.
func (j *Journal) commit(batch []*Pending) error {
	last, err := j.write(batch)
	if err == nil {
		j.mu.Lock()
		j.stats.Last = max(j.stats.Last, last)
		j.stats.Commits++
		for _, p := range batch {
			if p.err == nil {
				j.stats.Appended++
			} else {
				j.stats.Failed++
			}
		}
		j.mu.Unlock()
		for _, p := range batch {
			close(p.done)
		}
		return nil
	}
	if full(err) {
		j.fail(batch, fmt.Errorf("append to the journal: %w: %w", ErrFull, err))
		return nil
	}
	err = fmt.Errorf("commit to the journal: %w: %w", ErrBroken, err)
	j.fail(append(batch, j.end(err)...), err)
	return err
}

func (j *Journal) fail(batch []*Pending, err error) {
	j.mu.Lock()
	j.stats.Failed += uint64(len(batch))
	j.mu.Unlock()
	for _, p := range batch {
		p.seq, p.err = 0, err
		close(p.done)
	}
}

// write is the transaction. bbolt panics on damaged pages, and a mapped page
// that can't be read faults; both become errors here.
func (j *Journal) write(batch []*Pending) (last uint64, err error) {
	defer guard(&err)()
	err = j.db.Update(func(tx *bbolt.Tx) error {
		records := tx.Bucket(bucketRecords)
		records.FillPercent = 1 // keys only grow, so a page that is split is never filled again
		for _, p := range batch {
			p.seq, p.err = 0, nil
			if err := put(tx, records, p); err != nil {
				return err
			}
			last = max(last, p.seq)
		}
		return nil
	})
	return last, err
}

// put adds one record. An amendment of nothing fails alone, in p.err.
func put(tx *bbolt.Tx, records *bbolt.Bucket, p *Pending) error {
	kind := kindRecord
	if p.amends != 0 {
		kind = kindAmendment
		if v := records.Get(key(p.amends)); len(v) < headerSize || v[4] != kindRecord {
			p.err = fmt.Errorf("amend record %d: %w", p.amends, ErrNotFound)
			return nil
		}
	}
	seq, err := records.NextSequence()
	if err != nil {
		return err
	}
	if err := records.Put(key(seq), seal(seq, kind, p.amends, p.body)); err != nil {
		return err
	}
	if kind == kindAmendment {
		if err := tx.Bucket(bucketAmended).Put(key(p.amends), key(seq)); err != nil {
			return err
		}
	}
	p.seq = seq
	return nil
}

// full reports whether the error says that there was no room, and that it was
// met before anything counted: bbolt writes its data pages, then syncs, then
// the meta page. A failed sync is never taken for a full disk, because what
// is on disk after it nobody knows.
func full(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) && path.Op == "write" {
		return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
	}
	// bbolt keeps only the text of the error of growing the file.
	return strings.HasPrefix(err.Error(), "file resize error: ") && strings.HasSuffix(err.Error(), syscall.ENOSPC.Error())
}

// guard turns a panic or a fault of the mapped file into *err; defer what it
// returns.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = fmt.Errorf("the journal's file is damaged: %v", r)
		}
	}
}

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
