package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/updater/bundle"
)

// TestUpdatesBesideALargeModel: a station that follows a bundle has a large model of its
// configuration beside each version that comes; one with other labels is refused in words,
// which the fleet tells, and the former one serves on.
func TestUpdatesBesideALargeModel(t *testing.T) {
	t.Parallel()
	agentProgram(t)
	program(t, "sightline")
	const unlikeVersion = "1.3.0"
	dir := t.TempDir()
	u := newUpdates(t, dir)
	u.camera, u.archives = film(t), dir
	good := u.recordGood()
	u.pack(good, goodVersion, nil)
	u.pack(good, otherVersion, nil)
	u.pack(good, unlikeVersion, func(to string) error {
		err := os.CopyFS(to, os.DirFS(good))
		file := filepath.Join(to, bundle.ManifestFile)
		text, failed := os.ReadFile(file)
		if err != nil || failed != nil {
			return err
		}
		if err := os.WriteFile(file, bytes.Replace(text, []byte("crack"), []byte("rust"), 1), 0o600); err != nil {
			return err
		}
		u.desk.run("bundle", "golden", to, "--images", filepath.Join(to, "golden"), "--agent", agentProgram(t))
		return nil
	})
	for _, version := range []string{goodVersion, otherVersion, unlikeVersion} {
		u.desk.publish(u.archive(version))
	}
	f := u.follower(t, "large", "", "    updates: auto\n    cascade: {large: drawn-parts-large, doubt: [0, 1]}")
	f.looksTwice("")
	for _, version := range []string{goodVersion, otherVersion} {
		u.follow(t, u.begin(t, version, "large"), "succeeded")
		f.looksTwice(u.digests[version])
	}
	r := u.follow(t, u.begin(t, unlikeVersion, "large"), "halted")
	if d := r.Devices[0]; d.State != "failed" || d.Reason != "bad_model" || !strings.Contains(d.Text, "set cascade.large to a model with the labels of drawn-parts, or remove cascade") {
		t.Errorf("the fleet says %+v", d)
	}
	if s := f.look("s1"); s.active() != otherVersion || !strings.Contains(s.Update.Failure.Text, "they must be the same") {
		t.Errorf("the station runs %s and says %+v", s.active(), s.Update.Failure)
	}
	f.looksTwice(u.digests[otherVersion])
	f.restarted()
	f.looksTwice(u.digests[otherVersion])
	if by := u.ends(f); by[u.digests[unlikeVersion]] > 0 || by[u.digests[otherVersion]] == 0 {
		t.Errorf("results by bundle: %v", by)
	}
}

// looksTwice waits for a new verdict by the bundle at whose part the large model has looked.
func (f *follower) looksTwice(digest string) {
	f.t.Helper()
	f.serves("s1")
	slowly(f.t, "a second look beside "+digest, func() bool {
		var all struct {
			Results []struct {
				Looks []struct{ Model, Bundle, Missed string }
			}
		}
		if !get(f.address, "/v1/results?limit=3", &all) {
			return false
		}
		for _, r := range all.Results {
			if len(r.Looks) == 2 && r.Looks[1].Model == "drawn-parts-large" && r.Looks[1].Missed == "" {
				return true
			}
		}
		return false
	})
}
