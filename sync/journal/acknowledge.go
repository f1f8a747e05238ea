package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors of Acknowledge. They come wrapped.
var (
	ErrAhead = errors.New("the fleet has more records than the journal: it was restored from an older copy")
	ErrEpoch = errors.New("the journal has another epoch")
)

// Epoch names this journal's numbers: random, made with the file or by
// NewEpoch, never used again. A record is known for ever by the epoch that it
// was told under and its number.
func (j *Journal) Epoch() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.epoch
}

// Acknowledge says that the fleet has committed all up to number seq of that
// epoch. It counts at once and never moves back. It gets to the disk with the
// next commit, or by itself within about a second while Run runs, or in
// Close; a crash before that is harmless, because the fleet says again where
// it is at each connection. The errors are ErrEpoch, and ErrAhead if the
// journal has no record seq, which NewEpoch cures.
func (j *Journal) Acknowledge(epoch, seq uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if epoch != j.epoch {
		return fmt.Errorf("acknowledge up to record %d of epoch %016x: %w, %016x", seq, epoch, ErrEpoch, j.epoch)
	}
	if seq > j.stats.Last {
		return fmt.Errorf("acknowledge up to record %d, the last is %d: %w", seq, j.stats.Last, ErrAhead)
	}
	j.stats.Acknowledged = max(j.stats.Acknowledged, seq)
	return nil
}

// Changed gives a channel that is closed as soon as a record above after is
// committed, at once if one is. It isn't closed by the journal's end.
func (j *Journal) Changed(after uint64) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.waiting[after]
	if c == nil {
		c = make(chan struct{})
		if j.stats.Last > after {
			close(c)
			return c
		}
		j.waiting[after] = c
	}
	return c
}

// wakeLocked closes what waits for a record that is there now.
func (j *Journal) wakeLocked() {
	for after, c := range j.waiting {
		if j.stats.Last > after {
			close(c)
			delete(j.waiting, after)
		}
	}
}

// NewEpoch begins a new epoch in the same file, for a fleet that knows more
// of the old one than the journal does: numbers may have been used twice
// then. Numbers go on. What the fleet had acknowledged is told under the new
// epoch as one hole up to there (wire.HoleEarlierEpoch); all above is told
// again, so that nothing is lost and some may be there under both. It is on
// disk when NewEpoch returns; on a full disk it is ErrFull, and the epoch is
// the old one.
func (j *Journal) NewEpoch() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	var epoch [8]byte
	_, _ = rand.Read(epoch[:]) // it never fails: see its documentation
	var m marks
	err := j.update(func(tx *bbolt.Tx) error {
		m, _ = loadMarks(tx)
		j.mu.Lock()
		m.acked = max(m.acked, j.stats.Acknowledged)
		j.mu.Unlock()
		m.floor = m.acked
		if err := errors.Join(forget(tx, m.acked), m.store(tx)); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyEpoch, epoch[:])
	})
	switch {
	case err == nil:
		j.mu.Lock()
		j.epoch, j.saved, j.stats.Shown = binary.BigEndian.Uint64(epoch[:]), m.acked, 0
		j.mu.Unlock()
		return nil
	case full(err):
		return fmt.Errorf("begin a new epoch: %w: %w", ErrFull, err)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("begin a new epoch: %w", ErrClosed)
	}
	err = fmt.Errorf("begin a new epoch: %w: %w", ErrBroken, err)
	j.fail(j.end(err), err)
	j.signal() // Run ends
	return err
}
