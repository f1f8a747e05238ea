package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/sightline-edge/sightline/internal/whole"
)

// Buckets and keys of the file. Programs that know nothing of bucketState's
// contents, see state.go, read and append all the same, so the format is still
// the first.
var (
	bucketMeta    = []byte("meta")
	bucketRecords = []byte("records") // number u64 BE -> value, see record.go
	bucketAmended = []byte("amended") // number u64 BE -> number of its last amendment
	bucketState   = []byte("state")
	keyFormat     = []byte("format") // u64 BE
	keyEpoch      = []byte("epoch")  // u64 BE
)

const (
	format       = 1
	checkNewest  = 256     // records whose checksums are read before anything is appended
	mapSize      = 1 << 30 // bytes of address space taken from the start, so that growing seldom waits for readers
	lockFileName = "lock"
)

// Opened says what Open found. The zero value is a journal that was in order,
// or new.
type Opened struct {
	Quarantined string // where a damaged journal was moved to, "" if none was; its records are only there
	Reason      string // what was wrong with it
}

// Open opens the journal in the data directory, both made if they aren't
// there, and keeps every other process out of that directory until Close. A
// file that is damaged is moved aside, never deleted, and a new journal with
// a new epoch takes its place: Opened tells. What is appended gets to the
// disk once Run is started.
func Open(dir string) (*Journal, Opened, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, Opened{}, fmt.Errorf("open the journal: %w", noSpace(err))
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, Opened{}, fmt.Errorf("open the journal: %w", noSpace(err))
	}
	j, opened, err := openLocked(dir)
	if err != nil {
		return nil, opened, errors.Join(fmt.Errorf("open the journal: %w", noSpace(err)), lock.Close())
	}
	j.lock = lock
	return j, opened, nil
}

func openLocked(dir string) (*Journal, Opened, error) {
	var opened Opened
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); err == nil {
		j, err := openFile(path)
		var bad *damage
		if !errors.As(err, &bad) {
			return j, opened, err
		}
		if opened.Quarantined, err = quarantine(path); err != nil {
			return nil, opened, fmt.Errorf("move the damaged journal aside (%w): %w", bad, err)
		}
		opened.Reason = bad.Error()
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, opened, err
	}
	if err := create(path); err != nil {
		return nil, opened, fmt.Errorf("make a new one: %w", err)
	}
	j, err := openFile(path)
	return j, opened, err
}

// damage is an error of the file's contents, as opposed to one of reading it.
type damage struct{ err error }

func (d *damage) Error() string { return d.err.Error() }
func (d *damage) Unwrap() error { return d.err }

func openFile(path string) (*Journal, error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	db, err := openDB(path)
	switch {
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, errPanicked):
		return nil, &damage{err}
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is held by another program", path)
	case err != nil:
		return nil, err
	}
	j := &Journal{db: db, wake: make(chan struct{}, 1), waiting: map[uint64]chan struct{}{}}
	if err := j.check(); err != nil {
		return nil, errors.Join(err, closeDB(db))
	}
	return j, nil
}

var errPanicked = errors.New("bbolt gave up on it")

func openDB(path string) (db *bbolt.DB, err error) {
	defer func() {
		if err != nil && db == nil && strings.HasPrefix(err.Error(), "the journal's file is damaged") {
			err = fmt.Errorf("%w: %w", errPanicked, err)
		}
	}()
	defer guard(&err)()
	return bbolt.Open(path, 0o640, &bbolt.Options{
		Timeout:         time.Second,
		FreelistType:    bbolt.FreelistMapType,
		NoFreelistSync:  true, // it is found again when opening; synced it costs a factor of five
		InitialMmapSize: mapSize,
	})
}

func closeDB(db *bbolt.DB) (err error) {
	defer guard(&err)()
	return db.Close()
}

// check reads what the journal needs of its file and the newest records'
// checksums. The oldest ones, or all, may have been dropped.
func (j *Journal) check() error {
	var newer error
	err := j.view(func(tx *bbolt.Tx) error {
		meta, records := tx.Bucket(bucketMeta), tx.Bucket(bucketRecords)
		if meta == nil || records == nil || tx.Bucket(bucketAmended) == nil || tx.Bucket(bucketState) == nil {
			return errors.New("a bucket is missing")
		}
		f, e := meta.Get(keyFormat), meta.Get(keyEpoch)
		if len(f) != 8 || len(e) != 8 {
			return errors.New("its format or epoch is missing")
		}
		if v := binary.BigEndian.Uint64(f); v != format {
			newer = fmt.Errorf("its format is %d, this program knows %d: a newer version wrote it, run that one", v, format)
			return nil
		}
		j.epoch = binary.BigEndian.Uint64(e)
		j.stats.Last = records.Sequence()
		j.stats.Shown = j.stats.Last
		m, ok := loadMarks(tx)
		if !ok {
			j.stats.Bad++
		}
		j.told(outcome{marks: m, first: lowest(tx)})
		c := records.Cursor()
		want := records.Sequence()
		n := 0
		for k, v := c.Last(); k != nil && n < checkNewest; k, v = c.Prev() {
			if len(k) != 8 || binary.BigEndian.Uint64(k) != want {
				return fmt.Errorf("record %d is missing", want)
			}
			if _, err := unseal(want, v); err != nil {
				return err
			}
			want--
			n++
		}
		return nil
	})
	if err != nil {
		return &damage{err}
	}
	return newer
}

// create makes a new file under another name and moves it into place, so that
// a crash leaves a whole journal or none.
func create(path string) error {
	made := path + ".new"
	if err := os.Remove(made); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openDB(made)
	if err != nil {
		return err
	}
	var epoch [8]byte
	_, _ = rand.Read(epoch[:]) // it never fails: see its documentation
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketRecords, bucketAmended, bucketState} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Put(keyEpoch, epoch[:]), meta.Put(keyFormat, key(format)))
	})
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	return whole.Rename(made, path)
}

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// quarantine moves the file to a name that isn't taken.
func quarantine(path string) (string, error) {
	stamp := path + ".bad-" + time.Now().UTC().Format("20060102T150405Z")
	to := stamp
	for n := 2; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s-%d", stamp, n)
	}
	return to, whole.Rename(path, to)
}
