// Package whole writes files that are there whole or not at all, whatever ends
// the program or the machine, and are on disk once the call returns.
//
// A file is written under another name beside its own, with its last mode, and
// synced; only then is it renamed; then the folder is synced. A power cut, a
// kill or a full disk
//
//   - before the rename leaves what was there before, or nothing. The unfinished
//     file may be empty, cut short or whole; nobody looks at its name;
//   - between the rename and the end of the folder's sync leaves the old file or
//     the new one. The new one's bytes were synced first, so it is never empty;
//   - after that leaves the new one.
//
// An error means the same: the old one or the new one, each whole. It counts on
// a file system whose rename outlives a crash as one change (ext4, XFS, Btrfs,
// F2FS, tmpfs for kills; not FAT), and on a disk that keeps what it says it has.
//
// Unfinished files are held under a lock that ends with the process. What a kill
// left has none, so the next write of the same file removes it, and Sweep that
// of a whole folder. Two that write one file at once both succeed, and the later
// one stays.
package whole

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// unfinished begins the names of files that aren't whole yet.
const unfinished = ".new-"

// Steps, if not nil, is called before each change on disk with what it is and
// of which file, such as "rename ca.pem". An error of it ends the write there.
// Tests stop or kill themselves in it.
type Steps func(step string) error

// Do makes one more change on disk, of the caller's own, as a step.
func (s Steps) Do(step, path string, change func() error) error {
	if s != nil {
		if err := s(step + " " + filepath.Base(path)); err != nil {
			return err
		}
	}
	return change()
}

// Write makes a file, or puts it in the place of one. Its mode is exactly the
// given one under any umask, from the moment that it has its name.
func Write(path string, data []byte, mode fs.FileMode) error {
	return Steps(nil).Write(path, data, mode)
}

// Write is the function of that name, step by step.
func (s Steps) Write(path string, data []byte, mode fs.FileMode) error {
	return s.put(path, data, mode, (*File).Commit)
}

// Create is Write for what must never be overwritten, such as a key: a file
// that is there already is an fs.ErrExist and stays as it is.
func Create(path string, data []byte, mode fs.FileMode) error {
	return Steps(nil).put(path, data, mode, (*File).CommitNew)
}

func (s Steps) put(path string, data []byte, mode fs.FileMode, commit func(*File) error) error {
	f, err := s.New(path, mode)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.Do("write", path, func() error { _, err := f.Write(data); return err }); err != nil {
		return fault(path, err)
	}
	return commit(f)
}

// File is a file that isn't whole yet. Whoever made it writes to it and then
// commits or closes it; Name is the unfinished one's.
type File struct {
	*os.File
	path  string // its name to be
	mode  fs.FileMode
	steps Steps
	ended bool
}

// New begins a file that is written bit by bit. Until Commit only its owner can
// read it.
func New(path string, mode fs.FileMode) (*File, error) { return Steps(nil).New(path, mode) }

// New is the function of that name, step by step.
func (s Steps) New(path string, mode fs.FileMode) (*File, error) {
	f := &File{path: path, mode: mode, steps: s}
	err := s.Do("make", path, func() (err error) {
		dir, base := filepath.Dir(path), filepath.Base(path)
		prefix := unfinished + base[:min(len(base), 200)] + "." // names have 255 bytes at most
		_ = sweep(dir, func(name string) bool {                 // what can't be removed is in nobody's way
			number, ok := strings.CutPrefix(name, prefix)
			return ok && strings.Trim(number, "0123456789") == ""
		})
		f.File, err = makeLocked(dir, prefix+"*")
		return err
	})
	if err != nil {
		return nil, fault(path, err)
	}
	return f, nil
}

// makeLocked makes a file with a lock that keeps sweep off. One that was swept
// before it had the lock is made anew.
func makeLocked(dir, pattern string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(dir, pattern)
		if err != nil {
			return nil, err
		}
		_ = unix.Flock(int(f.Fd()), unix.LOCK_EX) // where there are no locks nobody sweeps
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink > 0 {
			return f, nil
		}
		_ = f.Close() // nothing was written to it
	}
}

// Commit gives the file its name, in the place of one that has it.
func (f *File) Commit() error { return f.commit(os.Rename) }

// CommitNew gives the file its name; one that has it already is an fs.ErrExist.
func (f *File) CommitNew() error { return f.commit(renameNew) }

func (f *File) commit(rename func(from, to string) error) error {
	err := f.steps.Do("sync", f.path, func() error { return errors.Join(f.Chmod(f.mode), f.Sync()) })
	if err == nil {
		err = f.steps.Do("rename", f.path, func() error { return rename(f.Name(), f.path) })
		f.ended = err == nil
	}
	if err == nil {
		err = f.steps.Do("sync folder of", f.path, func() error { return SyncDir(filepath.Dir(f.path)) })
	}
	return fault(f.path, errors.Join(err, f.Close()))
}

// Close ends a file; one without Commit is removed. It may be called again.
func (f *File) Close() error {
	if !f.ended {
		f.ended = true
		_ = os.Remove(f.Name()) // the next write or Sweep does, if this can't
	}
	return f.File.Close()
}

// renameNew is a rename that never overwrites.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // NFS for one can't, but it can link
		if err = os.Link(from, to); err == nil {
			_ = os.Remove(from) // the next write or Sweep does, if this can't
		}
	}
	return err
}

// Rename gives a file or folder, whole and synced, another name beside the old
// one, and is on disk when it returns.
func Rename(from, to string) error { return Steps(nil).Rename(from, to) }

// Rename is the function of that name, step by step.
func (s Steps) Rename(from, to string) error {
	if err := s.Do("rename", to, func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	return s.Do("sync folder of", to, func() error { return SyncDir(filepath.Dir(to)) })
}

// SyncDir waits until the names in a folder are on disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil // some shared folders have no such call, and no other way
	}
	return errors.Join(err, d.Close())
}

// Sweep removes from a folder what killed writes have left there, and nothing
// that is being written.
func Sweep(dir string) error {
	return sweep(dir, func(name string) bool { return strings.HasPrefix(name, unfinished) })
}

func sweep(dir string, left func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() && left(e.Name()) {
			if e := removeUnlocked(filepath.Join(dir, e.Name())); !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

func removeUnlocked(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // somebody is writing it, or it can't be told
	}
	return os.Remove(path)
}

// fault says which file couldn't be written, by the name that was asked for.
func fault(path string, err error) error {
	if err == nil {
		return nil
	}
	var in *fs.PathError
	var renamed *os.LinkError
	switch {
	case errors.As(err, &in):
		err = in.Err
	case errors.As(err, &renamed):
		err = renamed.Err
	}
	return &fs.PathError{Op: "write", Path: path, Err: err}
}
