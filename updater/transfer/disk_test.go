package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// half fetches until half of the bundle is there, and gives the path of its
// files without their endings.
func half(t *testing.T, d *depot, dir string, w Want) (base string) {
	t.Helper()
	p := newPuller(dir)
	connected(d, p, time.Millisecond, 0)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := p.Fetch(ctx, w, func(done, total int64) {
		if done >= total/2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return filepath.Join(dir, w.name())
}

// TestGarbageOnDisk: whatever became of the files, the bundle comes whole, and
// only what is missing is sent.
func TestGarbageOnDisk(t *testing.T) {
	const size = 2*mega + 77
	for _, tt := range []struct {
		what  string
		spoil func(base string) error
		again int64 // pieces beyond those that were missing, at most
	}{
		{"nothing", func(string) error { return nil }, 0},
		{"no map", func(b string) error { return os.Remove(b + mapEnding) }, 0},
		{"an empty map", func(b string) error { return os.Truncate(b+mapEnding, 0) }, 0},
		{"a long map", func(b string) error { return os.WriteFile(b+mapEnding, make([]byte, 1<<20), 0o600) }, 0},
		{"a map that claims everything", func(b string) error { return os.WriteFile(b+mapEnding, bytes.Repeat([]byte{0xff}, 5), 0o600) }, 0},
		{"a map that claims nothing", func(b string) error { return os.WriteFile(b+mapEnding, make([]byte, 5), 0o600) }, 40},
		{"no list", func(b string) error { return os.Remove(b + sumsEnding) }, 0},
		{"a wrong list", func(b string) error { return os.WriteFile(b+sumsEnding, make([]byte, 33*sumBytes), 0o600) }, 0},
		{"half a list", func(b string) error { return os.Truncate(b+sumsEnding, 50) }, 0},
		{"a piece that rotted", func(b string) error { return flip(b+partEnding, 3*PieceSize+9) }, 1},
		{"zeros where a piece was", func(b string) error { return zero(b+partEnding, 5*PieceSize, 2*PieceSize) }, 2},
		{"half a part", func(b string) error { return os.Truncate(b+partEnding, 4*PieceSize+10) }, 40},
		{"an empty part", func(b string) error { return os.Truncate(b+partEnding, 0) }, 40},
		{"a long part", func(b string) error { return os.Truncate(b+partEnding, 3*mega) }, 0},
		{"no part", func(b string) error { return os.Remove(b + partEnding) }, 40},
		{"another bundle's part", func(b string) error { return os.WriteFile(b+partEnding, bytes.Repeat([]byte("x"), size), 0o600) }, 40},
		{"files of an interrupted write", func(b string) error { return os.WriteFile(b+sumsEnding+".new", []byte("x"), 0o600) }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, size)
			d, dir := newDepot(t, b), t.TempDir()
			base := half(t, d, dir, w)
			before := d.sent
			if err := tt.spoil(base); err != nil {
				t.Fatal(err)
			}
			p := newPuller(dir)
			connected(d, p, time.Millisecond, 0)
			fetched(t, t.Context(), p, w, b)
			missing := w.Length - before + 4*PieceSize // what was under way when it was interrupted
			if sent := d.sent - before; sent > missing+tt.again*PieceSize {
				t.Errorf("%s: %d bytes were sent, %d were missing", tt.what, sent, missing)
			}
		})
	}
}

func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	b[0] ^= 4
	_, werr := f.WriteAt(b, at)
	return errors.Join(err, werr, f.Close())
}

func zero(path string, at, n int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, n), at)
	return errors.Join(err, f.Close())
}

// TestLinksAreNotFollowed: nobody of ours makes links there.
func TestLinksAreNotFollowed(t *testing.T) {
	_, w := made(t, mega)
	for _, ending := range []string{partEnding, mapEnding} {
		dir := t.TempDir()
		victim := filepath.Join(dir, "victim")
		if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Symlink(victim, filepath.Join(dir, w.name()+ending))); err != nil {
			t.Fatal(err)
		}
		if _, err := newPuller(dir).Fetch(t.Context(), w, nil); err == nil || !strings.Contains(err.Error(), "keep a transfer") {
			t.Errorf("%s: %v", ending, err)
		}
		if b, err := os.ReadFile(victim); string(b) != "precious" || err != nil {
			t.Errorf("%s: %q, %v", ending, b, err)
		}
	}
}

// TestRotWhileItComes: a disk that doesn't keep what was written is found out
// by whoever reads the bundle, and the next Fetch gets what is wrong.
func TestRotWhileItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 2*mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		connected(d, p, time.Millisecond, 0)
		path, err := p.Fetch(t.Context(), w, nil)
		if err == nil {
			err = flip(path, 100)
		}
		if err != nil {
			t.Fatal(err)
		}
		fetched(t, t.Context(), p, w, b)
		if d.sent != w.Length+PieceSize {
			t.Errorf("%d bytes were sent for %d", d.sent, w.Length)
		}
	})
}

