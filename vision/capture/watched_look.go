package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// list goes through the names of the folder. Files that it doesn't know yet are
// looked at, and of the others some each time, for new content under an old
// name. How often it comes depends on how long it takes.
func (r *watchedReader) list() error {
	began := time.Now()
	d, err := os.Open(r.dir)
	if err != nil {
		return fmt.Errorf("list the folder: %w: is its share mounted?", bare(err))
	}
	defer d.Close()
	if err := r.sameFolder(int(d.Fd())); err != nil {
		return err
	}
	r.round++
	old := 0 // known files so far
	var fresh []*watchedFile
	for {
		entries, err := d.ReadDir(512)
		r.alive(hangs)
		for _, e := range entries {
			if pictureName(e.Name()) && e.Type().IsRegular() {
				if f := r.meet(int(d.Fd()), e.Name(), &old); f != nil {
					fresh = append(fresh, f)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("list the folder: %w", bare(err))
		}
	}
	now := time.Now()
	for _, f := range fresh { // they have stood still from now on, all of them
		f.since = now
		r.wake(f)
	}
	if r.cursor += restat; r.cursor >= old {
		r.cursor = 0
	}
	for name, f := range r.files {
		if f.round != r.round {
			delete(r.files, name)
			delete(r.waiting, name)
		}
	}
	cost := time.Since(began)
	r.look = time.Now().Add(min(max(passEvery, passShare*cost), passMost))
	return nil
}

// sameFolder refuses another folder in the place of the one that was opened: a
// share that was unmounted leaves an empty one.
func (r *watchedReader) sameFolder(fd int) error {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return fmt.Errorf("look at the folder: %w", err)
	}
	if (dirID{uint64(st.Dev), st.Ino}) != r.id {
		return errors.New("another folder has taken its place: was its share mounted or unmounted?")
	}
	return nil
}

// meet takes note of a picture that is listed, and returns it if it is new or
// has new content.
func (r *watchedReader) meet(dir int, name string, old *int) *watchedFile {
	f := r.files[name]
	if f != nil {
		f.round = r.round
		switch {
		case f.state == fileOver:
			if *old++; *old <= r.cursor || *old > r.cursor+restat {
				return nil
			}
		case f.sig.size > 0:
			return nil // it is looked at when it is due, which an empty one never is
		}
	}
	sig, err := statAt(dir, name)
	switch {
	case err != nil, f != nil && f.sig == sig:
		return nil // what is gone meanwhile is left out the next time
	case f == nil:
		f = &watchedFile{name: name, round: r.round}
		r.files[name] = f
	}
	r.changed(f, sig)
	return f
}

// statAt looks at a regular file without following a link.
func statAt(dir int, name string) (fileSig, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNoFile
	}
	return fileSig{st.Size, st.Mtim.Nano()}, err
}

// hear takes note of what the kernel told.
func (r *watchedReader) hear(events []folderEvent) error {
	for _, e := range events {
		switch {
		case e.mask&evLost != 0:
			return errors.New("the folder was removed, renamed or unmounted")
		case e.mask&unix.IN_Q_OVERFLOW != 0:
			r.look, r.cursor = time.Time{}, 0
		case e.mask&unix.IN_ISDIR == 0 && pictureName(e.name):
			r.written(e.name, e.mask&evWhole != 0, e.mask&unix.IN_MODIFY != 0)
		}
	}
	return nil
}

// written notes that a file is being written, or has been. One that was only
// created may be a hard link, which nobody writes.
func (r *watchedReader) written(name string, whole, open bool) {
	f := r.files[name]
	if f != nil && f.state == fileWaiting && f.open && !whole && f.failed == 0 && f.sig.size > 0 {
		return // one more write; its size is looked at when it is due
	}
	sig, err := statAt(unix.AT_FDCWD, r.dir+"/"+name)
	if err != nil {
		return // gone meanwhile, or no file
	}
	switch {
	case f == nil:
		f = &watchedFile{name: name, round: r.round}
		r.files[name] = f
	case f.state == fileOver && f.sig == sig:
		return // what was found by listing has been given by now
	}
	if f.state == fileOver {
		f.rewrote = true
	}
	if f.sig != sig || f.state != fileWaiting {
		r.changed(f, sig)
	}
	f.open, f.whole = open, whole
	if whole {
		f.failed = 0
	}
	r.wake(f)
}

// fileHeap holds files in the order in which they are given.
type fileHeap struct {
	files  []*watchedFile
	byTime bool
}

func (h *fileHeap) Len() int      { return len(h.files) }
func (h *fileHeap) Swap(i, j int) { h.files[i], h.files[j] = h.files[j], h.files[i] }
func (h *fileHeap) Less(i, j int) bool {
	a, b := h.files[i], h.files[j]
	if h.byTime && a.sig.mtime != b.sig.mtime {
		return a.sig.mtime < b.sig.mtime
	}
	return natural(a.name, b.name) < 0
}
func (h *fileHeap) Push(f any) { h.files = append(h.files, f.(*watchedFile)) }
func (h *fileHeap) Pop() any {
	last := len(h.files) - 1
	f := h.files[last]
	h.files[last] = nil
	h.files = h.files[:last]
	return f
}
