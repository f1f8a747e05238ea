package mirror

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/updater/publish"
)

// TestMain is also the child that is killed in the middle of a refresh.
func TestMain(m *testing.M) {
	if dir := os.Getenv("MIRROR_CHILD"); dir != "" {
		if err := child(dir); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n") // the parent reads it
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child refreshes dir/device from dir/source, and is killed by itself before
// the system call that MIRROR_CALL counts.
func child(dir string) error {
	m, err := Open(filepath.Join(dir, "device"))
	if err != nil {
		return err
	}
	left, err := strconv.Atoi(os.Getenv("MIRROR_CALL"))
	if err != nil {
		return err
	}
	before = func(string) error {
		if left--; left > 0 {
			return nil
		}
		if os.Getenv("MIRROR_FAULT") == "kill" {
			return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("still alive"))
		}
		return syscall.ENOSPC
	}
	return m.Refresh(context.Background(), Folder(filepath.Join(dir, "source")), time.Now())
}

// kill -9 and a full disk before each step of each write: the folder that is
// left refreshes again, to the newest, and in between holds nothing that is
// older than before.
func TestKillAndFullDiskDuringRefresh(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	old := t.TempDir()
	r.must(Pin(old, r.root))
	m, err := Open(old)
	r.must(err)
	r.must(m.Refresh(t.Context(), r, now.Add(-time.Hour)))
	next, err := publish.NextRoot(r.root, now.Add(999*day))
	r.must(err)
	r.root, err = publish.SignRoot(next, r.roots[:2]...)
	r.must(err)
	r.add("1.1.0", now)

	for _, fault := range []string{"kill", "full"} {
		points := 0
		for call := 1; ; call++ {
			dir := t.TempDir()
			for name, data := range r.files {
				put(t, filepath.Join(dir, "source", name), data)
			}
			r.must(os.CopyFS(filepath.Join(dir, "device"), os.DirFS(old)))
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), "MIRROR_CHILD="+dir, "MIRROR_CALL="+strconv.Itoa(call), "MIRROR_FAULT="+fault)
			said, err := c.CombinedOutput()
			if err == nil {
				break
			}
			points++
			if fault == "full" && !strings.Contains(string(said), "no space left") {
				t.Fatalf("call %d: %s", call, said)
			}
			m, err := Open(filepath.Join(dir, "device"))
			r.must(err)
			if err := m.Refresh(t.Context(), r, now); err != nil {
				t.Errorf("%s before call %d: %v", fault, call, err)
			}
			if v := m.Versions(); v["root.json"] != 2 || v["targets.json"] != 2 || v["timestamp.json"] != 2 {
				t.Errorf("%s before call %d: versions %v", fault, call, v)
			}
			entries, err := os.ReadDir(filepath.Join(dir, "device"))
			r.must(err)
			if len(entries) != 5 {
				t.Errorf("%s before call %d: left behind: %v", fault, call, entries)
			}
		}
		t.Logf("%s at %d points: each folder refreshed again", fault, points)
		if points < 5*5 {
			t.Errorf("only %d points", points)
		}
	}
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}
