package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needAgent is the built agent, with the ONNX Runtime that it needs.
func needAgent(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("SIGHTLINE_BIN")
	agent := filepath.Join(bin, "sightline-agent")
	if _, err := os.Stat(agent); bin == "" || err != nil {
		t.Skip("left out: no sightline-agent in SIGHTLINE_BIN (make build)")
	}
	library := os.Getenv("SIGHTLINE_ONNXRUNTIME")
	if library == "" {
		library = filepath.Join(bin, "libonnxruntime.so.1")
	}
	if _, err := os.Stat(library); err != nil {
		t.Skip("left out: no ONNX Runtime in SIGHTLINE_ONNXRUNTIME or beside the agent (make setup)")
	}
	return agent
}

// demo is a running `sightline demo` of its own process.
type demo struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner // of stdout
	stderr bytes.Buffer
}

// startDemo runs this test's program under the name sightline, as testscript does.
func startDemo(t *testing.T, args ...string) *demo {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	d := &demo{cmd: exec.CommandContext(ctx, self)}
	d.cmd.Args = append([]string{"sightline", "demo"}, args...)
	d.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	d.cmd.Stderr = &d.stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.lines = bufio.NewScanner(out)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill() // only fails for one that has ended
			_ = d.cmd.Wait()
		}
	})
	return d
}

// rest is what the demo still says, until its end.
func (d *demo) rest(t *testing.T) []string {
	t.Helper()
	var out []string
	for d.lines.Scan() {
		out = append(out, d.lines.Text())
	}
	if err := d.cmd.Wait(); err != nil {
		t.Fatalf("demo: %v: %s", err, d.stderr.String())
	}
	return out
}

// Verdicts are right on a machine that gives the stream its time. One that is
// busy with other tests may starve it for a second, so there is a second try.
func TestDemoSummary(t *testing.T) {
	agent := needAgent(t)
	sum := demoSummaryOf(t, agent)
	if wrong(sum) > 0 {
		t.Log("once more, as the machine may have been busy")
		sum = demoSummaryOf(t, agent)
	}
	if sum.PartsTrue < 4 || sum.Bad < 1 || sum.Good < 1 || sum.Parts != sum.PartsTrue {
		t.Errorf("too little was inspected")
	}
	if wrong(sum) > 0 {
		t.Errorf("the verdicts are wrong")
	}
	if sum.Devices != 2 || sum.ResultsDevice < sum.PartsTrue || sum.ResultsFleet != sum.ResultsDevice || sum.Lost+sum.Twice+sum.Strange > 0 {
		t.Errorf("the fleet hasn't what the devices have")
	}
	if sum.Outage < 5 || sum.Stale != 2 {
		t.Errorf("the outage didn't show")
	}
}

func wrong(s demoSummary) int { return s.Escapes + s.Overkill + s.Missed + s.Double + s.Phantoms }

// demoSummaryOf runs the demo for 13 s, on slow belts, and reads its last line.
func demoSummaryOf(t *testing.T, agent string) (sum demoSummary) {
	t.Helper()
	d := startDemo(t, "--seconds", "13", "--speed", "0.6", "--seed", "1", "--json", "--listen", "127.0.0.1:0", "--agent", agent)
	lines := d.rest(t)
	if len(lines) == 0 {
		t.Fatal("the demo said nothing")
	}
	last := []byte(lines[len(lines)-1])
	t.Logf("%s", last)
	var fields map[string]any
	if err := json.Unmarshal(last, &fields); err != nil {
		t.Fatalf("%s: %v", last, err)
	}
	for _, want := range []string{"parts_true", "parts", "escapes", "overkill", "missed", "double", "below_floor", "devices", "results_device", "results_fleet", "lost", "twice", "outage_seconds"} {
		if _, ok := fields[want].(float64); !ok {
			t.Errorf("no number %q", want)
		}
	}
	if err := json.Unmarshal(last, &sum); err != nil {
		t.Fatal(err)
	}
	return sum
}

// A port in use gives way to a free one; Ctrl-C ends agent and camera, and the
// summary counts what was seen until then.
func TestDemoEndsAtCtrlC(t *testing.T) {
	agent := needAgent(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	d := startDemo(t, "--agent", agent, "--listen", busy.Addr().String())
	var page string
	for _, what := range []string{"the fleet's page: ", "device 1 inspects drawn parts: "} {
		if !d.lines.Scan() {
			t.Fatalf("the demo said nothing: %v: %s", d.cmd.Wait(), d.stderr.String())
		}
		var ok bool
		page, ok = strings.CutPrefix(d.lines.Text(), what)
		if !ok || strings.Contains(page, busy.Addr().String()) {
			t.Fatalf("%q, want %q and an address that isn't in use", d.lines.Text(), what)
		}
	}
	waitForVerdict(t, page)
	told := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	lines := d.rest(t)
	t.Logf("ended %.1f s after Ctrl-C", time.Since(told).Seconds())
	if took := time.Since(told); took > settle+decided+2*stopLimit {
		t.Errorf("the end took %v", took)
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "escapes (bad passed)") }) {
		t.Errorf("no summary in %q", lines)
	}
	if left, err := os.ReadDir(strings.TrimPrefix(d.cmd.Env[len(d.cmd.Env)-1], "TMPDIR=")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := http.Get(page + "/healthz"); err == nil {
		t.Error("the agent still answers")
	}
}

// An agent that ends by itself ends the demo, with its own words, and nothing
// is left behind.
func TestDemoWithAnAgentThatEnds(t *testing.T) {
	agent := needAgent(t)
	for name, c := range map[string]struct{ run, want string }{
		"grumpy": {"echo 'no room on the moon' >&2; exit 3", "the agent ended by itself (exit status 3): no room on the moon"},
		"lazy":   {"exit 0", "the agent ended by itself (without an error)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\nif [ $1 = run ]; then " + c.run + "; fi\nexec " + agent + " \"$@\"\n"
			mine := filepath.Join(dir, "sightline-agent")
			if err := os.WriteFile(mine, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(filepath.Dir(agent), "sightline-fleet"), filepath.Join(dir, "sightline-fleet")); err != nil {
				t.Fatal(err)
			}
			d := startDemo(t, "--agent", mine, "--listen", "127.0.0.1:0", "--json")
			for d.lines.Scan() {
				t.Errorf("it said %q", d.lines.Text())
			}
			if err := d.cmd.Wait(); err == nil || !strings.Contains(d.stderr.String(), c.want) {
				t.Errorf("%v: %q, want %q", err, d.stderr.String(), c.want)
			}
			if left, err := os.ReadDir(strings.TrimPrefix(d.cmd.Env[len(d.cmd.Env)-1], "TMPDIR=")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// waitForVerdict asks the agent until it has told a verdict.
func waitForVerdict(t *testing.T, page string) {
	t.Helper()
	limit := time.After(40 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-limit:
			t.Fatal("no verdict within 40 s")
		case <-tick.C:
		}
		answer, err := http.Get(page + "/v1/results")
		if err != nil {
			continue // it has not begun yet
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err == nil && bytes.Contains(body, []byte(`"verdict"`)) {
			return
		}
	}
}
