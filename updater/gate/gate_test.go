package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/track"
)

// asWorker, in the environment, makes this test binary a worker process.
const asWorker = "SIGHTLINE_GATE_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(asWorker) {
	case "":
		os.Exit(m.Run())
	case "worker":
		if err := infer.WorkerMain(context.Background(), 3); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "die":
		fmt.Fprintln(os.Stderr, "out of memory")
		os.Exit(137)
	}
}

// fixture is the shipped model with its rule and drawn pictures.
type fixture struct {
	data   []byte
	spec   infer.Spec
	roles  map[string]vision.Role
	rule   *rules.Rule
	dir    fstest.MapFS
	images []string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	fsys, err := models.Open("drawn-parts")
	check(t, err)
	m, err := bundle.Read(fsys)
	check(t, err)
	f := &fixture{roles: map[string]vision.Role{}, dir: fstest.MapFS{}}
	f.data, err = fs.ReadFile(fsys, m.Model.File)
	check(t, err)
	var labels []string
	for _, l := range m.Model.Labels {
		labels = append(labels, l.Name)
		f.roles[l.Name], _ = vision.ParseRole(l.Role)
	}
	info, err := infer.Describe(f.data)
	check(t, err)
	f.spec, err = info.Spec(infer.Options{Family: m.Model.Family, Labels: labels, Confidence: 0.1, NMS: m.Model.NMS})
	check(t, err)
	f.rule = f.load(t, m.Rule.Spec())
	f.draw(t, 3)
	return f
}

// load makes a rule.
func (f *fixture) load(t testing.TB, rule string) *rules.Rule {
	t.Helper()
	cache := filepath.Join(os.Getenv("SIGHTLINE_CACHE"), "rules")
	if os.Getenv("SIGHTLINE_CACHE") == "" {
		cache = ""
	}
	engine, err := rules.NewEngine(t.Context(), rules.Config{CacheDir: cache, TimeLimit: 5 * time.Second})
	check(t, err)
	t.Cleanup(func() { engine.Close(context.Background()) })
	spec, err := rules.Parse(rule)
	check(t, err)
	r, err := engine.Load(t.Context(), spec)
	check(t, err)
	return r
}

func (f *fixture) draw(t testing.TB, n int) {
	t.Helper()
	s, err := scene.New(scene.Config{Seed: 1, DefectRate: 0.6, Width: 640, Height: 360})
	check(t, err)
	frame := s.NewFrame()
	for i := range n {
		check(t, s.Frame(40*i+10, frame))
		b, err := picture.EncodeJPEG(frame, picture.Encoding{})
		check(t, err)
		name := fmt.Sprintf("golden/p%d.jpg", i)
		f.dir[name] = &fstest.MapFile{Data: b}
		f.images = append(f.images, name)
	}
}

// config is of a worker that runs the fixture's model.
func (f *fixture) config(t testing.TB) infer.Config {
	t.Helper()
	library, err := infer.FindLibrary("")
	if err != nil {
		t.Skip("left out: ", err)
	}
	return infer.Config{Executable: os.Args[0], Env: []string{asWorker + "=worker"}, Library: library,
		Model: infer.Model{Data: f.data}, Spec: f.spec, Log: slog.New(slog.DiscardHandler)}
}

// subject has a worker that runs until the test's end.
func (f *fixture) subject(t testing.TB, cfg infer.Config) Subject {
	t.Helper()
	w := infer.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return Subject{Worker: w, Rule: f.rule, Lowest: f.spec.Confidence, Agent: "test", Track: track.Config{Start: 0.5, Keep: 0.1, Roles: f.roles}}
}

// recorded gives the golden vectors as they come back from their file.
func (f *fixture) recorded(t testing.TB, s Subject) *bundle.Golden {
	t.Helper()
	g, err := bundle.ParseGolden(f.goldenFile(t, s))
	check(t, err)
	return g
}

