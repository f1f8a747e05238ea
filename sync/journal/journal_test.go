package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	return j, run(t, j)
}

// run runs an open journal until the test's end or stop, which closes it.
func run(t testing.TB, j *Journal) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	stopped := false
	stop = func() {
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
	return stop
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
	if d := cmp.Diff([]string{"3 r2 ", "2 r1 late", "1 r0 "}, bodies(t, j, 0, 3)); d != "" {
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
	_, stop := running(t, dir)
	_, _, err := Open(dir)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
	stop()
	running(t, dir)
}

func TestAfterGivesWhatWasWritten(t *testing.T) {
	j, _ := running(t, t.TempDir())
	const records = 3*chunk + 1
	for i := range records {
		j.Append([]byte(fmt.Sprint(i + 1)))
	}
	<-j.Amend(7, []byte("late")).Done()
	rows, err := j.After(0, 2*records)
	if err != nil || len(rows) != records+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, r := range rows[:records] {
		if r.Seq != uint64(i+1) || string(r.Body) != fmt.Sprint(i+1) || r.Amends != 0 {
			t.Fatalf("row %d is %+v", i, r)
		}
	}
	if diff := cmp.Diff(Row{Seq: records + 1, Body: []byte("late"), Amends: 7}, rows[records]); diff != "" {
		t.Errorf("the amendment (-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ seq, limit, rows int }{{records - 1, 9, 2}, {records + 1, 9, 0}, {0, 700, 700}, {5, 0, 0}} {
		if rows, err := j.After(uint64(tt.seq), tt.limit); err != nil || len(rows) != tt.rows {
			t.Errorf("after %d: %d rows, %v, want %d", tt.seq, len(rows), err, tt.rows)
		}
	}
}

func TestQueryPages(t *testing.T) {
	j, _ := running(t, t.TempDir())
	const records = 2000
	for i := range records {
		j.Append([]byte(fmt.Sprint(i + 1)))
	}
	<-j.Amend(3, []byte("late")).Done()
	every := func(n uint64) func(uint64, []byte) bool {
		return func(seq uint64, body []byte) bool {
			if string(body) == "late" {
				t.Error("keep was asked about an amendment")
			}
			return seq%n == 0
		}
	}
	for _, tt := range []struct {
		step  uint64
		limit int
	}{{1, 1}, {1, 100}, {1, 512}, {7, 3}, {999, 5}, {1, 5000}, {3000, 5}} {
		var got, want []uint64
		for seq := uint64(records); seq > 0; seq-- {
			if seq%tt.step == 0 {
				want = append(want, seq)
			}
		}
		for before, more := uint64(0), true; more; {
			var rows []Row
			var err error
			if rows, more, err = j.Query(before, tt.limit, every(tt.step)); err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				got = append(got, r.Seq)
				before = r.Seq
				if string(r.Amend) != map[bool]string{true: "late"}[r.Seq == 3] {
					t.Errorf("record %d has the amendment %q", r.Seq, r.Amend)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("every %d, %d a page (-want +got):\n%s", tt.step, tt.limit, diff)
		}
	}
}

// TestRefusals: what can't be taken is refused at once, and the rest of its
// commit goes through.
func TestRefusals(t *testing.T) {
	j, stop := running(t, t.TempDir())
	first := j.Append([]byte("first"))
	nothing := j.Amend(99, []byte("of nothing"))
	amends := j.Amend(1, []byte("again"))
	chained := j.Amend(3, []byte("of an amendment"))
	last := j.Append([]byte("last"))
	for _, tt := range []struct {
		p   *Pending
		seq uint64
		err string
	}{
		{first, 1, ""}, {nothing, 0, "amend record 99: there is no such record"}, {amends, 2, ""},
		{chained, 0, "amend record 3: there is no such record"}, {last, 3, ""},
		{j.Amend(0, []byte("x")), 0, "amend record 0: there is no such record"},
		{j.Amend(2, []byte("x")), 0, "amend record 2: there is no such record"},
		{j.Append(nil), 0, "the record has 0 bytes, 1 to 1048576 will do"},
		{j.Append(make([]byte, MaxBody+1)), 0, "the record has 1048577 bytes, 1 to 1048576 will do"},
		{j.Append(make([]byte, MaxBody)), 4, ""},
	} {
		<-tt.p.Done()
		seq, err := tt.p.Result()
		if seq != tt.seq || (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("got %d, %v, want %d, %q", seq, err, tt.seq, tt.err)
		}
	}
	if diff := cmp.Diff([]string{"3 last ", "1 first again"}, bodies(t, j, 4, 9)); diff != "" {
		t.Error(diff)
	}
	s := j.Stats()
	if s.Last != 4 || s.Appended != 4 || s.Failed != 6 || s.Queued != 0 || s.Bytes < MaxBody {
		t.Errorf("stats %+v", s)
	}
	stop()
	if _, _, err := j.Query(0, 1, all); !errors.Is(err, ErrClosed) {
		t.Errorf("query after the end: %v", err)
	}
	if _, err := j.After(0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("read after the end: %v", err)
	}
}

// TestBusy: without Run nothing gets to the disk, and the queue has an end.
func TestBusy(t *testing.T) {
	j, _, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, MaxBody)
	var taken []*Pending
	for {
		p := j.Append(big)
		if p.err != nil {
			if !errors.Is(p.err, ErrBusy) {
				t.Error(p.err)
			}
			break
		}
		taken = append(taken, p)
	}
	if len(taken) != queueBytes/MaxBody {
		t.Errorf("%d records were queued", len(taken))
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	for _, p := range taken {
		<-p.Done()
		if _, err := p.Result(); !errors.Is(err, ErrClosed) {
			t.Fatalf("queued when it was closed: %v", err)
		}
	}
}

// runningAfter is running for a folder whose journal is damaged.
func runningAfter(t *testing.T, dir string) (*Journal, func()) {
	t.Helper()
	j, opened, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Quarantined == "" {
		t.Fatal("nothing was quarantined")
	}
	return j, func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
