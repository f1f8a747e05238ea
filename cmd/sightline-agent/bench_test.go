package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision/infer"
)

// row is a measured case in which the whole takes 1 ms more than the run.
func row(p infer.Provider, threads, batch int, run, rate, cpu float64) benchRow {
	return benchRow{benchCase: benchCase{p, threads, batch}, Precision: "float32", Samples: 100, RunP50: run, RunP99: 2 * run, WholeP50: run + 1, WholeP99: 2*run + 1, Rate: rate, CPU: cpu, Memory: 50e6}
}

func TestBenchAdvice(t *testing.T) {
	one, two, four := row(infer.CPU, 1, 1, 9, 100, 10), row(infer.CPU, 2, 1, 5, 170, 11), row(infer.CPU, 4, 1, 4.5, 180, 18)
	for name, c := range map[string]struct {
		report benchReport
		want   []string
	}{
		"more threads are quicker, and cost": {benchReport{Cores: 4, Rows: []benchRow{one, two, four}}, []string{
			"infer.threads: 1 for as many pictures as possible (100 a second on 1 thread; 4 models run at once, so up to 400 together)",
			"infer.threads: 2 where one picture must be quick (p99 11.00 ms instead of 19.00, for 1.1 times the processor time)",
		}},
		"one core": {benchReport{Cores: 1, Rows: []benchRow{one, two}}, []string{
			"infer.threads: 2 for as many pictures as possible (170 a second on 2 threads)",
			"infer.threads: 1 where one picture must be quick (p99 19.00 ms instead of 11.00, for 0.9 times the processor time)",
		}},
		"noise hides the difference": {benchReport{Cores: 2, Noise: 0.29, Rows: []benchRow{one, row(infer.CPU, 2, 1, 8, 110, 12)}}, []string{
			"infer.threads: 1 for as many pictures as possible (100 a second on 1 thread; 2 models run at once, so up to 200 together), and none measured is surely quicker for one (p99 19.00 ms)",
		}},
		"too much noise": {benchReport{Cores: 2, Noise: 0.5, Rows: []benchRow{one, two}}, []string{
			"nothing is advised: the machine was too busy to tell rows apart. Measure again when other programs are quiet, or for longer (--seconds)",
		}},
		"an accelerator": {benchReport{Cores: 4, Rows: []benchRow{row(infer.CUDA, 1, 1, 1.5, 600, 2), one}}, []string{
			"infer.provider: cuda (a picture takes 2.50 ms, on the processor 10.00 ms). auto takes the first of tensorrt, cuda, cpu",
		}},
		"batches pay on one, not on the other": {benchReport{Cores: 4, Rows: []benchRow{row(infer.CUDA, 1, 1, 2, 500, 2), row(infer.CUDA, 1, 4, 4, 900, 1), one, row(infer.CPU, 1, 2, 18, 100, 10)}}, []string{
			"infer.provider: cuda (a picture takes 3.00 ms, on the processor 10.00 ms). auto takes the first of tensorrt, cuda, cpu",
			"4 pictures in one run would give 2.00 times as many a second on cuda, for 2.0 times the wait: see infer.batch for cameras that share the model",
			"several pictures in one run don't pay on cpu: at best 2 of them, 1.00 times as many a second, for 2.0 times the wait",
		}},
		"nothing": {benchReport{Cores: 4}, nil},
	} {
		if d := cmp.Diff(c.want, advise(&c.report)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestBenchNotesWhatTheMachineDid(t *testing.T) {
	quiet := benchReport{Cores: 2, Rows: []benchRow{row(infer.CPU, 1, 1, 9, 100, 10)}}
	quiet.noise(row(infer.CPU, 1, 1, 9.3, 100, 10))
	if len(quiet.Notes) > 0 || quiet.Noise < 0.029 || quiet.Noise > 0.031 {
		t.Errorf("a quiet machine: noise %v, %q", quiet.Noise, quiet.Notes)
	}
	busy := benchReport{Cores: 2, Rows: []benchRow{row(infer.CPU, 1, 1, 9, 100, 10)}}
	busy.Rows[0].others = 0.7
	busy.noise(row(infer.CPU, 1, 1, 11, 100, 10))
	if d := cmp.Diff([]string{
		"the first row took 10.00 ms, and 12.00 ms at the end: differences below 20 % say nothing",
		"other programs took up to 0.7 of 2 cores meanwhile: on a quiet machine all is faster",
	}, busy.Notes); d != "" {
		t.Error(d)
	}
}

func TestBenchPlan(t *testing.T) {
	o := benchOptions{seconds: 1}
	o.model.model = "m.onnx"
	for name, c := range map[string]struct {
		change func(*benchOptions)
		open   bool
		want   string
	}{
		"all there is":  {func(*benchOptions) {}, false, "tensorrt 1/1 cuda 1/1 cpu 1/1 cpu 2/1 cpu 4/1"},
		"an open batch": {func(o *benchOptions) { o.providers = []string{"cpu"} }, true, "cpu 1/1 cpu 1/2 cpu 1/4 cpu 2/1 cpu 4/1"},
		"said": {func(o *benchOptions) {
			o.providers, o.threads, o.batches = []string{"CPU"}, []string{"3", "1", "3"}, []string{"8", "1"}
		}, true, "cpu 1/1 cpu 1/8 cpu 3/1"},
		"a fixed batch": {func(o *benchOptions) {
			o.providers, o.threads, o.batches = []string{"cpu"}, []string{"1"}, []string{"8"}
		}, false, "cpu 1/1"},
		"only large runs": {func(o *benchOptions) {
			o.providers, o.threads, o.batches = []string{"cpu"}, []string{"1", "2"}, []string{"8"}
		}, true, "cpu 1/8 cpu 2/8"},
	} {
		o := o
		c.change(&o)
		p, err := o.plan(c.open, 4)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range p.cases() {
			got = append(got, fmt.Sprintf("%s %d/%d", one.Provider, one.Threads, one.Batch))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", name, strings.Join(got, " "), c.want)
		}
		if noted := len(p.notes) > 0; noted != (name == "a fixed batch") {
			t.Errorf("%s: notes %q", name, p.notes)
		}
	}
}

func TestBenchTable(t *testing.T) {
	var out bytes.Buffer
	r := benchReport{Model: "m", Digest: strings.Repeat("ab", 32), Input: "64x64", Width: 8, Height: 4, Cores: 1, Runtime: "1.27.0",
		Rows: []benchRow{row(infer.CPU, 1, 1, 9, 100, 10)}, Advice: []string{"do"}, Notes: []string{"note"}}
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `m (abababababab), input 64x64, picture 8x4; 1 core, ONNX Runtime 1.27.0

  provider  threads  batch  run p50    p99  whole p50  p99 ms     /s  CPU ms  memory
       cpu        1      1     9.00  18.00      10.00   19.00  100.0   10.00   50 MB

- do.

- note.
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	for _, c := range []struct {
		short, long float64
		want        string
	}{{5, 10, "▓▓▓▓▓░░░░░"}, {10, 10, "▓▓▓▓▓▓▓▓▓▓"}, {0.01, 0.02, "▓"}} {
		if got := bar(c.short, c.long, 10, 10); got != c.want {
			t.Errorf("bar %+v: %q", c, got)
		}
	}
}

func TestBenchRanks(t *testing.T) {
	var ms []float64
	for n := range 200 {
		ms = append(ms, float64(200-n))
	}
	if p50, p99 := ranks(ms); p50 != 100 || p99 != 198 {
		t.Errorf("of 1 to 200: %v and %v", p50, p99)
	}
	if p50, p99 := ranks([]float64{3}); p50 != 3 || p99 != 3 {
		t.Errorf("of one: %v and %v", p50, p99)
	}
	if got := busyOf("cpu  100 10 50 9999 77 3 2 1 40 5"); got != 1660*time.Millisecond {
		t.Errorf("busy for %v", got)
	}
	if busyOf("") != 0 || busyOf("cpu x") != 0 {
		t.Error("garbage is time")
	}
	for text, want := range map[string]string{
		"load m.onnx: load the model: cuda: there is none": "cuda: there is none",
		"load m.onnx: tensorrt: no kernel":                 "tensorrt: no kernel",
		"else":                                             "else",
	} {
		if got := shortly(fmt.Errorf("%s", text)); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// The figures of one run fit each other, whatever this machine does meanwhile.
func TestBenchFiguresFitEachOther(t *testing.T) {
	if _, err := infer.FindLibrary(""); err != nil {
		t.Skip("left out: ", err)
	}
	var out, errs bytes.Buffer
	args := []string{"bench", "--model", "../../vision/infer/testdata/dynamic.onnx", "--family", "fastestdet", "--size", "96x96", "--labels", writeLabels(t), "--json"}
	if code := run(t.Context(), append(args, "--provider", "cpu", "--threads", "1,2", "--batch", "1,2", "--seconds", "0.3"), &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var r benchReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3 || r.Noise < 0 || r.Others < 0 || r.Cores < 1 || r.Interrupted {
		t.Fatalf("report %+v", r)
	}
	for _, row := range r.Rows {
		switch {
		case !(0 < row.RunP50 && row.RunP50 <= row.RunP99 && row.WholeP50 <= row.WholeP99 && row.RunP50 <= row.WholeP50 && row.RunP99 <= row.WholeP99):
			t.Errorf("times out of order: %+v", row)
		case row.Samples < leastRuns:
			t.Errorf("%d samples", row.Samples)
		case row.CPU <= 0 || row.Memory < 1e6 || row.Rate <= 0:
			t.Errorf("nothing was used: %+v", row)
		}
	}
}

func writeLabels(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "labels.txt")
	if err := os.WriteFile(path, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
