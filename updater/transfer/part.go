package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Files of a transfer, after the bundle's SHA-256 in hex.
const (
	partEnding = ".part" // the bundle, each piece at its place; it stays that when it is whole
	mapEnding  = ".map"  // a bit for each piece that was written, lowest first
	sumsEnding = ".sums" // the list of the pieces' SHA-256
)

// flushEvery is how many bytes are given to the disk at once, so that a power
// cut takes little of what there is.
const flushEvery = 16 << 20

// part is a bundle on its way. Nothing that its files say is believed: a piece
// counts once its hash is the signed one, so no write needs to be on the disk
// before another, and a power cut costs the pieces alone that weren't there yet.
type part struct {
	want     Want
	base     string // path of the files without their endings
	progress func(done, total int64)

	data, bitmap *os.File
	sums         []byte // nil until they are known
	have         *set
	done         atomic.Int64 // bytes of have; put reads it beside took
	unflushed    int64
}

func openPart(dir string, w Want) (pt *part, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep a transfer: %w", err)
	}
	pt = &part{want: w, base: filepath.Join(dir, w.name()), progress: func(int64, int64) {}, have: newSet(w.count())}
	_, err = os.Lstat(pt.path())
	isNew := errors.Is(err, os.ErrNotExist)
	if pt.data, err = openFile(pt.path()); err != nil {
		return nil, fmt.Errorf("keep a transfer: %w", err)
	}
	if err := reserve(pt.data, w.Length, w.Room); err != nil {
		err = errors.Join(err, pt.data.Close())
		if isNew {
			err = errors.Join(err, os.Remove(pt.path()))
		}
		return nil, err
	}
	if err := pt.openMap(isNew); err != nil {
		return nil, errors.Join(fmt.Errorf("keep a transfer: %w", err), pt.data.Close())
	}
	return pt, nil
}

// openFile never follows a link, which nobody of ours makes there.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
}

// openMap reads which pieces were written. Without a usable map each piece may
// have been, unless the part is new.
func (pt *part) openMap(isNew bool) (err error) {
	if pt.bitmap, err = openFile(pt.base + mapEnding); err != nil {
		return err
	}
	n := len(pt.have.b)
	b, err := io.ReadAll(io.LimitReader(pt.bitmap, int64(n)+1))
	usable := err == nil && len(b) == n && !isNew
	if !usable {
		err = errors.Join(pt.bitmap.Truncate(0), pt.bitmap.Truncate(int64(n)))
	}
	for i := range pt.want.count() {
		if usable && b[i/8]&(1<<(i%8)) != 0 || !usable && !isNew {
			pt.have.add(i)
		}
	}
	return err
}

func (pt *part) close() error { return errors.Join(pt.data.Close(), pt.bitmap.Close()) }

func (pt *part) path() string { return pt.base + partEnding }

// learn gets the list of the pieces' hashes, from the disk if it is there.
func (pt *part) learn(ctx context.Context, s supplier) error {
	if pt.sums != nil {
		return nil
	}
	path := pt.base + sumsEnding
	if b, err := readFile(path, int64(pt.want.count())*sumBytes); err == nil && sha256.Sum256(b) == pt.want.Pieces {
		pt.sums = b
		return nil
	}
	for range listTries {
		b, err := s.list(ctx, &pt.want)
		if err != nil {
			return err
		}
		if sha256.Sum256(b) != pt.want.Pieces {
			continue
		}
		pt.sums = b
		if err := os.WriteFile(path+".new", b, 0o600); err != nil {
			return fmt.Errorf("keep a transfer: %w", err)
		}
		return os.Rename(path+".new", path)
	}
	return fmt.Errorf("%w: the list of its pieces isn't the signed one", ErrWrong)
}

// readFile reads a file that has so many bytes.
func readFile(path string, size int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return nil, fmt.Errorf("%s has %d bytes, expected %d", path, info.Size(), size)
	}
	return os.ReadFile(path)
}

// verify keeps of the pieces that are marked those that are what is signed.
func (pt *part) verify(ctx context.Context) error {
	buf := make([]byte, pt.want.Piece)
	pt.done.Store(0)
	for i := range pt.want.count() {
		if !pt.have.has(i) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:pt.want.size(i)]
		// A piece that can't be read is a piece that has to be written again.
		if _, err := pt.data.ReadAt(b, int64(i)*int64(pt.want.Piece)); err != nil || !pt.good(i, b) {
			pt.have.remove(i)
			if err := pt.mark(i); err != nil {
				return err
			}
			continue
		}
		pt.done.Add(int64(len(b)))
	}
	pt.progress(pt.done.Load(), pt.want.Length)
	return nil
}

func (pt *part) good(i int, b []byte) bool {
	sum := sha256.Sum256(b)
	return bytes.Equal(sum[:], pt.sums[i*sumBytes:(i+1)*sumBytes])
}

// put writes a piece that is what is signed. It may run beside took.
func (pt *part) put(i int, b []byte) error {
	if len(b) != pt.want.size(i) || !pt.good(i, b) {
		return fmt.Errorf("piece %d is %w", i, errWrong)
	}
	if _, err := pt.data.WriteAt(b, int64(i)*int64(pt.want.Piece)); err != nil {
		if free, _ := available(pt.data); full(err) { // 0 where even that can't be told
			return &NoRoom{Need: pt.want.Length - pt.done.Load(), Have: free}
		}
		return fmt.Errorf("keep a piece: %w", err)
	}
	return nil
}

// took marks a piece that was put.
func (pt *part) took(i int) error {
	n := int64(pt.want.size(i))
	pt.have.add(i)
	if err := pt.mark(i); err != nil {
		return err
	}
	pt.done.Add(n)
	if pt.unflushed += n; pt.unflushed >= flushEvery {
		pt.unflushed = 0
		// Only begins to write, and not all systems know it: nothing rests on it.
		_ = unix.SyncFileRange(int(pt.data.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	pt.progress(pt.done.Load(), pt.want.Length)
	return nil
}

// mark writes the map's byte of the piece.
func (pt *part) mark(i int) error {
	if _, err := pt.bitmap.WriteAt(pt.have.b[i/8:i/8+1], int64(i/8)); err != nil {
		return fmt.Errorf("keep which pieces there are: %w", err)
	}
	return nil
}
