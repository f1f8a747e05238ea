package publish

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/trust"
)

const day = 24 * time.Hour

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// owner has all keys.
type owner struct {
	roots   []*Key
	targets *Key
	online  *Online
	root    []byte
}

func newOwner(t testing.TB) *owner {
	t.Helper()
	o := &owner{targets: must(NewKey())(t), online: must(OpenOnline(filepath.Join(t.TempDir(), "online")))(t)}
	r := Roles{Targets: o.targets.Public(), Online: o.online.Keys()}
	for range 3 {
		k := must(NewKey())(t)
		o.roots = append(o.roots, k)
		r.Root = append(r.Root, k.Public())
	}
	o.root = must(NewRoot(r, time.Now().Add(RootLife), o.roots[:2]...))(t)
	return o
}

func (o *owner) add(t testing.TB, targets []byte, version string) []byte {
	t.Helper()
	return must(AddTarget(targets, o.root, "bundles/caps/"+version+".slb", 7, [32]byte{1}, [32]byte{2}, time.Now().Add(TargetsLife), o.targets))(t)
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	k := must(NewKey())(t)
	path := filepath.Join(dir, "k.key")
	if err := k.WriteFile(path, []byte("four words")); err != nil {
		t.Fatal(err)
	}
	if err := k.WriteFile(path, []byte("four words")); err == nil {
		t.Error("a key was overwritten")
	}
	if got := must(ReadKey(path, []byte("four words")))(t); got.ID() != k.ID() || !got.Created.Equal(k.Created) {
		t.Errorf("%v", got)
	}
	for _, pass := range []string{"", "four word", "four words "} {
		if _, err := ReadKey(path, []byte(pass)); !errors.Is(err, ErrPassphrase) {
			t.Errorf("with %q: %v", pass, err)
		}
	}
	text := must(os.ReadFile(path))(t)
	if bytes.Contains(text, k.private.Seed()) || strings.Contains(string(text), "private") {
		t.Error("the file holds the key in the open")
	}
	if f := must(ReadKeyFile(path))(t); f.ID != k.ID() || !f.Encrypted {
		t.Errorf("%+v", f)
	}

	// Somebody exchanges the public half, or the file is cut.
	other := must(NewKey())(t)
	for name, damaged := range map[string]string{
		"public":  strings.Replace(string(text), k.Public().Value.PublicKey, other.Public().Value.PublicKey, 1),
		"cut":     string(text[:len(text)/2]),
		"empty":   "",
		"unknown": strings.Replace(string(text), "{", `{"comment":"x",`, 1),
		"null":    `{"keytype":"ed25519","public":null,"created":"2031-01-01T00:00:00Z"}`,
	} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKey(path, []byte("four words")); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestOnlineKeysAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "online")
	a, b := must(OpenOnline(dir))(t), must(OpenOnline(dir))(t)
	if a.Snapshot.ID() != b.Snapshot.ID() || a.Timestamp.ID() != b.Timestamp.ID() || a.Snapshot.ID() == a.Timestamp.ID() {
		t.Error("the keys differ from one start to the next")
	}
	if info := must(os.Stat(filepath.Join(dir, "snapshot.key")))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if c := must(RenewOnline(dir))(t); c.Snapshot.ID() == a.Snapshot.ID() || c.Timestamp.ID() == a.Timestamp.ID() {
		t.Error("the keys weren't renewed")
	}
}

