package updater

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sightline-edge/sightline/updater/bundle"
)

// Folders below Config.Dir.
const (
	contentDir  = "content"  // unpacked bundles by digest, shared by all stations
	stateDir    = "state"    // what copies writes
	refusedDir  = "refused"  // drawn pictures of what the gate refused, by digest
	transferDir = "transfer" // the puller's
)

const (
	freshPrefix = ".new-" // of a bundle that isn't whole or verified yet
	keepRefused = 2       // bundles whose pictures are kept, the newest
	maxPictures = 8       // of one of them
)

// errDigest means that an archive isn't the one that was signed.
var errDigest = errors.New("its SHA-256 isn't the one that is signed")

func (u *Updater) contentPath(digest string) string {
	return filepath.Join(u.cfg.Dir, contentDir, digest)
}

// pathOf is the folder of a bundle, "" for what the configuration names.
func (u *Updater) pathOf(p place) string {
	if p.Factory {
		return ""
	}
	return u.contentPath(p.Digest)
}

// verify reads all of an unpacked bundle and compares it with its sums.
func (u *Updater) verify(digest string) error {
	_, err := bundle.Verify(u.contentPath(digest))
	return err
}

// whole checks the bundle that the command names, as it lies on disk.
func (u *Updater) whole(c *command) error {
	m, err := bundle.Verify(u.contentPath(c.Digest))
	if err != nil {
		return err
	}
	return called(m, c)
}

// called checks that a bundle says of itself what the command says of it: a
// signed archive under another's name or version would be shown as what it isn't.
func called(m *bundle.Manifest, c *command) error {
	if m.Name != c.Bundle || m.Version != c.Version {
		return fmt.Errorf("verify the archive: %w: it calls itself %s %s, the command is about %s %s", bundle.ErrInvalid, m.Name, m.Version, c.Bundle, c.Version)
	}
	return nil
}

// sound says whether p can be run: what the configuration names always can.
func (u *Updater) sound(p place) error {
	if p.Factory {
		return nil
	}
	return u.verify(p.Digest)
}

// unpack makes content/<digest> of an archive, which is hashed as it is read:
// what is unpacked is what has the digest, even if the file changes meanwhile.
// length is what the file must have. The same bundle may come from the fleet and
// from a folder at once: the later one finds it there.
func (u *Updater) unpack(ctx context.Context, path string, length int64, c *command) error {
	file, err := openArchive(path, length)
	if err != nil {
		return err
	}
	defer file.Close()
	f := untilDone{ctx, file}
	u.unpacking.Lock()
	defer u.unpacking.Unlock()
	if u.whole(c) == nil {
		return nil
	}
	fresh := u.contentPath(freshPrefix + c.Digest)
	if err := u.disk.remove("what was half unpacked", fresh); err != nil {
		return err
	}
	sum := sha256.New()
	var m *bundle.Manifest
	err = u.disk.do("unpack", func() error {
		var err error
		m, err = bundle.Unpack(io.TeeReader(f, sum), fresh, bundle.Limits{})
		return err
	})
	if err == nil || errors.Is(err, bundle.ErrInvalid) {
		if _, err := io.Copy(sum, f); err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != c.Digest {
			return errors.Join(fmt.Errorf("verify the archive: %w: it is %s, signed is %s", errDigest, got, c.Digest), os.RemoveAll(fresh))
		}
	}
	if err != nil {
		return err
	}
	if err := called(m, c); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := u.disk.remove("a damaged bundle", u.contentPath(c.Digest)); err != nil {
		return err
	}
	return u.disk.rename("bundle", fresh, u.contentPath(c.Digest))
}

