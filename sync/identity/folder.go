package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/whole"
)

// folder is where files are kept that change whole or not at all.
type folder struct {
	path string
	step whole.Steps
}

// lock takes the folder for this process until the file is closed.
func (f folder) lock() (*os.File, error) {
	d, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", f.path, ErrBusy)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// write replaces a file.
func (f folder) write(name string, text []byte, mode os.FileMode) error {
	return f.step.Write(filepath.Join(f.path, name), text, mode)
}

// readSecret reads a file that only its owner may see.
func (f folder) readSecret(name string) ([]byte, error) {
	path := filepath.Join(f.path, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("others may read or write the device's key (mode %04o): chmod 600 %s, and enrol anew if somebody may have copied it", mode, path)
	}
	return os.ReadFile(path)
}
