package trust_test

import (
	"fmt"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/trust"
)

// A role that may name bundles of one line names one of another.
func TestDelegationOutsideItsPath(t *testing.T) {
	r, d := enrolled(t)
	line := r.delegate(r.targets, "line-a", false, "bundles/a/*")
	r.addTarget(line, "bundles/a/1.slb", "good")
	r.addTarget(line, "bundles/b/1.slb", "evil")
	r.addTarget(line, "bundles/a/deep/1.slb", "evil")
	r.update()
	d.good(r, now)
	if _, err := d.find(r.files, "bundles/a/1.slb"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"bundles/b/1.slb", "bundles/a/deep/1.slb"} {
		_, err := d.find(r.files, path)
		if trust.CodeOf(err) != trust.DelegationPath {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Two roles delegate to a third of one name, with different keys: that it was
// good by one says nothing of the other.
func TestCachedRoleIsVerifiedAgainstEachDelegator(t *testing.T) {
	r, d := enrolled(t)
	a := r.delegate(r.targets, "a", false, "a/*")
	b := r.delegate(r.targets, "b", false, "b/*")
	release := r.delegate(a, "release", false, "a/*")
	r.delegate(b, "release", false, "b/*")
	r.keys["release"] = r.keys["release"][:1] // signed by the key that a names
	r.addTarget(release, "a/x", "good")
	r.addTarget(release, "b/x", "evil")
	r.update()
	d.good(r, now)
	if _, err := d.find(r.files, "a/x"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.find(r.files, "b/x"); trust.CodeOf(err) != trust.UnknownKey {
		t.Errorf("by way of b: %v", err)
	}
	d.good(r, now) // now the role is on disk
	if _, err := d.find(r.files, "b/x"); trust.CodeOf(err) != trust.UnknownKey {
		t.Errorf("from disk by way of b: %v", err)
	}
}

func TestOrderOfTheSearch(t *testing.T) {
	r, d := enrolled(t)
	a := r.delegate(r.targets, "a", false, "x/*")
	r.delegate(r.targets, "b", false, "x/*")
	r.delegate(a, "c", false, "x/*")
	e := r.delegate(a, "d", true, "x/end")
	r.delegate(e, "a", false, "x/*") // a cycle
	r.update()
	d.good(r, now)
	d.asked = nil
	if _, err := d.find(r.files, "x/y"); trust.CodeOf(err) != trust.NotFound || fmt.Sprint(d.asked) != "[1.a.json 1.c.json 1.b.json]" {
		t.Errorf("%v, asked for %v", err, d.asked)
	}
	d = newDevice(t, r.first)
	d.good(r, now)
	d.asked = nil // d ends the search: b isn't asked
	if _, err := d.find(r.files, "x/end"); trust.CodeOf(err) != trust.NotFound || fmt.Sprint(d.asked) != "[1.a.json 1.c.json 1.d.json]" {
		t.Errorf("%v, asked for %v", err, d.asked)
	}
}

func TestEndlessDelegations(t *testing.T) {
	r, d := enrolled(t)
	m := r.targets
	for i := range trust.MaxDelegations + 5 {
		m = r.delegate(m, fmt.Sprintf("r%d", i), false, "x")
	}
	r.update()
	d.good(r, now)
	if _, err := d.find(r.files, "x"); trust.CodeOf(err) != trust.TooMany {
		t.Errorf("%v after %d files", err, len(d.asked))
	}
}

// A delegated role that calls itself root would stand in root.json's place on
// disk.
func TestDelegationInThePlaceOfTheRoot(t *testing.T) {
	for _, name := range []string{"root", "timestamp", "snapshot", "targets", ""} {
		r, d := enrolled(t)
		r.targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{
			{Name: name, KeyIDs: []string{r.keys["targets"][0].id}, Threshold: 1, Paths: []string{"*"}},
		}}
		r.update()
		d.refused(r.files, now, trust.Format)
	}
}

func TestUnusualRoleNames(t *testing.T) {
	for _, name := range []string{"?", "#", "/role", "../role", "floor", "%2e"} {
		r, d := enrolled(t)
		r.addTarget(r.delegate(r.targets, name, false, "x"), "x", "good")
		r.update()
		d.good(r, now)
		if _, err := d.find(r.files, "x"); err != nil {
			t.Fatal(err)
		}
		if d.disk[trust.FileName(name)] == nil {
			t.Errorf("%q isn't on disk as %s", name, trust.FileName(name))
		}
	}
}

func TestRoleTamperedOrNotInTheSnapshot(t *testing.T) {
	r, d := enrolled(t)
	r.addTarget(r.delegate(r.targets, "a", false, "x"), "x", "good")
	r.update()
	d.good(r, now)
	good := r.files["1.a.json"]
	r.files["1.a.json"] = append([]byte{' '}, good[1:]...)
	if _, err := d.find(r.files, "x"); trust.CodeOf(err) != trust.WrongHash {
		t.Error(err)
	}
	r.files["1.a.json"] = good
	r, d = enrolled(t)
	r.delegate(r.targets, "a", false, "x")
	delete(r.roles, "a") // the snapshot never hears of it
	r.update()
	d.good(r, now)
	if _, err := d.find(r.files, "x"); trust.CodeOf(err) != trust.Absent {
		t.Error(err)
	}
}
