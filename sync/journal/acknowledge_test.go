package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// savedMarks are those on disk.
func savedMarks(t testing.TB, j *Journal) (m marks) {
	t.Helper()
	err := j.view(func(tx *bbolt.Tx) error {
		m, _ = loadMarks(tx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAcknowledge(t *testing.T) {
	dir := t.TempDir()
	j, stop := running(t, dir)
	for range 5 {
		<-j.Append([]byte("x")).Done()
	}
	epoch := j.Epoch()
	for _, tt := range []struct {
		epoch, seq, want uint64
		err              error
	}{
		{epoch, 0, 0, nil}, {epoch, 3, 3, nil}, {epoch, 2, 3, nil}, {epoch, 6, 3, ErrAhead},
		{epoch + 1, 4, 3, ErrEpoch}, {epoch + 1, 9, 3, ErrEpoch}, {epoch, 5, 5, nil},
	} {
		if err := j.Acknowledge(tt.epoch, tt.seq); !errors.Is(err, tt.err) {
			t.Errorf("%d: %v, want %v", tt.seq, err, tt.err)
		}
		if got := j.Stats().Acknowledged; got != tt.want {
			t.Errorf("after %d it is %d, want %d", tt.seq, got, tt.want)
		}
	}
	<-j.Append([]byte("x")).Done()
	if m := savedMarks(t, j); m.acked != 5 {
		t.Errorf("the next commit saved %+v", m)
	}
	if err := j.Acknowledge(epoch, 6); err != nil {
		t.Error(err)
	}
	stop()
	j, stop = running(t, dir)
	if got := j.Stats().Acknowledged; got != 6 {
		t.Errorf("after a restart it is %d", got)
	}
	stop()
	if err := j.NewEpoch(); !errors.Is(err, ErrClosed) {
		t.Errorf("a new epoch of a closed journal: %v", err)
	}
}

// TestAcknowledgeIsSavedWhenIdle: a second of silence is enough, and then
// nothing more is written.
func TestAcknowledgeIsSavedWhenIdle(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j, stop := running(t, dir)
		defer stop()
		<-j.Append([]byte("x")).Done()
		if err := j.Acknowledge(j.Epoch(), 1); err != nil {
			t.Fatal(err)
		}
		if m := savedMarks(t, j); m.acked != 0 {
			t.Errorf("at once: %+v", m)
		}
		time.Sleep(saveEvery + time.Millisecond)
		synctest.Wait()
		if m := savedMarks(t, j); m.acked != 1 {
			t.Errorf("after a second: %+v", m)
		}
		commits := j.Stats().Commits
		time.Sleep(time.Minute)
		if n := j.Stats().Commits - commits; n != 0 {
			t.Errorf("%d commits of nothing", n)
		}
	})
}

// TestAcknowledgeWithoutRun: Close alone saves it too.
func TestAcknowledgeWithoutRun(t *testing.T) {
	path := filled(t, 3)
	j, _, err := Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Acknowledge(j.Epoch(), 2), j.Close()); err != nil {
		t.Fatal(err)
	}
	j, _ = running(t, filepath.Dir(path))
	if got := j.Stats().Acknowledged; got != 2 {
		t.Errorf("it is %d", got)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestChanged(t *testing.T) {
	j, _ := running(t, t.TempDir())
	first, same, third := j.Changed(0), j.Changed(0), j.Changed(2)
	if isClosed(first) || isClosed(third) {
		t.Error("closed with nothing there")
	}
	<-j.Append([]byte("1")).Done()
	if !isClosed(first) || !isClosed(same) || !isClosed(j.Changed(0)) {
		t.Error("record 1 closed nothing")
	}
	if isClosed(third) || isClosed(j.Changed(1)) {
		t.Error("closed for a record that isn't there")
	}
	<-j.Append([]byte("2")).Done()
	<-j.Append([]byte("3")).Done()
	if !isClosed(third) {
		t.Error("record 3 closed nothing")
	}
	if n := len(j.waiting); n != 0 {
		t.Errorf("%d channels are left", n)
	}
}

// TestChangedLosesNoWakeUp: readers that wait and read see every record, and
// leave neither goroutines nor channels.
func TestChangedLosesNoWakeUp(t *testing.T) {
	const records, readers = 2000, 8
	j, _ := running(t, t.TempDir())
	<-j.Append([]byte("x")).Done()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for at := uint64(0); at < records; {
				<-j.Changed(at)
				items, err := j.Replay(at, 100, 1<<20)
				if err != nil || len(items) == 0 {
					t.Errorf("after %d: %d items, %v", at, len(items), err)
					return
				}
				at = items[len(items)-1].Last
			}
		})
	}
	for n := 1; n < records; n++ {
		p := j.Append([]byte("x"))
		if n%10 == 0 {
			<-p.Done()
		}
	}
	wg.Wait()
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	if n := len(j.waiting); n != 0 {
		t.Errorf("%d channels are left", n)
	}
}

