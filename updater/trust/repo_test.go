package trust_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/trust"
)

var now = time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

type key struct {
	signer signature.Signer
	public *metadata.Key
	id     string
}

var keysMade atomic.Uint64

// newKey makes a key that no other is like, and the same one in each process
// that makes it first: what a fuzzer found must be signed in its workers too.
func newKey(t testing.TB) key {
	t.Helper()
	seed := sha256.Sum256(binary.BigEndian.AppendUint64(nil, keysMade.Add(1)))
	private := ed25519.NewKeyFromSeed(seed[:])
	pub := private.Public().(ed25519.PublicKey)
	s, err := signature.LoadED25519Signer(private)
	if err != nil {
		t.Fatal(err)
	}
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	id, err := k.ID()
	if err != nil {
		t.Fatal(err)
	}
	return key{s, k, id}
}

// repo is a repository whose every part a test can bend before it is signed.
type repo struct {
	t         testing.TB
	keys      map[string][]key
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   *metadata.Metadata[metadata.TargetsType]
	roles     map[string]*metadata.Metadata[metadata.TargetsType]
	files     map[string][]byte
	first     []byte // 1.root.json
}

// newRepo has version 1 of everything, with one target, published.
func newRepo(t testing.TB) *repo {
	t.Helper()
	r := &repo{
		t: t, keys: map[string][]key{}, files: map[string][]byte{}, roles: map[string]*metadata.Metadata[metadata.TargetsType]{},
		root: metadata.Root(now.Add(700 * day)), timestamp: metadata.Timestamp(now.Add(7 * day)),
		snapshot: metadata.Snapshot(now.Add(30 * day)), targets: metadata.Targets(now.Add(365 * day)),
	}
	for _, role := range []string{"root", "root", "root", "targets", "snapshot", "timestamp"} {
		r.addKey(role)
	}
	r.root.Signed.Roles["root"].Threshold = 2
	r.addTarget(r.targets, "bundles/caps/1.0.0.slb", "caps one")
	r.signRoot(r.keys["root"]...)
	r.first = r.files["1.root.json"]
	r.release()
	return r
}

func (r *repo) addKey(role string) key {
	k := newKey(r.t)
	r.keys[role] = append(r.keys[role], k)
	r.must(r.root.Signed.AddKey(k.public, role))
	return k
}

// rotate gives a role one new key in the place of its first.
func (r *repo) rotate(role string) {
	old := r.keys[role][0]
	r.keys[role] = r.keys[role][1:]
	r.must(r.root.Signed.RevokeKey(old.id, role))
	r.addKey(role)
}

func (r *repo) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) addTarget(m *metadata.Metadata[metadata.TargetsType], path, content string) {
	f, err := metadata.TargetFile().FromBytes(path, []byte(content))
	r.must(err)
	custom := trust.Custom(65536, sha256.Sum256([]byte("pieces of "+content)))
	f.Custom = &custom
	m.Signed.Targets[path] = f
}

