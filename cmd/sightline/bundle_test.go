package main

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/rules"
)

// drawnParts is a copy of the shipped model's folder, without its golden vectors.
func drawnParts(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := mutant.Plain(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit replaces a text of the manifest, which must hold it.
func edit(t *testing.T, dir, old, new string) {
	t.Helper()
	path := filepath.Join(dir, bundle.ManifestFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("the manifest has no %q", old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sightline runs the program and gives what it said.
func sightline(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), args, &out, &out)
	return code, out.String()
}

// TestLint: one fault each, and the words for it.
func TestLint(t *testing.T) {
	standard := `{standard: threshold, when: "defect>0.3"}`
	wasm, err := rules.Standard()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		old, new string
		more     func(dir string) error
		code     int
		want     string
	}{
		"as shipped":      {"card", "card", nil, 0, ": 0 errors, 2 warnings"},
		"other family":    {"family: yolov8", "family: yolox", nil, 1, "error    model: family yolox needs an output of"},
		"unknown family":  {"family: yolov8", "family: yolov99", nil, 1, `"yolov99" is unknown: known are yolox`},
		"role of nobody":  {"{name: part, role: part}", "{name: part, role: ignored}", nil, 1, "none has the role part"},
		"bad condition":   {"defect>0.3", "defect>3", nil, 1, "error    rule: rule \"threshold:defect>3\""},
		"other rule":      {"standard: threshold", "standard: majority", nil, 1, `there is no standard rule "majority"`},
		"no rule":         {standard, "{}", nil, 0, "parts get NONE (no_rule)"},
		"no licence":      {"licence: Apache-2.0", "licence: ''", nil, 0, "warning  licence: there is none"},
		"lost module":     {standard, "{module: own.wasm}", nil, 1, "rule.module: own.wasm is not in the bundle"},
		"lost card":       {"card: MODEL_CARD.md", "card: CARD.md", nil, 1, "card: CARD.md is not in the bundle"},
		"lost golden":     {"card", "golden: golden/expected.json\ncard", nil, 1, "golden/expected.json is not in the bundle"},
		"no labels":       {"  labels:", "  labels: []\n  unknown:", nil, 1, "unknown field"},
		"damaged model":   {"card", "card", func(d string) error { return os.Truncate(d+"/model.onnx", 5000) }, 1, "this is no ONNX model"},
		"no module":       {standard, "{module: own.wasm}", func(d string) error { return os.WriteFile(d+"/own.wasm", []byte("wasm"), 0o600) }, 1, "error    rule.module: "},
		"module":          {standard, `{module: own.wasm, params: "defect>0.4"}`, func(d string) error { return os.WriteFile(d+"/own.wasm", wasm, 0o600) }, 0, "0 errors"},
		"bad parameters":  {standard, `{module: own.wasm, params: "defect"}`, func(d string) error { return os.WriteFile(d+"/own.wasm", wasm, 0o600) }, 1, `parameters "defect"`},
		"symbolic link":   {"card", "card", func(d string) error { return os.Symlink("/etc/passwd", d+"/link") }, 1, "link: it is no regular file"},
		"case":            {"card", "card", func(d string) error { return os.WriteFile(d+"/Model.onnx", nil, 0o600) }, 1, "differ in case alone"},
		"golden unnamed":  {"card", "card", writeGolden, 1, "the manifest doesn't name it"},
		"golden's labels": {"card", "golden: golden/expected.json\ncard", writeGolden, 1, `golden/one.jpg expects label "hole"`},
		"golden by hand":  {"card", "golden: golden/expected.json\ncard", writeGolden, 1, "warning  golden/expected.json: the tolerances were chosen by hand"},
		"other settings": {"nms: 0.7", "nms: 0.6\ngolden: golden/expected.json", shippedGolden, 1,
			"error    golden/expected.json: the golden vectors were recorded with other settings: nms 0.7, the manifest has nms 0.6"},
		"same settings": {"card", "golden: golden/expected.json\ncard", shippedGolden, 0, ": 0 errors, 1 warning"},
		"golden's file": {"card", "golden: golden/expected.json\ncard", writeGolden, 1, "golden/one.jpg is not in the bundle"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := drawnParts(t)
			edit(t, dir, c.old, c.new)
			if c.more != nil {
				if err := c.more(dir); err != nil {
					t.Fatal(err)
				}
			}
			code, said := sightline(t, "bundle", "lint", dir)
			if code != c.code || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, c.code, c.want, said)
			}
		})
	}
}

