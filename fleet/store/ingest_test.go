package store

import (
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

func results(t testing.TB, s *Store, q Query) []Row {
	t.Helper()
	all, _, err := s.Results(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func scanNumber(r *sql.Rows) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}

func totals(t testing.TB, s *Store, device string, want Totals) {
	t.Helper()
	if got, err := s.Totals(t.Context(), device); err != nil || got != want {
		t.Errorf("totals of %q: %+v, %v, want %+v", device, got, err, want)
	}
}

func TestWatermark(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	const epoch = math.MaxUint64
	ten := func(first uint64) (items []wire.Item) {
		for seq := first; seq < first+10; seq++ {
			items = append(items, record(seq, vision.Pass))
		}
		return items
	}
	marks := take(t, s, []uint64{0, 10, 20, 10, 0, 20, 10},
		batch("dev-a", epoch, ten(2)...), batch("dev-a", epoch, ten(1)...), batch("dev-a", epoch, ten(11)...), // a gap, and two that go on
		batch("dev-b", epoch, ten(1)...), batch("dev-b", 7, ten(11)...), // another device, another epoch
		batch("dev-a", epoch, ten(6)...), batch("dev-b", epoch, ten(1)...)) // what came before
	for i, want := range []Took{{Gap: true}, {}, {}, {}, {Gap: true}, {Duplicates: 10}, {Duplicates: 10}} {
		if diff := cmp.Diff(want, marks[i].Took, cmpopts.IgnoreFields(Took{}, "Rows")); diff != "" {
			t.Errorf("batch %d: %s", i, diff)
		}
	}
	take(t, s, []uint64{25, 0}, batch("dev-a", epoch, ten(16)...), batch("dev-a", 0))
	totals(t, s, "dev-a", Totals{Results: 25, Pass: 25})
	totals(t, s, "", Totals{Results: 35, Pass: 35})
	for _, want := range []Mark{
		{Device: "dev-a", Epoch: epoch, Watermark: 25, Known: true}, {Device: "dev-a", Epoch: 8, Known: true}, {Device: "dev-x", Epoch: epoch},
	} {
		if got, err := s.Watermark(t.Context(), want.Device, want.Epoch); err != nil || !cmp.Equal(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	rows := results(t, s, Query{Device: "dev-a"})
	if len(rows) != 25 || rows[0].Seq != 25 || rows[0].Epoch != epoch || rows[0].Part != "part-25" || rows[0].Record.GetPartId() != "part-25" {
		t.Errorf("%d rows, the first is %+v", len(rows), rows[0])
	}
	one, err := s.Result(t.Context(), rows[0].ID)
	if diff := cmp.Diff(&rows[0], one, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := s.Result(t.Context(), 1000); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// TestStranger: nothing is stored of a device that isn't enrolled, or was
// revoked, and others in the same transaction don't notice.
func TestStranger(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	if err := s.Revoke(t.Context(), "dev-b", s.Now()); err != nil {
		t.Fatal(err)
	}
	marks := take(t, s, []uint64{0, 0, 1}, batch("dev-x", 1, record(1, vision.Pass)), batch("dev-b", 1, record(1, vision.Pass)), batch("dev-a", 1, record(1, vision.Pass)))
	if marks[0].Known || marks[1].Known || !marks[2].Known {
		t.Errorf("got %+v", marks)
	}
	totals(t, s, "", Totals{Results: 1, Pass: 1})
}

// TestPoison: what can't be read is set aside, and holds nothing up.
func TestPoison(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	odd := func(r *wire.Result) { r.PartId, r.Station, r.Verdict = "a\x00b", "", 77 }
	items := []wire.Item{
		record(1, vision.Pass), {First: 2, Last: 2, Body: []byte("\xff\xff no record")}, {First: 3, Last: 3}, // of no kind
		{First: 4, Last: 4, Body: []byte{0x7a, 1, 'x'}}, // of a kind to come
		{First: 5, Last: 9, Body: record(5, vision.Pass).Body}, record(10, vision.Fail, odd),
	}
	marks := take(t, s, []uint64{10}, batch("dev-a", 1, items...))
	if took := marks[0].Took; took.Unreadable != 4 || len(took.Rows) != 2 {
		t.Errorf("got %+v", took)
	}
	totals(t, s, "dev-a", Totals{Results: 2, Pass: 1, None: 1, Unreadable: 4})
	if rows := results(t, s, Query{Part: "a\x00b"}); len(rows) != 1 || rows[0].Verdict != vision.None || rows[0].Part != "a\x00b" {
		t.Errorf("got %+v", rows)
	}
	type aside struct {
		seq       int64
		why, body string
	}
	bad, err := rows(t.Context(), s, func(r *sql.Rows) (a aside, err error) {
		err = r.Scan(&a.seq, &a.why, &a.body)
		return a, err
	}, `SELECT seq, why, body FROM unreadable ORDER BY seq`)
	if err != nil || len(bad) != 4 || bad[0].body != string(items[1].Body) || bad[3].seq != 5 || !strings.Contains(bad[3].why, "5 to 9") {
		t.Errorf("got %+v, %v", bad, err)
	}
}

// TestRange: numbers that SQLite can't have are refused, whatever else comes
// with them; those just below are stored.
func TestRange(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	span := func(first, last uint64) wire.Item {
		return hole(&wire.Hole{First: first, Last: last, Pass: math.MaxUint64, Fail: math.MaxUint64, None: math.MaxUint64, Other: math.MaxUint64})
	}
	for epoch := range uint64(8) { // more than fits into 63 bits
		take(t, s, []uint64{maxSeq}, batch("dev-a", epoch, span(1, maxSeq)))
		if epoch < 3 {
			totals(t, s, "dev-a", Totals{Holes: (epoch + 1) * maxSeq})
		}
	}
	marks := take(t, s, []uint64{0, 0, 1, maxSeq, maxSeq}, batch("dev-b", 1, span(1, maxSeq+1)), batch("dev-b", 1, span(1, math.MaxUint64-1)),
		batch("dev-b", 1, record(1, vision.Pass)), batch("dev-a", 1, record(maxSeq+1, vision.Pass)), batch("dev-a", 1, record(maxSeq, vision.Pass)))
	for i, want := range []error{ErrRange, ErrRange, nil, ErrRange, nil} {
		if !errors.Is(marks[i].Took.Err, want) {
			t.Errorf("batch %d: %v", i, marks[i].Took.Err)
		}
	}
	totals(t, s, "dev-a", Totals{Holes: math.MaxUint64})
	totals(t, s, "", Totals{Results: 1, Pass: 1, Holes: math.MaxUint64})
	take(t, s, []uint64{2}, batch("dev-b", 1, told(2, math.MaxUint64, vision.Fail, "of nothing")))
}

// TestEpochs: a device that begins one journal after another is refused in the
// end, alone, and only what it begins.
func TestEpochs(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	var all []Batch
	for epoch := range uint64(maxEpochs) {
		all = append(all, batch("dev-a", epoch, record(1, vision.Pass)))
	}
	for i, m := range take(t, s, slices.Repeat([]uint64{1}, maxEpochs), all...) {
		if m.Took.Err != nil {
			t.Fatal(i, m.Took.Err)
		}
	}
	marks := take(t, s, []uint64{0, 2, 0, 1}, batch("dev-a", maxEpochs, record(1, vision.Pass)), batch("dev-a", 1, record(2, vision.Fail)),
		batch("dev-a", maxEpochs, record(2, vision.Pass)), batch("dev-b", maxEpochs, record(1, vision.Pass)))
	for i, want := range []error{ErrEpochs, nil, ErrEpochs, nil} {
		if !errors.Is(marks[i].Took.Err, want) || !marks[i].Known {
			t.Errorf("batch %d: %+v", i, marks[i])
		}
	}
	totals(t, s, "dev-a", Totals{Results: maxEpochs + 1, Pass: maxEpochs, Fail: 1})
	totals(t, s, "", Totals{Results: maxEpochs + 2, Pass: maxEpochs + 1, Fail: 1})
	totals(t, s, "dev-x", Totals{})
}

// TestTold: an amendment changes what its result was told, wherever it comes;
// one without a result is kept.
func TestTold(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	late := func(r *wire.Result) {
		r.Told = &wire.Answer{Verdict: wire.Verdict_VERDICT_NONE, Reason: vision.ReasonNotRecorded}
	}
	marks := take(t, s, []uint64{5}, batch("dev-a", 1, record(1, vision.Pass), record(2, vision.Pass), told(3, 2, vision.None, "late"),
		hole(&wire.Hole{First: 4, Last: 4, Pass: 1, Reason: wire.HoleRetention}), record(5, vision.Fail, late)))
	if r := marks[0].Took.Rows; len(r) != 3 || r[1].Verdict != vision.None || r[1].Reason != "late" || r[2].Verdict != vision.None || marks[0].Took.Amended != 1 {
		t.Errorf("got %+v", marks[0].Took)
	}
	totals(t, s, "", Totals{Results: 3, Pass: 1, None: 2, Holes: 1})
	take(t, s, []uint64{10}, batch("dev-a", 1, told(6, 1, vision.Fail, "first"), told(7, 1, vision.None, "then"), told(8, 4, vision.Fail, "of the hole"),
		told(9, 10, vision.Fail, "of what comes"), record(10, vision.Pass)))
	totals(t, s, "", Totals{Results: 4, Pass: 1, None: 3, Holes: 1})
	all := results(t, s, Query{})
	if r := all[3]; r.Seq != 1 || r.Verdict != vision.None || r.Reason != "then" || r.Told.GetAnswer().GetReason() != "then" || r.Record.GetReason() != "pass" {
		t.Errorf("got %+v", r)
	}
	if r := all[0]; r.Seq != 10 || r.Verdict != vision.Pass || r.Told != nil {
		t.Errorf("got %+v", r)
	}
	kept, err := rows(t.Context(), s, scanNumber, `SELECT seq FROM amendment ORDER BY seq`)
	if diff := cmp.Diff([]int64{8, 9}, kept); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// TestRetold: earlier results that were told otherwise come with the batch that
// did so, once each and as they are in the end; results of now don't.
func TestRetold(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	take(t, s, []uint64{3, 1}, batch("dev-a", 1, record(1, vision.Pass), record(2, vision.Fail), record(3, vision.Pass)), batch("dev-b", 1, record(1, vision.Pass)))
	marks := take(t, s, []uint64{6, 7, 2}, batch("dev-a", 1, told(4, 1, vision.Fail, "first"), record(5, vision.Pass), told(6, 2, vision.None, "late")),
		batch("dev-a", 1, told(7, 1, vision.None, "then")), batch("dev-b", 1, told(2, 7, vision.Pass, "of nothing")))
	if n := []int{len(marks[0].Took.Rows), len(marks[0].Took.Retold), len(marks[1].Took.Retold), len(marks[2].Took.Retold)}; !slices.Equal(n, []int{1, 1, 1, 0}) {
		t.Fatalf("new, and told otherwise: %v", n)
	}
	for _, got := range []Row{marks[0].Took.Retold[0], marks[1].Took.Retold[0]} {
		want, err := s.Result(t.Context(), got.ID)
		if err != nil {
			t.Fatal(err)
		}
		want.Again = true
		if diff := cmp.Diff(*want, got, protocmp.Transform()); diff != "" || got.Seq > 2 || got.Verdict != vision.None {
			t.Errorf("record %d, told %s: %s", got.Seq, got.Verdict, diff)
		}
	}
	if marks[0].Took.Retold[0].Seq != 2 || marks[1].Took.Retold[0].Reason != "then" {
		t.Errorf("got %+v", marks)
	}
	again := take(t, s, []uint64{7}, batch("dev-a", 1, told(7, 1, vision.Fail, "then")))
	if n := len(again[0].Took.Retold); n != 0 {
		t.Errorf("what came twice told %d", n)
	}
}

// TestRetoldIsBounded: a device that amends any number of long results in one
// transaction has all amended, and doesn't make the fleet read them all again.
func TestRetoldIsBounded(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	const n, each = 40, 1 << 15
	long := func(r *wire.Result) {
		for range each >> 10 {
			r.Evidence = append(r.Evidence, &wire.Evidence{Label: strings.Repeat("x", 1<<10)})
		}
	}
	all, amend := batch("dev-a", 1), batch("dev-a", 1)
	for seq := uint64(1); seq <= n; seq++ {
		all.Batch.Items = append(all.Batch.Items, record(seq, vision.Pass, long))
		amend.Batch.Items = append(amend.Batch.Items, told(n+seq, seq, vision.Fail, "x"))
	}
	take(t, s, []uint64{n}, all)
	marks := take(t, s, []uint64{2 * n}, amend)
	if took := marks[0].Took; took.Amended != n || len(took.Retold) != retoldBytes/each {
		t.Errorf("%d amended, %d told of, want %d", took.Amended, len(took.Retold), retoldBytes/each)
	}
	totals(t, s, "", Totals{Results: n, Fail: n})
}

// TestRetoldDamage: a result that its disk spoiled is no reason to take no
// amendment of it.
func TestRetoldDamage(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	take(t, s, []uint64{2}, batch("dev-a", 1, record(1, vision.Pass), record(2, vision.Pass)))
	if _, err := s.writer.Exec(`UPDATE result SET body = x'ffff' WHERE seq = 1`); err != nil {
		t.Fatal(err)
	}
	marks := take(t, s, []uint64{4}, batch("dev-a", 1, told(3, 1, vision.Fail, "x"), told(4, 2, vision.Fail, "x")))
	if got := marks[0].Took.Retold; len(got) != 1 || got[0].Seq != 2 {
		t.Errorf("got %+v", got)
	}
}

// TestHoleOverRecords: records that had come are not counted again by a hole
// that covers them too.
func TestHoleOverRecords(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	late := func(r *wire.Result) { r.Told = &wire.Answer{Verdict: wire.Verdict_VERDICT_NONE} }
	take(t, s, []uint64{5}, batch("dev-a", 1, record(1, vision.Pass), record(2, vision.Pass, late), record(3, vision.Fail), told(4, 3, vision.Pass, "x"), record(5, vision.None)))
	for i, h := range []*wire.Hole{
		{First: 2, Last: 10, Pass: 3, Fail: 2, None: 1, Other: 3}, // 1 pass, 1 fail, 1 none, 1 other are here
		{First: 2, Last: 20, Pass: 7, Fail: 4, None: 2, Other: 6}, // and what the first hole said
		{First: 21, Last: 21, Pass: 9, Fail: 9},                   // a lie
		{First: 9, Last: 15, Pass: 7},                             // nothing new
	} {
		take(t, s, []uint64{[]uint64{10, 20, 21, 21}[i]}, batch("dev-a", 1, hole(h)))
	}
	holes, err := s.Holes(t.Context(), "dev-a", 10)
	want := []Hole{
		{Device: "dev-a", Epoch: 1, First: 21, Last: 21, Pass: 1},
		{Device: "dev-a", Epoch: 1, First: 11, Last: 20, Pass: 4, Fail: 2, None: 1, Other: 3},
		{Device: "dev-a", Epoch: 1, First: 6, Last: 10, Pass: 2, Fail: 1, Other: 2},
	}
	if diff := cmp.Diff(want, holes, cmpopts.IgnoreFields(Hole{}, "Received")); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	totals(t, s, "", Totals{Results: 4, Pass: 2, None: 2, Holes: 16})
}

// TestHoleGrows: a hole whose acknowledgement was lost comes again, longer. Its
// counts are exact however many records it stands for; where nobody can know
// them they are left out, never put to the wrong verdict.
func TestHoleGrows(t *testing.T) {
	retention := func(first, last, pass, fail uint64) wire.Item {
		return hole(&wire.Hole{First: first, Last: last, Pass: pass, Fail: fail, Reason: wire.HoleRetention})
	}
	uncounted := func(last uint64, reason string) wire.Item {
		return hole(&wire.Hole{First: 1, Last: last, Reason: reason})
	}
	spots := func(n uint64) (items []wire.Item) {
		for seq := range n {
			items = append(items, hole(&wire.Hole{First: seq + 1, Last: seq + 1, Reason: wire.HoleDamaged}))
		}
		return items
	}
	for i, tt := range []struct {
		name string
		sent [][]wire.Item
		want []Hole // the newest of those that were stored
	}{
		{"and again", [][]wire.Item{{retention(1, 10_000, 9_000, 1_000)}, {retention(1, 50_000, 45_000, 5_000)}, {retention(1, 50_001, 45_001, 5_000)}},
			[]Hole{{First: 50_001, Last: 50_001, Pass: 1}, {First: 10_001, Last: 50_000, Pass: 36_000, Fail: 4_000}}},
		{"after records", [][]wire.Item{{record(1, vision.Pass), record(2, vision.Fail), retention(3, 10_000, 9_000, 998)}, {retention(2, 50_000, 45_000, 4_999)}},
			[]Hole{{First: 10_001, Last: 50_000, Pass: 36_000, Fail: 4_000}}},
		{"from within one", [][]wire.Item{{retention(1, 20_000, 15_000, 5_000)}, {retention(10_001, 50_000, 30_000, 10_000)}},
			[]Hole{{First: 20_001, Last: 50_000, Pass: 15_000, Fail: 5_000}}}, // as if all were of the newer one
		{"earlier epoch", [][]wire.Item{{uncounted(60, wire.HoleEarlierEpoch)}, {retention(1, 100, 60, 40)}, {retention(1, 120, 75, 45)}, {retention(121, 130, 9, 1)}},
			[]Hole{{First: 121, Last: 130, Pass: 9, Fail: 1}, {First: 101, Last: 120}, {First: 61, Last: 100}}},
		{"gone", [][]wire.Item{{uncounted(60, wire.HoleGone)}, {retention(41, 100, 20, 40)}}, []Hole{{First: 61, Last: 100}}},
		{"damage", [][]wire.Item{spots(2), {retention(1, 100, 60, 38)}}, []Hole{{First: 3, Last: 100, Pass: 60, Fail: 38}}},
		{"as much damage as is looked at", [][]wire.Item{spots(maxOverlapHoles), {retention(1, 1000, 1000-maxOverlapHoles, 0)}},
			[]Hole{{First: maxOverlapHoles + 1, Last: 1000, Pass: 1000 - maxOverlapHoles}}},
		{"too much damage", [][]wire.Item{spots(maxOverlapHoles), {retention(maxOverlapHoles+1, 600, 0, 88)}, {retention(1, 1000, 200, 288)}}, []Hole{{First: 601, Last: 1000}}},
	} {
		s := fresh(t)
		enrol(t, s, "dev-a")
		for _, items := range tt.sent {
			take(t, s, []uint64{items[len(items)-1].Last}, batch("dev-a", uint64(i), items...))
		}
		got, err := s.Holes(t.Context(), "dev-a", len(tt.want))
		if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Hole{}, "Device", "Epoch", "Received", "Reason")); err != nil || diff != "" {
			t.Errorf("%s: %v %s", tt.name, err, diff)
		}
	}
}

// TestLateHoleOfManyRecords: the same for records. Up to so many they are
// counted one by one, beyond that the hole's counts are unknown.
func TestLateHoleOfManyRecords(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	for device, more := range map[string]uint64{"dev-a": 0, "dev-b": 1} {
		last := maxOverlap + more
		b := batch(device, 1)
		for seq := range last {
			b.Batch.Items = append(b.Batch.Items, record(seq+1, vision.Pass))
		}
		take(t, s, []uint64{last}, b)
		take(t, s, []uint64{2 * maxOverlap}, batch(device, 1, hole(&wire.Hole{First: 1, Last: 2 * maxOverlap, Pass: last, Fail: 2*maxOverlap - last})))
		want := []Hole{{Device: device, Epoch: 1, First: last + 1, Last: 2 * maxOverlap, Fail: 2*maxOverlap - last}}
		if more > 0 {
			want[0].Fail = 0
		}
		got, err := s.Holes(t.Context(), device, 0)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Hole{}, "Received")); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
}
