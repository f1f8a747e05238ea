package journal

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/sightline-edge/sightline/sync/wire"
)

// resultBody is a result's record with that verdict, name and about so many
// bytes.
func resultBody(t testing.TB, v wire.Verdict, name string, size int) []byte {
	t.Helper()
	b, err := wire.EncodeResult(&wire.Result{PartId: name, Verdict: v, Reason: strings.Repeat("x", size)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// told writes items as "first-last reason pass/fail/none/other" and
// "seq body", for comparing.
func told(t testing.TB, items []wire.Item) []string {
	t.Helper()
	var out []string
	for _, it := range items {
		if r, err := wire.Decode(it.Body); err == nil && r.GetHole() != nil {
			h := r.GetHole()
			if h.GetFirst() != it.First || h.GetLast() != it.Last {
				t.Errorf("the item %d-%d has the hole %v", it.First, it.Last, h)
			}
			out = append(out, fmt.Sprintf("%d-%d %s %d/%d/%d/%d", it.First, it.Last, h.GetReason(), h.GetPass(), h.GetFail(), h.GetNone(), h.GetOther()))
			continue
		}
		if it.First != it.Last {
			t.Errorf("the record %d-%d is no single one", it.First, it.Last)
		}
		out = append(out, fmt.Sprintf("%d %s", it.First, it.Body))
	}
	return out
}

func replayed(t testing.TB, j *Journal, after uint64, limit, bytes int) []string {
	t.Helper()
	items, err := j.Replay(after, limit, bytes)
	if err != nil {
		t.Fatal(err)
	}
	return told(t, items)
}

// allOf replays all in small pieces, as the uplink does, and checks that what
// comes fits together and can be sent.
func allOf(t testing.TB, j *Journal, after uint64, limit, bytes int) []wire.Item {
	t.Helper()
	var all []wire.Item
	for {
		items, err := j.Replay(after, limit, bytes)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) == 0 {
			return all
		}
		size := 0
		for i, it := range items {
			size += len(it.Body)
			if i == 0 && it.First > after+1 || i > 0 && it.First != after+1 || it.Last < after+1 {
				t.Fatalf("%d-%d follows %d", it.First, it.Last, after)
			}
			after = it.Last
		}
		if len(items) > limit || (len(items) > 1 && size > bytes) {
			t.Fatalf("%d items of %d bytes, at most %d of %d were asked for", len(items), size, limit, bytes)
		}
		if _, err := wire.EncodeBatch(&wire.Batch{Epoch: 1, Items: items}); err != nil {
			t.Fatal(err)
		}
		all = append(all, items...)
	}
}

func TestReplayGivesRecordsAndAmendments(t *testing.T) {
	j, _ := running(t, t.TempDir())
	for i := range 4 {
		j.Append(fmt.Appendf(nil, "<%d>", i+1))
	}
	<-j.Amend(2, []byte("<late>")).Done()
	for _, tt := range []struct {
		after        uint64
		limit, bytes int
		want         []string
	}{
		{0, 10, 1000, []string{"1 <1>", "2 <2>", "3 <3>", "4 <4>", "5 <late>"}},
		{3, 10, 1000, []string{"4 <4>", "5 <late>"}},
		{0, 2, 1000, []string{"1 <1>", "2 <2>"}},
		{0, 10, 8, []string{"1 <1>", "2 <2>"}},
		{0, 10, 0, []string{"1 <1>"}}, // always one
		{0, 0, 1000, nil},
		{5, 10, 1000, nil}, {6, 10, 1000, nil}, {1<<64 - 1, 10, 1000, nil},
	} {
		if diff := cmp.Diff(tt.want, replayed(t, j, tt.after, tt.limit, tt.bytes)); diff != "" {
			t.Errorf("after %d, %d items, %d bytes (-want +got):\n%s", tt.after, tt.limit, tt.bytes, diff)
		}
	}
}

// TestShown: the fleet can know of what was there when the journal was opened,
// and of what was replayed since, under this epoch; of nothing else.
func TestShown(t *testing.T) {
	dir := t.TempDir()
	j, stop := running(t, dir)
	shown := func(j *Journal, when string, want uint64) {
		t.Helper()
		if got := j.Stats().Shown; got != want {
			t.Errorf("%s: up to %d is shown, want %d", when, got, want)
		}
	}
	for range 4 {
		<-j.Append([]byte("x")).Done()
	}
	shown(j, "written", 0)
	replayed(t, j, 0, 2, 1000)
	shown(j, "replayed in part", 2)
	replayed(t, j, 0, 1, 1000)
	replayed(t, j, 9, 1, 1000)
	shown(j, "replayed again", 2)
	stop()
	j, _ = running(t, dir)
	<-j.Append([]byte("x")).Done()
	shown(j, "opened again", 4)
	if err := j.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	shown(j, "under a new epoch", 0)
	replayed(t, j, 0, 10, 1000)
	shown(j, "under a new epoch, replayed", 5)
}

// TestReplayDamage: one bad record is a hole of one, neighbours are one hole,
// and so are records that are missing without a note.
func TestReplayDamage(t *testing.T) {
	const records = 3000
	path := filled(t, records)
	inBolt(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRecords)
		for seq := uint64(1); seq <= records; seq++ {
			switch {
			case seq == 500, seq >= 700 && seq < 2100: // more than one transaction reads
				if err := b.Put(key(seq), []byte("nothing that was sealed")); err != nil {
					return err
				}
			case seq <= 3, seq >= 2100 && seq < 2200, seq == 2202:
				if err := b.Delete(key(seq)); err != nil {
					return err
				}
			}
		}
		return b.Put([]byte("odd"), []byte("x"))
	})
	// An odd key at the very end is damage that Open sees; one in between isn't.
	inBolt(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRecords)
		if err := b.Delete([]byte("odd")); err != nil {
			return err
		}
		return b.Put(append(key(600), 'x'), []byte("x"))
	})
	j, _ := running(t, filepath.Dir(path))
	want := []string{"1-3 gone 0/0/0/0"}
	for seq := 4; seq <= records; seq++ {
		switch seq {
		case 500:
			want = append(want, "500-500 damaged 0/0/0/0")
		case 700:
			want = append(want, "700-2099 damaged 0/0/0/0", "2100-2199 gone 0/0/0/0")
			seq = 2199
		case 2202:
			want = append(want, "2202-2202 gone 0/0/0/0")
		default:
			want = append(want, fmt.Sprintf("%d <record %06d>", seq, seq))
		}
	}
	if diff := cmp.Diff(want, told(t, allOf(t, j, 0, wire.MaxBatchItems, 1<<20))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1000-2099 damaged 0/0/0/0"}, replayed(t, j, 999, 1, 1)); diff != "" {
		t.Errorf("from within the damaged ones (-want +got):\n%s", diff)
	}
	if j.Stats().Bad == 0 {
		t.Error("nothing was counted as bad")
	}
	if first := j.Stats().First; first != 4 {
		t.Errorf("the first is %d", first)
	}
}

