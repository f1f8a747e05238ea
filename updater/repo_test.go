package updater

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

// repo is a signed repository in a folder, as a USB stick has it: metadata/
// and targets/. It is also what a fleet would answer from.
type repo struct {
	dir     string
	key     *publish.Key
	online  *publish.Online
	root    []byte
	targets []byte
	snap    []byte
	stamp   []byte

	away    atomic.Bool   // the fleet can't be reached
	fetched atomic.Int32  // archives
	hold    chan struct{} // if not nil, a fetch waits for it
	tamper  func([]byte) []byte
}

// far is beyond all that happens here: in a bubble it is 2000, outside not.
var far = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newRepo(t testing.TB) *repo {
	t.Helper()
	r := &repo{dir: t.TempDir(), key: must(publish.NewKey())(t)}
	r.online = must(publish.OpenOnline(filepath.Join(r.dir, "keys")))(t)
	var keys []*publish.Key
	roles := publish.Roles{Targets: r.key.Public(), Online: r.online.Keys()}
	for range 3 {
		k := must(publish.NewKey())(t)
		keys = append(keys, k)
		roles.Root = append(roles.Root, k.Public())
	}
	r.root = must(publish.NewRoot(roles, far, keys[:2]...))(t)
	for _, d := range []string{"metadata", "targets"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// bundleFS is a bundle that makes the plant of these tests behave so.
func bundleFS(name, version, behaviour string) fstest.MapFS {
	model := []byte(behaviour + " " + version)
	return fstest.MapFS{
		"model.onnx": {Data: model},
		"noise.bin":  {Data: bytes.Repeat([]byte(version), 20000)},
		bundle.ManifestFile: {Data: fmt.Appendf(nil, `manifest: 1
name: %s
version: %s
licence: Apache-2.0
model:
  file: model.onnx
  sha256: %x
  family: yolov8
  labels: [{name: part, role: part}, {name: scratch, role: defect}]
rule: {standard: threshold, when: "defect>0.5"}
`, name, version, sha256.Sum256(model))},
	}
}

// publish packs, signs and stores a bundle, and gives its digest.
func (r *repo) publish(t testing.TB, name, version, behaviour string) string {
	t.Helper()
	return r.publishFile(t, name, version, bundleFS(name, version, behaviour))
}

func (r *repo) publishFile(t testing.TB, name, version string, fsys fstest.MapFS) string {
	t.Helper()
	var b bytes.Buffer
	digest := must(bundle.Pack(fsys, &b))(t)
	return r.sign(t, name, version, digest, b.Bytes())
}

func (r *repo) sign(t testing.TB, name, version, digest string, archive []byte) string {
	t.Helper()
	pieces := sha256.Sum256(must(bundle.Pieces(bytes.NewReader(archive)))(t))
	path := bundle.TargetPath(name, version)
	r.targets = must(publish.AddTarget(r.targets, r.root, path, int64(len(archive)), sha256.Sum256(archive), pieces, far, r.key))(t)
	file := filepath.Join(r.dir, "targets", filepath.Dir(path), digest+"."+filepath.Base(path))
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, archive, 0o644)); err != nil {
		t.Fatal(err)
	}
	r.release(t)
	return digest
}

// release signs snapshot and timestamp, and writes all metadata.
func (r *repo) release(t testing.TB) {
	t.Helper()
	var err error
	if r.snap, r.stamp, err = r.online.Sign(r.root, r.targets, r.snap, r.stamp, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, data := range must(publish.Files(r.root, r.targets, r.snap, r.stamp))(t) {
		if err := os.WriteFile(filepath.Join(r.dir, "metadata", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Metadata makes it a mirror.Source.
func (r *repo) Metadata(ctx context.Context, name string, max int64) ([]byte, error) {
	if r.away.Load() {
		<-ctx.Done() // as over a connection that isn't there
		return nil, ctx.Err()
	}
	return mirror.Folder(filepath.Join(r.dir, "metadata")).Metadata(ctx, name, max)
}

// fetchTo copies the archive below dir in two pieces, as a transfer would.
func (r *repo) fetchTo(dir string) func(context.Context, trust.Target, func(done, total int64)) (string, error) {
	return func(ctx context.Context, t trust.Target, progress func(done, total int64)) (string, error) {
		r.fetched.Add(1)
		digest := hex.EncodeToString(t.SHA256[:])
		b, err := os.ReadFile(filepath.Join(r.dir, "targets", filepath.Dir(t.Path), digest+"."+filepath.Base(t.Path)))
		if err != nil {
			return "", err
		}
		if r.tamper != nil {
			b = r.tamper(b)
		}
		if err := os.MkdirAll(filepath.Join(dir, transferDir), 0o755); err != nil {
			return "", err
		}
		f, err := os.Create(filepath.Join(dir, transferDir, digest+".slb"))
		if err != nil {
			return "", err
		}
		half := len(b) / 2
		_, err = f.Write(b[:half])
		progress(int64(half), int64(len(b)))
		if r.hold != nil {
			select {
			case <-r.hold:
			case <-ctx.Done():
				return "", errors.Join(ctx.Err(), f.Close())
			}
		}
		if err == nil {
			_, err = io.Copy(f, bytes.NewReader(b[half:]))
		}
		progress(int64(len(b)), int64(len(b)))
		return f.Name(), errors.Join(err, f.Close())
	}
}
