package infer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/whole"
)

func testKey(model string) engineKey {
	return engineKey{Model: model, Inputs: "images:1x3x64x64 float32", Precision: Full, Runtime: "1.27.0", TensorRT: "10.3.0", GPU: "Orin", Capability: "8.7", Driver: "540.4.0"}
}

func never(t *testing.T) func() bool {
	return func() bool { t.Error("it waits, and nobody else is there"); return false }
}

// open opens an engine and fails the test if it can't.
func openEngine(t *testing.T, e Engines, key engineKey) *engine {
	t.Helper()
	g, err := e.openEngine(key, never(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.close() })
	return g
}

// builder is an engine whose turn it is to be built.
func builder(t *testing.T, e Engines, key engineKey) *engine {
	t.Helper()
	g := openEngine(t, e, key)
	if err := g.takeTurn(func() { t.Error("it waits, and nobody builds") }); err != nil {
		t.Fatal(err)
	}
	return g
}

// build makes an engine of so many bytes, as ONNX Runtime would leave it.
func build(t *testing.T, e Engines, key engineKey, size int) {
	t.Helper()
	g := openEngine(t, e, key)
	if !g.fresh() {
		t.Fatal("there is one already")
	}
	leave(t, g.dir(), size)
	if err := g.proved(); !errors.Is(err, errBuilt) {
		t.Fatal(err)
	}
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
}

func leave(t *testing.T, dir string, size int) {
	t.Helper()
	for name, b := range map[string][]byte{"graph_1_sm87.engine": bytes.Repeat([]byte("e"), size), "cache_sm87.timing": []byte("timing")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// load is what a later process does with a kept engine.
func load(t *testing.T, e Engines, key engineKey) *engine {
	t.Helper()
	g := openEngine(t, e, key)
	if g.fresh() {
		t.Fatal("the engine isn't found")
	}
	if b, err := os.ReadFile(filepath.Join(g.dir(), "graph_1_sm87.engine")); err != nil || len(b) == 0 {
		t.Fatalf("ONNX Runtime would find %d bytes, %v", len(b), err)
	}
	if err := g.proved(); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestEngineIsBuiltOnceAndThenLoaded(t *testing.T) {
	e := Engines{Dir: filepath.Join(t.TempDir(), "engines")}
	build(t, e, testKey("a"), 1000)
	g := load(t, e, testKey("a"))
	if g.rec.digest() == "" || len(g.rec.Files) != 2 {
		t.Errorf("record %+v", g.rec)
	}
	if _, err := os.Stat(g.dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what ONNX Runtime would write later reaches the engine: %v", err)
	}
	load(t, e, testKey("a")) // beside the first
}

// Each thing that an engine depends on, changed alone, asks for another one.
func TestEngineKeyTakesInEverything(t *testing.T) {
	key := testKey("a")
	seen := map[string]string{key.name(): "nothing"}
	v := reflect.ValueOf(&key).Elem()
	for n := range v.NumField() {
		was := v.Field(n).String()
		v.Field(n).SetString(was + "x")
		if other := seen[key.name()]; other != "" {
			t.Errorf("%s changed gives the name of %s changed", v.Type().Field(n).Name, other)
		}
		seen[key.name()] = v.Type().Field(n).Name
		v.Field(n).SetString(was)
	}
	if len(seen) != 9 {
		t.Errorf("%d names, want 9", len(seen))
	}
}

func TestDamagedEngineIsBuiltAnew(t *testing.T) {
	for name, harm := range map[string]func(dir string) error{
		"a bit":          func(dir string) error { return flip(filepath.Join(dir, "graph_1_sm87.engine")) },
		"its end":        func(dir string) error { return os.Truncate(filepath.Join(dir, "graph_1_sm87.engine"), 999) },
		"emptied":        func(dir string) error { return os.Truncate(filepath.Join(dir, "graph_1_sm87.engine"), 0) },
		"a file is gone": func(dir string) error { return os.Remove(filepath.Join(dir, "cache_sm87.timing")) },
		"record":         func(dir string) error { return flip(filepath.Join(dir, recordFile)) },
		"record emptied": func(dir string) error { return os.Truncate(filepath.Join(dir, recordFile), 0) },
		"no record":      func(dir string) error { return os.Remove(filepath.Join(dir, recordFile)) },
		"names a path": func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, recordFile))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, recordFile), bytes.ReplaceAll(b, []byte("cache_sm87"), []byte("../cache")), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := Engines{Dir: t.TempDir()}
			build(t, e, testKey("a"), 1000)
			if err := harm(e.path(testKey("a").name())); err != nil {
				t.Fatal(err)
			}
			build(t, e, testKey("a"), 500)
			load(t, e, testKey("a"))
		})
	}
}

func flip(path string) error {
	b, err := os.ReadFile(path)
	if err == nil {
		b[len(b)/2] ^= 4
		err = os.WriteFile(path, b, 0o600)
	}
	return err
}

