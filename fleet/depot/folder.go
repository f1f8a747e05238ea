package depot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/whole"
)

// Folders of a depot.
const (
	metadataFolder = "metadata" // as clients ask for it: 1.root.json, 3.targets.json, 7.snapshot.json, timestamp.json
	targetsFolder  = "targets"  // <sha256>.slb
	piecesFolder   = "pieces"   // <sha256>: the SHA-256 of each piece, one after the other
	aboutFolder    = "about"    // <sha256>.json: a Bundle
	keysFolder     = "keys"     // of the online roles, 0600
	bundleSuffix   = ".slb"
)

var metadataName = regexp.MustCompile(`^([0-9]{1,9}\.)?[A-Za-z0-9_-]{1,64}\.json$`)

// folder is where files are kept that are there whole or not at all.
type folder struct {
	path string
	step whole.Steps
}

// in is a folder below.
func (f folder) in(name string) folder { return folder{filepath.Join(f.path, name), f.step} }

func (f folder) file(name string) string { return filepath.Join(f.path, name) }

// make makes the folders of a depot, and clears what an earlier run has left
// half done.
func (f folder) make() error {
	for _, name := range []string{metadataFolder, targetsFolder, piecesFolder, aboutFolder, keysFolder} {
		mode := fs.FileMode(0o750)
		if name == keysFolder {
			mode = 0o700
		}
		sub := f.in(name)
		if err := os.MkdirAll(sub.path, mode); err != nil {
			return err
		}
		if err := whole.Sweep(sub.path); err != nil {
			return err
		}
	}
	return whole.SyncDir(f.path)
}

// write makes a file of these bytes, or puts it in the place of one. It is on
// disk for good when write returns.
func (f folder) write(name string, text []byte, mode fs.FileMode) error {
	if err := f.step.Write(f.file(name), text, mode); err != nil {
		return fmt.Errorf("write %s/%s: %w", filepath.Base(f.path), name, explain(err))
	}
	return nil
}

// read is a file's bytes; ErrMissing where there is none.
func (f folder) read(name string) ([]byte, error) {
	b, err := os.ReadFile(f.file(name))
	return b, explain(err)
}

// newest is the highest number N of the files N.<role>.json, 0 without any.
func (f folder) newest(role string) (int64, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return 0, err
	}
	most := int64(0)
	for _, e := range entries {
		number, rest, _ := strings.Cut(e.Name(), ".")
		if n, ok := version(number); ok && rest == role+".json" {
			most = max(most, n)
		}
	}
	return most, nil
}

// version reads a number as it begins a file's name.
func version(text string) (n int64, ok bool) {
	_, err := fmt.Sscanf(text, "%d", &n)
	return n, err == nil && n > 0 && fmt.Sprint(n) == text
}

func numbered(n int64, role string) string { return fmt.Sprintf("%d.%s.json", n, role) }

// explain gives errors of the disk the depot's names. Those are told to whoever
// asked, so they don't say where on this machine the file lies.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return ErrFull
	case errors.Is(err, fs.ErrNotExist):
		return ErrMissing
	}
	return err
}
