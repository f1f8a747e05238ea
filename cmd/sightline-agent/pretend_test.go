package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// pretendIn is the environment variable with the folder of pretended builds: the next
// process of a model after the file "next" is there tells of an engine's build until
// the file "go" is. All others are real workers.
const pretendIn = "SIGHTLINE_TEST_BUILD"

// pretendsBuild is a worker without TensorRT that tells of a build as one with it does.
// It gives false to a process that is to be a real worker.
func pretendsBuild() bool {
	dir := os.Getenv(pretendIn)
	if dir == "" || !slices.Contains(os.Args, "infer") || os.Remove(filepath.Join(dir, "next")) != nil {
		return false
	}
	conn := shm.NewConn(workerSocket)
	var load json.RawMessage
	fds, err := conn.Recv(&load)
	if err != nil {
		os.Exit(1)
	}
	defer shm.CloseAll(fds)
	say := func(text string) {
		if err := conn.Send(json.RawMessage(`{"engine":` + text + `}`)); err != nil {
			os.Exit(1)
		}
	}
	say(`{"phase":"building engine","usual":100000000000}`)
	for _, err := os.Stat(filepath.Join(dir, "go")); err != nil; _, err = os.Stat(filepath.Join(dir, "go")) {
		<-time.After(time.Millisecond)
	}
	say(`{"done":true}`)
	return true
}

// pretend lets the next process of a model tell of an engine's build, until done.
func pretend(t *testing.T) (done func()) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(pretendIn, dir)
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Error(err)
		}
	}
	write("next")
	return func() { write("go") }
}
