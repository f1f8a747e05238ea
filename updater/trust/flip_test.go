package trust_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/updater/trust"
)

// Each byte of each file (without SIGHTLINE_FAULTS=full each seventh, from another
// one on in each file), one bit at a time: none is accepted with another meaning. Bytes outside what is signed may change without one, such as the case
// of a hex digit of a signature; they are counted apart.
func TestEveryByteFlipped(t *testing.T) {
	r := newRepo(t)
	device0 := newDevice(t, r.first)
	device0.good(r, now)
	r.addTarget(r.delegate(r.targets, "line", false, "a/*"), "a/x", "delegated")
	r.nextRoot(func() { r.rotate("timestamp") })
	r.update()
	good := newDevice(t, r.first)
	good.disk = maps.Clone(device0.disk)
	good.good(r, now)
	want, err := good.find(r.files, "a/x")
	if err != nil {
		t.Fatal(err)
	}
	bits, every := []byte{1, 0x20}, 7 // each in its turn
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		bits, every = []byte{1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80}, 1
	}
	var refused, same atomic.Int64
	t.Run("files", func(t *testing.T) {
		known := maps.Clone(device0.disk)
		for first, name := range []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "1.line.json"} {
			disk := maps.Clone(known) // what comes before this file is there already
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				file := r.files[name]
				for i := first; i < len(file); i += every {
					for n, bit := range bits {
						if every > 1 && i/every%len(bits) != n {
							continue
						}
						flipped := bytes.Clone(file)
						flipped[i] ^= bit
						files := maps.Clone(r.files)
						files[name] = flipped
						d := newDevice(t, nil)
						d.disk = maps.Clone(disk)
						err := d.refresh(files, now)
						var target *trust.Target
						if err == nil {
							target, err = d.find(files, "a/x")
						}
						if err != nil {
							refused.Add(1)
							continue
						}
						same.Add(1)
						if !cmp.Equal(d.s.Versions(), good.s.Versions()) || !cmp.Equal(target, want) || !d.s.Ends().Equal(good.s.Ends()) || !sameSigned(t, flipped, file) {
							t.Errorf("%s: byte %d xor %02x was accepted with another meaning: %s", name, i, bit, flipped)
						}
					}
				}
			})
			onDisk := strings.TrimLeft(name, "12.") // as 2.root.json is on disk
			known[onDisk] = good.disk[onDisk]
		}
	})
	t.Logf("%d flips refused, 0 accepted with another meaning; %d accepted that change nothing of what is signed, in signatures and the names of keys that weren't needed", refused.Load(), same.Load())
	if refused.Load() < int64(4000/every) {
		t.Errorf("only %d flips were refused", refused.Load())
	}
}

// sameSigned compares what was signed.
func sameSigned(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y struct{ Signed any }
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(x, y)
}

// A device that was off for a year while all keys changed every week.
func TestRootsOfAYear(t *testing.T) {
	r, d := enrolled(t)
	for range 52 {
		r.nextRoot(func() {
			for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
				r.rotate(role)
			}
			r.root.Signed.Expires = now.Add(8 * day) // all but the last have ended
		})
	}
	r.root.Signed.Expires = now.Add(400 * day)
	r.nextRoot(func() { r.root.Signed.Expires = now.Add(400 * day) })
	year := now.Add(365 * day)
	r.timestamp.Signed.Expires, r.snapshot.Signed.Expires, r.targets.Signed.Expires = year.Add(day), year.Add(day), year.Add(day)
	r.update()
	d.good(r, year)
	if v := d.s.Versions()["root.json"]; v != 54 || len(d.asked) != 53+4 {
		t.Errorf("at root %d after %d files", v, len(d.asked))
	}
	if !bytes.Equal(d.disk["root.json"], r.files["54.root.json"]) {
		t.Error("the newest root isn't on disk")
	}
	// A thief with the very first keys comes too late.
	delete(r.files, "10.root.json")
	fresh := newDevice(t, r.first)
	if err := fresh.refresh(r.files, year); err == nil {
		t.Error("a chain with a hole was accepted")
	}
}

func TestMoreRootsThanOneRefreshWalks(t *testing.T) {
	r, d := enrolled(t)
	for range trust.MaxRotations + 3 {
		r.nextRoot(func() {})
	}
	d.good(r, now)
	if v := d.s.Versions()["root.json"]; v != trust.MaxRotations+1 {
		t.Errorf("the first refresh ended at root %d", v)
	}
	d.good(r, now)
	if v := d.s.Versions()["root.json"]; v != trust.MaxRotations+4 {
		t.Errorf("the second refresh ended at root %d", v)
	}
}

