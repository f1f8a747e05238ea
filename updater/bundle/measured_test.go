package bundle

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// newGolden is a golden file with settings and a measurement, as they are
// written since there are such.
const newGolden = `{
 "golden": 1,
 "recorded": {"provider":"cpu","precision":"float32","runtime":"1.27.0","agent":"0.6.0"},
 "tolerance": {"score":0.012,"iou":0.94,"raw":0.02},
 "lowest": 0.1,
 "settings": ["family yolov8","labels part:part scratch:defect","nms 0.7","rule threshold:scratch\u003e0.5"],
 "measured": {"threads":[1,2,4],"graph":["disable","all"],"margin":3,"left":"int8: no such model","spreads":[{"provider":"cpu","precision":"float32","score":0.0000012,"iou":1,"raw":[{"name":"output0","spread":0.000001,"tolerance":0.0001}],"tolerance":{"score":0.001,"iou":0.98,"raw":0.0001}},{"provider":"cpu","precision":"float16","emulated":true,"score":0.004,"iou":0.98,"tolerance":{"score":0.012,"iou":0.94,"raw":0.02}}]},
 "vectors": [
  {"picture":"golden/one.png","verdict":"PASS","reason":"ok","parts":[],"detections":[]}
 ]
}
`

func TestMeasuredGolden(t *testing.T) {
	g, err := ParseGolden([]byte(newGolden))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := g.Write(&b); err != nil || b.String() != newGolden {
		t.Errorf("written: %v\n%s", err, cmp.Diff(newGolden, b.String()))
	}
	old, err := ParseGolden([]byte(goodGolden))
	if err != nil {
		t.Fatal(err)
	}
	here, err := ParseGolden([]byte(strings.Replace(newGolden, `"precision":"float32","score"`, `"precision":"float32","processor":"amd64","score"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		g                   *Golden
		provider, precision string
		tol                 Tolerance
		unmeasured          string
	}{
		{here, "cpu", "float32", Tolerance{0.012, 0.94, 0.02}, "how far cpu float32 moves was measured on amd64 for this bundle, and never on arm64"},
		{g, "cpu", "float32", Tolerance{0.001, 0.98, 0.0001}, ""},
		{g, "cpu", "float16", Tolerance{0.012, 0.94, 0.02}, "float16 was emulated on cpu for this bundle, and cpu was never measured"},
		{g, "tensorrt", "float16", Tolerance{0.012, 0.94, 0.02}, "float16 was emulated on cpu for this bundle, and tensorrt was never measured"},
		{g, "cuda", "float32", Tolerance{0.012, 0.94, 0.02}, "how far cuda float32 moves was never measured for this bundle"},
		{old, "cpu", "float32", Tolerance{0.02, 0.9, 0.01}, "how far cpu float32 moves was never measured for this bundle: its tolerances were chosen by hand"},
	} {
		tol, s := c.g.Within(c.provider, c.precision, "arm64")
		if said := c.g.Unmeasured(c.provider, c.precision, "arm64"); tol != c.tol || said != c.unmeasured || (s == nil) != (said != "") {
			t.Errorf("%s %s: %v, %q, measured %v", c.provider, c.precision, tol, said, s)
		}
	}
	if lines := g.Measured.Lines(); len(lines) != 3 || !strings.Contains(lines[1], "cpu float16 emulated: scores moved by 0.004") || lines[2] != "not measured: int8: no such model" {
		t.Errorf("for people: %q", lines)
	}
	if lines := old.Measured.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "unmeasured") {
		t.Errorf("for people, of an old one: %q", lines)
	}
}

func TestBadMeasurements(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"threads":         {"[1,2,4]", "[1,0]", "measured.threads: 0 is outside"},
		"margin":          {`"margin":3`, `"margin":0.5`, "measured.margin: 0.5"},
		"level":           {`"disable"`, `"\u0007"`, "measured.graph and by_hand"},
		"left":            {"int8: no such model", strings.Repeat("x", 3000), "measured.left"},
		"spread's score":  {`"score":0.004`, `"score":-0.004`, "measured.spreads[1]: score and iou"},
		"blind tolerance": {`"tolerance":{"score":0.012,"iou":0.94,"raw":0.02}}]`, `"tolerance":{"score":0.5,"iou":0.94,"raw":0.02}}]`, "measured.spreads[1]: tolerance.score: 0.5"},
		"blind output":    {`"tolerance":0.0001}]`, `"tolerance":1}]`, "raw: output \"output0\" moves by"},
		"no provider":     {`{"provider":"cpu","precision":"float16"`, `{"provider":"","precision":"float16"`, "provider, precision and processor"},
		"no value":        {`"nms 0.7"`, `"nms"`, "settings[2]"},
		"many settings":   {`"nms 0.7"`, strings.Repeat(`"a b",`, 70) + `"nms 0.7"`, "settings: 74 lines"},
		"many spreads":    {"[1,2,4]", "[" + strings.Repeat("1,", 80) + "1]", "more than 64"},
	} {
		text := strings.Replace(newGolden, c.old, c.new, 1)
		if _, err := ParseGolden([]byte(text)); text == newGolden || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestPinnedSettings: whatever decides is in the lines, and what doesn't isn't. The
// lines of this manifest are the same for ever: golden files hold them.
func TestPinnedSettings(t *testing.T) {
	text, err := os.ReadFile("testdata/settings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := fstest.MapFS{ManifestFile: {Data: text}, "own.wasm": {Data: []byte("wasm")}}
	lines := func(old, new string) []string {
		t.Helper()
		changed := strings.Replace(string(text), old, new, 1)
		if changed == string(text) && old != "" {
			t.Fatalf("%q isn't in the manifest", old)
		}
		m, err := Parse([]byte(changed))
		if err != nil {
			t.Fatal(err)
		}
		l, err := Settings(m, dir)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	want, err := os.ReadFile("testdata/settings.txt")
	if err != nil {
		t.Fatal(err)
	}
	was := lines("", "")
	if d := cmp.Diff(string(want), strings.Join(was, "\n")+"\n"); d != "" {
		t.Error(d)
	}
	g := &Golden{Settings: was}
	for _, c := range [][2]string{
		{"family: yolov8", "family: yolov5"}, {"{name: scratch, role: defect}", "{name: scratch, role: ignored}"}, {"[640, 480]", "[480, 640]"},
		{"colour: rgb", "colour: bgr"}, {"scale: 0.5", "scale: 0.25"}, {"mean: [1, 2, 3]", "mean: [1, 2, 4]"}, {"std: [4, 5, 6]", "std: [4, 5, 7]"},
		{"interpolation: linear", "interpolation: area"}, {"crop: 0.875", "crop: 0.9"}, {"pad: 114", "pad: 0"}, {"anchor: centre", "anchor: top-left"},
		{"activation: sigmoid", "activation: softmax"}, {"confidence: 0.25", "confidence: 0.26"}, {"nms: 0.7", "nms: 0.8"}, {"max_detections: 300", "max_detections: 30"},
		{"pixel: 0.5", "pixel: 0.6"}, {"min_area: 9", "min_area: 10"}, {"params: a", "params: b"}, {", pad: 114", ""},
	} {
		if d := g.OtherSettings(lines(c[0], c[1])); len(d) != 1 {
			t.Errorf("%q instead of %q: %q differ, want one", c[1], c[0], d)
		}
	}
	for _, c := range [][2]string{{"name: caps", "name: lids"}, {"version: 1.2.0", "version: 1.2.1"}, {"licence: MIT", "licence: Apache-2.0"}} {
		if d := g.OtherSettings(lines(c[0], c[1])); len(d) != 0 {
			t.Errorf("%q instead of %q: %q differ", c[1], c[0], d)
		}
	}
	dir["own.wasm"] = &fstest.MapFile{Data: []byte("another")}
	if d := g.OtherSettings(lines("", "")); len(d) != 1 || !strings.HasPrefix(d[0][0], "rule.module ") {
		t.Errorf("another module: %q differ", d)
	}
	if d := (&Golden{}).OtherSettings(was); d != nil {
		t.Errorf("where nothing was recorded, %q differ", d)
	}
	delete(dir, "own.wasm")
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Settings(m, dir); err == nil {
		t.Error("a module that isn't there has settings")
	}
}
