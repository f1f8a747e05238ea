package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// filled is the path of a closed journal with that many records.
func filled(t *testing.T, records int) string {
	t.Helper()
	dir := t.TempDir()
	j, stop := running(t, dir)
	for i := range records {
		j.Append(fmt.Appendf(nil, "<record %06d>", i+1))
	}
	stop()
	return filepath.Join(dir, FileName)
}

func change(t *testing.T, path string, f func([]byte) []byte) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = f(b)
	if err := os.WriteFile(path, b, 0o640); err != nil {
		t.Fatal(err)
	}
	return b
}

// flip changes one bit in every copy of the text: bbolt leaves old pages
// behind.
func flip(t *testing.T, text string) func([]byte) []byte {
	return func(b []byte) []byte {
		if !bytes.Contains(b, []byte(text)) {
			t.Fatalf("the file has no %q", text)
		}
		wrong := []byte(text)
		wrong[len(wrong)/2] ^= 4
		return bytes.ReplaceAll(b, []byte(text), wrong)
	}
}

func inBolt(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o640, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFileIsPutAside: the bad file is kept as it was, a new journal
// takes its place under a new epoch, and the next start finds that one.
func TestDamagedFileIsPutAside(t *testing.T) {
	bolt := func(f func(*bbolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) { inBolt(t, path, f) }
	}
	bytesOf := func(f func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { change(t, path, f) }
	}
	for _, tt := range []struct {
		name   string
		damage func(*testing.T, string)
		reason string
	}{
		{"empty", bytesOf(func([]byte) []byte { return nil }), "no valid meta page"},
		{"garbage", bytesOf(func(b []byte) []byte { return bytes.Repeat([]byte("not a database "), 4096) }), "no valid meta page"},
		{"cut", bytesOf(func(b []byte) []byte { return b[:3*os.Getpagesize()+5] }), "is cut: it has"},
		{"zeroed", bytesOf(func(b []byte) []byte { return make([]byte, len(b)) }), "no valid meta page"},
		{"pages zeroed", bytesOf(func(b []byte) []byte {
			clear(b[2*os.Getpagesize():])
			return b
		}), "says that it is page 0"},
		{"newest record", func(t *testing.T, path string) { change(t, path, flip(t, "<record 003000>")) }, "record 3000: the record on disk is damaged"},
		{"no bucket", bolt(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketAmended) }), "a bucket is missing"},
		{"no epoch", bolt(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyEpoch) }), "format or epoch is missing"},
		{"newest gone", bolt(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRecords).Delete(key(3000)) }), "record 3000 is missing"},
		{"odd key", bolt(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRecords).Put([]byte("zzz"), []byte("x")) }), "record 3000 is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filled(t, 3000)
			j, _, err := Open(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			epoch := j.Epoch()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, path)
			bad, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			j, opened, err := Open(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			if kept, err := os.ReadFile(opened.Quarantined); err != nil || !bytes.Equal(kept, bad) {
				t.Errorf("the bad file isn't kept as it was: %v", err)
			}
			if !strings.HasPrefix(opened.Quarantined, path+".bad-") || !strings.Contains(opened.Reason, tt.reason) {
				t.Errorf("told %+v, want the reason %q", opened, tt.reason)
			}
			if j.Epoch() == epoch || j.Stats().Last != 0 {
				t.Errorf("the new journal has epoch %x (was %x) and %d records", j.Epoch(), epoch, j.Stats().Last)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			running(t, filepath.Dir(path))
		})
	}
}

// TestNamesOfBadFiles: two quarantines in one second don't overwrite.
func TestNamesOfBadFiles(t *testing.T) {
	dir := t.TempDir()
	for n := range 3 {
		if err := os.WriteFile(filepath.Join(dir, FileName), fmt.Append(nil, n), 0o640); err != nil {
			t.Fatal(err)
		}
		_, stop := runningAfter(t, dir)
		stop()
	}
	kept, err := filepath.Glob(filepath.Join(dir, FileName+".bad-*"))
	if err != nil || len(kept) != 3 {
		t.Errorf("kept %q, %v", kept, err)
	}
}

// TestOldDamage: a record that went bad later is left out and counted, its
// neighbours are given; so is one whose amendment went bad, since what was
// told nobody knows.
func TestOldDamage(t *testing.T) {
	path := filled(t, 2000)
	j, stop := running(t, filepath.Dir(path))
	<-j.Amend(1000, []byte("<told something else>")).Done()
	for range 2 * checkNewest {
		j.Append([]byte("later"))
	}
	stop()
	change(t, path, flip(t, "<record 000500>"))
	change(t, path, flip(t, "<told something else>"))
	j, _ = running(t, filepath.Dir(path))
	rows, _, err := j.Query(2001, 5000, all)
	if err != nil || len(rows) != 1998 {
		t.Errorf("%d of 1998 good records, %v", len(rows), err)
	}
	for _, r := range rows {
		if string(r.Body) != fmt.Sprintf("<record %06d>", r.Seq) || r.Seq == 500 || r.Seq == 1000 {
			t.Errorf("record %d is %q", r.Seq, r.Body)
		}
	}
	if bad := j.Stats().Bad; bad != 2 {
		t.Errorf("%d bad records counted, want 2", bad)
	}
	if rows, err := j.After(499, 2); err != nil || len(rows) != 2 || rows[0].Seq != 501 {
		t.Errorf("after 499 come %v, %v", rows, err)
	}
}

