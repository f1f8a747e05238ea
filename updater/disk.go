package updater

import (
	"errors"
	"os"
	"path/filepath"
)

// seams let this package's tests fail, or end the process, before and after
// each durable step, and fail on a transition that the machine doesn't have.
type seams struct {
	step   func(point string) error
	strict bool
}

// disk is how this package changes what must outlive a power cut. Nothing
// else in it writes.
type disk struct{ seam func(point string) error }

// do makes one durable step. what names it for the tests.
func (d disk) do(what string, f func() error) error {
	if d.seam == nil {
		return f()
	}
	if err := d.seam("before " + what); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return d.seam("after " + what)
}

// overwrite puts b at the start of a file of that size in place, so that it
// needs no new room on most file systems, and waits until it is on the disk.
func (d disk) overwrite(what, path string, b []byte) error {
	_, gone := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	err = d.do("write "+what, func() error { _, err := f.WriteAt(b, 0); return err })
	if err == nil {
		err = d.do("sync "+what, f.Sync)
	}
	if err = errors.Join(err, f.Close()); err != nil || gone == nil {
		return err
	}
	return d.syncDir(what, filepath.Dir(path))
}

// create writes a new file whole, or an old one anew. It may be found cut
// short after a power cut: only for what can be done without.
func (d disk) create(what, path string, b []byte) error {
	return d.do("create "+what, func() error { return os.WriteFile(path, b, 0o640) })
}

func (d disk) rename(what, from, to string) error {
	if err := d.do("rename "+what, func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	return d.syncDir(what, filepath.Dir(to))
}

func (d disk) remove(what, path string) error {
	return d.do("remove "+what, func() error { return os.RemoveAll(path) })
}

func (d disk) mkdir(what, path string) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil
	}
	if err := d.do("make "+what, func() error { return os.MkdirAll(path, 0o750) }); err != nil {
		return err
	}
	return d.syncDir(what, filepath.Dir(path))
}

func (d disk) syncDir(what, dir string) error {
	return d.do("sync folder of "+what, func() error {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
