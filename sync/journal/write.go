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
	"time"

	"go.etcd.io/bbolt"
)

const saveEvery = time.Second // how often Acknowledged is put on disk when nothing is appended

// Run commits what is appended until ctx is done; then it commits what still
// waits and returns nil. Each commit takes what was queued while the one
// before it ran, so that there is no timer and one writer waits for one sync.
// It returns an error, and the journal takes nothing more, when a commit left
// in doubt what is on disk: close it and open it again.
func (j *Journal) Run(ctx context.Context) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for more := true; ; { // more: the journal may be over its limit
		if err := j.broken(); err != nil {
			return err
		}
		batch := j.take()
		if len(batch) > 0 || more && ctx.Err() == nil {
			var err error
			if more, err = j.commit(batch); err != nil {
				return err
			}
			continue
		}
		select {
		case <-j.wake:
		case <-tick.C:
			if err := j.save(); err != nil {
				return err
			}
		case <-ctx.Done():
			return j.drain()
		}
	}
}

// broken is why NewEpoch ended the journal; nil if it didn't.
func (j *Journal) broken() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if errors.Is(j.ended, ErrBroken) {
		return j.ended
	}
	return nil
}

// save puts Acknowledged on disk if it isn't there. A full disk, which is no
// error, leaves it for the next time.
func (j *Journal) save() error {
	j.mu.Lock()
	need := j.saved != j.stats.Acknowledged && !errors.Is(j.ended, ErrBroken)
	j.mu.Unlock()
	if !need {
		return nil
	}
	_, err := j.commit(nil)
	return err
}

// drain stops taking records and commits those that wait.
func (j *Journal) drain() error {
	rest := j.end(ErrClosed)
	for len(rest) > 0 {
		n := min(len(rest), batchCount)
		if _, err := j.commit(rest[:n]); err != nil {
			j.fail(rest[n:], err)
			return err
		}
		rest = rest[n:]
	}
	return j.save()
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

// commit writes the batch, which may be empty, in one transaction and tells
// its owners. More says that the journal is still over its limit. The error
// is for Run: the journal is broken. A full disk isn't that: nothing of the
// batch is on disk then, and the next one may fit.
func (j *Journal) commit(batch []*Pending) (more bool, err error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	coming := 0
	for _, p := range batch {
		coming += headerSize + amendmentExtra + len(p.body) + elementBytes
	}
	want := j.excess(coming)
	most := max(dropMost, 2*coming)
	o, err := j.write(batch, min(want, most))
	if full(err) && (len(batch) > 0 || want > 0) { // nothing is dropped for the sake of Acknowledged
		o, err = j.makeRoom(batch, coming, err)
	}
	switch {
	case errors.Is(err, errNothing):
		return false, nil
	case full(err):
		j.fail(batch, fmt.Errorf("append to the journal: %w: %w", ErrFull, err))
		return false, nil
	case err != nil:
		err = fmt.Errorf("commit to the journal: %w: %w", ErrBroken, err)
		j.fail(append(batch, j.end(err)...), err)
		return false, err
	}
	j.mu.Lock()
	j.told(o)
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
	return o.trimmed && (want > most || len(batch) == 0), nil
}

// makeRoom is for a full disk, for the reason given. A journal whose file has
// grown to its limit drops records and tries again: what is free in the file
// may be too scattered, because bbolt writes a page of long records in one
// piece, and no transaction can use the pages that it frees itself. Below its
// limit a journal drops nothing.
func (j *Journal) makeRoom(batch []*Pending, coming int, why error) (o outcome, err error) {
	if !j.grown(coming) {
		return outcome{}, why
	}
	for step := dropTight; step <= max(2*dropMost, 4*coming); step += step / 2 {
		o, err = j.write(nil, step)
		if full(err) {
			continue // another cut may need less room: emptied pages go whole, and one that keeps something is written anew
		}
		if errors.Is(err, errNothing) {
			return outcome{}, why
		}
		if err != nil {
			return outcome{}, err
		}
		j.mu.Lock()
		j.told(o)
		j.mu.Unlock()
		if len(batch) == 0 {
			return o, nil
		}
		if step < coming {
			continue
		}
		if o, err = j.write(batch, 0); !full(err) {
			return o, err
		}
	}
	return outcome{}, why
}

// outcome is what a transaction did.
type outcome struct {
	marks
	first, last uint64 // last is 0 if it appended nothing
	trimmed     bool   // records were dropped
}

// told takes over what is on disk now. The caller holds mu.
func (j *Journal) told(o outcome) {
	s := &j.stats
	s.First, s.Last = o.first, max(s.Last, o.last)
	s.Acknowledged, j.saved = max(s.Acknowledged, o.acked), o.acked
	s.Dropped, s.DroppedAcked = o.marks.dropped, o.droppedAcked
	j.wakeLocked()
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

var errNothing = errors.New("there is nothing to write")

// write is the transaction: it drops about so many bytes of records, appends,
// and notes both.
func (j *Journal) write(batch []*Pending, bytes int) (o outcome, err error) {
	j.mu.Lock()
	acked := j.stats.Acknowledged
	j.mu.Unlock()
	err = j.update(func(tx *bbolt.Tx) error {
		m, ok := loadMarks(tx)
		before := m
		if acked > m.acked {
			m.acked = acked
			if err := forget(tx, acked); err != nil {
				return err
			}
		}
		records := tx.Bucket(bucketRecords)
		records.FillPercent = 1 // keys only grow, so a page that is split is never filled again
		n, err := drop(tx, &m, bytes)
		if err != nil {
			return err
		}
		o.trimmed = n > 0
		for _, p := range batch {
			p.seq, p.err = 0, nil
			if err := put(tx, records, p); err != nil {
				return err
			}
			o.last = max(o.last, p.seq)
		}
		if len(batch) == 0 && m == before && ok {
			return errNothing
		}
		o.marks, o.first = m, lowest(tx)
		if m == before {
			return nil
		}
		return m.store(tx)
	})
	if err == nil {
		j.mu.Lock()
		j.stats.Commits++
		j.mu.Unlock()
	}
	return o, err
}

// update is a transaction that writes. bbolt panics on damaged pages, and a
// mapped page that can't be read faults; both become errors here.
func (j *Journal) update(f func(*bbolt.Tx) error) (err error) {
	defer guard(&err)()
	return j.db.Update(f)
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
	if err == nil {
		return false
	}
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
