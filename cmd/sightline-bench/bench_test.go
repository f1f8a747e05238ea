package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fixed is a figure whose rows are known beforehand.
func fixed(id string, rows ...Row) Figure {
	return Figure{ID: id, What: "known rows", Goal: "told", Run: func(context.Context, *Env) ([]Row, error) {
		return rows, nil
	}}
}

func row(id string, ratio float64) Row {
	return Row{ID: id, What: "x/s", Ours: ratio, Bare: 1, Ratio: ratio, Worst: ratio, Goal: ">= 0.97", Noise: 1}
}

// runBench gives the exit code, the rows in the file, and what was printed.
func runBench(t *testing.T, file string, all []Figure, args ...string) (code int, rows []Row, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"--out", file}, args...), all, &stdout, &stderr)
	if text, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(text, &rows); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return code, rows, stdout.String(), stderr.String()
}

func TestOnlyReplacesItsOwnRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	all := []Figure{fixed("P1", row("P1/a", 1), row("P1/b", 1)), fixed("P13", row("P13", 1))}
	if code, rows, _, errs := runBench(t, file, all); code != 0 || len(rows) != 3 {
		t.Fatalf("first run: code %d, rows %v, %s", code, rows, errs)
	}
	all[0] = fixed("P1", row("P1/b", 2))
	code, rows, out, errs := runBench(t, file, all, "--only", "P1")
	if diff := cmp.Diff([]Row{row("P1/b", 2), row("P13", 1)}, rows); code != 0 || diff != "" {
		t.Errorf("code %d, %s, rows -want +got:\n%s", code, errs, diff)
	}
	if !strings.Contains(out, "P13") || !strings.Contains(out, "kept") {
		t.Errorf("the table lacks the earlier row:\n%s", out)
	}
}

func TestLeftOutAndFailed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	absent := Figure{ID: "P7", Run: func(context.Context, *Env) ([]Row, error) { return nil, LeftOut("no model here") }}
	broken := Figure{ID: "P8", Run: func(context.Context, *Env) ([]Row, error) { return nil, errors.New("it broke") }}
	good := fixed("P9", row("P9", 1))

	code, rows, _, errs := runBench(t, file, []Figure{absent, good})
	if code != 0 || len(rows) != 1 || !strings.Contains(errs, "left out: no model here") {
		t.Errorf("left out: code %d, rows %v, %s", code, rows, errs)
	}
	code, rows, _, errs = runBench(t, file, []Figure{broken, good})
	if code != 1 || len(rows) != 1 || !strings.Contains(errs, "measure P8: it broke") {
		t.Errorf("failed: code %d, rows %v, %s", code, rows, errs)
	}
	code, rows, _, _ = runBench(t, file, []Figure{absent})
	if code != 0 || rows == nil || len(rows) != 0 {
		t.Errorf("nothing measured: code %d, rows %v, want an empty list", code, rows)
	}
}

func TestBadRowsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Row)
		want   string
	}{
		"not a number": {func(r *Row) { r.Ratio = math.NaN() }, "a number that is none"},
		"infinite":     {func(r *Row) { r.Noise = math.Inf(1) }, "a number that is none"},
		"another's id": {func(r *Row) { r.ID = "P13" }, "not of figure P1"},
		"goal":         {func(r *Row) { r.Goal = "> 1" }, "goal"},
		"goal number":  {func(r *Row) { r.Goal = ">= x" }, "goal"},
		"no what":      {func(r *Row) { r.What = "" }, "doesn't say"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := row("P1", 1)
			c.change(&bad)
			file := filepath.Join(t.TempDir(), "bench.json")
			code, rows, _, errs := runBench(t, file, []Figure{fixed("P1", bad)})
			if code != 1 || len(rows) != 0 || !strings.Contains(errs, c.want) {
				t.Errorf("code %d, rows %v, %s", code, rows, errs)
			}
		})
	}
}

func TestWrongUse(t *testing.T) {
	dir := t.TempDir()
	all := []Figure{fixed("P1", row("P1", 1)), fixed("P2", row("P2", 1))}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--only", "P9"}, 2, `no figure is called "P9": there are P1, P2`},
		{[]string{"--rounds", "4"}, 2, "at least 5, got 4"},
		{[]string{"P1"}, 2, `unexpected argument "P1"`},
		{[]string{"--nonsense"}, 2, "nonsense"},
		{[]string{"--help"}, 0, "rounds"},
	} {
		code, rows, _, errs := runBench(t, filepath.Join(dir, "bench.json"), all, c.args...)
		if code != c.code || rows != nil || !strings.Contains(errs, c.want) {
			t.Errorf("%v: code %d, rows %v, %s", c.args, code, rows, errs)
		}
	}
	spoilt := filepath.Join(dir, "spoilt.json")
	if err := os.WriteFile(spoilt, []byte("["), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--out", spoilt, "--only", "P1"}, all, &out, &errs); code != 1 ||
		!strings.Contains(errs.String(), "delete the file") {
		t.Errorf("spoilt file: code %d, %s", code, &errs)
	}
}

func TestCutShortKeepsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	runBench(t, file, []Figure{fixed("P1", row("P1", 1))})
	ctx, cancel := context.WithCancel(t.Context())
	cut := Figure{ID: "P1", Run: func(context.Context, *Env) ([]Row, error) { cancel(); return nil, ctx.Err() }}
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"--out", file}, []Figure{cut}, &out, &errs); code != 1 {
		t.Errorf("code %d, %s", code, &errs)
	}
	if rows, err := load(file); err != nil || len(rows) != 1 {
		t.Errorf("rows %v, %v; want the earlier one", rows, err)
	}
}

func TestCompareTakesTurns(t *testing.T) {
	var order, log bytes.Buffer
	n := 0.0
	ours := func(context.Context) (Sample, error) {
		order.WriteByte('A')
		n++
		return Sample{Value: []float64{2, 2, 2, 2, 1}[int(n)-1]}, nil
	}
	bare := func(context.Context) (Sample, error) {
		order.WriteByte('B')
		return Sample{Value: 2, Each: []float64{1, 1, 1, 3}}, nil
	}
	env := &Env{Log: &log} // no rounds given: five
	got, err := env.Compare(t.Context(), Row{ID: "P1", What: "x/s", Goal: ">= 0.9"}, ours, bare)
	want := Row{ID: "P1", What: "x/s", Goal: ">= 0.9", Ours: 2, Bare: 2, Ratio: 1, Worst: 0.5, Noise: 3}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if order.String() != "ABBAABBAAB" {
		t.Errorf("order %s", &order)
	}
	good := func(context.Context) (Sample, error) { return Sample{Value: 1}, nil }
	failing := func(context.Context) (Sample, error) { return Sample{}, errors.New("it broke") }
	if _, err := env.Compare(t.Context(), Row{ID: "P1"}, good, failing); err == nil ||
		err.Error() != "P1, round 1: it broke" {
		t.Errorf("got %v", err)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		goal  string
		ratio float64
		want  string
	}{
		{">= 0.97", 0.97, "kept"}, {">= 0.97", 0.96, "MISSED"}, {"<= 1.0", 1, "kept"},
		{"<= 1.0", 1.01, "MISSED"}, {"told", 9, ""}, {"nonsense", 1, "?"},
	} {
		if got := judge(Row{Goal: c.goal, Ratio: c.ratio}); got != c.want {
			t.Errorf("%s with %v: %q, want %q", c.goal, c.ratio, got, c.want)
		}
	}
	if w := worst([]float64{1, 3, 2}, "<= 2"); w != 3 {
		t.Errorf("worst of <=: %v", w)
	}
}

func TestQuantile(t *testing.T) {
	xs := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := quantile(xs, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if !math.IsNaN(quantile(nil, 0.5)) {
		t.Error("the quantile of nothing is a number")
	}
}

func TestFigureIDsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range figures() {
		if seen[f.ID] || f.ID == "" || f.What == "" || f.Run == nil {
			t.Errorf("figure %q: its id must be its own, and it needs What and Run", f.ID)
		}
		if _, _, err := goal(f.Goal); err != nil {
			t.Errorf("figure %s: %v", f.ID, err)
		}
		seen[f.ID] = true
	}
}

// TestToldRowsKnowWhatIsWorse: the worst of a rate is the lowest, of a time the highest.
func TestToldRowsKnowWhatIsWorse(t *testing.T) {
	for goal, want := range map[string]float64{">= 1": 1, "<= 1": 3, toldMore: 1, toldLess: 3} {
		if got := worst([]float64{2, 1, 3}, goal); got != want {
			t.Errorf("%s: worst %v, want %v", goal, got, want)
		}
	}
	rates := regexp.MustCompile(`(results|rows|runs|frames|answers|MB)/s`)
	for _, f := range figures() {
		if f.Goal == toldLess && rates.MatchString(f.What) {
			t.Errorf("figure %s is of a rate, and says that less is better: %s", f.ID, f.What)
		}
	}
}

// TestLimitsHaveNoNoise: what doesn't vary, and what ran once, isn't told as quiet.
func TestLimitsHaveNoNoise(t *testing.T) {
	env := &Env{Log: io.Discard}
	always := func(context.Context) (Sample, error) { return Sample{Value: 1}, nil }
	row, err := env.Compare(t.Context(), Row{ID: "P1", What: "x", Goal: "<= 1"}, always, always)
	if err != nil || row.Noise != 0 {
		t.Errorf("noise %v, %v", row.Noise, err)
	}
	var out bytes.Buffer
	if err := table(&out, []Row{row}); err != nil || !strings.Contains(out.String(), "kept  –      x") {
		t.Errorf("%v: %s", err, &out)
	}
	text, err := json.Marshal(row)
	if err != nil || strings.Contains(string(text), "noise") {
		t.Errorf("%s %v", text, err)
	}
}

// TestOnTwo: what is done there has two cores, and we all of ours again afterwards.
func TestOnTwo(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cores := func() int {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			t.Fatal(err)
		}
		return set.Count()
	}
	before, during := cores(), 0
	if err := onTwo(func() error { during = cores(); return nil }); err != nil || during != min(before, 2) || cores() != before {
		t.Errorf("%v: %d cores, %d while it runs, %d after", err, before, during, cores())
	}
	if err := onTwo(func() error { return errors.New("it broke") }); err == nil || err.Error() != "it broke" {
		t.Error(err)
	}
}
