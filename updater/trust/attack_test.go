package trust_test

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/trust"
)

func enrolled(t *testing.T) (*repo, *device) {
	t.Helper()
	r := newRepo(t)
	d := newDevice(t, r.first)
	d.good(r, now)
	return r, d
}

func TestRefresh(t *testing.T) {
	r, d := enrolled(t)
	target, err := d.find(r.files, "bundles/caps/1.0.0.slb")
	if err != nil || target.Length != 8 || target.Piece != 65536 || target.Pieces == [32]byte{} || target.SHA256 == [32]byte{} {
		t.Fatalf("%+v, %v", target, err)
	}
	r.update()
	d.good(r, now.Add(day))
	if got := fmt.Sprint(d.asked); got != "[2.root.json timestamp.json 2.snapshot.json 2.targets.json]" {
		t.Errorf("asked for %s", got)
	}
	d.good(r, now.Add(day))
	if got := fmt.Sprint(d.asked); got != "[2.root.json timestamp.json]" {
		t.Errorf("with nothing new asked for %s", got)
	}
	if _, err := d.find(r.files, "bundles/caps/9.slb"); trust.CodeOf(err) != trust.NotFound {
		t.Errorf("a target that nobody published: %v", err)
	}
}

// An old timestamp, an old snapshot under a new timestamp, and old targets
// under both: each was good once.
func TestRollback(t *testing.T) {
	r, d := enrolled(t)
	old := maps.Clone(r.files)
	r.update()
	d.good(r, now)
	d.refused(old, now, trust.Rollback)

	r.timestamp.Signed.Version++
	r.timestamp.Signed.Meta["snapshot.json"] = meta(1, old["1.snapshot.json"])
	r.signTimestamp()
	d.refused(r.files, now, trust.Rollback)

	r.snapshot.Signed.Version = 3
	r.snapshot.Signed.Meta["targets.json"] = meta(1, old["1.targets.json"])
	r.signSnapshot()
	d.refused(r.files, now, trust.Rollback)

	delete(r.snapshot.Signed.Meta, "targets.json")
	r.snapshot.Signed.Version, r.timestamp.Signed.Version = 4, 4
	r.signSnapshot()
	d.refused(r.files, now, trust.Rollback)
}

// The root of before a key was revoked, offered as the next one.
func TestRollbackOfTheRoot(t *testing.T) {
	r, d := enrolled(t)
	r.nextRoot(func() { r.rotate("targets") })
	r.update()
	d.good(r, now)
	r.files["3.root.json"] = r.files["2.root.json"]
	d.refused(r.files, now, trust.Rollback)
	r.files["3.root.json"] = r.first
	if err := d.refresh(r.files, now); err == nil {
		t.Error("the first root was accepted as the third")
	}
}

// Somebody keeps new timestamps away.
func TestFreeze(t *testing.T) {
	r, d := enrolled(t)
	frozen := maps.Clone(r.files)
	r.update()
	d.refused(frozen, now.Add(7*day+time.Second), trust.Freeze)
	fresh := newDevice(t, r.first)
	fresh.refused(frozen, now.Add(8*day), trust.Freeze)
	if d.disk["timestamp.json"] == nil || fresh.disk["timestamp.json"] != nil {
		t.Error("an expired timestamp was kept, or a good one lost")
	}
}

// Snapshot and targets of different moments, each rightly signed.
func TestMixAndMatch(t *testing.T) {
	r, d := enrolled(t)
	old := maps.Clone(r.files)
	r.update()
	mixed := maps.Clone(r.files)
	mixed["2.snapshot.json"] = old["1.snapshot.json"]
	d.refused(mixed, now, trust.MixAndMatch)
	mixed = maps.Clone(r.files)
	mixed["2.targets.json"] = old["1.targets.json"]
	d.refused(mixed, now, trust.MixAndMatch)

	// The same where the files state versions alone.
	d = newDevice(t, r.first)
	r.timestamp.Signed.Version++
	r.timestamp.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 2}
	r.signTimestamp()
	mixed = maps.Clone(r.files)
	mixed["2.snapshot.json"] = old["1.snapshot.json"]
	d.refused(mixed, now, trust.MixAndMatch)
}

