package rules

import (
	"context"
	"errors"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// patience is a time limit that no good guest of these tests comes near, also
// on a busy machine, and that still ends a bad one soon.
const patience = 300 * time.Millisecond

// newEngine is one whose rules have time on any machine, where cfg says nothing else.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.TimeLimit == 0 {
		cfg.TimeLimit = 5 * time.Second
	}
	e, err := NewEngine(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	return e
}

func newRule(t testing.TB, e *Engine, w wasm) *Rule {
	t.Helper()
	m, err := e.Compile(t.Context(), "test", w.bytes())
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rule(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t testing.TB, e *Engine, spec string) *Rule {
	t.Helper()
	s, err := Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Load(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func partWith(list ...vision.Evidence) vision.Part {
	return vision.Part{Label: "bottle", Score: 0.8, Box: vision.Box{X: 10, Y: 20, W: 100, H: 200}, Frames: 12, Defects: list}
}

var failed = vision.Decision{Verdict: vision.None, Reason: vision.ReasonRuleFailed}

func TestThreshold(t *testing.T) {
	e := newEngine(t, Config{CacheDir: cacheDir})
	scratch := vision.Evidence{Label: "scratch", Score: 0.91, Frames: 3, Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}}
	dent := vision.Evidence{Label: "dent", Score: 0.7, Frames: 5}
	for _, tt := range []struct {
		rule string
		part vision.Part
		want vision.Decision
	}{
		{"threshold:defect>0.5", partWith(), vision.Decision{Verdict: vision.Pass, Reason: "ok",
			Measurements: []vision.Measurement{{Name: "defect", Value: 0, Limit: 0.5}}}},
		{"threshold:defect>0.5", partWith(dent, scratch), vision.Decision{Verdict: vision.Fail, Reason: "scratch 0.91 > 0.5",
			Measurements: []vision.Measurement{{Name: "defect", Value: 0.91, Limit: 0.5}}}},
		{"threshold:dent>0.7", partWith(dent), vision.Decision{Verdict: vision.Pass, Reason: "ok",
			Measurements: []vision.Measurement{{Name: "dent", Value: 0.7, Limit: 0.7}}}},
		{"threshold:scratch>=0.95,dent>=0.7", partWith(dent, scratch), vision.Decision{Verdict: vision.Fail, Reason: "dent 0.7 >= 0.7",
			Measurements: []vision.Measurement{{Name: "scratch", Value: 0.91, Limit: 0.95}, {Name: "dent", Value: 0.7, Limit: 0.7}}}},
	} {
		r := load(t, e, tt.rule)
		if diff := cmp.Diff(tt.want, r.Decide(t.Context(), tt.part, 1280, 720)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.rule, diff)
		}
		if s := r.Stats(); s != (Stats{Decided: 1}) || r.Name() != tt.rule {
			t.Errorf("%s: stats %+v, name %q", tt.rule, s, r.Name())
		}
	}
}

// TestNotANumber: a score that is no number must not compare its way to PASS.
func TestNotANumber(t *testing.T) {
	r := newRule(t, newEngine(t, Config{}), says(passes))
	nan := float32(math.NaN())
	for _, p := range []vision.Part{
		partWith(vision.Evidence{Label: "scratch", Score: nan}),
		partWith(vision.Evidence{Label: "scratch", Box: vision.Box{W: float32(math.Inf(1))}}),
		{Score: nan},
	} {
		if d := r.Decide(t.Context(), p, 640, 480); !cmp.Equal(d, failed) {
			t.Errorf("%+v gave %+v", p, d)
		}
	}
}

// TestOneModuleManyRules: rules of one module share its instances, and each
// part is judged by its own rule's parameters.
func TestOneModuleManyRules(t *testing.T) {
	e := newEngine(t, Config{CacheDir: cacheDir})
	wasm, err := Standard()
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Compile(t.Context(), Threshold, wasm)
	if err != nil {
		t.Fatal(err)
	}
	p := partWith(vision.Evidence{Label: "scratch", Score: 0.6})
	rules := map[*Rule]vision.Verdict{}
	for params, want := range map[string]vision.Verdict{"defect>0.5": vision.Fail, "defect>0.6": vision.Pass, "scratch>=0.6": vision.Fail} {
		r, err := m.Rule(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		rules[r] = want
	}
	decide := func(r *Rule, want vision.Verdict) {
		if d := r.Decide(t.Context(), p, 640, 480); d.Verdict != want {
			t.Errorf("%s gave %+v, want %v; %s", r.Name(), d, want, r.Stats().LastError)
		}
	}
	for range 3 { // in turns they share one instance
		for r, want := range rules {
			decide(r, want)
		}
	}
	if len(m.idle) != 1 {
		t.Errorf("decisions in turns made %d instances", len(m.idle))
	}
	var wg sync.WaitGroup
	for r, want := range rules {
		wg.Go(func() {
			for range 200 {
				decide(r, want)
			}
		})
	}
	wg.Wait()
	if len(m.idle) > m.keep {
		t.Errorf("%d idle instances are kept, at most %d should be", len(m.idle), m.keep)
	}
}

// TestHostileGuests: whatever a guest does costs its part the verdict, says
// why, and the next part is judged by a fresh instance.
func TestHostileGuests(t *testing.T) {
	e := newEngine(t, Config{TimeLimit: patience})
	good := newRule(t, e, says(passes))
	self := []byte{0x10, 0x01}
	exit := append([]byte{0x41, 0x07, 0x10, 0x00}, answer(4096, 8)...) // proc_exit(7)
	for _, tt := range []struct {
		name  string
		guest wasm
		err   string
	}{
		{"traps", wasm{rule: unreachable}, "wasm error: unreachable"},
		{"runs for ever", wasm{rule: endless}, "ran longer than its time limit"},
		{"calls itself for ever", wasm{rule: self}, "stack overflow"},
		{"ends itself", wasm{imports: []string{"wasi_snapshot_preview1", "proc_exit"}, rule: exit}, "ended itself with exit code 7"},
		{"no answer", wasm{rule: answer(0, 0)}, "it is empty"},
		{"huge answer", wasm{rule: answer(16, 1<<30)}, "answered 1073741824 bytes, at most 8192"},
		{"answer outside", wasm{rule: answer(65530, 100)}, "100 bytes at 65530 lies outside its memory of 65536 bytes"},
		{"answer past 4 GiB", wasm{rule: answer(math.MaxUint32, 8000)}, "lies outside"},
		{"short answer", says("\x01\x00\x01"), "it has 3 bytes"},
		{"zeroes", wasm{rule: answer(8192, 64)}, "ABI version 0"},
		{"garbage", says(strings.Repeat("\xff", 64)), "ABI version 65535"},
		{"unknown verdict", says("\x01\x00\x03\x00\x02\x00ok"), "its verdict is 3"},
		{"alloc traps", wasm{alloc: unreachable, rule: answer(4096, 8)}, "alloc: wasm error: unreachable"},
		{"alloc runs for ever", wasm{alloc: []byte{0x03, 0x40, 0x0c, 0x00, 0x0b, 0x41, 0x00}, rule: answer(4096, 8)}, "time limit"},
		{"alloc has no room", wasm{alloc: []byte{0x41, 0x00}, rule: answer(4096, 8), data: passes}, "answered 0, where"},
		{"alloc lies", wasm{alloc: []byte{0x41, 0x7f}, rule: answer(4096, 8), data: passes}, "answered 4294967295, where"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRule(t, e, tt.guest)
			for n := range uint64(2) {
				if d := r.Decide(t.Context(), partWith(), 640, 480); !cmp.Equal(d, failed) {
					t.Errorf("call %d gave %+v, want %+v", n+1, d, failed)
				}
				s := r.Stats()
				if s.Decided != n+1 || s.Failed != n+1 || !strings.Contains(s.LastError, tt.err) {
					t.Errorf("stats %+v, want %d failed and %q", s, n+1, tt.err)
				}
				if (s.TooLong == n+1) != strings.Contains(tt.err, "time limit") {
					t.Errorf("%d of %d were ended at the time limit", s.TooLong, s.Failed)
				}
			}
			if len(r.module.idle) != 0 {
				t.Error("the instance that failed was kept")
			}
			if d := good.Decide(t.Context(), partWith(), 640, 480); d.Verdict != vision.Pass {
				t.Errorf("the good rule beside it gave %+v: %s", d, good.Stats().LastError)
			}
		})
	}
}

// TestEndedInTime: a runaway takes its time limit and not much more, and
// parts of other stations are judged meanwhile.
func TestEndedInTime(t *testing.T) {
	e := newEngine(t, Config{TimeLimit: patience})
	good, bad := newRule(t, e, says(passes)), newRule(t, e, wasm{rule: endless})
	began := time.Now()
	ended := make(chan time.Duration)
	go func() {
		bad.Decide(t.Context(), partWith(), 640, 480)
		ended <- time.Since(began)
	}()
	var meanwhile int
	for {
		select {
		case took := <-ended:
			if took < patience || took > 10*patience {
				t.Errorf("the runaway was ended after %v, its limit is %v", took, patience)
			}
			if meanwhile == 0 {
				t.Error("no other part was judged while it ran")
			}
			return
		default:
			if d := good.Decide(t.Context(), partWith(), 640, 480); d.Verdict != vision.Pass {
				t.Fatalf("the good rule gave %+v: %s", d, good.Stats().LastError)
			}
			meanwhile++
		}
	}
}

// TestGrowthIsBounded: the guest itself passes if memory and tables stopped
// growing at the limit.
func TestGrowthIsBounded(t *testing.T) {
	e := newEngine(t, Config{TimeLimit: 5 * time.Second})
	yes, no := answer(4096, uint32(len(passes))), answer(0, 0)
	choose := slices.Concat([]byte{0x04, 0x7e}, yes, []byte{0x05}, no, []byte{0x0b}) // if (result i64) … else … end
	memory := slices.Concat(
		[]byte{0x03, 0x40, 0x41}, sleb(200), []byte{0x40, 0x00, 0x41, 0x7f, 0x47, 0x0d, 0x00, 0x0b}, // loop: grow by 200 until -1
		[]byte{0x3f, 0x00, 0x41}, sleb(memoryPages), []byte{0x4d}, choose) // memory.size <= limit
	table := slices.Concat(
		[]byte{0xd0, 0x70, 0x41}, sleb(maxTable+1), []byte{0xfc, 0x0f, 0x00, 0x41, 0x7f, 0x46}, choose) // table.grow is -1
	for _, w := range []wasm{
		{rule: memory, data: passes},
		{rule: table, data: passes, table: []byte{1, 0x70, 0x00, 0x00}},
	} {
		r := newRule(t, e, w)
		if d := r.Decide(t.Context(), partWith(), 640, 480); d.Verdict != vision.Pass {
			t.Errorf("it grew beyond the limit: %+v, %s", d, r.Stats().LastError)
		}
	}
}

// TestDone: a decision whose time is up before it starts is NONE too.
func TestDone(t *testing.T) {
	r := newRule(t, newEngine(t, Config{}), says(passes))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d := r.Decide(ctx, partWith(), 640, 480); !cmp.Equal(d, failed) || !strings.Contains(r.Stats().LastError, "canceled") {
		t.Errorf("got %+v, %+v", d, r.Stats())
	}
	if d := r.Decide(t.Context(), partWith(), 640, 480); d.Verdict != vision.Pass {
		t.Errorf("the next one gave %+v: %s", d, r.Stats().LastError)
	}
}

// TestOwnRule compiles the rule of docs/rule-abi.md and runs it.
func TestOwnRule(t *testing.T) {
	e := newEngine(t, Config{CacheDir: cacheDir})
	m, err := e.Compile(t.Context(), "covered", buildGuest(t, "./testdata/covered"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Rule(t.Context(), "lots"); err == nil || !strings.Contains(err.Error(), `"lots" is no share from 0 to 100 per cent, as in 5`) {
		t.Errorf("a bad parameter gave %v", err)
	}
	r, err := m.Rule(t.Context(), "2.5")
	if err != nil {
		t.Fatal(err)
	}
	got := r.Decide(t.Context(), partWith(vision.Evidence{Label: "rust", Score: 0.6, Box: vision.Box{W: 30, H: 20}}), 640, 480)
	want := vision.Decision{Verdict: vision.Fail, Reason: "3.0 % covered > 2.5 %",
		Measurements: []vision.Measurement{{Name: "covered", Value: 3, Limit: 2.5, Unit: "%"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s%s", diff, r.Stats().LastError)
	}
}

// TestOwnRuleInC does the same with the C header, where clang can make
// WebAssembly.
func TestOwnRuleInC(t *testing.T) {
	out := filepath.Join(t.TempDir(), "small.wasm")
	cmd := exec.Command("clang", "--target=wasm32", "-mbulk-memory", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-nostdlib", "-Wl,--no-entry", "-o", out, "testdata/small/small.c")
	if text, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) || strings.Contains(string(text), "unable to execute command") {
		t.Skip("left out: clang with wasm-ld is not here (Debian's clang and lld)")
	} else if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	e := newEngine(t, Config{TimeLimit: patience})
	if _, err := e.Load(t.Context(), Spec{Module: out, Params: "20px"}); err == nil || !strings.Contains(err.Error(), "whole number of pixels, as in 20") {
		t.Errorf("a bad parameter gave %v", err)
	}
	r := load(t, e, out+":20")
	wide := vision.Evidence{Label: "rust", Box: vision.Box{W: 20.5}}
	shadow := vision.Evidence{Label: "shadow", Box: vision.Box{W: 100}}
	seen := func(list ...vision.Evidence) vision.Part { // each by a camera of its own
		p := partWith(list...)
		p.Views = []vision.View{{Camera: "top", Width: 640, Height: 480}, {Camera: "side", Width: 1280, Height: 720}}
		for i := range p.Defects {
			p.Defects[i].View = i
		}
		return p
	}
	for _, tt := range []struct {
		part vision.Part
		want vision.Decision
	}{
		{partWith(shadow), vision.Decision{Verdict: vision.Pass, Reason: "ok",
			Measurements: []vision.Measurement{{Name: "width", Value: 0, Limit: 20, Unit: "px"}}}},
		{partWith(slices.Repeat([]vision.Evidence{shadow, wide}, 1000)...), vision.Decision{Verdict: vision.Fail, Reason: "a defect is too wide",
			Measurements: []vision.Measurement{{Name: "width", Value: 20.5, Limit: 20, Unit: "px"}}}},
		{partWith(shadow), vision.Decision{Verdict: vision.Pass, Reason: "ok",
			Measurements: []vision.Measurement{{Name: "width", Value: 0, Limit: 20, Unit: "px"}}}},
		{seen(shadow, wide), vision.Decision{Verdict: vision.Fail, Reason: "a defect is too wide",
			Measurements: []vision.Measurement{{Name: "width", Value: 20.5, Limit: 20, Unit: "px"}, {Name: "picture", Value: 1280, Limit: 720, Unit: "px"}}}},
		{seen(shadow), vision.Decision{Verdict: vision.Pass, Reason: "ok",
			Measurements: []vision.Measurement{{Name: "width", Value: 0, Limit: 20, Unit: "px"}}}},
	} {
		if diff := cmp.Diff(tt.want, r.Decide(t.Context(), tt.part, 640, 480)); diff != "" {
			t.Errorf("(-want +got):\n%s%s", diff, r.Stats().LastError)
		}
	}
}