// openArchive opens a file of that length. A person's folder may have anything
// under its name, such as a pipe that nobody writes to, or a device without end.
func openArchive(path string, length int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("verify the archive: %w: %s is no file", bundle.ErrInvalid, path)
	case info.Size() != length:
		err = fmt.Errorf("verify the archive: %w: it has %d bytes, signed are %d", errDigest, info.Size(), length)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// untilDone reads until ctx ends, so that a large bundle doesn't hold up the
// program's end.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// collect removes what no station needs any more. It is best effort: what it
// leaves is removed the next time.
func (u *Updater) collect() {
	u.garbage.Lock()
	defer u.garbage.Unlock()
	needed, err := u.needed()
	if err != nil {
		u.log.Warn("bundles that nothing needs are kept", "err", err)
		return
	}
	for _, dir := range []string{contentDir, transferDir} {
		entries, err := os.ReadDir(filepath.Join(u.cfg.Dir, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.log.Warn("bundles that nothing needs can't be listed", "err", err)
		}
		for _, e := range entries {
			digest, _, _ := strings.Cut(e.Name(), ".")
			if !isDigest(digest) || slices.Contains(needed, digest) {
				continue
			}
			if err := u.disk.remove("garbage", filepath.Join(u.cfg.Dir, dir, e.Name())); err != nil {
				u.log.Warn("a bundle that nothing needs can't be removed", "bundle", digest, "err", err)
			}
		}
	}
}

// needed are the digests that must stay on disk. Records of stations that
// aren't configured now count too: the configuration may be a mistake.
func (u *Updater) needed() ([]string, error) {
	var list []string
	for _, s := range u.stations {
		if s.dirty.Load() {
			return nil, fmt.Errorf("what %s runs isn't on disk yet", s.ID)
		}
		list = append(list, s.rec.Load().digests()...)
		if a := u.assignment(s.Bundle); a != nil && a.Act == install && a.id() != s.rec.Load().Job.id() {
			list = append(list, a.Digest)
		}
	}
	list = append(list, u.strangers...)
	u.mu.Lock()
	defer u.mu.Unlock()
	for d := range u.pinned {
		list = append(list, d)
	}
	return list, nil
}

// pin keeps a bundle that no record names yet; unpin forgets that. What it
// finds on disk afterwards stays.
func (u *Updater) pin(digest string) (unpin func()) {
	u.garbage.Lock()
	defer u.garbage.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pinned[digest]++
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.pinned[digest]--; u.pinned[digest] == 0 {
			delete(u.pinned, digest)
		}
	}
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}

// sweep removes what a power cut left half done.
func (u *Updater) sweep() error {
	dir := filepath.Join(u.cfg.Dir, contentDir)
	err := bundle.Sweep(dir)
	fresh, _ := filepath.Glob(filepath.Join(dir, freshPrefix+"*")) // the pattern is good
	for _, f := range fresh {
		err = errors.Join(err, os.RemoveAll(f))
	}
	return err
}

// album is where a refused bundle's pictures go.
type album struct {
	u      *Updater
	dir    string
	n      int
	failed bool
}

func (u *Updater) newAlbum(digest string) *album {
	return &album{u: u, dir: filepath.Join(u.cfg.Dir, refusedDir, digest)}
}

// add is a gate's draw. That a picture can't be kept changes nothing else.
func (a *album) add(name string, jpeg []byte) {
	if a.failed || a.n >= maxPictures {
		return
	}
	if a.n == 0 {
		a.failed = a.u.makeAlbum(a.dir) != nil
	}
	a.n++
	file := filepath.Join(a.dir, fmt.Sprintf("%d-%s.jpg", a.n, plain(name)))
	if a.failed || a.u.disk.create("picture", file, jpeg) != nil {
		a.failed = true
		a.u.log.Warn("pictures of a refusal can't be kept", "path", a.dir)
	}
}

// makeAlbum makes room for another one and an empty folder.
func (u *Updater) makeAlbum(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	old := u.albums()
	for _, o := range old[:max(len(old)-keepRefused+1, 0)] {
		if err := os.RemoveAll(o); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o750)
}

// albums are the folders of pictures, the oldest first.
func (u *Updater) albums() []string {
	top := filepath.Join(u.cfg.Dir, refusedDir)
	entries, _ := os.ReadDir(top) // none yet
	age := map[string]int64{}
	var list []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && isDigest(e.Name()) {
			path := filepath.Join(top, e.Name())
			age[path] = info.ModTime().UnixNano()
			list = append(list, path)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return int(min(max(age[a]-age[b], -1), 1)) })
	return list
}

// pictures of a refused bundle, as paths.
func (u *Updater) pictures(digest string) []string {
	list, _ := filepath.Glob(filepath.Join(u.cfg.Dir, refusedDir, digest, "*.jpg")) // the pattern is good
	return list
}

// plain is a name with nothing in it that a path could trip over.
func plain(name string) string {
	name = strings.TrimSuffix(filepath.Base(name), ".jpg")
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, name[:min(len(name), 60)])
}