func TestEndlessData(t *testing.T) {
	endless := bytes.Repeat([]byte("x"), 10<<20)
	for _, name := range []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"} {
		r, d := enrolled(t)
		r.update()
		r.files[name] = endless
		d.refused(r.files, now, trust.EndlessData)
	}
	r, d := enrolled(t)
	target, err := d.find(r.files, "bundles/caps/1.0.0.slb")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := target.Copy(&got, bytes.NewReader(endless)); trust.CodeOf(err) != trust.EndlessData || got.Len() > 8 {
		t.Errorf("%v after %d bytes", err, got.Len())
	}
}

func TestWrongHash(t *testing.T) {
	for _, name := range []string{"2.snapshot.json", "2.targets.json"} {
		r, d := enrolled(t)
		r.update()
		r.files[name] = bytes.Replace(r.files[name], []byte(`"version":2`), []byte(`"version":3`), 1)
		d.refused(r.files, now, trust.WrongHash)
	}
	r, d := enrolled(t)
	target, err := d.find(r.files, "bundles/caps/1.0.0.slb")
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]trust.Code{"caps one": "", "caps two": trust.WrongHash, "caps": trust.WrongLength, "caps one!": trust.EndlessData} {
		if err := target.Copy(&strings.Builder{}, strings.NewReader(content)); trust.CodeOf(err) != want {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}

func TestWrongLength(t *testing.T) {
	for _, name := range []string{"2.snapshot.json", "2.targets.json"} {
		r, d := enrolled(t)
		r.update()
		r.files[name] = r.files[name][:len(r.files[name])-1]
		d.refused(r.files, now, trust.WrongLength)
	}
}

func TestExpired(t *testing.T) {
	r, d := enrolled(t)
	r.targets.Signed.Expires = now.Add(-time.Second)
	r.update()
	d.refused(r.files, now, trust.Expired)

	r, d = enrolled(t)
	r.snapshot.Signed.Expires = now.Add(-time.Second)
	r.update()
	d.refused(r.files, now, trust.Expired)

	r, d = enrolled(t)
	r.nextRoot(func() { r.root.Signed.Expires = now.Add(-time.Second) })
	d.refused(r.files, now, trust.Expired)
	r.nextRoot(func() { r.root.Signed.Expires = now.Add(day) })
	d.good(r, now) // by way of the expired one
}

// One signature where two are needed; and one key that signs twice.
func TestBelowThreshold(t *testing.T) {
	r, d := enrolled(t)
	r.root.Signed.Version++
	r.signRoot(r.keys["root"][0])
	d.refused(r.files, now, trust.Threshold)
	twice := bytes.Replace(r.files["2.root.json"], []byte(`"signatures":[`), []byte(`"signatures":[`+signatureOf(t, r.files["2.root.json"])+`,`), 1)
	r.files["2.root.json"] = twice
	d.refused(r.files, now, trust.Format)

	// A rotation that only the new keys sign, and one that only the old ones do.
	r, d = enrolled(t)
	before := r.keys["root"]
	r.root.Signed.Version++
	r.rotate("root")
	r.rotate("root")
	r.signRoot(before...)
	if err := d.refresh(r.files, now); trust.CodeOf(err) != trust.BadSignature && trust.CodeOf(err) != trust.Threshold {
		t.Errorf("signed by the old keys alone: %v", err)
	}
	r.signRoot(r.keys["root"]...)
	if err := d.refresh(r.files, now); trust.CodeOf(err) != trust.Threshold {
		t.Errorf("signed by the new keys alone: %v", err)
	}
	r.signRoot(append(before, r.keys["root"][1:]...)...)
	d.good(r, now)
}

func signatureOf(t *testing.T, data []byte) string {
	t.Helper()
	_, after, _ := strings.Cut(string(data), `"signatures":[`)
	one, _, ok := strings.Cut(after, "}")
	if !ok {
		t.Fatalf("no signature in %s", data)
	}
	return one + "}"
}

func TestUnknownKey(t *testing.T) {
	for _, role := range []string{"timestamp", "snapshot", "targets"} {
		r, d := enrolled(t)
		r.keys[role] = []key{newKey(t)}
		r.update()
		d.refused(r.files, now, trust.UnknownKey)
	}
	r, d := enrolled(t)
	r.root.Signed.Version++
	r.signRoot(newKey(t), newKey(t))
	d.refused(r.files, now, trust.UnknownKey)
	if _, err := trust.New(r.files["2.root.json"], now); trust.CodeOf(err) != trust.UnknownKey {
		t.Errorf("a first root that strangers signed: %v", err)
	}
	// Keys of one role have no say in another.
	r, d = enrolled(t)
	r.keys["targets"] = r.keys["timestamp"]
	r.update()
	d.refused(r.files, now, trust.UnknownKey)
}

// With the timestamp key a thief can keep updates away, and no more: not bring
// back an old snapshot, nor make a new one.
func TestStolenTimestampKey(t *testing.T) {
	r, d := enrolled(t)
	old := maps.Clone(r.files)
	r.update()
	d.good(r, now)

	r.timestamp.Signed.Version = 3
	r.timestamp.Signed.Meta["snapshot.json"] = meta(1, old["1.snapshot.json"])
	r.signTimestamp()
	d.refused(r.files, now, trust.Rollback)

	forged := newKey(t)
	r.snapshot.Signed.Version = 3
	r.keys["snapshot"] = []key{forged}
	r.signSnapshot()
	d.refused(r.files, now, trust.UnknownKey)
}

// The thief signs version 4,000,000,000, so that all that come after look old.
// A root with new keys ends it; one that keeps the keys doesn't.
func TestFastForward(t *testing.T) {
	for _, roles := range [][]string{{"timestamp"}, {"snapshot"}, {"timestamp", "snapshot"}} {
		r, d := enrolled(t)
		good := maps.Clone(r.files)
		r.timestamp.Signed.Version, r.snapshot.Signed.Version = 4_000_000_000, 4_000_000_000
		r.signSnapshot()
		d.good(r, now)
		d.refused(good, now, trust.Rollback)

		r.files = good
		r.timestamp.Signed.Version, r.snapshot.Signed.Version = 2, 2
		r.nextRoot(func() { r.root.Signed.Expires = now.Add(701 * day) })
		r.release()
		d.refused(r.files, now, trust.Rollback)

		r.nextRoot(func() {
			for _, role := range roles {
				r.rotate(role)
			}
		})
		r.timestamp.Signed.Version = 3
		r.release()
		d.good(r, now)
		if v := d.s.Versions(); v["timestamp.json"] != 3 || v["snapshot.json"] != 2 {
			t.Errorf("after new keys for %v: %v", roles, v)
		}
	}
}

// Same version, other content: the one on disk stays.
func TestSameVersionOfTheTimestamp(t *testing.T) {
	r, d := enrolled(t)
	was := d.disk["timestamp.json"]
	r.timestamp.Signed.Meta["snapshot.json"].Version = 100
	r.signTimestamp()
	d.good(r, now)
	if !bytes.Equal(was, d.disk["timestamp.json"]) {
		t.Error("the timestamp changed on disk with its version the same")
	}
	d.refused(r.files, now.Add(8*day), trust.Freeze)
}

// A snapshot of the version that the timestamp names, but not the one that it
// names: what is on disk gives way.
func TestSameVersionOfTheSnapshot(t *testing.T) {
	r, d := enrolled(t)
	r.snapshot.Signed.Expires = r.snapshot.Signed.Expires.Add(day)
	r.timestamp.Signed.Version++
	r.signSnapshot()
	d.good(r, now)
	if !bytes.Equal(d.disk["snapshot.json"], r.files["1.snapshot.json"]) {
		t.Error("the snapshot on disk isn't the one that the timestamp names")
	}
}

func TestMissingFiles(t *testing.T) {
	for _, name := range []string{"timestamp.json", "2.snapshot.json", "2.targets.json"} {
		r, d := enrolled(t)
		r.update()
		delete(r.files, name)
		d.refused(r.files, now, trust.Absent)
	}
}
