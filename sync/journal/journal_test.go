package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// running opens a journal in dir and runs it until the test's end or stop.
func running(t testing.TB, dir string) (*Journal, func()) {
	t.Helper()
	j, opened, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Quarantined != "" {
		t.Fatalf("quarantined: %s", opened.Reason)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-done, j.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return j, stop
}

func all(uint64, []byte) bool { return true }

func bodies(t *testing.T, j *Journal, before uint64, limit int) []string {
	t.Helper()
	rows, _, err := j.Query(before, limit, all)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%d %s %s", r.Seq, r.Body, r.Amend))
	}
	return out
}

func TestAppendQueryAmendReopen(t *testing.T) {
	dir := t.TempDir()
	j, stop := running(t, dir)
	for i := range 3 {
		p := j.Append([]byte(fmt.Sprint("r", i)))
		<-p.Done()
		if seq, err := p.Result(); err != nil || seq != uint64(i+1) {
			t.Fatalf("record %d: sequence %d, %v", i, seq, err)
		}
	}
	<-j.Amend(2, []byte("late")).Done()
	epoch := j.Epoch()
	stop()
	j, _ = running(t, dir)
	if d := cmp.Diff([]string{"4 late ", "3 r2 ", "2 r1 late"}, bodies(t, j, 0, 3)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"1 r0 "}, bodies(t, j, 2, 3)); d != "" {
		t.Error(d)
	}
	if j.Epoch() != epoch {
		t.Error("the epoch changed with a restart")
	}
}

func TestStoppedJournalCommitsTheRestAndRefusesMore(t *testing.T) {
	dir := t.TempDir()
	j, stop := running(t, dir)
	var last *Pending
	for i := range 10000 {
		last = j.Append([]byte(fmt.Sprint(i)))
	}
	stop()
	<-last.Done()
	if seq, err := last.Result(); err != nil || seq != 10000 {
		t.Errorf("the last record: %d, %v", seq, err)
	}
	if p := j.Append([]byte("x")); !errors.Is(p.err, ErrClosed) {
		t.Errorf("append after the end: %v", p.err)
	}
}

func TestSecondProcessIsTold(t *testing.T) {
	dir := t.TempDir()
	running(t, dir)
	_, _, err := Open(dir)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestDamagedFileIsPutAside(t *testing.T) {
	dir := t.TempDir()
	garbage := []byte(strings.Repeat("not a database ", 4096))
	if err := os.WriteFile(filepath.Join(dir, FileName), garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	j, opened, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	kept, err := os.ReadFile(opened.Quarantined)
	if err != nil || string(kept) != string(garbage) {
		t.Errorf("the bad file isn't kept: %v", err)
	}
}
