package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// format of the file that this package writes and reads.
const format = 1

// initialMmap avoids remapping, which waits for readers, until the file is
// this large; it is address space, not memory.
const initialMmap = 1 << 30

// ErrInUse is told when another process holds the data directory.
var ErrInUse = errors.New("in use by another process")

// Opened says what Open found.
type Opened struct {
	Quarantined string // where a file that couldn't be read was put, "" if there was none
	Reason      string // why
}

// Open opens the journal in dir, which it makes if need be, and locks dir. A
// file that can't be read is put aside, never deleted, and a new one begins a
// new epoch; Opened says so.
func Open(dir string) (*Journal, Opened, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, Opened{}, fmt.Errorf("open journal: %w", classify(err))
	}
	l, err := acquire(dir)
	if err != nil {
		return nil, Opened{}, fmt.Errorf("open journal: %w", err)
	}
	j, opened, err := openLocked(dir)
	if err != nil {
		return nil, opened, errors.Join(fmt.Errorf("open journal: %w", classify(err)), l.release())
	}
	j.lock = l
	return j, opened, nil
}

func openLocked(dir string) (*Journal, Opened, error) {
	path := filepath.Join(dir, FileName)
	var opened Opened
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, opened, err
		}
	} else if err != nil {
		return nil, opened, err
	}
	j, err := load(path)
	if err == nil || !corrupt(err) {
		return j, opened, err
	}
	opened.Reason = err.Error()
	opened.Quarantined = path + ".bad-" + strconv.FormatInt(time.Now().UnixNano(), 10)
	if err := os.Rename(path, opened.Quarantined); err != nil {
		return nil, opened, err
	}
	if err := create(path); err != nil {
		return nil, opened, err
	}
	j, err = load(path)
	return j, opened, err
}

// errContent is told for a file that bbolt reads but that isn't our journal.
var errContent = errors.New("the file is damaged")

// corrupt tells damage, for which a new file is the cure, from a disk, a
// permission or a newer program, for which it isn't.
func corrupt(err error) bool {
	for _, damage := range []error{errContent, berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

func options() *bolt.Options {
	return &bolt.Options{
		Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoFreelistSync: true, InitialMmapSize: initialMmap,
	}
}

// create makes an empty journal under another name and renames it, so that a
// power cut leaves either none or a whole one.
func create(path string) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(temp, 0o640, options())
	if err != nil {
		return err
	}
	var epoch [8]byte
	_, _ = rand.Read(epoch[:]) // never fails (crypto/rand)
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketRecords, bucketAmends} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Put(keyEpoch, epoch[:]), meta.Put(keyFormat, []byte{format}))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// load opens a journal file and checks its newest records. bbolt panics on
// some damage; that is an error like the others here.
func load(path string) (j *Journal, err error) {
	var db *bolt.DB
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errContent, p)
		}
		if err != nil && db != nil {
			_ = db.Close() // nothing was written
			j = nil
		}
	}()
	if db, err = bolt.Open(path, 0o640, options()); err != nil {
		return nil, err
	}
	j = &Journal{db: db, wake: make(chan struct{}, 1)}
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil || tx.Bucket(bucketRecords) == nil || tx.Bucket(bucketAmends) == nil {
			return fmt.Errorf("%w: a table is missing", errContent)
		}
		if v := meta.Get(keyFormat); len(v) != 1 {
			return fmt.Errorf("%w: it has no format", errContent)
		} else if v[0] > format {
			return fmt.Errorf("%s was written by a newer program (format %d, this one reads %d): install that again", path, v[0], format)
		}
		if v := meta.Get(keyEpoch); len(v) == 8 {
			j.epoch = binary.BigEndian.Uint64(v)
			return nil
		}
		return fmt.Errorf("%w: it has no epoch", errContent)
	})
	if err != nil {
		return nil, err
	}
	_, _, err = j.Query(0, 256, func(uint64, []byte) bool { return true })
	return j, err
}

// lock holds a data directory for this process.
type lock struct{ f *os.File }

func acquire(dir string) (*lock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid := make([]byte, 20)
		n, _ := f.Read(pid) // the number is a courtesy
		f.Close()
		return nil, fmt.Errorf("data directory %s: %w (pid %s): stop that one, or give this one its own --data directory",
			dir, ErrInUse, strings.TrimSpace(string(pid[:n])))
	}
	// The number only helps people; a full disk must not keep the lock from being taken.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return &lock{f}, nil
}

func (l *lock) release() error { return l.f.Close() }