// mounted is a small disk of that kind, which needs root.
func mounted(t *testing.T, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
		t.Skipf("left out: a small %s can't be mounted here: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestNoRoom: it is told before anything is fetched, with both figures, and
// leaves nothing behind.
func TestNoRoom(t *testing.T) {
	dir := mounted(t, "tmpfs", "size=4m")
	b, w := made(t, 3*mega)
	d, p := newDepot(t, b), newPuller(dir)
	connected(d, p, 0, 0)
	refused := func(need int64) {
		t.Helper()
		_, err := p.Fetch(t.Context(), w, nil)
		var no *NoRoom
		if !errors.As(err, &no) || no.Need != need || no.Have > 4*mega || no.Have < 0 || !strings.Contains(err.Error(), "no room on the disk: ") {
			t.Errorf("%v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v stay, %v", left, err)
		}
	}
	w.Room = 2 * mega
	refused(5 * mega)
	w.Room, w.Length = 0, 64*mega
	refused(64 * mega)
	w.Length = 3 * mega
	if len(d.asked) != 0 {
		t.Errorf("asked %d times", len(d.asked))
	}
	fetched(t, t.Context(), p, w, b)
	// The room is taken: others can't have it, and it is enough to go on.
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 2*mega), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v", err)
	}
	if err := zero(filepath.Join(dir, w.name()+partEnding), 0, mega); err != nil {
		t.Fatal(err)
	}
	fetched(t, t.Context(), p, w, b)
}

// TestRoomIsTakenFirst: what others write meanwhile doesn't end a transfer.
func TestRoomIsTakenFirst(t *testing.T) {
	dir := mounted(t, "tmpfs", "size=4m")
	b, w := made(t, 3*mega)
	d, p := newDepot(t, b), newPuller(dir)
	connected(d, p, 0, 0)
	filled := false
	_, err := p.Fetch(t.Context(), w, func(done, _ int64) {
		if done > 0 && !filled {
			filled = true
			for i := 0; os.WriteFile(filepath.Join(dir, fmt.Sprint("ballast", i)), make([]byte, 4096), 0o600) == nil; i++ {
			}
		}
	})
	if err != nil || !filled {
		t.Error(err)
	}
}

// TestDiskFillsUp: although the room was taken, as where a file system copies
// what is written; what is told to be needed is what remains.
func TestDiskFillsUp(t *testing.T) {
	b, w := made(t, 3*mega)
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	pt, err := openPart(t.TempDir(), w)
	if err != nil {
		t.Fatal(err)
	}
	if pt.sums, err = bundle.Pieces(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pt.put(0, b[:PieceSize]), pt.took(0), pt.data.Close()); err != nil {
		t.Fatal(err)
	}
	pt.data = full
	var no *NoRoom
	if err := pt.put(1, b[PieceSize:2*PieceSize]); !errors.As(err, &no) || no.Need != w.Length-PieceSize {
		t.Errorf("%v, %+v; %d bytes remain", err, no, w.Length-PieceSize)
	}
	if err := pt.close(); err != nil {
		t.Error(err)
	}
}

// TestDiskThatKeepsNoRoom: one without fallocate, and without a size.
func TestDiskThatKeepsNoRoom(t *testing.T) {
	dir := mounted(t, "ramfs", "")
	f, err := os.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 4096); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("it keeps room: %v", err)
	}
	_ = f.Close()
	b, w := made(t, 3*mega)
	w.Room = 1 << 40
	d, p := newDepot(t, b), newPuller(dir)
	connected(d, p, 0, 0)
	fetched(t, t.Context(), p, w, b)
}

// TestContextEnds: at any moment, promptly, and what is there stays.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 4*mega)
		d, dir := newDepot(t, b), t.TempDir()
		ends := 0
		for at := time.Millisecond; ; at += 150 * time.Millisecond {
			p := newPuller(dir)
			connected(d, p, 40*time.Millisecond, 2e6)
			ctx, cancel := context.WithTimeout(t.Context(), at)
			began := time.Now()
			path, err := p.Fetch(ctx, w, nil)
			cancel()
			if err == nil {
				same(t, path, b)
				break
			}
			if ends++; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > at {
				t.Fatalf("%v after %s of %s", err, time.Since(began), at)
			}
		}
		if most := w.Length + int64(ends)*mostWindow*PieceSize; d.sent > most || ends < 3 {
			t.Errorf("%d ends: %d bytes were sent for %d", ends, d.sent, w.Length)
		}
	})
}

// TestTidOf: the number is found wherever it stands.
func TestTidOf(t *testing.T) {
	raw, err := wire.Marshal(&wire.Block{Tid: 77, Index: 5, Size: 9, Data: []byte("abc")})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{raw, append(bytes.Clone(raw[5:]), raw[:5]...)} {
		if tid, ok := tidOf(b); tid != 77 || !ok {
			t.Errorf("%x: %d, %v", b, tid, ok)
		}
	}
	for _, b := range [][]byte{nil, raw[:3], raw[5:], {0xff}, {0x0a, 0x05, 1}} {
		if tid, ok := tidOf(b); ok {
			t.Errorf("%x: %d", b, tid)
		}
	}
}
