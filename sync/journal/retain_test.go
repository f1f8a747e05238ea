package journal

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/sightline-edge/sightline/sync/wire"
)

// stepped opens a journal whose commits the test makes itself, so that what
// they do is the same each time.
func stepped(t testing.TB, dir string, limit int64) *Journal {
	t.Helper()
	j, opened, err := Open(dir)
	if err != nil || opened != (Opened{}) {
		t.Fatalf("%+v, %v", opened, err)
	}
	j.Retain(limit)
	return j
}

// step commits what waits and drops what the limit wants dropped.
func step(t testing.TB, j *Journal) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = j.commit(j.take()); err != nil {
			t.Fatal(err)
		}
	}
}

// fill appends results, a PASS, a FAIL and a NONE in turn, in commits of that
// many.
func fill(t testing.TB, j *Journal, records, commit int) {
	t.Helper()
	for n := range records {
		seq := j.last() + 1 + uint64(n%commit)
		j.Append(resultBody(t, verdictOf(seq), fmt.Sprint(seq), 200))
		if n%commit == commit-1 || n == records-1 {
			step(t, j)
		}
	}
}

func verdictOf(seq uint64) wire.Verdict {
	return []wire.Verdict{wire.Verdict_VERDICT_NONE, wire.Verdict_VERDICT_PASS, wire.Verdict_VERDICT_FAIL}[seq%3]
}

// holeOf is what told says of dropped results that fill wrote.
func holeOf(first, last uint64) string {
	var n [4]int
	for seq := first; seq <= last; seq++ {
		n[verdictOf(seq)]++
	}
	return fmt.Sprintf("%d-%d retention %d/%d/%d/%d", first, last, n[wire.Verdict_VERDICT_PASS], n[wire.Verdict_VERDICT_FAIL], n[0], 0)
}