func TestFloor(t *testing.T) {
	built, seen := now, now.Add(day)
	for _, c := range []struct{ clock, seen, want time.Time }{
		{time.Unix(0, 0), time.Time{}, built},
		{time.Unix(0, 0), seen, seen},
		{seen.Add(day), seen, seen.Add(day)},
		{built, seen, seen},
	} {
		if got := trust.Floor(c.clock, c.seen, built); !got.Equal(c.want) {
			t.Errorf("clock %v, seen %v: %v, want %v", c.clock, c.seen, got, c.want)
		}
	}
}

// What is damaged on disk is fetched anew, and guards against nothing.
func TestDamagedDisk(t *testing.T) {
	for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
		for _, content := range []string{"", "null", "{}", `{"signed":{"_type":"timestamp","meta":null}}`} {
			r, d := enrolled(t)
			d.disk[name] = []byte(content)
			d.good(r, now)
			if string(d.disk[name]) == content {
				t.Errorf("%s is still %q", name, content)
			}
		}
	}
	_, d := enrolled(t)
	d.disk["root.json"] = []byte("{}")
	if err := d.refresh(nil, now); trust.CodeOf(err) != trust.Format {
		t.Errorf("a damaged root: %v", err)
	}
}

func TestNoMetadata(t *testing.T) {
	for _, text := range []string{
		"", "null", "[]", "{}", "{}{}", `{"signed":null}`, `{"signed":{"_type":"root"}}`, strings.Repeat("[", 5000),
		`{"signed":{"_type":"timestamp","spec_version":"1.0","version":9,"expires":"2040-01-01T00:00:00Z","meta":{}},"signatures":[]}`,
		`{"signed":{"_type":"timestamp","spec_version":"1.0","version":9,"expires":"2040-01-01T00:00:00Z","meta":{"snapshot.json":null}},"signatures":[]}`,
		`{"signed":{"_type":"timestamp","spec_version":"2.0","version":9,"expires":"2040-01-01T00:00:00Z","meta":{"snapshot.json":{"version":1}}},"signatures":[]}`,
		`{"signed":{"_type":"timestamp","spec_version":"1.0","version":9,"version":8,"expires":"2040-01-01T00:00:00Z","meta":{"snapshot.json":{"version":1}}},"signatures":[]}`,
	} {
		r, d := enrolled(t)
		r.files["timestamp.json"] = []byte(text)
		d.refused(r.files, now, trust.Format)
	}
}

// null where an object should be, in files that are otherwise whole: go-tuf
// would stumble before it looked at a signature.
func TestNullInThePlaceOfAnObject(t *testing.T) {
	r, d := enrolled(t)
	r.nextRoot(func() {})
	r.update()
	for _, c := range []struct{ file, old, null string }{
		{"2.root.json", `"timestamp":{`, `"timestamp":null,"x":{`},
		{"2.root.json", `"keys":{`, `"keys":{"x":null,`},
		{"timestamp.json", `"snapshot.json":{`, `"snapshot.json":null,"x.json":{`},
		{"2.snapshot.json", `"meta":{`, `"meta":{"x.json":null,`},
		{"2.targets.json", `"targets":{`, `"targets":{"x":null,`},
	} {
		files := maps.Clone(r.files)
		files[c.file] = bytes.Replace(files[c.file], []byte(c.old), []byte(c.null), 1)
		if bytes.Equal(files[c.file], r.files[c.file]) {
			t.Fatalf("%s has no %s", c.file, c.old)
		}
		if err := d.refresh(files, now); err == nil {
			t.Errorf("%s with %s was accepted", c.file, c.null)
		}
		_, err := trust.New(files[c.file], now)
		if trust.CodeOf(err) != trust.Format {
			t.Errorf("%s with %s as the root: %v", c.file, c.null, err)
		}
	}
}

// Any bytes in the place of any file: an error, never a panic, and nothing of
// them on disk.
func FuzzFiles(f *testing.F) {
	r := newRepo(f)
	r.addTarget(r.delegate(r.targets, "line", false, "a/*"), "a/x", "delegated")
	r.nextRoot(func() {})
	r.update()
	// Without hashes, so that what is fetched gets as far as the parser.
	for _, m := range r.snapshot.Signed.Meta {
		m.Length, m.Hashes = 0, nil
	}
	r.signSnapshot()
	r.timestamp.Signed.Meta["snapshot.json"].Hashes, r.timestamp.Signed.Meta["snapshot.json"].Length = nil, 0
	r.signTimestamp()
	names := []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "1.line.json"}
	for i, name := range names {
		f.Add(i, r.files[name])
		f.Add(i, bytes.Replace(r.files[name], []byte(`"version":2`), []byte(`"version":null`), 1))
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		name := names[uint(i)%uint(len(names))]
		files := maps.Clone(r.files)
		files[name] = data
		d := newDevice(t, r.first)
		if err := d.refresh(files, now); err == nil {
			_, err = d.find(files, "a/x")
			if err == nil && !sameSigned(t, data, r.files[name]) {
				t.Errorf("%s was accepted as %q", name, data)
			}
		}
	})
}
