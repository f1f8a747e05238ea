package main

import (
	"bytes"
	"encoding/json"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
)

// runScene runs `scene` with the arguments as a shell would.
func runScene(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(t.Context(), newSceneCommand(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestSceneWrite(t *testing.T) {
	for _, format := range []string{"jpg", "png"} {
		dir := filepath.Join(t.TempDir(), "parts")
		code, out, errs := runScene(t, "write", "--out", dir, "--frames", "4", "--seed", "3", "--every", "20",
			"--size", "320x180", "--format", format, "--defect-rate", "1")
		if code != cli.Done || !strings.HasPrefix(out, "4 pictures of ") || errs != "" {
			t.Fatalf("exit %d, stdout %q, stderr %q", code, out, errs)
		}
		var notes coco
		readJSON(t, filepath.Join(dir, "annotations.json"), &notes)
		var truth sceneTruth
		readJSON(t, filepath.Join(dir, "truth.json"), &truth)
		checkCOCO(t, dir, &notes)
		checkTruth(t, &notes, &truth)
	}
}

// checkCOCO opens every picture and checks every box against it.
func checkCOCO(t *testing.T, dir string, notes *coco) {
	t.Helper()
	want := []cocoCategory{
		{1, "part", "part"}, {2, "chip", "defect"}, {3, "dent", "defect"},
		{4, "stain", "defect"}, {5, "scratch", "defect"}, {6, "crack", "defect"},
	}
	if diff := cmp.Diff(want, notes.Categories); diff != "" {
		t.Errorf("categories (-want +got):\n%s", diff)
	}
	for i, im := range notes.Images {
		f, err := os.Open(filepath.Join(dir, im.FileName))
		if err != nil {
			t.Fatal(err)
		}
		picture, _, err := image.Decode(f)
		f.Close()
		if err != nil || picture.Bounds() != image.Rect(0, 0, 320, 180) || im.ID != i+1 || im.Frame != 20*i {
			t.Errorf("%+v: %v, %v", im, picture.Bounds(), err)
		}
	}
	if len(notes.Images) != 4 || len(notes.Annotations) < 8 {
		t.Errorf("%d pictures, %d annotations", len(notes.Images), len(notes.Annotations))
	}
	for i, a := range notes.Annotations {
		b := a.Box
		inside := b[0] >= 0 && b[1] >= 0 && b[2] > 0 && b[3] > 0 && b[0]+b[2] <= 320.01 && b[1]+b[3] <= 180.01
		if a.ID != i+1 || !inside || a.Visible <= 0 || a.Visible > 1 || a.ImageID < 1 || a.ImageID > 4 {
			t.Errorf("annotation %+v", a)
		}
		if (a.CategoryID > 1) != (a.Contrast > 0) {
			t.Errorf("annotation %+v: a contrast belongs to defects and to nothing else", a)
		}
	}
}

// checkTruth: both files speak of the same parts.
func checkTruth(t *testing.T, notes *coco, truth *sceneTruth) {
	t.Helper()
	seen := map[string]bool{}
	for _, a := range notes.Annotations {
		seen[a.PartID] = true
	}
	if len(truth.Parts) != len(seen) {
		t.Errorf("truth.json has %d parts, the pictures show %d", len(truth.Parts), len(seen))
	}
	for _, p := range truth.Parts {
		if !seen[p.ID] || p.Left <= p.Entered || len(p.Defects) == 0 {
			t.Errorf("part %+v", p)
		}
	}
}

func TestSceneWriteNegatives(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := runScene(t, "write", "--out", dir, "--frames", "5", "--every", "50", "--size", "192x108",
		"--negatives", "--defect-rate", "1"); code != cli.Done {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var notes coco
	readJSON(t, filepath.Join(dir, "annotations.json"), &notes)
	for _, a := range notes.Annotations {
		if a.CategoryID != 1 {
			t.Errorf("annotation %+v among good parts only", a)
		}
	}
}

func TestSceneWriteSameSeedSameBytes(t *testing.T) {
	read := func() string {
		dir := t.TempDir()
		if code, _, errs := runScene(t, "write", "--out", dir, "--frames", "2", "--size", "192x108"); code != cli.Done {
			t.Fatalf("exit %d: %s", code, errs)
		}
		var all strings.Builder
		for _, name := range []string{"frame-000000.jpg", "frame-000001.jpg", "annotations.json", "truth.json"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		return all.String()
	}
	if first, again := read(), read(); first != again {
		t.Error("one seed gave two different folders")
	}
}

func TestSceneWrongUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"write"}, cli.WrongUse, "--out"},
		{[]string{"write", "--out", "x", "more"}, cli.WrongUse, `"more"`},
		{[]string{"write", "--out", "x", "--size", "768"}, cli.WrongUse, `--size "768": must be width x height`},
		{[]string{"write", "--out", "x", "--size", "768x432x3"}, cli.WrongUse, "must be width x height"},
		{[]string{"write", "--out", "x", "--size", "30x20"}, cli.WrongUse, "too small to show a defect"},
		{[]string{"write", "--out", "x", "--frames", "0"}, cli.WrongUse, "--frames 0"},
		{[]string{"write", "--out", "x", "--frames", "many"}, cli.WrongUse, "many"},
		{[]string{"write", "--out", "x", "--every", "-1"}, cli.WrongUse, "--every -1"},
		{[]string{"write", "--out", "x", "--first", "-1"}, cli.WrongUse, "--first -1"},
		{[]string{"write", "--out", "x", "--format", "bmp"}, cli.WrongUse, `--format "bmp": must be jpg or png`},
		{[]string{"write", "--out", "x", "--quality", "0"}, cli.WrongUse, "--quality 0"},
		{[]string{"write", "--out", "x", "--defect-rate", "2"}, cli.WrongUse, "--defect-rate 2"},
		{[]string{"write", "--out", "x", "--rate", "-5"}, cli.WrongUse, "rate -5"},
		{[]string{"write", "--out", file + "/in"}, cli.Failed, "make the folder"},
		{[]string{"write", "--out", file}, cli.Failed, "make the folder"},
	}
	for _, tt := range tests {
		code, _, errs := runScene(t, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("scene %v: exit %d, %q; want exit %d with %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
}

func TestSceneHelpTeachesByExample(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"write", "--help"}} {
		if code, out, _ := runScene(t, args...); code != cli.Done || !strings.Contains(out, "scene write --out") {
			t.Errorf("scene %v: exit %d, no example in\n%s", args, code, out)
		}
	}
}