// TestNewEpoch: what the fleet had is one hole under the new epoch, the rest
// comes again, numbers go on, and all of that outlives a restart.
func TestNewEpoch(t *testing.T) {
	dir := t.TempDir()
	j, stop := running(t, dir)
	for _, s := range []string{"1", "2", "3", "4", "5"} {
		<-j.Append([]byte(s)).Done()
	}
	old := j.Epoch()
	if err := j.Acknowledge(old, 3); err != nil {
		t.Fatal(err)
	}
	if err := j.Acknowledge(old, 1000); !errors.Is(err, ErrAhead) {
		t.Fatalf("the fleet is at 1000: %v", err)
	}
	if err := j.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	epoch := j.Epoch()
	if epoch == old {
		t.Error("the epoch is the old one")
	}
	<-j.Append([]byte("6")).Done()
	check := func() {
		t.Helper()
		if j.Epoch() != epoch {
			t.Error("the epoch changed")
		}
		if err := j.Acknowledge(old, 4); !errors.Is(err, ErrEpoch) {
			t.Errorf("an acknowledgement of the old epoch: %v", err)
		}
		if err := j.Acknowledge(epoch, 0); err != nil || j.Stats().Acknowledged != 3 {
			t.Errorf("%v, acknowledged %d", err, j.Stats().Acknowledged)
		}
		if diff := cmp.Diff([]string{"1-3 earlier_epoch 0/0/0/0", "4 4", "5 5", "6 6"}, replayed(t, j, 0, 10, 1000)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"1-3 earlier_epoch 0/0/0/0"}, replayed(t, j, 1, 1, 1000)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"1 1", "2 2", "3 3"}, func() (out []string) {
			rows, err := j.After(0, 3)
			if err != nil {
				t.Error(err)
			}
			for _, r := range rows {
				out = append(out, fmt.Sprintf("%d %s", r.Seq, r.Body))
			}
			return out
		}()); diff != "" {
			t.Errorf("the records are there all the same (-want +got):\n%s", diff)
		}
	}
	check()
	stop()
	j, _ = running(t, dir)
	check()
	if err := j.Acknowledge(epoch, 6); err != nil {
		t.Error(err)
	}
	if err := j.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1-6 earlier_epoch 0/0/0/0"}, replayed(t, j, 0, 10, 1000)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNewEpochOfAnEmptyJournal: there is nothing to tell then.
func TestNewEpochOfAnEmptyJournal(t *testing.T) {
	j, _ := running(t, t.TempDir())
	if err := j.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	if got := replayed(t, j, 0, 10, 1000); got != nil {
		t.Errorf("got %v", got)
	}
	<-j.Append([]byte("1")).Done()
	if diff := cmp.Diff([]string{"1 1"}, replayed(t, j, 0, 10, 1000)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNewEpochBreaks: one that leaves in doubt what is on disk ends Run, and
// what is appended fails.
func TestNewEpochBreaks(t *testing.T) {
	j, _, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) }); err != nil {
		t.Fatal(err)
	}
	epoch, waits := j.Epoch(), j.Append([]byte("x"))
	if err := j.NewEpoch(); !errors.Is(err, ErrBroken) || j.Epoch() != epoch {
		t.Errorf("it gave %v, the epoch %x", err, j.Epoch())
	}
	if err := j.Run(t.Context()); !errors.Is(err, ErrBroken) {
		t.Errorf("Run ended with %v", err)
	}
	<-waits.Done()
	for _, p := range []*Pending{waits, j.Append([]byte("y"))} {
		if _, err := p.Result(); !errors.Is(err, ErrBroken) {
			t.Errorf("a record gave %v", err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
