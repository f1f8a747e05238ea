package mirror

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/updater/trust"
)

// floorFile has no extension, so that no role's file can take its name.
const floorFile = "floor"

// tempPrefix marks files that were being written when the power went.
const tempPrefix = ".part-"

// before is called before each step of a write; the tests let it fail, or kill
// the program.
var before = func() error { return nil }

// write puts a file into the folder, whole or not at all, and durably.
func write(dir, name string, data []byte) (err error) {
	if err := before(); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the fault is told already; Open clears it too
		}
	}()
	err = steps(
		func() error { _, err := f.Write(data); return err },
		func() error { return f.Chmod(0o644) },
		f.Sync,
	)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return steps(
		func() error { return os.Rename(f.Name(), filepath.Join(dir, name)) },
		func() error { return syncDir(dir) },
	)
}

// steps does one after the other until one fails.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := before(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// clean removes what a write that was cut has left.
func clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// floor is the time of the last refresh that succeeded; zero where it isn't
// known.
//
// It can't lock the device out. A refresh succeeds only if its time lies before
// the end of every file that it accepted, so the floor never lies beyond the
// end of a timestamp that the fleet signed. Each timestamp that the fleet signs
// after that one ends later still. A clock that stood in 2099 accepts nothing,
// because everything has ended by then, and so leaves the floor where it was.
func (m *Mirror) floor() time.Time {
	text, err := readLimited(filepath.Join(m.dir, floorFile), 64)
	if err != nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		return time.Time{}
	}
	return at
}

func (m *Mirror) raise(at time.Time) error {
	at = at.UTC().Truncate(time.Second)
	if !at.After(m.floor()) {
		return nil
	}
	if err := write(m.dir, floorFile, []byte(at.Format(time.RFC3339)+"\n")); err != nil {
		return fmt.Errorf("keep the time of the refresh: %w", err)
	}
	return nil
}

// Floor is the earliest time by which the next refresh measures; zero before
// the first one.
func (m *Mirror) Floor() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.floor()
}

func readLimited(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("read %s: it has more than %d bytes", path, most)
	}
	return data, err
}

// Pinned is the root on disk, newest as the device knows it.
func (m *Mirror) Pinned() ([]byte, error) {
	data, err := readLimited(filepath.Join(m.dir, trust.RootFile), trust.MaxRoot)
	if err != nil {
		return nil, fmt.Errorf("read the root: %w", err)
	}
	return data, nil
}
