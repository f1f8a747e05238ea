package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a tmpfs of that size.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("left out: a small tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull: a full disk refuses records and loses none; once there is
// room again, appending goes on with the next number.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	j, stop := running(t, data)
	body := make([]byte, 10000)
	count := uint64(0)
	fill := func() error {
		for n := count; n < 10000; n++ {
			p := j.Append(body)
			<-p.Done()
			seq, err := p.Result()
			if err != nil {
				return err
			}
			if count++; seq != count {
				t.Fatalf("record %d has number %d", count, seq)
			}
		}
		return nil
	}
	for range 3 {
		if err := fill(); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("after %d records: %v", count, err)
		}
	}
	before := count
	if before == 0 {
		t.Fatal("nothing fitted")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := fill(); !errors.Is(err, ErrFull) || count <= before {
		t.Fatalf("with room again: %d records, then %d, %v", before, count, err)
	}
	stop()
	j, _ = running(t, data)
	rows, err := j.After(0, 1<<20)
	if err != nil || uint64(len(rows)) != count || rows[len(rows)-1].Seq != count {
		t.Errorf("%d of %d acknowledged records are there, %v", len(rows), count, err)
	}
	t.Logf("%d records fitted, %d more with room again", before, count-before)
}

// TestDiskFullAtTheLimit: a journal whose limit fits the disk goes on for
// ever on a disk that is full. One that filled the disk below its limit
// refuses records and drops none; told a lower limit there, it drops down to
// it and goes on.
func TestDiskFullAtTheLimit(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	data := filepath.Join(dir, "data")
	j := stepped(t, data, 2<<20)
	appended := uint64(0)
	fill := func(records, size int) (refused int) {
		t.Helper()
		for n := range records {
			p := j.Append(resultBody(t, verdictOf(uint64(n)), "x", size))
			step(t, j)
			if seq, err := p.Result(); errors.Is(err, ErrFull) {
				refused++
			} else if appended++; err != nil || seq != appended {
				t.Fatalf("record %d: %d, %v", appended, seq, err)
			}
		}
		return refused
	}
	check := func(when string) {
		t.Helper()
		s := j.Stats()
		items := allOf(t, j, 0, 500, 1<<20)
		if s.Last != appended || items[len(items)-1].Last != appended || s.Dropped != s.First-1 || s.Bad != 0 {
			t.Errorf("%s: %d were appended, stats %+v", when, appended, s)
		}
	}
	fill(500, 10000) // to the limit and beyond, with room
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ballast.Write(make([]byte, 16<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk isn't full: %v", err)
	}
	for _, size := range []int{10000, 300, 30000} {
		if refused := fill(1000, size); refused > 0 {
			t.Errorf("at its limit on a full disk the journal refused %d of 1000 records of %d bytes, stats %+v", refused, size, j.Stats())
		}
	}
	check("at the limit")

	j.Retain(1 << 40)
	if refused := fill(1000, 1000); refused == 0 {
		t.Error("a full disk refused nothing")
	}
	before := j.Stats()
	if refused := fill(50, 10000); refused != 50 || j.Stats().First != before.First {
		t.Errorf("below its limit on a full disk it refused %d of 50, stats %+v", refused, j.Stats())
	}
	check("below the limit")
	before = j.Stats()
	if err := j.Acknowledge(j.Epoch(), 1); err != nil {
		t.Fatal(err)
	}
	j.Retain(before.Bytes - 1) // grown to it, but not over it
	if err := j.save(); err != nil || j.Stats().First != before.First {
		t.Errorf("saving an acknowledgement gave %v, first %d was %d", err, j.Stats().First, before.First)
	}
	j.Retain(1 << 40)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = stepped(t, data, 1<<20)
	step(t, j)
	if s := j.Stats(); s.Used > 1<<20 {
		t.Errorf("told a lower limit it didn't drop to it: stats %+v", s)
	}
	if refused := fill(2000, 3000); refused > 0 {
		t.Errorf("with a lower limit it refused %d records", refused)
	}
	check("at a lower limit")
	if s := j.Stats(); s.Used > 1<<20 {
		t.Errorf("stats %+v", s)
	}
	if err := errors.Join(j.Close(), ballast.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestNoRoomToBegin(t *testing.T) {
	dir := smallDisk(t, 64<<10)
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(filepath.Join(dir, "data")); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
}

// TestFullOrBroken: only a failed write is a full disk. After a failed sync
// nobody knows what is on disk, whatever the error's name.
func TestFullOrBroken(t *testing.T) {
	for _, tt := range []struct {
		err  error
		full bool
	}{
		{&fs.PathError{Op: "write", Err: syscall.ENOSPC}, true},
		{&fs.PathError{Op: "write", Err: syscall.EDQUOT}, true},
		{&fs.PathError{Op: "write", Err: syscall.EFBIG}, true},
		{&fs.PathError{Op: "write", Err: syscall.EIO}, false},
		{&fs.PathError{Op: "sync", Err: syscall.ENOSPC}, false},
		{syscall.ENOSPC, false},
		{fmt.Errorf("file resize error: truncate x: %w", syscall.ENOSPC), true},
		{fmt.Errorf("file sync error: %w", syscall.ENOSPC), false},
	} {
		if got := full(tt.err); got != tt.full {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}

// TestBroken: a commit that fails otherwise ends Run, fails what waits, and
// takes nothing more; opening again is the cure.
func TestBroken(t *testing.T) {
	dir := t.TempDir()
	j, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.db.Close(); err != nil { // as if the file were gone
		t.Fatal(err)
	}
	waiting := j.Append([]byte("x"))
	if err := j.Run(t.Context()); !errors.Is(err, ErrBroken) {
		t.Errorf("Run ended with %v", err)
	}
	for _, p := range []*Pending{waiting, j.Append([]byte("y"))} {
		<-p.Done()
		if seq, err := p.Result(); seq != 0 || !errors.Is(err, ErrBroken) {
			t.Errorf("got %d, %v", seq, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	running(t, dir)
}
