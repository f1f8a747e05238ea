package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a tmpfs of so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("left out: a small tmpfs can't be mounted here (root is needed): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<16); err == nil && len(block) > 0; {
		if _, err = f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block, err = block[:len(block)/2], nil
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk: with no room for records, inspection goes on and verdicts are
// NONE not_recorded, or, where the station allows it, told all the same; the
// device warns. With room again every record is written, with what was told.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct{ name, setting string }{
		{"reject", "    deadline: 200ms"},
		{"allow", "    deadline: 200ms\n    unrecorded: allow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := smallDisk(t, "6m")
			s := newFolderStation(t, filepath.Join(disk, "data"), c.setting)
			p := s.run(t)
			l := listen(t, s.address)
			ballast := filepath.Join(disk, "ballast")
			eventually(t, "verdicts", func() bool { now, _ := l.all(); return len(now) > 5 })
			fill(t, ballast)
			unrecorded := func(a answer) bool { return a.Seq == 0 }
			eventually(t, "unrecorded verdicts", func() bool {
				now, _ := l.all()
				return count(now, unrecorded) > 20
			})
			eventually(t, "the warning", func() bool { return warned(s.address, "journal_full") })
			if allowed := warned(s.address, "verdicts_unrecorded_allowed"); allowed != (c.name == "allow") {
				t.Errorf("warned of allowed unrecorded verdicts: %v", allowed)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			room := time.Now()
			eventually(t, "the warning's end", func() bool {
				return !warned(s.address, "journal_full") && !warned(s.address, "journal_slow")
			})
			if took := time.Since(room); took > 10*time.Second {
				t.Errorf("the disk owed records for %v after there was room", took)
			}
			before, _ := l.all()
			eventually(t, "recorded verdicts", func() bool {
				now, _ := l.all()
				return count(now[len(before):], func(a answer) bool { return a.Seq > 0 }) > 5
			})
			p.stop()
			eventually(t, "the end of the events", func() bool { _, over := l.all(); return over })
			told, _ := l.all()
			_, heard := recorded(t, s.data)
			compareTold(t, told, heard)
			for _, a := range told {
				notRecorded := a.heard() == "NONE not_recorded"
				if a.Seq == 0 && notRecorded != (c.name == "reject") || a.Seq > 0 && notRecorded && a.Told == nil {
					t.Fatalf("part %s was told %s, sequence %d", a.ID, a.heard(), a.Seq)
				}
			}
			t.Logf("%d told, %d of them unrecorded", len(told), count(told, unrecorded))
			if log := p.stderr.String(); strings.Contains(log, "given up") {
				t.Errorf("records were given up:\n%s", tail(log))
			}
		})
	}
}

func count(all []answer, what func(answer) bool) (n int) {
	for _, a := range all {
		if what(a) {
			n++
		}
	}
	return n
}