// An engine over which two processes died is thrown away; one death may have been a
// power cut.
func TestEngineThatKillsIsBuiltAnew(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	build(t, e, testKey("a"), 1000)
	for range badLoads {
		g := openEngine(t, e, testKey("a"))
		if g.fresh() {
			t.Fatal("thrown away too soon")
		}
		if err := g.close(); err != nil { // as the kernel does for who dies
			t.Fatal(err)
		}
	}
	build(t, e, testKey("a"), 1000)
	for range 2 * badLoads { // loads that end well don't count
		load(t, e, testKey("a"))
	}
}

// Loads that the agent ends, because it ends itself, say nothing about the engine.
func TestEngineOutlivesLoadsThatAreEnded(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	build(t, e, testKey("a"), 1000)
	for range 3 * badLoads {
		g := openEngine(t, e, testKey("a"))
		if g.fresh() {
			t.Fatal("thrown away")
		}
		g.forgive()
		if err := g.close(); err != nil {
			t.Fatal(err)
		}
	}
	load(t, e, testKey("a")).forgive() // too late to matter
	load(t, e, testKey("a"))
}

// Locks of engines that are no more are removed with the next one.
func TestLocksGoWithTheirEngines(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	stale := testKey("gone").name()
	for _, end := range []string{loadLock, useLock} {
		if err := os.WriteFile(e.path(stale+end), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build(t, e, testKey("a"), 1000)
	if left, _ := filepath.Glob(e.path(stale + "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestEngineThatTensorRTRefusesIsBuiltAnew(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	build(t, e, testKey("a"), 1000)
	g := openEngine(t, e, testKey("a"))
	if err := g.rebuild(); err != nil || !g.fresh() {
		t.Fatalf("fresh %v, %v", g.fresh(), err)
	}
	leave(t, g.dir(), 10)
	if err := g.proved(); !errors.Is(err, errBuilt) {
		t.Fatal(err)
	}
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	load(t, e, testKey("a"))
}

// A build that ends at any step leaves no engine, or the whole one.
func TestPowerCutDuringBuild(t *testing.T) {
	cut, ended := errors.New("cut"), false
	for steps := 0; !ended; steps++ {
		e := Engines{Dir: t.TempDir()}
		g := openEngine(t, e, testKey("a"))
		leave(t, g.dir(), 1000)
		left := steps
		_, err := e.seal(g.key, time.Minute, whole.Steps(func(string) error {
			if left--; left < 0 {
				return cut
			}
			return nil
		}))
		if ended = err == nil; !ended && !errors.Is(err, cut) {
			t.Fatal(err)
		}
		if err := g.close(); err != nil {
			t.Fatal(err)
		}
		again := openEngine(t, e, testKey("a"))
		if !again.fresh() && again.rec.size() != 1006 || ended && again.fresh() {
			t.Errorf("after %d steps: fresh %v, record %+v", steps, again.fresh(), again.rec)
		}
		entries, err := os.ReadDir(again.dir())
		if again.fresh() && (err != nil || len(entries) > 0) {
			t.Errorf("after %d steps a new build begins with %v, %v", steps, entries, err)
		}
		if steps > 20 {
			t.Fatal("it never ends")
		}
	}
}

// What longest wasn't used goes first, what is in use stays.
func TestEnginesKeepTheirLimit(t *testing.T) {
	e := Engines{Dir: t.TempDir(), Limit: 2500}
	var first *engine
	for n := range 5 {
		key := testKey(fmt.Sprint(n))
		build(t, e, key, 1000)
		when := time.Unix(int64(1e9+n), 0)
		if err := os.Chtimes(filepath.Join(e.path(key.name()), recordFile), when, when); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = load(t, e, key)
			if err := os.Chtimes(filepath.Join(e.path(key.name()), recordFile), when, when); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.prune(); err != nil {
		t.Fatal(err)
	}
	want := []string{testKey("0").name(), testKey("4").name()}
	if got := namesOf(t, e); !reflect.DeepEqual(got, want) {
		t.Errorf("kept %v, want the one in use and the newest: %v", got, want)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(e.path(testKey("4").name()), recordFile), 3); err != nil {
		t.Fatal(err)
	}
	if err := e.prune(); err != nil {
		t.Fatal(err)
	}
	if got := namesOf(t, e); !reflect.DeepEqual(got, want[:1]) || isKey("times.json") || isKey("0123") {
		t.Errorf("kept %v, one of which is damaged", got)
	}
	e.Limit = 1
	if err := e.prune(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(e.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if f.Name() != timesFile {
			t.Errorf("%s is left", f.Name())
		}
	}
}

func namesOf(t *testing.T, e Engines) (names []string) {
	t.Helper()
	all, err := e.list()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		names = append(names, k.name)
	}
	return names
}

func TestSecondBuilderWaitsForTheFirst(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	g := openEngine(t, e, testKey("a"))
	waits, second := make(chan struct{}), make(chan *engine)
	go func() {
		g, err := e.openEngine(testKey("a"), func() bool { close(waits); return true })
		if err != nil {
			t.Error(err)
		}
		second <- g
	}()
	<-waits
	if _, err := e.openEngine(testKey("a"), func() bool { return false }); !errors.Is(err, errUnbuilt) {
		t.Errorf("who doesn't wait is told %v", err)
	}
	if err := e.prune(); err != nil { // leaves what is being built
		t.Fatal(err)
	}
	leave(t, g.dir(), 1000)
	if err := g.proved(); !errors.Is(err, errBuilt) {
		t.Fatal(err)
	}
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	got := <-second
	if got == nil || got.fresh() {
		t.Fatal("the second builds once more")
	}
	if err := got.close(); err != nil {
		t.Error(err)
	}
}

// Engines of several models are built one after the other, each with what the one
// before has measured of kernels.
func TestOneEngineIsBuiltAtATime(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	first := openEngine(t, e, testKey("a"))
	alone := func() { t.Error("it waits, and nobody builds") }
	if err := errors.Join(first.takeTurn(alone), first.takeTurn(alone)); err != nil {
		t.Fatal(err)
	}
	second := openEngine(t, e, testKey("b"))
	waits, turn := make(chan struct{}), make(chan error)
	go func() { turn <- second.takeTurn(func() { close(waits) }) }()
	<-waits
	build(t, e, testKey("c"), 1000) // what is known when the turn comes, not when the wait began
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if err := <-turn; err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(second.dir(), "cache_sm87.timing")); err != nil || string(b) != "timing" {
		t.Errorf("measurements of what was built meanwhile: %q, %v", b, err)
	}
}

func TestBuildBeginsWithWhatIsKnownOfTheMachine(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	build(t, e, testKey("a"), 1000)
	same := builder(t, e, testKey("b"))
	if b, err := os.ReadFile(filepath.Join(same.dir(), "cache_sm87.timing")); err != nil || string(b) != "timing" {
		t.Errorf("measurements of the same machine: %q, %v", b, err)
	}
	key := testKey("c")
	key.Driver = "550.1"
	if err := same.close(); err != nil {
		t.Fatal(err)
	}
	other := builder(t, e, key)
	if _, err := os.Stat(filepath.Join(other.dir(), "cache_sm87.timing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("measurements of another driver: %v", err)
	}
	if e.remember(key, 200*time.Second); e.usual(key) != 200*time.Second || e.usual(testKey("d")) != 0 {
		t.Errorf("usual times %v, %v", e.usual(key), e.usual(testKey("d")))
	}
	if err := os.WriteFile(e.path(timesFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e.usual(key) != 0 {
		t.Error("a damaged file of times is believed")
	}
}

func TestEngineErrorsSayWhatToDo(t *testing.T) {
	if _, err := (Engines{}).openEngine(testKey("a"), never(t)); err == nil || !strings.Contains(err.Error(), "SIGHTLINE_CACHE") {
		t.Errorf("without a folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Engines{Dir: file}).openEngine(testKey("a"), never(t)); err == nil || !strings.Contains(err.Error(), "make the folder for engines") {
		t.Errorf("a file in place of the folder: %v", err)
	}
	e := Engines{Dir: t.TempDir()}
	g := openEngine(t, e, testKey("a"))
	if err := g.proved(); !errors.Is(err, errNoEngine) {
		t.Errorf("a build without an engine: %v", err)
	}
	if err := os.Symlink(file, e.path(testKey("b").name()+loadLock)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.openEngine(testKey("b"), never(t)); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link in place of a lock: %v", err)
	}
	e = Engines{Dir: t.TempDir()}
	if err := os.Mkdir(e.path(turnLock), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := openEngine(t, e, testKey("c")).takeTurn(func() {}); err == nil || !strings.Contains(err.Error(), "wait to build the engine: ") || !errors.Is(err, unix.EISDIR) {
		t.Errorf("a folder in place of the turn: %v", err)
	}
}

func TestEngineOptions(t *testing.T) {
	e := Engines{Dir: t.TempDir()}
	key := testKey("a")
	key.Precision = Half
	g := openEngine(t, e, key)
	o := g.options("images:1x3x64x64", "images:4x3x64x64")
	for name, want := range map[string]string{
		"trt_engine_cache_enable": "1", "trt_engine_cache_path": g.dir(), "trt_fp16_enable": "1",
		"trt_profile_min_shapes": "images:1x3x64x64", "trt_profile_opt_shapes": "images:1x3x64x64", "trt_profile_max_shapes": "images:4x3x64x64",
	} {
		if o[name] != want {
			t.Errorf("%s is %q, want %q", name, o[name], want)
		}
	}
	g.key.Precision = Full
	if o = g.options("", ""); o["trt_fp16_enable"] != "0" || o["trt_profile_min_shapes"] != "" {
		t.Errorf("float32 and fixed sizes: %v", o)
	}
}
