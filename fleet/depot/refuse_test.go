package depot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/updater/publish"
)

// TestRootsRefused: only what every device would follow becomes the root.
func TestRootsRefused(t *testing.T) {
	d, o := fresh(t), newOwners(t)
	thief := newOwners(t)
	online := d.Keys()
	expect(t, d.PutRoot([]byte("{}")), ErrRefused)
	expect(t, d.PutRoot(bytes.Repeat([]byte("x"), 1<<20)), ErrRefused, "at most")
	expect(t, d.PutRoot(o.first(publish.OnlineKeys{Snapshot: online.Snapshot, Timestamp: o.key().Public()})), ErrRefused, "timestamp", "none of this fleet's keys")
	first := o.first(online)
	second := o.next(first)
	expect(t, d.PutRoot(second), ErrRefused, "version 2", "the first is version 1")
	must(t, d.PutRoot(first))
	must(t, d.PutRoot(first))
	expect(t, d.PutRoot(thief.first(online)), ErrRefused, "unknown_key")
	expect(t, d.PutRoot(thief.next(first)), ErrRefused)
	one, err := publish.NextRoot(first, time.Now().Add(time.Hour))
	must(t, err)
	one, err = publish.SignRoot(one, o.root[0])
	must(t, err)
	expect(t, d.PutRoot(one), ErrRefused, "threshold")
	expect(t, d.PutRoot(o.next(second)), ErrRefused, "mix_and_match")
	expired, err := publish.NextRoot(first, time.Now().Add(-time.Hour))
	must(t, err)
	expired, err = publish.SignRoot(expired, o.root[:]...)
	must(t, err)
	expect(t, d.PutRoot(expired), ErrRefused, "it was good until")
	expect(t, d.PutRoot(o.inconsistent(first)), ErrRefused, "consistent_snapshot")
	if st := d.State(); st.Root != 1 || st.Trouble != nil {
		t.Errorf("%+v", st)
	}
	must(t, d.PutRoot(second))
}

// inconsistent is a next root whose files are replaced under their names.
func (o *owners) inconsistent(root []byte) []byte {
	o.Helper()
	m, err := metadata.Root().FromBytes(root)
	must(o, err)
	m.Signed.Version++
	m.Signed.ConsistentSnapshot = false
	m.ClearSignatures()
	b, err := m.ToBytes(false)
	must(o, err)
	b, err = publish.SignRoot(b, o.root[0], o.root[1])
	must(o, err)
	return b
}

// TestTargetsRefused: devices are told of nothing that the depot can't serve,
// or that they wouldn't believe.
func TestTargetsRefused(t *testing.T) {
	d, o := publishing(t, new(clock), "1.0.0")
	thief := newOwners(t)
	whole := put(t, d, archive(t, "1.1.0", 5000))
	other := func(change func(b *Bundle)) []byte {
		b := *whole
		change(&b)
		return o.names(d, &b)
	}
	theirs, err := publish.AddTarget(d.current.Load().targets, thief.first(d.Keys()), whole.Target, whole.Size, digestOf(t, whole.Digest), digestOf(t, whole.Pieces),
		time.Now().Add(time.Hour), thief.targets)
	must(t, err)
	expired, err := publish.RenewTargets(o.names(d, whole), d.Root(), time.Now().Add(-time.Hour), o.targets)
	must(t, err)
	for name, c := range map[string]struct {
		targets []byte
		words   []string
	}{
		"no targets":         {[]byte("[]"), nil},
		"an absent bundle":   {other(func(b *Bundle) { b.Digest = sha([]byte("x")) }), []string{"bundles/caps/1.1.0.slb", "send the bundle first"}},
		"wrong length":       {other(func(b *Bundle) { b.Size++ }), []string{"bundles/caps/1.1.0.slb", "bytes"}},
		"wrong pieces":       {other(func(b *Bundle) { b.Pieces = sha([]byte("x")) }), []string{"bundles/caps/1.1.0.slb", "pieces"}},
		"another's name":     {other(func(b *Bundle) { b.Target = "bundles/caps/9.9.9.slb" }), []string{"bundles/caps/9.9.9.slb", "is bundles/caps/1.1.0.slb"}},
		"a thief's":          {theirs, []string{"aren't signed by keys of root 1"}},
		"expired":            {expired, []string{"good until"}},
		"one byte is other":  {bytes.Replace(o.names(d, whole), []byte("1.1.0"), []byte("1.1.1"), 1), nil},
		"endless data":       {bytes.Repeat([]byte(" "), 6_000_000), []string{"at most"}},
		"delegated":          {o.delegates(d), []string{"delegates"}},
		"an older version":   {first(t, d), []string{"version 1", "is published"}},
		"nothing but spaces": {[]byte("  "), nil},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, d.PutTargets(c.targets), ErrRefused, c.words...)
			if believes(t, d, "1.1.0") || !believes(t, d, "1.0.0") {
				t.Error("devices see a change")
			}
		})
	}
	must(t, os.Truncate(d.bundlePath(whole.Digest), 1000))
	expect(t, d.PutTargets(o.names(d, whole)), ErrRefused, "damaged on the fleet's disk")
	expect(t, fresh(t).PutTargets(o.names(d, whole)), ErrRefused, "there is no root yet")
}

// first are the first targets with other words in them.
func first(t *testing.T, d *Depot) []byte {
	b, err := d.Metadata("1.targets.json")
	must(t, err)
	return append(b, '\n')
}