// TestReplayWaitsForTheSync: what a reader sees of a commit before it counts
// isn't given, else the fleet could know of a number that a power cut gives
// to another record.
func TestReplayWaitsForTheSync(t *testing.T) {
	j, _ := running(t, t.TempDir())
	for range 5 {
		<-j.Append([]byte("x")).Done()
	}
	j.mu.Lock()
	j.stats.Last = 3 // as if the sync of the last commit were under way
	j.mu.Unlock()
	if n := len(replayed(t, j, 0, 10, 1000)); n != 3 {
		t.Errorf("%d items", n)
	}
	if rows, err := j.After(0, 10); err != nil || len(rows) != 3 {
		t.Errorf("After gives %d, %v", len(rows), err)
	}
	if rows, _, err := j.Query(0, 10, all); err != nil || len(rows) != 3 {
		t.Errorf("Query gives %d, %v", len(rows), err)
	}
}

// TestDamagedState: marks and holes that went bad are never believed. What
// they said is told as unknown, and goes away.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	j, stop := running(t, dir)
	for range 10 {
		<-j.Append([]byte("x")).Done()
	}
	if err := j.Acknowledge(j.Epoch(), 8); err != nil {
		t.Fatal(err)
	}
	stop()
	inBolt(t, filepath.Join(dir, FileName), func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketState)
		if len(b.Get(keyMarks)) != headerSize+marksSize {
			t.Error("no marks were saved")
		}
		wrong := append([]byte{}, b.Get(keyMarks)...)
		wrong[headerSize] ^= 4
		if err := b.Put(keyMarks, wrong); err != nil {
			return err
		}
		for n := range uint64(5) {
			if err := tx.Bucket(bucketRecords).Delete(key(n + 1)); err != nil {
				return err
			}
		}
		h := &wire.Hole{First: 1, Last: 5, Pass: 5, Reason: wire.HoleRetention}
		if err := storeHole(tx, h); err != nil {
			return err
		}
		wrong = append([]byte{}, b.Get(holeKey(1))...)
		wrong[len(wrong)-1] ^= 4
		return b.Put(holeKey(1), wrong)
	})
	j, _ = running(t, dir)
	if s := j.Stats(); s.Acknowledged != 0 || s.Bad != 1 || s.First != 6 {
		t.Errorf("stats %+v", s)
	}
	if diff := cmp.Diff([]string{"1-5 gone 0/0/0/0", "6 x"}, replayed(t, j, 0, 2, 100)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := j.Acknowledge(j.Epoch(), 6); err != nil {
		t.Fatal(err)
	}
	<-j.Append([]byte("y")).Done()
	err := j.view(func(tx *bbolt.Tx) error {
		if holes, bad := loadHoles(tx); len(holes)+len(bad) != 0 {
			t.Errorf("%d holes, %d bad ones are left", len(holes), len(bad))
		}
		if m, ok := loadMarks(tx); !ok || m.acked != 6 {
			t.Errorf("marks %+v, %v", m, ok)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
