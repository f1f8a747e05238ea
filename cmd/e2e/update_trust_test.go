package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

// stick: a device in no fleet takes bundles from a folder, those that are
// signed below the root that it was given, and no older ones than it has seen.
func (u *updates) stick(t *testing.T, sticks [2]string) {
	f := u.configure(t, "", "    updates: auto")
	root := filepath.Join(u.desk.keys(), "1.root.json")
	f.begin()
	f.serves("s1")
	refusedUpdate(t, f.update("install", sticks[0]), "root")
	printed(t, f.agent, "pin", root, "--config", f.config)

	// Somebody else's keys.
	other := newDesk(t, filepath.Join(t.TempDir(), "other"))
	foreign := filepath.Join(other.dir, "stick")
	other.repo = []string{"--repo", foreign}
	other.makeKeys()
	other.publish(u.archive(evilVersion))
	var err error
	slowly(t, "the pinned root to be used", func() bool {
		err = f.update("install", foreign)
		return err == nil || !strings.Contains(err.Error(), "no root")
	})
	refusedUpdate(t, err, bundleName, evilVersion, "sign")
	t.Logf("somebody else's: %v", err)

	for n, version := range []string{goodVersion, otherVersion} {
		if err := f.update("install", sticks[n]); err != nil {
			t.Fatal(err)
		}
		if n == 0 { // a minute of probation is too long to wait for
			f.until("s1", version, func(s *seenStation) bool { return s.active() == version })
		}
	}
	err = f.update("install", sticks[0])
	refusedUpdate(t, err, bundleName, goodVersion)
	t.Logf("an older stick: %v", err)
	f.serves("s1")
	if s := f.look("s1"); s.active() != goodVersion {
		t.Errorf("it runs %q", s.active())
	}
	f.process.finish()
}

// keysStolen: a device is off while all root keys and the targets key are
// replaced. It follows, and takes what the new key signed; what the old one
// signs is taken by nobody, not even where the thief has the fleet too.
func (u *updates) keysStolen(t *testing.T) {
	v := newUpdates(t, t.TempDir())
	v.camera, v.archives = u.camera, u.archives
	v.desk.publish(v.archive(goodVersion))
	f := v.enrolled(t, v.configure(t, "", "    updates: auto"), "off") // and isn't started
	stolen := newDesk(t, filepath.Join(v.dir, "thief"))
	for _, folder := range []string{"keys", "config"} {
		printed(t, "/bin/cp", "-a", filepath.Join(v.desk.dir, folder), stolen.dir) // with the modes
	}
	for _, key := range []string{"root-1", "root-2", "root-3", "targets"} {
		v.desk.run("keys", "rotate", key, "--dir", v.desk.keys(), "--passphrase-file", v.desk.passphrase())
	}
	v.desk.publish(v.archive(laterVersion))
	if out, err := stolen.try("", stolen.publishing(v.archive(evilVersion))...); err == nil {
		t.Errorf("the fleet took what the old key signed: %s", out)
	} else {
		t.Logf("at the fleet: %v", err)
	}

	id := v.begin(t, laterVersion, "off")
	f.begin()
	r := v.follow(t, id, "succeeded")
	if s := f.look("s1"); s.active() != laterVersion {
		t.Errorf("it runs %q: %+v", s.active(), r)
	}
	err := f.update("install", v.forge(t, stolen))
	refusedUpdate(t, err, evilVersion, "sign")
	t.Logf("on a stick, by the fleet's own keys: %v", err)
	f.serves("s1")
	if s := f.look("s1"); s.active() != laterVersion {
		t.Errorf("it runs %q", s.active())
	}
	v.ends(f)
}

// forge makes a repository with what a thief has who stole the targets key
// before it was replaced, and has broken into the fleet since: he signs targets
// with the old key, snapshot and timestamp with the fleet's.
func (v *updates) forge(t *testing.T, stolen *desk) string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		must(err)
		return b
	}
	fleet := v.depot("metadata")
	newest := func(name string) []byte {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(fleet, "*."+name))
		must(err)
		var best []byte
		var highest int64
		for _, path := range files {
			b := read(path)
			version, err := publish.VersionOf(b)
			must(err)
			if version > highest {
				best, highest = b, version
			}
		}
		return best
	}
	signer, err := publish.ReadKey(filepath.Join(stolen.keys(), "targets.key"), []byte(testPassphrase))
	must(err)
	archive := read(v.archive(evilVersion))
	pieces, err := bundle.Pieces(strings.NewReader(string(archive)))
	must(err)
	sum, path := sha256.Sum256(archive), bundle.TargetPath(bundleName, evilVersion)
	oldRoot := read(filepath.Join(stolen.keys(), "1.root.json"))
	targets, err := publish.AddTarget(newest(trust.TargetsFile), oldRoot, path, int64(len(archive)), sum, sha256.Sum256(pieces),
		time.Now().Add(24*time.Hour), signer)
	must(err)
	online, err := publish.OpenOnline(v.depot("keys"))
	must(err)
	root := newest(trust.RootFile)
	snapshot, stamp, err := online.Sign(root, targets, newest(trust.SnapshotFile), read(filepath.Join(fleet, trust.TimestampFile)), time.Now())
	must(err)
	files, err := publish.Files(root, targets, snapshot, stamp)
	must(err)
	to := filepath.Join(stolen.dir, "stick")
	must(os.MkdirAll(filepath.Join(to, "metadata"), 0o700))
	for name, b := range files {
		must(os.WriteFile(filepath.Join(to, "metadata", name), b, 0o600))
	}
	folder := filepath.Join(to, "targets", filepath.Dir(path))
	must(os.MkdirAll(folder, 0o700))
	must(os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s.%s", hex.EncodeToString(sum[:]), filepath.Base(path))), archive, 0o600))
	return to
}
