package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCacheIsCleanedButForEngines: what is old in the cache goes, and not the engines,
// which take many minutes to build and have a bound of their own.
func TestCacheIsCleanedButForEngines(t *testing.T) {
	clean, err := exec.LookPath("systemd-tmpfiles")
	if err != nil {
		t.Skip("left out: what is cleaned of the cache; install systemd to have it")
	}
	text, err := os.ReadFile("tmpfiles.d/sightline.conf")
	if err != nil {
		t.Fatal(err)
	}
	// A file's age counts from its last change too, which can't be set: here all is old.
	old := strings.NewReplacer(" 30d", " 0", "root sightline", "- -", "root root", "- -", "sightline sightline", "- -").Replace(string(text))
	if old == string(text) {
		t.Fatal("nothing in the cache has an age")
	}
	root := t.TempDir()
	conf, cache := filepath.Join(t.TempDir(), "sightline.conf"), filepath.Join(root, "var/cache/sightline")
	rule, engine := filepath.Join(cache, "rules/old.wasm"), filepath.Join(cache, "engines/ab12/model.engine")
	for _, file := range []string{conf, rule, engine} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(old), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(clean, "--clean", "--root="+root, conf).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(rule); err == nil {
		t.Error("a compiled rule that nobody used stays")
	}
	if _, err := os.Stat(engine); err != nil {
		t.Errorf("the engine is gone: %v", err)
	}
}
