package capture

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// givenFile is a picture that was given and isn't done.
type givenFile struct {
	key string // that it was given with
	sig fileSig
	sum uint64 // of its bytes
	bad bool   // it couldn't be decoded; nobody has judged it

	copied bool // a copy is in the other folder already, on another file system
}

// owedFile is a picture that is done but couldn't be moved or deleted yet.
type owedFile struct {
	next time.Time
	wait time.Duration
	why  string
}

// How often what couldn't be moved or deleted is tried again.
const (
	owedFirst = time.Second
	owedMost  = time.Minute
	owedRound = 100 * time.Millisecond // spent on it at a time, while pictures wait
)

func (r *watchedReader) give(f *watchedFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.given[f.name] = givenFile{key: f.sig.key(), sig: f.sig, sum: f.sum, bad: f.size == 0}
	delete(r.owed, f.name)
}

// touched notes that a file that was given has another time now.
func (r *watchedReader) touched(f *watchedFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g, ok := r.given[f.name]; ok {
		g.sig = f.sig
		r.given[f.name] = g
	}
}

// forgetLifted lets a file of the name of one that was moved or deleted be new.
func (r *watchedReader) forgetLifted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.lifted {
		delete(r.files, name)
		delete(r.waiting, name)
	}
	r.lifted = r.lifted[:0]
}

// Done moves, deletes or keeps a picture that has its verdict; key/name says
// which, so that another one under the same name stays. Of one that this reader
// hasn't given it only tells whether it is gone.
func (r *watchedReader) Done(which string) (gone bool, err error) {
	r.moving.Lock()
	defer r.moving.Unlock()
	r.doing.Store(monotonic() + hangsFile.Nanoseconds())
	defer r.doing.Store(0)
	key, shown, _ := strings.Cut(which, "/")
	name := fileName(shown)
	if !pictureName(name) || strings.ContainsRune(name, '/') {
		return false, fmt.Errorf("done with %q: no name of a picture", which)
	}
	r.mu.Lock()
	g, given := r.given[name]
	o := r.owed[name]
	r.mu.Unlock()
	switch {
	case !given:
		return r.vanished(name), nil
	case g.key != key:
		return true, nil // a newer one has taken its place
	case o != nil && time.Now().Before(o.next):
		return false, nil // find tries it again
	}
	return r.finish(name, g)
}

// finish does what is to be done with a picture that is over. The caller holds
// moving.
func (r *watchedReader) finish(name string, g givenFile) (gone bool, err error) {
	switch {
	case r.done == "keep":
		r.settle(name, g.key, false)
		return r.vanished(name), nil
	case !r.still(name, g):
		gone := r.vanished(name)
		r.settle(name, g.key, gone)
		return gone, nil // what lies there now is another picture
	case r.done == "move":
		err = r.move(name, g)
	default:
		err = r.lift(name, func() error { return os.Remove(filepath.Join(r.dir, name)) })
	}
	switch {
	case err == nil:
		r.settle(name, g.key, false) // lift has noted it
		return true, nil
	case r.vanished(name):
		r.settle(name, g.key, true)
		return true, nil
	}
	return false, r.owe(name, g.key, err)
}

// lift takes a file out of the folder. find hears of it before it hears of
// another file of that name.
func (r *watchedReader) lift(name string, how func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := how()
	if err == nil {
		r.lifted = append(r.lifted, name)
	}
	return err
}

// settle ends the account of a picture, but for another one that has been given
// under its name meanwhile.
func (r *watchedReader) settle(name, key string, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.given[name].key == key {
		delete(r.given, name)
		delete(r.owed, name)
	}
	if gone {
		r.lifted = append(r.lifted, name)
	}
}

// owe notes what couldn't be done, and tells it when it is new. Where another
// picture has been given under the name meanwhile, that one isn't judged yet.
func (r *watchedReader) owe(name, key string, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.given[name].key != key {
		return nil
	}
	o := r.owed[name]
	if o == nil {
		o = &owedFile{wait: owedFirst / 2}
		r.owed[name] = o
	}
	o.wait = min(2*o.wait, owedMost)
	o.next = time.Now().Add(o.wait)
	if o.why == err.Error() {
		return nil
	}
	o.why = err.Error()
	return fmt.Errorf("picture %s has its verdict and stays in the folder: %w: tried again", shownName(name), err)
}

