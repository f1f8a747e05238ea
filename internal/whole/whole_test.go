package whole

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	childPath = "SIGHTLINE_TEST_WHOLE_CHILD" // in the child: the file that it writes
	childStep = "SIGHTLINE_TEST_WHOLE_STEP"  // before which step it kills itself
)

// The files are larger than a page, and so may be seen cut short.
var (
	older = []byte(strings.Repeat("older ", 3000))
	newer = []byte(strings.Repeat("newer ", 5000))
)

// TestMain is also the child that is killed while it writes.
func TestMain(m *testing.M) {
	path := os.Getenv(childPath)
	if path == "" {
		os.Exit(m.Run())
	}
	commit := (*File).Commit
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		commit = (*File).CommitNew
	}
	at, err := strconv.Atoi(os.Getenv(childStep))
	if err == nil {
		err = stopAt(at, func() error { return unix.Kill(os.Getpid(), unix.SIGKILL) }).put(path, newer, 0o640, commit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func stopAt(at int, fault func() error) Steps {
	n := 0
	return func(string) error {
		if n++; n == at {
			return fault()
		}
		return nil
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestKilledAtEachStep: where one is replaced there is the old file or the new
// one, where one is created none or the new one; and the next write leaves
// nothing else beside it.
func TestKilledAtEachStep(t *testing.T) {
	for _, first := range [][]byte{nil, older} {
		left := 0
		for step := 1; ; step++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if first != nil {
				must(t, Write(path, first, 0o640))
			}
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), childPath+"="+path, childStep+"="+strconv.Itoa(step))
			said, err := c.CombinedOutput()
			if err == nil {
				if step != 6 {
					t.Errorf("it ended before step %d", step)
				}
				break
			}
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !exit.Sys().(interface{ Signaled() bool }).Signaled() {
				t.Fatalf("step %d: %v %s", step, err, said)
			}
			want := first
			if step > 4 { // the rename was done
				want = newer
			}
			got, err := os.ReadFile(path)
			if string(got) != string(want) || (err != nil) != (want == nil) {
				t.Errorf("killed before step %d: %d bytes, %v; want %d", step, len(got), err, len(want))
			}
			left += len(slices.DeleteFunc(names(t, dir), func(n string) bool { return n == "file" }))
			must(t, Write(path, newer, 0o640))
			if all := names(t, dir); len(all) != 1 {
				t.Errorf("killed before step %d, then written: %q", step, all)
			}
		}
		if left != 3 { // before it is filled, synced, renamed
			t.Errorf("%d unfinished files were left, 3 expected", left)
		}
	}
}

// TestStoppedAtEachStep: an error leaves the old file or the new one and
// nothing beside it, and is told by the file's own name.
func TestStoppedAtEachStep(t *testing.T) {
	for step := 1; step <= 5; step++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		must(t, Write(path, older, 0o640))
		err := stopAt(step, func() error { return unix.ENOSPC }).Write(path, newer, 0o640)
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "write "+path+":") {
			t.Errorf("step %d: %v", step, err)
		}
		want := older
		if step > 4 {
			want = newer
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
			t.Errorf("stopped before step %d: %d bytes, %v", step, len(got), err)
		}
		if all := names(t, dir); len(all) != 1 {
			t.Errorf("stopped before step %d: %q", step, all)
		}
	}
}

// TestFullDisk: the old file stays, and what was begun takes no room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("left out: a small tmpfs can't be mounted here (root is needed): %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := filepath.Join(dir, "file")
	must(t, Write(path, older, 0o640))
	for _, put := range []func(string, []byte, fs.FileMode) error{Write, Create} {
		if err := put(path, make([]byte, 100<<10), 0o640); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(older) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if all := names(t, dir); len(all) != 1 {
			t.Errorf("%q", all)
		}
	}
	must(t, Write(path, newer, 0o640))
}

// TestModes are those asked for under any umask, and nobody else can read what
// isn't whole yet.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	mode := func(path string) fs.FileMode {
		info, err := os.Stat(path)
		must(t, err)
		return info.Mode()
	}
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		old := unix.Umask(umask)
		for _, want := range []fs.FileMode{0o600, 0o640, 0o644} {
			f, err := New(path, want)
			must(t, err)
			if got := mode(f.Name()); got&^0o600 != 0 {
				t.Errorf("umask %03o: unfinished %v", umask, got)
			}
			must(t, f.Commit())
			if got := mode(path); got != want {
				t.Errorf("umask %03o: %v, want %v", umask, got, want)
			}
		}
		unix.Umask(old)
	}
}

// TestNeverOverwritten: of many that make a file at once one does, and the file
// is its.
func TestNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var g sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		g.Go(func() { errs[i] = Create(path, []byte(strconv.Itoa(i)), 0o600) })
	}
	g.Wait()
	got, err := os.ReadFile(path)
	must(t, err)
	for i, err := range errs {
		if (err == nil) != (string(got) == strconv.Itoa(i)) || err != nil && !errors.Is(err, fs.ErrExist) {
			t.Errorf("number %d: %v; there is %s's", i, err, got)
		}
	}
	if all := names(t, filepath.Dir(path)); len(all) != 1 {
		t.Errorf("%q", all)
	}
}

// TestWritersAtOnce neither hinder each other nor mix, though each sweeps, and
// one that is still being written is no leftover.
func TestWritersAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	slow, err := New(path, 0o640)
	must(t, err)
	_, err = slow.Write(older)
	must(t, err)
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			for range 20 {
				if err := Write(path, []byte(strings.Repeat(strconv.Itoa(i), 9000)), 0o640); err != nil {
					t.Error(err)
				}
				if err := Sweep(dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	g.Wait()
	got, err := os.ReadFile(path)
	if err != nil || len(got) != 9000 || strings.Trim(string(got), string(got[:1])) != "" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	must(t, slow.Commit())
	if got, err := os.ReadFile(path); err != nil || string(got) != string(older) {
		t.Errorf("the slow one's: %d bytes, %v", len(got), err)
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("%q", all)
	}
}

// TestSweep takes leftovers alone; a write takes its own file's alone.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".new-file.1", ".new-file.pem.2", ".new-other.3", "file.pem", ".hidden"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, os.Symlink("file.pem", filepath.Join(dir, ".new-file.4")))
	must(t, Write(filepath.Join(dir, "file"), nil, 0o600))
	want := []string{".hidden", ".new-file.4", ".new-file.pem.2", ".new-other.3", "file", "file.pem"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("after a write %q, want %q", got, want)
	}
	must(t, Sweep(dir))
	want = []string{".hidden", ".new-file.4", "file", "file.pem"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("after Sweep %q, want %q", got, want)
	}
	if err := Sweep(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestLongestName(t *testing.T) {
	must(t, Write(filepath.Join(t.TempDir(), strings.Repeat("n", 255)), nil, 0o600))
}

// TestClosedWithoutCommit: nothing is there, and closing after Commit takes
// nothing away.
func TestClosedWithoutCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	f, err := New(path, 0o640)
	must(t, err)
	must(t, f.Close())
	if all := names(t, dir); len(all) != 0 {
		t.Errorf("%q", all)
	}
	must(t, Write(path, older, 0o640))
	f, err = New(path, 0o640)
	must(t, err)
	must(t, f.Commit())
	_ = f.Close() // it says that it is closed
	must(t, Rename(path, path+"2"))
	if all := names(t, dir); !slices.Equal(all, []string{"file2"}) {
		t.Errorf("%q", all)
	}
}