func TestRetention(t *testing.T) {
	const limit = 1 << 20
	dir := t.TempDir()
	j := stepped(t, dir, limit)
	fill(t, j, 20000, 50)
	s := j.Stats()
	if s.Last != 20000 || s.Used > limit || s.Used < limit*3/4 || s.Bytes > limit*5/4 || s.First < 2 || s.Dropped != s.First-1 || s.DroppedAcked != 0 {
		t.Fatalf("stats %+v", s)
	}
	check := func() {
		t.Helper()
		items := allOf(t, j, 0, 100, 1<<20)
		if uint64(len(items)) != 20000-s.First+2 {
			t.Errorf("%d items", len(items))
		}
		if diff := cmp.Diff([]string{holeOf(1, s.First-1)}, told(t, items[:1])); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		// The hole comes whole, wherever in it the fleet is.
		for _, after := range []uint64{1, s.First / 2, s.First - 2} {
			if diff := cmp.Diff([]string{holeOf(1, s.First-1)}, replayed(t, j, after, 1, 1)); diff != "" {
				t.Errorf("after %d (-want +got):\n%s", after, diff)
			}
		}
		if items, err := j.Replay(s.First-1, 1, 1); err != nil || len(items) != 1 || items[0].Last != s.First {
			t.Errorf("behind the hole comes %v, %v", items, err)
		}
	}
	check()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = stepped(t, dir, limit)
	if again := j.Stats(); again.First != s.First || again.Dropped != s.Dropped || again.Used != s.Used {
		t.Errorf("opened again: %+v, before %+v", again, s)
	}
	check()

	// Half of what is there is acknowledged: that half goes without a hole,
	// the noted one is forgotten, and what follows is a hole of its own.
	acked := (s.First + s.Last) / 2
	if err := j.Acknowledge(j.Epoch(), acked); err != nil {
		t.Fatal(err)
	}
	fill(t, j, 1000, 50)
	mid := j.Stats()
	if mid.First <= s.First || mid.First > acked || mid.Dropped != s.Dropped || mid.DroppedAcked != mid.First-s.First {
		t.Fatalf("stats %+v", mid)
	}
	if diff := cmp.Diff([]string{fmt.Sprintf("1-%d gone 0/0/0/0", mid.First-1)}, replayed(t, j, 0, 1, 1)); diff != "" {
		t.Errorf("a fleet that was set back (-want +got):\n%s", diff)
	}
	fill(t, j, 5000, 50)
	end := j.Stats()
	if end.First <= acked+1 || end.DroppedAcked != acked-s.First+1 || end.Dropped+end.DroppedAcked != end.First-1 {
		t.Fatalf("stats %+v", end)
	}
	if diff := cmp.Diff([]string{holeOf(acked+1, end.First-1)}, replayed(t, j, acked, 1, 1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRetentionOfAmendments: an amendment outlives what it amends, amends
// nothing then, and counts as no result when it goes itself.
func TestRetentionOfAmendments(t *testing.T) {
	const limit = 256 << 10
	j := stepped(t, t.TempDir(), limit)
	j.Append([]byte("no record that wire knows"))
	fill(t, j, 500, 50)
	j.Amend(400, []byte("late"))
	j.Amend(2, []byte("late too")) // 502 and 503
	step(t, j)
	for j.Stats().First <= 400 {
		fill(t, j, 10, 1)
	}
	if s := j.Stats(); s.First >= 502 {
		t.Fatalf("stats %+v", s)
	}
	err := j.view(func(tx *bbolt.Tx) error {
		if n := tx.Bucket(bucketAmended).Stats().KeyN; n != 0 {
			t.Errorf("%d amendments of nothing are left", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"502 late", "503 late too"}, replayed(t, j, 501, 2, 1000)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	gone := j.Amend(400, []byte("later still"))
	step(t, j)
	if _, err := gone.Result(); err == nil {
		t.Error("a record that was dropped can be amended")
	}
	for j.Stats().First <= 503 {
		fill(t, j, 10, 1)
	}
	items, err := j.Replay(0, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := wire.Decode(items[0].Body)
	if h := r.GetHole(); err != nil || h.GetOther() != 3 || h.GetPass()+h.GetFail()+h.GetNone()+3 != h.GetLast() {
		t.Errorf("the hole is %v, %v", h, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRetentionOfEverything: a journal whose records are all gone is in
// order; numbers go on.
func TestRetentionOfEverything(t *testing.T) {
	dir := t.TempDir()
	j := stepped(t, dir, 0)
	fill(t, j, 300, 50)
	if err := j.Acknowledge(j.Epoch(), 100); err != nil {
		t.Fatal(err)
	}
	j.Retain(1)
	step(t, j)
	for range 2 {
		if s := j.Stats(); s.First != 0 || s.Last != 300 || s.Dropped != 200 || s.DroppedAcked != 100 {
			t.Errorf("stats %+v", s)
		}
		if diff := cmp.Diff([]string{"1-100 gone 0/0/0/0", holeOf(101, 300)}, told(t, allOf(t, j, 0, 10, 1000))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		rows, more, err := j.Query(0, 10, all)
		if err != nil || len(rows) != 0 || more {
			t.Errorf("Query gives %v, %v, %v", rows, more, err)
		}
		if rows, err := j.After(0, 10); err != nil || len(rows) != 0 {
			t.Errorf("After gives %v, %v", rows, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = stepped(t, dir, 0)
	}
	p := j.Append([]byte("x"))
	step(t, j)
	if seq, err := p.Result(); seq != 301 || err != nil || j.Stats().First != 301 {
		t.Errorf("the next one is %d, %v, %+v", seq, err, j.Stats())
	}
	for _, before := range []uint64{0, 5, 301, 302, 1 << 40} {
		want := 1
		if before == 5 || before == 301 {
			want = 0
		}
		if rows, more, err := j.Query(before, 10, all); err != nil || len(rows) != want || more {
			t.Errorf("Query below %d gives %v, %v, %v", before, rows, more, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRetentionOfDamage: a damaged record that is dropped is in the span and
// in no count, because what it was nobody knows.
func TestRetentionOfDamage(t *testing.T) {
	dir := t.TempDir()
	j := stepped(t, dir, 0)
	fill(t, j, 600, 50)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	inBolt(t, filepath.Join(dir, FileName), func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRecords)
		for _, k := range [][]byte{key(3), append(key(5), 'x')} {
			if err := b.Put(k, []byte("damaged")); err != nil {
				return err
			}
		}
		return b.Delete(key(9)) // gone without a note, so that there are two holes
	})
	j = stepped(t, dir, 100<<10)
	step(t, j)
	s := j.Stats()
	if s.First < 20 || s.Dropped != s.First-2 {
		t.Fatalf("stats %+v", s)
	}
	want := []string{"1-8 retention 3/3/1/0", "9-9 gone 0/0/0/0", holeOf(10, s.First-1)}
	if diff := cmp.Diff(want, replayed(t, j, 0, 3, 1000)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHoleAcrossEpochs: a hole that the fleet has begun to pass when the
// epoch changes comes whole behind what was told under the old one, in an
// answer of its own because they overlap.
func TestHoleAcrossEpochs(t *testing.T) {
	j := stepped(t, t.TempDir(), 0)
	fill(t, j, 600, 50)
	j.Retain(100 << 10)
	step(t, j)
	first := j.Stats().First
	if err := j.Acknowledge(j.Epoch(), first/2); err != nil { // it had these when they were dropped
		t.Fatal(err)
	}
	if err := j.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	floor := fmt.Sprintf("1-%d earlier_epoch 0/0/0/0", first/2)
	if diff := cmp.Diff([]string{floor}, replayed(t, j, 0, 10, 1000)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := replayed(t, j, first/2, 10, 1000)
	if len(got) < 2 || got[0] != holeOf(1, first-1) {
		t.Errorf("behind it comes %.3q", got)
	}
	if items := allOf(t, j, 0, 100, 1<<20); items[len(items)-1].Last != 600 {
		t.Errorf("it ends with %d", items[len(items)-1].Last)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHoleIsForgotten once the fleet has passed its end, and not before.
func TestHoleIsForgotten(t *testing.T) {
	j := stepped(t, t.TempDir(), 0)
	fill(t, j, 600, 50)
	j.Retain(100 << 10)
	step(t, j)
	end := j.Stats().First - 1
	j.Retain(0)
	for _, tt := range []struct {
		acked uint64
		want  string
	}{{end - 1, holeOf(1, end)}, {end, fmt.Sprintf("1-%d gone 0/0/0/0", end)}} {
		if err := j.Acknowledge(j.Epoch(), tt.acked); err != nil {
			t.Fatal(err)
		}
		step(t, j)
		if diff := cmp.Diff([]string{tt.want}, replayed(t, j, 0, 1, 1)); diff != "" {
			t.Errorf("acknowledged %d of the hole to %d (-want +got):\n%s", tt.acked, end, diff)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLongSilence: 50,000 records that no fleet takes stay under the limit,
// no commit drops more than its share, and a journal that is suddenly far
// over its limit gets there piece by piece.
func TestLongSilence(t *testing.T) {
	const records, perCommit = 50000, 20
	j := stepped(t, t.TempDir(), 2<<20)
	most, longest := uint64(0), time.Duration(0)
	commits := func() {
		t.Helper()
		for more := true; more; {
			before, began := j.Stats(), time.Now()
			var err error
			if more, err = j.commit(j.take()); err != nil {
				t.Fatal(err)
			}
			most, longest = max(most, j.Stats().Dropped-before.Dropped), max(longest, time.Since(began))
		}
	}
	for n := range uint64(records) {
		j.Append(resultBody(t, verdictOf(n+1), fmt.Sprint(n+1), 200))
		if n%perCommit == perCommit-1 {
			commits()
			if used := j.Stats().Used; used > 2<<20 {
				t.Fatalf("%d bytes are in use after %d records", used, n+1)
			}
		}
	}
	t.Logf("%d records, a commit dropped %d at most, took %v at most, and the file has %d bytes", records, most, longest, j.Stats().Bytes)
	if most > dropMost/200 || most == 0 {
		t.Errorf("a commit dropped %d records", most)
	}
	if diff := cmp.Diff([]string{holeOf(1, j.Stats().First-1)}, replayed(t, j, 0, 1, 1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	most, longest = 0, 0
	j.Retain(256 << 10)
	before := j.Stats()
	commits()
	s := j.Stats()
	t.Logf("to a lower limit: %d commits dropped %d records, %d at most, and took %v at most", s.Commits-before.Commits, s.Dropped-before.Dropped, most, longest)
	if s.Used > 256<<10 || s.Commits-before.Commits < 5 || most > dropMost/200 {
		t.Errorf("stats %+v, a commit dropped %d", s, most)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