// retryOwed tries again what is due, and stops at the first that still fails.
func (r *watchedReader) retryOwed() {
	began := time.Now()
	for time.Since(began) < owedRound {
		name := r.nextOwed(began)
		if name == "" {
			return
		}
		r.alive(hangsFile)
		r.moving.Lock()
		r.mu.Lock()
		g, given := r.given[name]
		r.mu.Unlock()
		gone, err := true, error(nil)
		if given {
			gone, err = r.finish(name, g)
		}
		r.moving.Unlock()
		if err != nil {
			fmt.Fprintln(os.Stderr, err) // the agent logs it
		}
		if !gone {
			return
		}
	}
}

func (r *watchedReader) nextOwed(now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, o := range r.owed {
		if !now.Before(o.next) {
			return name
		}
	}
	return ""
}

// vanished tells whether a file isn't there any more, while its folder is.
func (r *watchedReader) vanished(name string) bool {
	_, err := os.Lstat(filepath.Join(r.dir, name))
	if !errors.Is(err, os.ErrNotExist) {
		return false
	}
	id, err := folderID(r.dir)
	return err == nil && id == r.id
}

// still tells whether a file has the content that was given; its time alone may
// have been set since.
func (r *watchedReader) still(name string, g givenFile) bool {
	path := filepath.Join(r.dir, name)
	sig, err := statAt(unix.AT_FDCWD, path)
	if err != nil || sig.size != g.sig.size {
		return false
	}
	if sig.mtime == g.sig.mtime {
		return true
	}
	data, after, err := readWhole(path)
	return err == nil && after == sig && !g.bad && maphash.Bytes(r.seed, data) == g.sum
}

// move puts a picture into the folder for what is done, whole or not at all,
// and over no other.
func (r *watchedReader) move(name string, g givenFile) error {
	if err := os.MkdirAll(r.doneDir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", r.doneDir, bare(err))
	}
	if id, err := folderID(r.doneDir); err == nil && id == r.id {
		return fmt.Errorf("move it to %s: that is the watched folder itself", r.doneDir)
	}
	src := filepath.Join(r.dir, name)
	err := error(unix.EXDEV)
	if !g.copied {
		err = r.lift(name, func() error { return r.place(src, name, g) })
	}
	if errors.Is(err, unix.EXDEV) {
		err = r.moveFar(src, name, g)
	}
	if err != nil {
		return fmt.Errorf("move it to %s: %w", r.doneDir, bareLink(err))
	}
	return nil
}

// moveFar moves a picture to another file system: it is there, on disk, before
// it leaves the folder.
func (r *watchedReader) moveFar(src, name string, g givenFile) error {
	if !g.copied {
		part, err := r.copy(src)
		if err != nil {
			return err
		}
		if err := r.place(part, name, g); err != nil {
			os.Remove(part)
			return err
		}
		if err := syncFolder(r.doneDir); err != nil {
			return err
		}
		g.copied = true
		r.mu.Lock()
		if r.given[name].key == g.key {
			r.given[name] = g
		}
		r.mu.Unlock()
	}
	if !r.still(name, g) {
		return nil // other content has come; it stays
	}
	return r.lift(name, func() error { return os.Remove(src) })
}

// place renames a file into the folder for what is done, under the first name
// that is free: its own, with its time, with its time and a number.
func (r *watchedReader) place(src, name string, g givenFile) error {
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	stamp := time.Unix(0, g.sig.mtime).UTC().Format("-20060102T150405.000000000Z")
	for n := 1; n <= 1000; n++ {
		to := name
		switch {
		case n == 2:
			to = shortened(stem, stamp+ext)
		case n > 2:
			to = shortened(stem, fmt.Sprintf("%s-%d%s", stamp, n-1, ext))
		}
		if err := renameNew(src, filepath.Join(r.doneDir, to)); !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return errors.New("a thousand files of that name and time are there")
}

// shortened keeps a name within what file systems take, 255 bytes.
func shortened(stem, end string) string { return stem[:min(len(stem), 255-len(end))] + end }

// renameNew renames a file to a name that must be free.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A share knows no such rename: the name is taken first, then replaced.
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	f.Close()
	if err = os.Rename(from, to); err != nil {
		os.Remove(to)
	}
	return err
}

// copy writes a picture to a hidden file in the folder for what is done, on
// disk when it returns. The next try of the same picture uses the same name.
func (r *watchedReader) copy(src string) (part string, err error) {
	in, err := os.OpenFile(src, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer in.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &st); err != nil {
		return "", err
	}
	part = filepath.Join(r.doneDir, fmt.Sprintf(".sightline-%x-%x.part", st.Dev, st.Ino))
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		at := time.Unix(0, st.Mtim.Nano())
		err = os.Chtimes(part, at, at)
	}
	if err != nil {
		os.Remove(part)
		return "", err
	}
	return part, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil // a share without such a call
}

// bareLink drops the two paths of a rename.
func bareLink(err error) error {
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return bare(err)
}