func (f *fixture) goldenFile(t testing.TB, s Subject) []byte {
	t.Helper()
	g, err := Record(t.Context(), s, f.dir, f.images, DefaultTolerance)
	check(t, err)
	var b bytes.Buffer
	check(t, g.Write(&b))
	return b.Bytes()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGoodBundlePasses, with one thread and with two, twenty times each over
// two workers.
func TestGoodBundlePasses(t *testing.T) {
	f := newFixture(t)
	g := f.recorded(t, f.subject(t, f.config(t)))
	for _, threads := range []int{1, 2} {
		for range 2 {
			cfg := f.config(t)
			cfg.Threads = threads
			s := f.subject(t, cfg)
			for range 10 {
				r, err := Run(t.Context(), s, f.dir, g, func(string, []byte) { t.Error("a picture was drawn") })
				if err != nil || !r.OK() || !r.Raw || r.Passed != 3 || r.Provider != "cpu" || r.Runtime == "" {
					t.Fatalf("%d threads: %+v, %v", threads, r, err)
				}
			}
		}
	}
}

// TestScoresBelowTheLowest: a worker that gives more than the publisher asked for is
// judged by what it would have given then.
func TestScoresBelowTheLowest(t *testing.T) {
	f := newFixture(t)
	s := f.subject(t, f.config(t))
	below := func(g *bundle.Golden) (n int) {
		for _, v := range g.Vectors {
			for _, d := range v.Detections {
				if d.Score < 0.95 {
					n++
				}
			}
		}
		return n
	}
	if below(f.recorded(t, s)) == 0 {
		t.Fatal("no picture shows a low score")
	}
	s.Lowest = 0.95
	g := f.recorded(t, s)
	if n := below(g); n > 0 {
		t.Errorf("%d detections below the lowest score were recorded", n)
	}
	if r, err := Run(t.Context(), s, f.dir, g, func(string, []byte) {}); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRefusals(t *testing.T) {
	f := newFixture(t)
	s := f.subject(t, f.config(t))
	file := f.goldenFile(t, s)
	for name, c := range map[string]struct {
		change func(g *bundle.Golden, dir fstest.MapFS)
		what   string
		raw    bool
	}{
		"verdict":      {func(g *bundle.Golden, _ fstest.MapFS) { g.Vectors[1].Verdict = "PASS" }, WhatVerdict, true},
		"part verdict": {func(g *bundle.Golden, _ fstest.MapFS) { flip(&g.Vectors[1].Parts[0]) }, WhatVerdict, true},
		"part gone":    {func(g *bundle.Golden, _ fstest.MapFS) { g.Vectors[1].Parts[0].Box[0] += 90 }, WhatPart, true},
		"part too many": {func(g *bundle.Golden, _ fstest.MapFS) {
			g.Vectors[1].Parts = g.Vectors[1].Parts[1:]
		}, WhatPart, true},
		"score": {func(g *bundle.Golden, _ fstest.MapFS) { g.Vectors[1].Detections[0].Score -= 0.03 }, WhatScore, true},
		"box":   {func(g *bundle.Golden, _ fstest.MapFS) { g.Vectors[1].Detections[0].Box[0] += 12 }, WhatBox, true},
		"label": {func(g *bundle.Golden, _ fstest.MapFS) { g.Vectors[1].Detections[0].Label = "crack" }, WhatDetection, true},
		"one too many": {func(g *bundle.Golden, _ fstest.MapFS) {
			g.Vectors[1].Detections = g.Vectors[1].Detections[1:]
		}, WhatDetection, true},
		"output": {func(g *bundle.Golden, _ fstest.MapFS) { g.Vectors[1].Outputs[0].Values[7] += 20 }, WhatOutput, true},
		"output's name": {func(g *bundle.Golden, _ fstest.MapFS) {
			g.Vectors[1].Outputs[0].Name = "other"
		}, WhatOutput, true},
		"output's shape": {func(g *bundle.Golden, _ fstest.MapFS) {
			g.Vectors[1].Outputs[0].Shape = []int64{10, 1680}
		}, WhatOutput, true},
		"sparser output": {func(g *bundle.Golden, _ fstest.MapFS) {
			o := &g.Vectors[1].Outputs[0]
			o.Every, o.Values = 16800, o.Values[:1]
		}, "", true},
		"another provider": {func(g *bundle.Golden, _ fstest.MapFS) {
			g.Recorded.Provider = "cuda"
			g.Vectors[1].Outputs[0].Values[7] += 20
		}, "", false},
		"another precision": {func(g *bundle.Golden, _ fstest.MapFS) {
			g.Recorded.Precision = "int8"
			g.Vectors[1].Outputs[0].Values[7] += 20
		}, "", false},
		"no picture":        {func(_ *bundle.Golden, dir fstest.MapFS) { delete(dir, "golden/p1.jpg") }, WhatGolden, true},
		"a damaged picture": {func(_ *bundle.Golden, dir fstest.MapFS) { dir["golden/p1.jpg"] = &fstest.MapFile{Data: []byte("text")} }, WhatGolden, true},
		"other picture":     {func(_ *bundle.Golden, dir fstest.MapFS) { dir["golden/p1.jpg"] = dir["golden/p0.jpg"] }, WhatPart, true},
		"no tolerance":      {func(g *bundle.Golden, _ fstest.MapFS) { g.Tolerance.Score = float32(math.NaN()) }, WhatGolden, false},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := bundle.ParseGolden(file)
			check(t, err)
			dir := maps.Clone(f.dir)
			c.change(g, dir)
			drawn := map[string]int{}
			r, err := Run(t.Context(), s, dir, g, func(name string, b []byte) {
				img, err := jpeg.Decode(bytes.NewReader(b))
				if err != nil || img.Bounds().Dx() < 1280 {
					t.Errorf("the drawing is %v, %v", img, err)
				}
				drawn[name]++
			})
			check(t, err)
			if r.Raw != c.raw || r.OK() != (c.what == "") || (r.Reason() == "") != r.OK() {
				t.Fatalf("report %+v: %s", r, r.Reason())
			}
			if c.what == "" {
				return
			}
			if !slices.ContainsFunc(r.Refusals, func(x Refusal) bool { return x.What == c.what }) {
				t.Errorf("refused for %+v, want %s", r.Refusals, c.what)
			}
			if c.what != WhatGolden && (r.Passed != 2 || drawn["p1.jpg"] != 1 || len(drawn) != 1 || r.Refusals[0].Picture != "golden/p1.jpg") {
				t.Errorf("%d passed, drawn %v: %v", r.Passed, drawn, r.Refusals)
			}
		})
	}
}