func signed[T metadata.Roles](t testing.TB, m *metadata.Metadata[T], keys ...key) []byte {
	t.Helper()
	m.ClearSignatures()
	for _, k := range keys {
		if _, err := m.Sign(k.signer); err != nil {
			t.Fatal(err)
		}
	}
	data, err := m.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// signRoot publishes the root as it is.
func (r *repo) signRoot(keys ...key) {
	r.files[fmt.Sprintf("%d.root.json", r.root.Signed.Version)] = signed(r.t, r.root, keys...)
}

// nextRoot publishes the next version, signed by the keys before and after.
func (r *repo) nextRoot(change func()) {
	before := slices.Clone(r.keys["root"])
	r.root.Signed.Version++
	change()
	keys := before
	for _, k := range r.keys["root"] {
		if !slices.ContainsFunc(before, func(b key) bool { return b.id == k.id }) {
			keys = append(keys, k)
		}
	}
	r.signRoot(keys...)
}

func meta(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// release signs all but the root as they stand.
func (r *repo) release() {
	for name, m := range r.roles {
		data := signed(r.t, m, r.keys[name]...)
		file := trust.FileName(name)
		r.files[fmt.Sprintf("%d.%s", m.Signed.Version, file)] = data
		r.snapshot.Signed.Meta[name+".json"] = meta(m.Signed.Version, data)
	}
	data := signed(r.t, r.targets, r.keys["targets"]...)
	r.files[fmt.Sprintf("%d.targets.json", r.targets.Signed.Version)] = data
	r.snapshot.Signed.Meta["targets.json"] = meta(r.targets.Signed.Version, data)
	r.signSnapshot()
}

func (r *repo) signSnapshot() {
	data := signed(r.t, r.snapshot, r.keys["snapshot"]...)
	r.files[fmt.Sprintf("%d.snapshot.json", r.snapshot.Signed.Version)] = data
	r.timestamp.Signed.Meta["snapshot.json"] = meta(r.snapshot.Signed.Version, data)
	r.signTimestamp()
}

func (r *repo) signTimestamp() {
	r.files["timestamp.json"] = signed(r.t, r.timestamp, r.keys["timestamp"]...)
}

// update raises all versions but the root's, and publishes.
func (r *repo) update() {
	r.targets.Signed.Version++
	r.snapshot.Signed.Version++
	r.timestamp.Signed.Version++
	r.release()
}

// delegate adds a role below another, with a key of its own.
func (r *repo) delegate(parent *metadata.Metadata[metadata.TargetsType], name string, terminating bool, paths ...string) *metadata.Metadata[metadata.TargetsType] {
	k := newKey(r.t)
	if parent.Signed.Delegations == nil {
		parent.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	d := parent.Signed.Delegations
	d.Keys[k.id] = k.public
	d.Roles = append(d.Roles, metadata.DelegatedRole{Name: name, KeyIDs: []string{k.id}, Threshold: 1, Terminating: terminating, Paths: paths})
	r.keys[name] = append(r.keys[name], k)
	if r.roles[name] == nil {
		r.roles[name] = metadata.Targets(now.Add(365 * day))
	}
	return r.roles[name]
}

// device is a folder of metadata, in memory.
type device struct {
	t     testing.TB
	disk  map[string][]byte
	asked []string // file names of the last session
	s     *trust.Session
}

func newDevice(t testing.TB, root []byte) *device {
	return &device{t: t, disk: map[string][]byte{"root.json": root}}
}

// refresh runs a session against files.
func (d *device) refresh(files map[string][]byte, at time.Time) error {
	d.t.Helper()
	s, err := trust.New(d.disk["root.json"], at)
	if err != nil {
		return err
	}
	for name, data := range d.disk {
		s.Load(name, data)
	}
	d.s, d.asked = s, nil
	return d.drive(files)
}

func (d *device) drive(files map[string][]byte) error {
	for {
		for name, data, ok := d.s.Save(); ok; name, data, ok = d.s.Save() {
			d.disk[name] = data
		}
		want, more := d.s.Next()
		if !more {
			return nil
		}
		d.asked = append(d.asked, want.Name)
		data, ok := files[want.Name]
		var err error
		if ok {
			err = d.s.Got(data[:min(int64(len(data)), want.Max+1)])
		} else {
			err = d.s.Missing()
		}
		if err != nil {
			return err
		}
	}
}

func (d *device) find(files map[string][]byte, path string) (*trust.Target, error) {
	d.t.Helper()
	if err := d.s.Find(path); err != nil {
		return nil, err
	}
	if err := d.drive(files); err != nil {
		return nil, err
	}
	return d.s.Found()
}

// good refreshes and fails the test on any fault.
func (d *device) good(r *repo, at time.Time) {
	d.t.Helper()
	if err := d.refresh(r.files, at); err != nil {
		d.t.Fatal(err)
	}
}

// refused refreshes and wants this refusal, and nothing that is older on disk
// than before.
func (d *device) refused(files map[string][]byte, at time.Time, want trust.Code) {
	d.t.Helper()
	before := maps.Clone(d.disk)
	err := d.refresh(files, at)
	if trust.CodeOf(err) != want {
		d.t.Fatalf("refresh: %v; want a refusal with the code %s", err, want)
	}
	d.t.Log(err)
	if string(before["targets.json"]) != string(d.disk["targets.json"]) {
		d.t.Error("targets.json changed on disk though the refresh was refused")
	}
}
