package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestDemoOIP runs demo --oip with the real agent: every part that is whole in a
// picture is found by way of HTTP.
func TestDemoOIP(t *testing.T) {
	agent := needAgent(t)
	d := startDemo(t, "--oip", "--json", "--listen", "127.0.0.1:0", "--agent", agent)
	var s oipSummary
	for d.lines.Scan() {
		if err := json.Unmarshal(d.lines.Bytes(), &s); err != nil {
			t.Fatalf("%v: %s", err, d.lines.Text())
		}
	}
	if err := d.cmd.Wait(); err != nil || d.stderr.Len() > 0 {
		t.Fatalf("%v: %s", err, &d.stderr)
	}
	if s.Pictures != oipPictures || s.Drawn < 6 || s.Found != s.Drawn {
		t.Errorf("%+v", s)
	}
}

// What doesn't go with --oip is said at once.
func TestDemoOIPUse(t *testing.T) {
	for args, want := range map[string]string{
		"--oip --plc":        "--oip and --plc: one of them",
		"--oip --rollout":    "--oip and --rollout: one of them",
		"--oip --seconds 5":  "--oip and --seconds: one of them",
		"--oip --listen 80":  `--listen "80": must be an address and a port`,
		"--oip --agent gone": "find the agent: stat gone: no such file or directory: name another with --agent",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"demo"}, strings.Fields(args)...), &out, &errs); code == 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: %d, %s", args, code, errs.String())
		}
	}
}
