package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sightline-edge/sightline/agent/config"
)

// TestDamagedReference: one that the page has set keeps no camera from starting;
// one that the configuration names is a fault.
func TestDamagedReference(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(data, "cameras", "left.jpg")
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("no picture"), 0o640); err != nil {
		t.Fatal(err)
	}
	a := &assembly{programs: programs{self: os.Args[0]}, log: slog.New(slog.DiscardHandler)}
	c := config.DefaultCamera()
	c.ID, c.Source = "left", "http://127.0.0.1:1/x"
	if _, err := a.camera(&c, data); err != nil {
		t.Errorf("the page's: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c.Reference = range []string{file, pipe} { // nobody writes to the pipe
		if _, err := a.camera(&c, data); err == nil || !strings.Contains(err.Error(), c.Reference) {
			t.Errorf("the configuration's: %v", err)
		}
	}
}

// TestRuleOfAnEndedStart: who ends the program while a rule is still being loaded
// isn't told that the rule is at fault.
func TestRuleOfAnEndedStart(t *testing.T) {
	p, err := findPrograms(config.Infer{Threads: 1})
	if err != nil {
		t.Skip("left out: ", err)
	}
	c, err := choose(modelOptions{model: "drawn-parts", rule: "threshold:defect>0.5"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIGHTLINE_CACHE", t.TempDir())
	for _, ended := range []bool{false, true} {
		made, err := newAssembly(t.Context(), p, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		made.broken = make(chan brokenRule, 1)
		ctx, cancel := context.WithCancel(t.Context())
		if c.rule.Module = "none.wasm"; ended { // a rule that can't be loaded
			cancel()
		}
		coming, err := made.loading(ctx, stationOptions{id: "one"}, c, made.hire(c, 1, 0))
		if err != nil {
			t.Fatal(err)
		}
		if r := <-coming; r != nil {
			t.Error("there is such a rule")
		}
		if told := len(made.broken) == 1; told == ended {
			t.Errorf("ended %v: told %v", ended, told)
		}
		cancel()
		if err := made.close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