func flip(j *bundle.Judged) {
	if j.Verdict == "PASS" {
		j.Verdict = "FAIL"
	} else {
		j.Verdict = "PASS"
	}
}

func TestNothingToProve(t *testing.T) {
	for _, g := range []*bundle.Golden{nil, {}} {
		if r, err := Run(t.Context(), Subject{}, fstest.MapFS{}, g, nil); !errors.Is(err, ErrNoGolden) {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if (&Report{}).OK() {
		t.Error("a report about nothing is good")
	}
}

// TestModelThatGivesNoNumbers: its detections may be none, as expected, but
// it isn't trusted.
func TestModelThatGivesNoNumbers(t *testing.T) {
	f := newFixture(t)
	g := f.recorded(t, f.subject(t, f.config(t)))
	for i := range g.Vectors {
		g.Vectors[i] = bundle.Vector{Picture: g.Vectors[i].Picture, Verdict: "NONE"}
	}
	at := bytes.LastIndex(f.data, []byte("part.b")) + len("part.b") + 2 // behind raw_data's tag and length
	f.data = bytes.Clone(f.data)
	copy(f.data[at:], []byte{0, 0, 0xc0, 0x7f})
	s := f.subject(t, f.config(t))
	r, err := Run(t.Context(), s, f.dir, g, nil)
	check(t, err)
	if r.OK() || r.Refusals[0].What != WhatNumbers {
		t.Errorf("report %+v", r)
	}
	if _, err := Record(t.Context(), s, f.dir, f.images, DefaultTolerance); err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("they were recorded: %v", err)
	}
}

func TestWorkerThatCrashesIsARefusal(t *testing.T) {
	f := newFixture(t)
	g := f.recorded(t, f.subject(t, f.config(t)))
	cfg := f.config(t)
	cfg.Env = []string{asWorker + "=die"}
	r, err := Run(t.Context(), f.subject(t, cfg), f.dir, g, nil)
	check(t, err)
	if r.OK() || r.Refusals[0].What != WhatModel || !strings.Contains(r.Reason(), "out of memory") {
		t.Errorf("report %+v", r)
	}
}

// TestModelThatHangsIsARefusal: it loads, and loops for ever over a bright picture.
func TestModelThatHangsIsARefusal(t *testing.T) {
	f := newFixture(t)
	g := f.recorded(t, f.subject(t, f.config(t)))
	var err error
	f.data, err = os.ReadFile("../../vision/infer/testdata/slow.onnx")
	check(t, err)
	info, err := infer.Describe(f.data)
	check(t, err)
	f.spec, err = info.Spec(infer.Options{})
	check(t, err)
	cfg := f.config(t)
	cfg.Limit = 200 * time.Millisecond
	s := f.subject(t, cfg)
	r, err := Run(t.Context(), s, f.dir, g, nil)
	check(t, err)
	if r.OK() || r.Refusals[0].What != WhatModel || len(r.Refusals) != 1 || !strings.Contains(r.Reason(), infer.ErrTimeLimit.Error()) {
		t.Errorf("report %+v", r)
	}
}

// TestDeadlineIsARefusalAndCancellingIsNot: nobody runs this worker.
func TestDeadlineIsARefusalAndCancellingIsNot(t *testing.T) {
	f := newFixture(t)
	g := &bundle.Golden{Tolerance: DefaultTolerance, Vectors: []bundle.Vector{{Picture: "golden/p0.jpg"}}}
	s := Subject{Worker: infer.New(infer.Config{Log: slog.New(slog.DiscardHandler)})}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	r, err := Run(ctx, s, f.dir, g, nil)
	if err != nil || r.OK() || r.Refusals[0].What != WhatModel {
		t.Errorf("deadline: %+v, %v", r, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if r, err := Run(ctx, s, f.dir, g, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %+v, %v", r, err)
	}
}

func TestDiskThatCantBeReadIsNoRefusal(t *testing.T) {
	f := newFixture(t)
	s := f.subject(t, f.config(t))
	g := f.recorded(t, s)
	if r, err := Run(t.Context(), s, brokenDisk{f.dir}, g, nil); !errors.Is(err, errDisk) {
		t.Errorf("report %+v, %v", r, err)
	}
}

var errDisk = errors.New("input/output error")

type brokenDisk struct{ fstest.MapFS }

func (brokenDisk) Stat(string) (fs.FileInfo, error) { return nil, errDisk }

// TestRecordRefusesChance: a tolerance so wide that the rule's limit lies
// within it, or the score from which a part is one.
func TestRecordRefusesChance(t *testing.T) {
	f := newFixture(t)
	s := f.subject(t, f.config(t))
	best := map[string]float32{} // of picture 0
	for _, d := range f.recorded(t, s).Vectors[0].Detections {
		best[d.Label] = max(best[d.Label], d.Score)
	}
	s.Track.Start = best["part"] - 0.01
	_, err := Record(t.Context(), s, f.dir, f.images, DefaultTolerance)
	if err == nil || !strings.Contains(err.Error(), "a part starts at") {
		t.Errorf("a part that may be none was recorded: %v", err)
	}
	s = f.subject(t, f.config(t))
	s.Rule = f.load(t, fmt.Sprintf("threshold:crack>%.3f", best["crack"]+0.01))
	_, err = Record(t.Context(), s, f.dir, f.images, DefaultTolerance)
	if err == nil || !strings.Contains(err.Error(), "the rule's limit is") {
		t.Errorf("a verdict that may be another was recorded: %v", err)
	}
	for _, pictures := range [][]string{nil, {"golden/none.jpg"}, {"../p0.jpg"}} {
		if _, err := Record(t.Context(), s, f.dir, pictures, DefaultTolerance); err == nil {
			t.Errorf("pictures %q were recorded", pictures)
		}
	}
}
