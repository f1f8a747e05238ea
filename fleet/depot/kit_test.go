package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// clock is a fleet's time in a test's hands.
type clock struct{ ahead time.Duration }

func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

func opened(t testing.TB, dir string, c *clock) *Depot {
	t.Helper()
	d, err := Open(dir, c.now, silent)
	if err != nil {
		t.Fatal(err)
	}
	d.reserve = 0
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

func fresh(t testing.TB) *Depot { return opened(t, filepath.Join(t.TempDir(), "updates"), new(clock)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// owners hold the keys that never come to the fleet.
type owners struct {
	testing.TB
	root    [3]*publish.Key
	targets *publish.Key
}

func newOwners(t testing.TB) *owners {
	t.Helper()
	o := &owners{TB: t}
	for i := range o.root {
		o.root[i] = o.key()
	}
	o.targets = o.key()
	return o
}

func (o *owners) key() *publish.Key {
	o.Helper()
	k, err := publish.NewKey()
	must(o, err)
	return k
}

// first is the first root, which names the fleet's keys.
func (o *owners) first(online publish.OnlineKeys) []byte {
	o.Helper()
	var roots []*publish.PublicKey
	for _, k := range o.root {
		roots = append(roots, k.Public())
	}
	b, err := publish.NewRoot(publish.Roles{Root: roots, Targets: o.targets.Public(), Online: online}, time.Now().Add(publish.RootLife), o.root[0], o.root[1])
	must(o, err)
	return b
}

// next is the root after one, with changes.
func (o *owners) next(root []byte, changes ...publish.Change) []byte {
	o.Helper()
	b, err := publish.NextRoot(root, time.Now().Add(publish.RootLife), changes...)
	must(o, err)
	b, err = publish.SignRoot(b, o.root[0], o.root[2])
	must(o, err)
	return b
}

// names are targets that name one more bundle.
func (o *owners) names(d *Depot, b *Bundle) []byte {
	o.Helper()
	out, err := publish.AddTarget(d.current.Load().targets, d.Root(), b.Target, b.Size, digestOf(o, b.Digest), digestOf(o, b.Pieces),
		time.Now().Add(publish.TargetsLife), o.targets)
	must(o, err)
	return out
}

func digestOf(t testing.TB, text string) [32]byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	must(t, err)
	return [32]byte(b)
}

// archive is a bundle with a model of so many bytes that is none.
func archive(t testing.TB, version string, size int) []byte {
	t.Helper()
	model := make([]byte, size)
	r := rand.NewChaCha8(sha256.Sum256([]byte(version)))
	_, _ = r.Read(model) // it never fails
	sum := sha256.Sum256(model)
	manifest := fmt.Sprintf("manifest: 1\nname: caps\nversion: %s\nlicence: Apache-2.0\nmodel:\n  file: model.onnx\n  sha256: %x\n  family: yolov8\n"+
		"  labels: [{name: part, role: part}, {name: scratch, role: defect}]\nrule: {standard: threshold, when: \"defect>0.5\"}\n", version, sum)
	var b bytes.Buffer
	_, err := bundle.Pack(fstest.MapFS{bundle.ManifestFile: {Data: []byte(manifest)}, "model.onnx": {Data: model}}, &b)
	must(t, err)
	return b.Bytes()
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func put(t testing.TB, d *Depot, archive []byte) *Bundle {
	t.Helper()
	b, err := d.PutBundle(t.Context(), sha(archive), int64(len(archive)), bytes.NewReader(archive))
	must(t, err)
	return b
}

// publishing is a depot with a root, and bundles that are published.
func publishing(t testing.TB, c *clock, versions ...string) (*Depot, *owners) {
	t.Helper()
	d, o := opened(t, filepath.Join(t.TempDir(), "updates"), c), newOwners(t)
	must(t, d.PutRoot(o.first(d.Keys())))
	for _, v := range versions {
		must(t, d.PutTargets(o.names(d, put(t, d, archive(t, v, 100)))))
	}
	return d, o
}

// refresh walks as a device does that trusts a root, over a folder or a depot.
func refresh(root []byte, at time.Time, read func(name string) ([]byte, error)) (*trust.Session, error) {
	s, err := trust.New(root, at)
	if err != nil {
		return nil, err
	}
	for want, more := s.Next(); more; want, more = s.Next() {
		b, err := read(want.Name)
		switch {
		case errors.Is(err, ErrMissing), errors.Is(err, os.ErrNotExist):
			err = s.Missing()
		case err == nil:
			err = s.Got(b)
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// device is what one that holds the first root believes.
func device(t testing.TB, d *Depot) *trust.Session {
	t.Helper()
	root, err := d.Metadata("1.root.json")
	must(t, err)
	s, err := refresh(root, d.now(), d.Metadata)
	must(t, err)
	return s
}

// believes reports whether a device may install that version.
func believes(t testing.TB, d *Depot, version string) bool {
	t.Helper()
	s := device(t, d)
	must(t, s.Find(bundle.TargetPath("caps", version)))
	_, err := s.Found()
	return err == nil
}

// expect is an error with that sentinel and these words.
func expect(t testing.TB, err, is error, words ...string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Errorf("got %v, want %v", err, is)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q doesn't say %q", err, w)
		}
	}
}

// nothingLeft looks for files that aren't whole.
func nothingLeft(t testing.TB, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*", ".*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// running runs the depot until the test ends.
func running(t testing.TB, d *Depot) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
}