// TestNotQuarantined: what isn't damage leaves the file where it is.
func TestNotQuarantined(t *testing.T) {
	path := filled(t, 10)
	inBolt(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, key(2)) })
	if _, opened, err := Open(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "a newer version wrote it") || opened != (Opened{}) {
		t.Errorf("a newer format gave %+v, %v", opened, err)
	}
	inBolt(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, key(format)) })
	db, err := bbolt.Open(path, 0o640, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, opened, err := Open(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "held by another program") || opened != (Opened{}) {
		t.Errorf("a file in use gave %+v, %v", opened, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// A crash while a journal is made leaves this beside nothing or a journal.
	if err := os.WriteFile(path+".new", []byte("half"), 0o640); err != nil {
		t.Fatal(err)
	}
	j, _ := running(t, filepath.Dir(path))
	if last := j.Stats().Last; last != 10 {
		t.Errorf("%d records are there", last)
	}
	if _, _, err := Open(filepath.Join(path, "below")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a data directory below a file gave %v", err)
	}
}

// FuzzUnseal: a value comes back only as it was sealed.
func FuzzUnseal(f *testing.F) {
	f.Add(uint64(7), seal(7, kindRecord, 0, []byte("body")), 3)
	f.Add(uint64(9), seal(9, kindAmendment, 7, []byte("body")), 99)
	f.Fuzz(func(t *testing.T, seq uint64, v []byte, bit int) {
		r, err := unseal(seq, v)
		if err != nil {
			return
		}
		kind := byte(kindRecord)
		if v[4] == kindAmendment {
			kind = kindAmendment
		}
		if again := seal(seq, kind, r.Amends, r.Body); !bytes.Equal(again, v) {
			t.Errorf("%x was sealed as %x", again, v)
		}
		if _, err := unseal(seq+1, v); err == nil {
			t.Error("it was taken under another number")
		}
		wrong := bytes.Clone(v)
		wrong[uint(bit)/8%uint(len(v))] ^= 1 << (uint(bit) % 8)
		if _, err := unseal(seq, wrong); err == nil {
			t.Errorf("it was taken with bit %d wrong", bit)
		}
	})
}

func TestSpan(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	for _, tt := range []struct {
		keys      span
		last, key []byte
		want      bool
	}{
		{span{}, nil, b(""), true}, {span{}, b(""), b(""), false}, {span{}, b("a"), b("b"), true}, {span{}, b("b"), b("a"), false},
		{span{least: b("b")}, nil, b("b"), true}, {span{least: b("b")}, nil, b("a"), false},
		{span{end: b("c")}, b("a"), b("b"), true}, {span{end: b("c")}, b("a"), b("c"), false}, {span{end: b("c")}, nil, b("d"), false},
	} {
		if got := tt.keys.next(tt.last, tt.key); got != tt.want {
			t.Errorf("%q: %q after %q is %v", tt.keys, tt.key, tt.last, got)
		}
	}
}

// TestBitFlips: with any one bit wrong the journal opens or is put aside, and
// no record comes back wrong.
func TestBitFlips(t *testing.T) {
	path := filled(t, 400)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for at := 0; at < len(whole); at++ {
		if whole[at] != 0 {
			used = at
		}
	}
	const flips = 150
	put, given := 0, 0
	rnd := rand.New(rand.NewPCG(1, 2))
	for range flips {
		b := bytes.Clone(whole[:used+os.Getpagesize()])
		at, bit := rnd.IntN(used), rnd.IntN(8)
		b[at] ^= 1 << bit
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), b, 0o640); err != nil {
			t.Fatal(err)
		}
		j, opened, err := Open(dir)
		if err != nil {
			t.Errorf("bit %d of byte %d: %v", bit, at, err)
			continue
		}
		if opened.Quarantined != "" {
			put++
		}
		rows, err := j.After(0, 1000)
		if err != nil {
			t.Errorf("bit %d of byte %d: %v", bit, at, err)
		}
		for _, r := range rows {
			if given++; string(r.Body) != fmt.Sprintf("<record %06d>", r.Seq) {
				t.Errorf("bit %d of byte %d: record %d is %q", bit, at, r.Seq, r.Body)
			}
		}
		if opened.Quarantined == "" && len(rows)+int(j.Stats().Bad) != 400 {
			t.Errorf("bit %d of byte %d: %d good and %d bad records of 400", bit, at, len(rows), j.Stats().Bad)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d flips in %d bytes: %d put aside, %d records given, none wrong", flips, used, put, given)
}