func TestPublishedIsAccepted(t *testing.T) {
	o := newOwner(t)
	now := time.Now()
	targets := o.add(t, nil, "1.0.0")
	snap, stamp, err := o.online.Sign(o.root, targets, nil, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	files := must(Files(o.root, targets, snap, stamp))(t)
	if err := Check(o.root, files, now); err != nil {
		t.Fatal(err)
	}
	// Nothing new: the snapshot stays, the timestamp goes on.
	snap2, stamp2, err := o.online.Sign(o.root, targets, snap, stamp, now.Add(day))
	if err != nil || !bytes.Equal(snap, snap2) || must(VersionOf(stamp2))(t) != 2 {
		t.Errorf("%v", err)
	}
	snap3, _, err := o.online.Sign(o.root, targets, snap, stamp, now.Add(SnapshotLife))
	if err != nil || must(VersionOf(snap3))(t) != 2 {
		t.Errorf("a snapshot near its end: %v", err)
	}
	targets2 := o.add(t, targets, "1.1.0")
	snap4, _, err := o.online.Sign(o.root, targets2, snap, stamp, now)
	if err != nil || must(VersionOf(snap4))(t) != 2 {
		t.Errorf("with new targets: %v", err)
	}
	list := must(List(targets2))(t)
	if len(list) != 2 || list[1].Name != "caps" || list[1].Version != "1.1.0" || list[1].Pieces != [32]byte{2} {
		t.Errorf("%+v", list)
	}
}

func TestSameVersionOtherContent(t *testing.T) {
	o := newOwner(t)
	targets := o.add(t, nil, "1.0.0")
	o.add(t, targets, "1.0.0") // the same is no error
	_, err := AddTarget(targets, o.root, "bundles/caps/1.0.0.slb", 7, [32]byte{9}, [32]byte{2}, time.Now().Add(day), o.targets)
	if !errors.Is(err, ErrTaken) {
		t.Errorf("%v", err)
	}
	if _, err := RemoveTarget(targets, o.root, "bundles/caps/9.slb", time.Now().Add(day), o.targets); err == nil {
		t.Error("what isn't there was removed")
	}
}

// Signed by the wrong key, or older than what there is.
func TestTargetsThatDevicesWouldRefuse(t *testing.T) {
	o := newOwner(t)
	thief := must(NewKey())(t)
	for _, signers := range [][]*Key{nil, {thief}, {o.roots[0]}, {o.online.Snapshot}} {
		if _, err := AddTarget(nil, o.root, "bundles/caps/1.slb", 7, [32]byte{1}, [32]byte{2}, time.Now().Add(day), signers...); err == nil {
			t.Errorf("signed by %d wrong keys", len(signers))
		}
	}
	one := o.add(t, nil, "1.0.0")
	two := o.add(t, one, "1.1.0")
	if err := CheckTargets(o.root, one, two); err != nil {
		t.Error(err)
	}
	if err := CheckTargets(o.root, two, one); trust.CodeOf(err) != trust.Rollback {
		t.Errorf("older targets: %v", err)
	}
	if err := CheckTargets(o.root, two, two); trust.CodeOf(err) != trust.Rollback {
		t.Errorf("the same targets: %v", err)
	}
}

// The fleet's keys aren't those that the root names.
func TestOnlineSignsNothingThatDevicesRefuse(t *testing.T) {
	o := newOwner(t)
	targets := o.add(t, nil, "1.0.0")
	other := must(OpenOnline(filepath.Join(t.TempDir(), "other")))(t)
	if _, _, err := other.Sign(o.root, targets, nil, nil, time.Now()); trust.CodeOf(err) != trust.UnknownKey {
		t.Errorf("%v", err)
	}
	if _, _, err := o.online.Sign(o.root, targets, nil, nil, time.Now().Add(RootLife+day)); trust.CodeOf(err) != trust.Expired {
		t.Errorf("after the root's end: %v", err)
	}
}

func TestRotationNeedsBothThresholds(t *testing.T) {
	o := newOwner(t)
	fresh := must(NewKey())(t)
	next := must(NextRoot(o.root, time.Now().Add(RootLife), Change{"root", o.roots[0].ID(), fresh.Public()}))(t)
	for _, c := range []struct {
		signers       []*Key
		before, after int // signatures left
	}{
		{nil, 2, 2},
		{[]*Key{o.roots[0], o.roots[1]}, 0, 1},
		{[]*Key{fresh, o.roots[1]}, 1, 0},
		{[]*Key{o.roots[1], o.roots[2]}, 0, 0},
		{[]*Key{o.roots[0], o.roots[1], fresh}, 0, 0},
		{[]*Key{fresh, fresh}, 2, 1},
	} {
		signed := must(SignRoot(next, c.signers...))(t)
		before, after, err := Needs(o.root, signed)
		if err != nil || before.Left() != c.before || after.Left() != c.after {
			t.Errorf("%d signers: %d and %d left, %v; want %d and %d", len(c.signers), before.Left(), after.Left(), err, c.before, c.after)
		}
		if good := c.before+c.after == 0; (CheckRoot(o.root, signed) == nil) != good {
			t.Errorf("%d signers: accepted %v", len(c.signers), !good)
		}
	}
	if _, err := NextRoot(o.root, time.Now(), Change{"root", fresh.ID(), fresh.Public()}); err == nil {
		t.Error("a key that isn't there went")
	}
	if _, err := NextRoot(o.root, time.Now(), Change{"root", o.roots[0].ID(), o.roots[1].Public()}); err == nil {
		t.Error("a key came that is there")
	}
}

// What a person is asked to sign gives nobody a say beside those who had it.
func TestRootThatGivesAThiefASay(t *testing.T) {
	o, thief := newOwner(t), must(NewKey())(t)
	next := must(NextRoot(o.root, time.Now().Add(RootLife)))(t)
	renewed := must(NextRoot(o.root, time.Now().Add(RootLife), Change{"targets", o.targets.ID(), thief.Public()}))(t)
	for _, fine := range [][]byte{next, renewed} {
		if err := CheckRules(o.root, fine); err != nil {
			t.Error(err)
		}
	}
	for name, bend := range map[string]func(*metadata.RootType){
		"a second targets key": func(r *metadata.RootType) { _ = r.AddKey(thief.Public(), "targets") },
		"a fourth root key":    func(r *metadata.RootType) { _ = r.AddKey(thief.Public(), "root") },
		"one root key will do": func(r *metadata.RootType) { r.Roles["root"].Threshold = 1 },
		"files under one name": func(r *metadata.RootType) { r.ConsistentSnapshot = false },
		"a key with two names": func(r *metadata.RootType) {
			ids := r.Roles["root"].KeyIDs
			r.Keys["another"] = r.Keys[ids[0]]
			r.Roles["root"].KeyIDs = []string{ids[0], ids[1], "another"}
		},
		"a key with something more": func(r *metadata.RootType) {
			ids, k := r.Roles["root"].KeyIDs, *r.Keys[r.Roles["root"].KeyIDs[0]]
			k.UnrecognizedFields = map[string]any{"x": "y"}
			again := metadata.Key{Type: k.Type, Scheme: k.Scheme, Value: k.Value, UnrecognizedFields: k.UnrecognizedFields}
			r.Keys[ID(&again)] = &again
			r.Roles["root"].KeyIDs = []string{ids[0], ids[1], ID(&again)}
		},
		"no targets": func(r *metadata.RootType) { delete(r.Roles, "targets") },
	} {
		m := must(metadata.Root().FromBytes(next))(t)
		bend(&m.Signed)
		bent := must(m.ToBytes(false))(t)
		if err := CheckRules(o.root, bent); err == nil {
			t.Errorf("%s: nothing is said against it", name)
		} else {
			t.Log(err)
		}
	}
}

func TestFirstRootNeedsTwo(t *testing.T) {
	o := newOwner(t)
	r := must(RolesOf(o.root))(t)
	if _, err := NewRoot(r, time.Now().Add(day), o.roots[0]); trust.CodeOf(err) != trust.Threshold {
		t.Errorf("signed by one: %v", err)
	}
	if _, err := NewRoot(Roles{Root: r.Root, Targets: r.Targets}, time.Now().Add(day), o.roots...); err == nil {
		t.Error("a root without online keys")
	}
}