// delegates are targets that another role has a say in.
func (o *owners) delegates(d *Depot) []byte {
	o.Helper()
	m, err := metadata.Targets().FromBytes(d.current.Load().targets)
	must(o, err)
	m.Signed.Delegations = &metadata.Delegations{
		Keys:  map[string]*metadata.Key{o.targets.ID(): o.targets.Public()},
		Roles: []metadata.DelegatedRole{{Name: "line", KeyIDs: []string{o.targets.ID()}, Threshold: 1, Paths: []string{"bundles/*"}}},
	}
	b, err := m.ToBytes(false)
	must(o, err)
	b, err = publish.RenewTargets(b, d.Root(), time.Now().Add(time.Hour), o.targets)
	must(o, err)
	return b
}

// TestBundlesRefused: what isn't the bundle that was said leaves nothing.
func TestBundlesRefused(t *testing.T) {
	d := fresh(t)
	whole := archive(t, "1.0.0", 2*PieceSize)
	junk := bytes.Repeat([]byte("no bundle "), 1000)
	n := int64(len(whole))
	broken := errors.New("the line broke")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		digest string
		size   int64
		r      io.Reader
		is     error
		word   string
	}{
		"cut in the middle": {t.Context(), sha(whole), n, bytes.NewReader(whole[:n/2]), ErrRefused, "it ends after"},
		"a line that broke": {t.Context(), sha(whole), n, io.MultiReader(bytes.NewReader(whole[:n/2]), iotest.ErrReader(broken)), broken, ""},
		"endless":           {t.Context(), sha(whole), n, io.MultiReader(bytes.NewReader(whole), endless{}), ErrRefused, "it goes on after"},
		"another digest":    {t.Context(), sha(junk), n, bytes.NewReader(whole), ErrRefused, "its SHA-256 is"},
		"no bundle":         {t.Context(), sha(junk), int64(len(junk)), bytes.NewReader(junk), ErrRefused, ""},
		"a path":            {t.Context(), "../../" + sha(whole)[6:], n, bytes.NewReader(whole), ErrRefused, "isn't a SHA-256"},
		"upper case":        {t.Context(), fmt.Sprintf("%X", whole[:32]), n, bytes.NewReader(whole), ErrRefused, "isn't a SHA-256"},
		"nothing":           {t.Context(), sha(nil), 0, bytes.NewReader(nil), ErrRefused, "0 bytes"},
		"too large":         {t.Context(), sha(whole), MaxBundle + 1, endless{}, ErrRefused, "bytes"},
		"nobody waits":      {gone, sha(whole), n, bytes.NewReader(whole), context.Canceled, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.PutBundle(c.ctx, c.digest, c.size, c.r)
			expect(t, err, c.is, c.word)
			nothingLeft(t, d.top.path)
			if all, err := d.List(); err != nil || len(all) > 0 {
				t.Errorf("%v %v", all, err)
			}
		})
	}
	if b := put(t, d, whole); b.Version != "1.0.0" {
		t.Errorf("%+v", b)
	}
	// Once it is there nothing is read.
	_, err := d.PutBundle(t.Context(), sha(whole), n, iotest.ErrReader(broken))
	must(t, err)
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestManyBundlesAtOnce: slow senders don't fill memory or disk together.
func TestManyBundlesAtOnce(t *testing.T) {
	d := fresh(t)
	whole := archive(t, "1.0.0", 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	for range maxPutting {
		r, w := io.Pipe()
		go func() {
			_, err := d.PutBundle(ctx, sha(whole), int64(len(whole)), r)
			_ = r.CloseWithError(err) // nobody reads what it says
			ended <- err
		}()
		_, err := w.Write(whole[:1])
		must(t, err)
		defer w.Close()
	}
	_, err := d.PutBundle(t.Context(), sha(whole), int64(len(whole)), bytes.NewReader(whole))
	expect(t, err, ErrBusy)
	cancel()
	_ = ended // they end when their senders do
}

// TestDiskFull: a bundle that has no room is refused before and while it comes,
// leaves nothing, and takes no room from results.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("left out: a small tmpfs can't be mounted here (root is needed): %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	c := new(clock)
	d, o := opened(t, filepath.Join(dir, "updates"), c), newOwners(t)
	must(t, d.PutRoot(o.first(d.Keys())))
	must(t, d.PutTargets(o.names(d, put(t, d, archive(t, "1.0.0", 100)))))
	large := archive(t, "1.1.0", 2<<20)
	refuse := func() {
		t.Helper()
		_, err := d.PutBundle(t.Context(), sha(large), int64(len(large)), bytes.NewReader(large))
		expect(t, err, ErrFull)
		nothingLeft(t, d.top.path)
	}
	refuse()
	d.reserve = -1 << 30 // somebody else fills the disk after the look at it
	refuse()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	c.ahead += 5 * 24 * time.Hour
	d.renew()
	if st := d.State(); !errors.Is(st.Trouble, ErrFull) {
		t.Errorf("%+v", st)
	}
	nothingLeft(t, d.top.path)
	if !believes(t, d, "1.0.0") { // the timestamp has two days still
		t.Error("devices aren't served")
	}
	must(t, os.Remove(ballast))
	d.renew()
	if st := d.State(); st.Trouble != nil || device(t, d).Versions()["timestamp.json"] != 2 {
		t.Errorf("%+v", st)
	}
}
