// Package mirror keeps update metadata on a device's disk: the root that was
// pinned at enrolment and what came after it, each file written whole or not at
// all, and the last good time. What may be believed is decided by
// updater/trust; this package reads, fetches and writes.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/trust"
)

var (
	// ErrMissing is a source's answer where there is no such file.
	ErrMissing = errors.New("no such file")
	// ErrNoRoot means that nothing was pinned in a folder.
	ErrNoRoot = errors.New("no root is pinned: enrol the device")
	// ErrPinned means that a folder has another root already.
	ErrPinned = errors.New("another root is pinned already")
)

// Source is where metadata comes from. Metadata gives the file's content, or
// an error that wraps ErrMissing. It reads no more than max+1 bytes: that
// there is one too many tells an endless file.
type Source interface {
	Metadata(ctx context.Context, name string, max int64) ([]byte, error)
}

// Mirror is a folder of metadata. It is safe for concurrent use; one refresh
// or search runs at a time.
type Mirror struct {
	dir string

	mu      sync.Mutex
	session *trust.Session // of the last refresh that succeeded
}

// Pin puts the first root into a folder, which it makes. The same root again
// is no error. A device that has another one, perhaps a newer one that it
// walked to, keeps it: that is ErrPinned.
func Pin(dir string, root []byte) error {
	if _, err := trust.Inspect(root); err != nil {
		return fmt.Errorf("pin the root: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("pin the root: %w", err)
	}
	has, err := os.ReadFile(filepath.Join(dir, trust.RootFile))
	switch {
	case err == nil && string(has) == string(root):
		return nil
	case err == nil:
		return fmt.Errorf("pin the root in %s: %w", dir, ErrPinned)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("pin the root: %w", err)
	}
	if err := write(dir, trust.RootFile, root); err != nil {
		return fmt.Errorf("pin the root: %w", err)
	}
	return nil
}

// Open opens a folder with a pinned root; else it is ErrNoRoot.
func Open(dir string) (*Mirror, error) {
	if _, err := os.Stat(filepath.Join(dir, trust.RootFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the update metadata in %s: %w", dir, ErrNoRoot)
	} else if err != nil {
		return nil, fmt.Errorf("open the update metadata: %w", err)
	}
	if err := whole.Sweep(dir); err != nil {
		return nil, fmt.Errorf("open the update metadata: %w", err)
	}
	return &Mirror{dir: dir}, nil
}

// Refresh brings the folder up to date, beginning with the root on disk. now
// is floored at the last refresh that succeeded; floor it at the program's
// build with trust.Floor. An error may be a *trust.Refusal. What was verified
// before the fault stays on disk.
func (m *Mirror) Refresh(ctx context.Context, src Source, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := trust.Floor(now, m.floor(), time.Time{})
	if err := m.refresh(ctx, src, at); err != nil {
		return err
	}
	return m.raise(at)
}

// RefreshAt is Refresh by this very time, without the floor and without
// raising it: for people who look, and for tests of conformance.
func (m *Mirror) RefreshAt(ctx context.Context, src Source, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refresh(ctx, src, at)
}

func (m *Mirror) refresh(ctx context.Context, src Source, at time.Time) error {
	m.session = nil
	s, err := m.load(at)
	if err != nil {
		return fmt.Errorf("refresh the update metadata: %w", err)
	}
	if err := m.drive(ctx, src, s); err != nil {
		return fmt.Errorf("refresh the update metadata: %w", err)
	}
	m.session = s
	return nil
}

// Target looks for a target in the metadata of the last refresh. Delegated
// roles are fetched from the source as the search needs them. An error may be
// a *trust.Refusal.
func (m *Mirror) Target(ctx context.Context, src Source, path string) (*trust.Target, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil {
		return nil, fmt.Errorf("look for %s: the update metadata isn't refreshed", path)
	}
	s := m.session
	if err := s.Find(path); err != nil {
		m.session = nil
		return nil, fmt.Errorf("look for %s: %w", path, err)
	}
	if err := m.drive(ctx, src, s); err != nil {
		m.session = nil // a search that was cut can't go on
		return nil, fmt.Errorf("look for %s: %w", path, err)
	}
	t, err := s.Found()
	if err != nil {
		return nil, fmt.Errorf("look for a target: %w", err)
	}
	return t, nil
}

// Root is the version of the root on disk and its fingerprint: the SHA-256 of
// its signed part in canonical form, in hex.
func (m *Mirror) Root() (version int, fingerprint string, err error) {
	data, err := os.ReadFile(filepath.Join(m.dir, trust.RootFile))
	if err != nil {
		return 0, "", fmt.Errorf("read the root: %w", err)
	}
	r, err := trust.Inspect(data)
	if err != nil {
		return 0, "", fmt.Errorf("read the root: %w", err)
	}
	return int(r.Version), r.Fingerprint, nil
}

// Versions are those of the files of the last refresh, by name; nil without
// one.
func (m *Mirror) Versions() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil {
		return nil
	}
	return m.session.Versions()
}

// Ends is when the first of the top-level files expires; zero without a
// refresh.
func (m *Mirror) Ends() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil {
		return time.Time{}
	}
	return m.session.Ends()
}

// drive answers the session from the source and writes what it says.
func (m *Mirror) drive(ctx context.Context, src Source, s *trust.Session) error {
	for {
		for name, data, ok := s.Save(); ok; name, data, ok = s.Save() {
			if err := write(m.dir, name, data); err != nil {
				return fmt.Errorf("keep %s: %w", name, err)
			}
		}
		want, more := s.Next()
		if !more {
			return nil
		}
		data, err := src.Metadata(ctx, want.Name, want.Max)
		switch {
		case errors.Is(err, ErrMissing):
			err = s.Missing()
		case err == nil:
			err = s.Got(data)
		default:
			err = fmt.Errorf("fetch %s: %w", want.Name, err)
		}
		if err != nil {
			return err
		}
	}
}

// load starts a session from the root on disk, with what else is there.
func (m *Mirror) load(at time.Time) (*trust.Session, error) {
	root, err := os.ReadFile(filepath.Join(m.dir, trust.RootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoRoot
	}
	if err != nil {
		return nil, err
	}
	s, err := trust.New(root, at)
	if err != nil {
		return nil, fmt.Errorf("the root on disk: %w", err)
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		data, err := readLimited(filepath.Join(m.dir, e.Name()), trust.MaxTargets)
		if err != nil { // a sector that can't be read is fetched anew
			continue
		}
		s.Load(e.Name(), data)
	}
	return s, nil
}

// Consistent says whether the repository puts a target's hash before its name,
// as the root of the last refresh says; false without one.
func (m *Mirror) Consistent() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil {
		return false
	}
	r, err := m.session.Root()
	return err == nil && r.Consistent
}
