package mirror

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/trust"
)

// floorFile has no extension, so that no role's file can take its name.
const floorFile = "floor"

// before is called before each step of a write; the tests let it fail, or kill
// the program.
var before whole.Steps

// write puts a file into the folder, whole or not at all, and durably.
func write(dir, name string, data []byte) error {
	return before.Write(filepath.Join(dir, name), data, 0o644)
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
