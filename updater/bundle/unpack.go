package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/whole"
)

// unpacking begins the names of folders that are being written.
const unpacking = ".unpacking-"

// Unpack writes the files of an archive into the new folder dir, with
// SHA256SUMS, and gives its manifest. It doesn't trust the archive: whatever
// isn't exactly what Pack writes is refused with ErrInvalid, and never more
// than the limits allow is written. dir appears at once and whole, with all of
// it on disk, or not at all; after a crash Sweep removes what was begun.
func Unpack(archive io.Reader, dir string, limit Limits) (*Manifest, error) {
	m, err := unpack(archive, filepath.Clean(dir), limit)
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w: free some room, or delete bundles that nothing needs", err)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack bundle to %s: %w", dir, err)
	}
	return m, nil
}

func unpack(archive io.Reader, dir string, limit Limits) (m *Manifest, err error) {
	if _, err := os.Lstat(dir); err == nil {
		return nil, fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	parent := filepath.Dir(dir)
	temp, err := os.MkdirTemp(parent, unpacking)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(temp) // the error in hand tells more; Sweep tries again
		}
	}()
	if err := os.Chmod(temp, 0o755); err != nil {
		return nil, err
	}
	c, err := fill(archive, temp, limit)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(temp, dir); err != nil {
		return nil, err
	}
	if err := whole.SyncDir(parent); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c.manifest, nil
}

// fill writes the archive's files into an empty folder and syncs it.
func fill(archive io.Reader, dir string, limit Limits) (*contents, error) {
	root, err := os.OpenRoot(dir) // no path leads out of it, whatever else is wrong
	if err != nil {
		return nil, err
	}
	defer root.Close()
	folders := map[string]bool{".": true}
	c, err := readArchive(archive, limit, func(f File, r io.Reader) error {
		if err := makeFolders(root, path.Dir(f.Path), folders); err != nil {
			return err
		}
		return writeFile(root, f.Path, r)
	})
	if err != nil {
		return nil, err
	}
	if err := writeFile(root, SumsFile, strings.NewReader(string(c.sumsText))); err != nil {
		return nil, err
	}
	deepest := func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") }
	all := slices.SortedFunc(func(yield func(string) bool) {
		for f := range folders {
			if !yield(f) {
				return
			}
		}
	}, deepest)
	for _, f := range all {
		if err := whole.SyncDir(filepath.Join(dir, filepath.FromSlash(f))); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// makeFolders makes a folder and those above it, and remembers them.
func makeFolders(root *os.Root, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := makeFolders(root, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return root.Mkdir(filepath.FromSlash(dir), 0o755)
}

// flushEvery is how many bytes of a file are in memory alone, at most. A model
// that goes to the disk at once would hold up whatever else is synced to it then,
// such as verdicts.
const flushEvery = 2 << 20

// paced writes to a file and waits for the disk on the way.
type paced struct {
	file        *os.File
	at, flushed int64
}

func (p *paced) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if p.at += int64(n); p.at-p.flushed >= flushEvery {
		const wait = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		_ = unix.SyncFileRange(int(p.file.Fd()), p.flushed, p.at-p.flushed, wait) // not all systems know it; Sync tells the disk's errors
		p.flushed = p.at
	}
	return n, err
}

// writeFile writes a new file and syncs it.
func writeFile(root *os.Root, name string, r io.Reader) error {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(&paced{file: f}, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Sweep removes from a folder what Unpack had begun there before the program
// or the machine stopped. Nothing may be unpacking there meanwhile.
func Sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("sweep away bundles that were half unpacked: %w", err)
	}
	var faults []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unpacking) {
			faults = append(faults, os.RemoveAll(filepath.Join(parent, e.Name())))
		}
	}
	return errors.Join(faults...)
}

// Verify compares an unpacked folder with its SHA256SUMS: every file must be
// there as it was packed, and no other. A fault of the bundle has ErrInvalid.
func Verify(dir string) (*Manifest, error) {
	m, err := verify(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("verify bundle in %s: %w", dir, err)
	}
	return m, nil
}

func verify(fsys fs.FS) (*Manifest, error) {
	text, err := readBounded(fsys, SumsFile, maxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuse("it has no %s", SumsFile)
	} else if err != nil {
		return nil, err
	}
	want, err := parseSums(text, Limits{}.orDefaults().Files)
	if err != nil {
		return nil, err
	}
	have, err := List(fsys)
	if err != nil {
		return nil, err
	}
	hashes := map[string][sha256.Size]byte{}
	for _, f := range have {
		hashes[f.Path] = f.SHA256
	}
	for _, f := range want {
		got, ok := hashes[f.Path]
		switch {
		case !ok:
			return nil, refuse("%s is missing", f.Path)
		case got != f.SHA256:
			return nil, refuse("%s has the SHA-256 %.4x…, %s says %.4x…: it was damaged or changed", f.Path, got, SumsFile, f.SHA256)
		}
		delete(hashes, f.Path)
	}
	for path := range hashes {
		return nil, refuse("%s isn't one of its files", path)
	}
	m, _, err := understandFS(fsys, have)
	return m, err
}
