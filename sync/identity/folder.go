package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder is where files are kept that change whole or not at all.
type folder struct {
	path string
	step func(what string) error // before each change on disk, for tests that stop there; nil otherwise
}

func (f folder) before(what string) error {
	if f.step == nil {
		return nil
	}
	return f.step(what)
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

// write replaces a file. One that was being written when the power went is
// overwritten the next time.
func (f folder) write(name string, text []byte, mode os.FileMode) error {
	path := filepath.Join(f.path, name)
	made := path + ".new"
	if err := f.before("write " + name); err != nil {
		return err
	}
	w, err := os.OpenFile(made, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	err = w.Chmod(mode) // an older file keeps its mode otherwise
	if err == nil {
		_, err = w.Write(text)
	}
	if err := errors.Join(err, w.Sync(), w.Close()); err != nil {
		return err
	}
	if err := f.before("rename " + name); err != nil {
		return err
	}
	if err := os.Rename(made, path); err != nil {
		return err
	}
	return syncDir(f.path)
}

// rename gives the folder its last name.
func (f folder) rename(to string) error {
	if err := f.before("rename folder"); err != nil {
		return err
	}
	if err := os.Rename(f.path, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
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

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
