package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/updater/publish"
)

// rootOf is a first root with keys of its own.
func rootOf(t *testing.T) []byte {
	t.Helper()
	var keys []*publish.Key
	for range 6 {
		k, err := publish.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	root, err := publish.NewRoot(publish.Roles{
		Root:    []*publish.PublicKey{keys[0].Public(), keys[1].Public(), keys[2].Public()},
		Targets: keys[3].Public(),
		Online:  publish.OnlineKeys{Snapshot: keys[4].Public(), Timestamp: keys[5].Public()},
	}, time.Now().AddDate(1, 0, 0), keys[0], keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestPin: a device trusts the first root that it is given, and no other.
func TestPin(t *testing.T) {
	dir := t.TempDir()
	data, root, other := filepath.Join(dir, "data"), rootOf(t), rootOf(t)
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pin := func(path string, more ...string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		code = run(t.Context(), append([]string{"pin", path, "--data", data}, more...), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	if code, _, errs := pin(file("broken.json", bytes.Replace(root, []byte(`"version":1`), []byte(`"version":2`), 1))); code != 1 || !strings.Contains(errs, "signature") {
		t.Errorf("a root that was changed: %d %s", code, errs)
	}
	if code, _, errs := pin(file("large.json", bytes.Repeat([]byte(" "), maxRootFile+1))); code != 1 || !strings.Contains(errs, "it is no root") {
		t.Errorf("endless data: %d %s", code, errs)
	}
	code, out, errs := pin(file("root.json", root), "--json")
	var p pinned
	if err := json.Unmarshal([]byte(out), &p); code != 0 || err != nil || p.Root != 1 || len(p.Fingerprint) != 64 {
		t.Fatalf("%d %s %s %v", code, out, errs, err)
	}
	if code, out, _ := pin(file("again.json", root)); code != 0 || !strings.Contains(out, p.Fingerprint) {
		t.Errorf("the same again: %d %s", code, out)
	}
	if code, _, errs := pin(file("other.json", other)); code != 1 || !strings.Contains(errs, "another root is pinned already") || !strings.Contains(errs, p.Fingerprint) {
		t.Errorf("another's root: %d %s", code, errs)
	}
	if got, err := os.ReadFile(filepath.Join(data, "updates", "metadata", "root.json")); err != nil || !bytes.Equal(got, root) {
		t.Errorf("another root lies there, %v", err)
	}
}

// TestEnrolledWithoutRoot: what enrolling prints when there are no keys yet,
// and when the device trusts others' already.
func TestEnrolledWithoutRoot(t *testing.T) {
	data := t.TempDir()
	var out bytes.Buffer
	if err := pinFleet(&out, data, nil); err != nil || !strings.Contains(out.String(), "sightline-agent pin") {
		t.Errorf("%v %s", err, &out)
	}
	if err := pinFleet(&out, data, rootOf(t)); err != nil || !strings.Contains(out.String(), "fingerprint") {
		t.Errorf("%v %s", err, &out)
	}
	if err := pinFleet(&out, data, rootOf(t)); err == nil || !strings.Contains(err.Error(), "the device is enrolled") {
		t.Errorf("%v", err)
	}
}