// shippedGolden puts the golden vectors beside the model that it is shipped with.
func shippedGolden(dir string) error {
	fsys, err := models.Open("drawn-parts")
	if err != nil {
		return err
	}
	golden, err := fs.Sub(fsys, "golden")
	if err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir, "golden"), golden)
}

func writeGolden(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, "golden"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, bundle.GoldenFile), []byte(`{"golden":1,
		"recorded":{"provider":"cpu","precision":"float32","runtime":"1","agent":"1"},"tolerance":{"score":0.02,"iou":0.9,"raw":0.01},"lowest":0.1,
		"vectors":[{"picture":"golden/one.jpg","verdict":"PASS","reason":"","parts":[],"detections":[{"label":"hole","score":0.5,"box":[0,0,1,1]}]}]}`), 0o600)
}

// TestGoldenOfTheAgent: from a folder to an archive with what the real agent recorded.
func TestGoldenOfTheAgent(t *testing.T) {
	agent := needAgent(t)
	dir, pictures := drawnParts(t), filepath.Join(t.TempDir(), "pictures")
	for _, args := range [][]string{
		{"scene", "write", "--out", pictures, "--frames", "4", "--seed", "77", "--every", "25", "--defect-rate", "0.5"},
		{"bundle", "golden", dir, "--images", pictures, "--agent", agent},
		{"bundle", "lint", dir},
		{"bundle", "pack", dir, "-o", pictures + ".slb"},
	} {
		if code, said := sightline(t, args...); code != 0 {
			t.Fatalf("%v: exit code %d\n%s", args, code, said)
		}
	}
	a, err := bundle.Open(pictures + ".slb")
	if err != nil {
		t.Fatal(err)
	}
	if g := a.Golden(); g == nil || len(g.Vectors) != 4 || len(g.Vectors[0].Detections) == 0 {
		t.Errorf("golden vectors are %+v", g)
	}
	kept, err := fs.Glob(os.DirFS(dir), "golden/*.jpg")
	if err != nil || len(kept) != 4 {
		t.Errorf("pictures kept: %v, %v", kept, err)
	}
}

// TestGoldenOfARunningAgent: one that runs on a device records the same as the
// program does, keeps nothing, and tells what it can't read.
func TestGoldenOfARunningAgent(t *testing.T) {
	agent := needAgent(t)
	dir, pictures := drawnParts(t), filepath.Join(t.TempDir(), "pictures")
	address, err := cable.FreeAddress("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "station.yaml")
	text := "listen: " + address + "\ndata: data\nstations:\n  - {id: s1, camera: {source: \"http://127.0.0.1:9/none\"}, model: drawn-parts}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := begin("the agent", agent, "run", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}()
	answers(t, address, p)
	var said [2]string
	for i, by := range []string{agent, "http://" + address} {
		for _, args := range [][]string{
			{"scene", "write", "--out", pictures, "--frames", "3", "--seed", "77", "--every", "25", "--defect-rate", "0.5"},
			{"bundle", "golden", dir, "--images", pictures, "--agent", by},
			{"bundle", "lint", dir},
		} {
			if code, out := sightline(t, args...); code != 0 {
				t.Fatalf("%v: exit code %d\n%s", args, code, out)
			}
		}
		b, err := os.ReadFile(filepath.Join(dir, bundle.GoldenFile))
		if err != nil {
			t.Fatal(err)
		}
		said[i] = string(b)
	}
	if said[0] != said[1] {
		t.Errorf("the program records\n%s\nthe running agent\n%s", said[0], said[1])
	}
	none := filepath.Join(pictures, "truth.json")
	code, out := sightline(t, "bundle", "golden", dir, "--pictures", none, "--agent", "http://"+address)
	if code != 1 || !strings.Contains(out, "truth.json") || !strings.Contains(out, "no JPEG") {
		t.Errorf("of what is no picture: exit code %d, %s", code, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, bundle.GoldenFile)); err != nil || string(b) != said[1] {
		t.Errorf("what was recorded before is %s, %v", b, err)
	}
}

// answers waits until an agent answers.
func answers(t *testing.T, address string, p *process) {
	t.Helper()
	for {
		r, err := http.Get("http://" + address + "/v1/stations")
		if err == nil {
			r.Body.Close()
			return
		}
		select {
		case <-p.done:
			t.Fatal(p.failure())
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
