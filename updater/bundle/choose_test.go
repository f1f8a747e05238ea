package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNameGolden: a manifest's line is added whatever stands at its end, or
// the author is told to.
func TestNameGolden(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ManifestFile)
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.TrimSuffix(good, "\n") + " # no end")
	if err := nameGolden(dir); err != nil {
		t.Fatal(err)
	}
	m, err := Read(os.DirFS(dir))
	if err != nil || m.Golden != GoldenFile || m.Card != "MODEL_CARD.md" {
		t.Errorf("%+v, %v", m, err)
	}
	flow := `{manifest: 1, name: a, version: "1", licence: "", model: {file: model.onnx, sha256: ` + m.Model.SHA256 + `, family: yolov8, labels: []}}`
	write(flow)
	if err := nameGolden(dir); err == nil || !strings.Contains(err.Error(), "add golden: golden/expected.json to it") {
		t.Errorf("a manifest of one line: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != flow {
		t.Errorf("it was changed: %s, %v", b, err)
	}
}

// TestPlace: pictures of the bundle stay, others get names that a bundle can
// hold, each its own.
func TestPlace(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	files := []string{filepath.Join(dir, "golden/a.jpg"), filepath.Join(out, "a.jpg"), filepath.Join(out, "Kratzer ß.png"), filepath.Join(out, ".hidden.jpg")}
	p, names := Place(dir, files)
	if d := cmp.Diff([]string{"golden/a.jpg", "golden/a-2.jpg", "golden/Kratzer__.png"}, names[:3]); d != "" {
		t.Error(d)
	}
	for i, name := range names {
		if CheckPath(name) != nil || p[name] != files[i] {
			t.Errorf("%s lies at %s: %v", name, p[name], CheckPath(name))
		}
	}
}
