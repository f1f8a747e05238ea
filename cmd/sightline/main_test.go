package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sightline": func() {
		plainKeys = os.Getenv("SIGHTLINE_TEST_PLAIN_KEYS") != ""
		main()
	}})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GOCOVERDIR", os.Getenv("GOCOVERDIR"))
			drawn, err := filepath.Abs("../../vision/models/drawn-parts")
			e.Setenv("DRAWN", drawn) // the shipped model's folder
			e.Setenv("MODELS", filepath.Join(drawn, "../../infer/testdata"))
			return err
		},
	})
}

func TestFindAgent(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findAgent("")
	for _, want := range []string{"find sightline-agent", "make build", "--agent"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "sightline-agent")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if got, err := findAgent(""); got != program || err != nil {
		t.Errorf("found %q, %v; want that of PATH", got, err)
	}
	t.Setenv("PATH", "")
	if got, err := findAgent(program); got != program || err != nil {
		t.Errorf("found %q, %v; want the one that was named", got, err)
	}
	_, err = findFleet(program)
	if err == nil || !strings.Contains(err.Error(), "find sightline-fleet: it is neither beside "+program+" nor in PATH: run make build") {
		t.Errorf("without a fleet service: %v", err)
	}
}
