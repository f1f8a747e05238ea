package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// rigKey is where a script's rig is kept.
type rigKey struct{}

// rig is what a script has around the agent: a drawn camera behind a gate.
type rig struct {
	env  *testscript.Env
	gate *ipcam.Gate
}

func newRig(env *testscript.Env) *rig { return &rig{env: env} }

func rigOf(ts *testscript.TestScript) *rig { return ts.Value(rigKey{}).(*rig) }

// patience is how long a condition may take to come true on a busy machine.
const patience = 25 * time.Second

// eventually polls a condition until it holds.
func eventually(ts *testscript.TestScript, what string, holds func() bool) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			ts.Fatalf("%s: not within %v", what, patience)
		case <-tick.C:
		}
	}
}

// scriptCommands are the scripts' own commands.
func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits":      cmdExits,
		"pictures":   cmdPictures,
		"camera":     cmdCamera,
		"gate":       cmdGate,
		"port":       cmdPort,
		"truncate":   cmdTruncate,
		"signal":     cmdSignal,
		"await":      cmdAwait,
		"answers":    cmdAnswers,
		"killworker": cmdKillWorker,
		"noworker":   cmdNoWorker,
		"within":     cmdWithin,
		"jsonlines":  cmdJSONLines,
		"onnx":       cmdONNX,
		"bundledir":  cmdBundleDir,
		"mutate":     cmdMutate,
		"pack":       cmdPack,
		"tamper":     cmdTamper,
	}
}

// cmdExits: exits CODE sightline-agent ARGS… runs it and wants that exit code.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// cmdPictures: pictures DIR N draws N pictures with whole parts in them.
func cmdPictures(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: pictures DIR N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	s, err := scene.New(scene.Config{Seed: 11})
	ts.Check(err)
	f := s.NewFrame()
	for i := range n {
		ts.Check(s.Frame(40*i+10, f))
		b, err := picture.EncodeJPEG(f, picture.Encoding{Quality: 92})
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("p%03d.jpg", i)), b, 0o644))
	}
}

// cmdCamera: camera starts an MJPEG camera behind a gate and sets CAMERA.
func cmdCamera(ts *testscript.TestScript, _ bool, _ []string) {
	s, err := scene.New(scene.Config{Seed: 5})
	ts.Check(err)
	cfg := s.Config()
	m, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: s, Width: cfg.Width, Height: cfg.Height, Rate: 12})
	ts.Check(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: m, ReadHeaderTimeout: time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 2)
	go func() { done <- m.Run(ctx) }()
	go func() { done <- server.Serve(ln) }()
	r := rigOf(ts)
	r.gate, err = ipcam.NewGate(ln.Addr().String())
	ts.Check(err)
	ts.Setenv("CAMERA", "http://"+r.gate.Addr()+"/camera")
	ts.Defer(func() {
		r.gate.Close()
		cancel()
		server.Close()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
				ts.Logf("camera: %v", err)
			}
		}
	})
}

// cmdGate: gate none|freeze|cut|reset|refuse|garbage.
func cmdGate(ts *testscript.TestScript, _ bool, args []string) {
	faults := map[string]ipcam.Fault{"none": ipcam.None, "freeze": ipcam.Freeze, "cut": ipcam.Cut,
		"reset": ipcam.Reset, "refuse": ipcam.Refuse, "garbage": ipcam.Garbage}
	f, ok := faults[strings.Join(args, " ")]
	if !ok || rigOf(ts).gate == nil {
		ts.Fatalf("usage: camera first, then gate none|freeze|cut|reset|refuse|garbage")
	}
	ts.Check(rigOf(ts).gate.Set(f))
}

// cmdPort: port NAME sets NAME to an address that is free; ! port NAME to one
// that is taken until the script ends.
func cmdPort(ts *testscript.TestScript, taken bool, args []string) {
	address, err := cable.FreeAddress("127.0.0.1")
	ts.Check(err)
	ts.Setenv(args[0], address)
	if taken {
		ln, err := net.Listen("tcp", address)
		ts.Check(err)
		ts.Defer(func() { ln.Close() })
	}
}

// cmdTruncate: truncate FROM TO SHARE copies the first share of a file.
func cmdTruncate(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	share, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b[:int(float64(len(b))*share)], 0o644))
}

// cmdAwait: await FILE TEXT N waits until the file holds the text at least N
// times.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: await FILE TEXT N")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	eventually(ts, "await "+strings.Join(args, " "), func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && bytes.Count(b, []byte(args[1])) >= n
	})
}

// cmdSignal: signal TERM|INT goes to every program in the background.
func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	sig, ok := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt}[args[0]]
	if !ok {
		ts.Fatalf("usage: signal TERM|INT")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(sig))
	}
}
