package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" { // this file, executed by an agent of a test
		if pretendsBuild() {
			return
		}
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	_ = prompt.All() // as main does
	testscript.Main(m, map[string]func(){"sightline-agent": main})
}

// TestScripts runs every script of testdata. Conditions: onnx (ONNX Runtime
// can be found), opencv (sightline-capture was built), realdata, ffmpeg, root.
func TestScripts(t *testing.T) {
	found := equipment(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			has, ok := found.has[cond]
			if !ok {
				return false, fmt.Errorf("condition %q is unknown", cond)
			}
			return has, nil
		},
		Setup: found.setup,
		Cmds:  scriptCommands(),
	})
}

// machine is what this machine has for the tests.
type machine struct {
	has map[string]bool
	env map[string]string
}

func equipment(t *testing.T) machine {
	t.Helper()
	e := machine{has: map[string]bool{"root": os.Geteuid() == 0, "ffmpeg": ipcam.HaveFFmpeg()}, env: map[string]string{}}
	library, err := infer.FindLibrary("")
	if e.has["onnx"] = err == nil; err == nil {
		e.env["SIGHTLINE_ONNXRUNTIME"], err = filepath.Abs(library)
		if err != nil {
			t.Fatal(err)
		}
	}
	if bin := os.Getenv("SIGHTLINE_BIN"); bin != "" {
		_, err := exec.LookPath(filepath.Join(bin, "sightline-capture"))
		e.has["opencv"] = err == nil
		e.env["BIN"] = bin
	} else {
		e.has["opencv"] = false
	}
	data := os.Getenv("SIGHTLINE_REALDATA")
	e.has["realdata"] = data != ""
	e.env["REAL"] = data
	cache := os.Getenv("SIGHTLINE_CACHE")
	if cache == "" {
		cache = t.TempDir()
	}
	e.env["SIGHTLINE_CACHE"] = cache
	if e.env["MODELS"], err = filepath.Abs("../../vision/infer/testdata"); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e machine) setup(env *testscript.Env) error {
	for k, v := range e.env {
		env.Setenv(k, v)
	}
	if bin := e.env["BIN"]; bin != "" {
		env.Setenv("PATH", env.Getenv("PATH")+string(os.PathListSeparator)+bin)
	}
	env.Setenv("GOCOVERDIR", os.Getenv("GOCOVERDIR"))
	env.Values[rigKey{}] = newRig(env)
	return nil
}
