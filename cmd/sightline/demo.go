package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// settle is how long after the last part that counts the camera goes on, so
// that the agent sees it leave and decides it.
const settle = 2500 * time.Millisecond

// demoDefects is the share of bad parts: more than a line has, so that a short
// look shows some.
const demoDefects = 0.2

// stopLimit is how long the agent may take to end before it is killed.
const stopLimit = 5 * time.Second

// demoOptions are the flags of demo.
type demoOptions struct {
	seconds float64
	seed    uint64
	speed   float64
	json    bool
	listen  string
	agent   string
}

func newDemo() *cobra.Command {
	o := demoOptions{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "inspect drawn parts on a belt, shown in the browser",
		Long: `demo draws parts on a belt, some of them bad, as an IP camera; starts an agent
with the shipped model on it, in a scratch directory; and prints the address of
the agent's page. At Ctrl-C, or after --seconds, it ends both and compares the
verdicts with the truth, over the parts that entered and left the picture
meanwhile. Defects too faint to be counted on (under the visibility floor of
docs/scene.md) are told apart.

The agent knows nothing of the drawing: it sees an MJPEG camera.`,
		Example: `  sightline demo
  sightline demo --seconds 60 --seed 7 --json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.Float64Var(&o.seconds, "seconds", 0, "end after so many seconds; 0: at Ctrl-C")
	f.Uint64Var(&o.seed, "seed", 6, "which parts are drawn")
	f.Float64Var(&o.speed, "speed", 1, "times real time, 0.1 to 4")
	f.BoolVar(&o.json, "json", false, "print the summary as one JSON object on the last line")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address of the agent's page; a port in use gives way to a free one")
	f.StringVar(&o.agent, "agent", "", "the sightline-agent to start; empty: the one beside this program, else of PATH")
	return cmd
}

func (o *demoOptions) check() error {
	switch {
	case o.seconds < 0:
		return cli.Usage("--seconds %v: must not be negative", o.seconds)
	case !(o.speed >= 0.1 && o.speed <= 4):
		return cli.Usage("--speed %v: 0.1 to 4 are possible", o.speed)
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return cli.Usage("--listen %q: must be an address and a port, as 127.0.0.1:8080", o.listen)
	}
	return nil
}

func (o *demoOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	program, err := findAgent(o.agent)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sightline-demo-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w: set TMPDIR to a folder with room", err)
	}
	defer os.RemoveAll(dir)
	s, err := scene.New(scene.Config{Seed: o.seed, DefectRate: demoDefects})
	if err != nil {
		return err
	}
	play := &played{scene: s}
	if err := o.inspect(cmd, program, dir, play); err != nil {
		return err
	}
	results, err := readResults(dir)
	if err != nil {
		return err
	}
	sum := compare(play, results)
	if o.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(sum)
	}
	return sum.print(cmd.OutOrStdout())
}

// findAgent is the agent's program: named, beside this one, or of PATH.
func findAgent(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), "sightline-agent")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("sightline-agent")
	if err != nil {
		return "", errors.New("find sightline-agent: it is neither beside this program nor in PATH: run make build, or name it with --agent")
	}
	return path, nil
}

// inspect runs camera and agent until the demo's time is over.
func (o *demoOptions) inspect(cmd *cobra.Command, program, dir string, play *played) error {
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	camera, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the drawn camera's port: %w", err)
	}
	address, err := freeAddress(o.listen)
	if err != nil {
		return errors.Join(err, camera.Close())
	}
	a := &demoAgent{program: program, dir: dir, listen: address, source: "http://" + camera.Addr().String() + "/camera"}
	if err := a.configure(); err != nil {
		return errors.Join(err, camera.Close())
	}
	cfg := play.scene.Config()
	mjpeg, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: play, Width: cfg.Width, Height: cfg.Height, Rate: cfg.Rate * o.speed})
	if err != nil {
		return errors.Join(err, camera.Close())
	}
	mjpeg.Wait, mjpeg.Quality = true, 90
	// The camera outlives the agent, or its last parts would be cut off.
	filmed, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{Handler: mjpeg, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return filmed }}
	var g errgroup.Group
	g.Go(func() error { return mjpeg.Run(filmed) })
	g.Go(func() error {
		if err := server.Serve(camera); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	err = o.watch(ctx, cmd.OutOrStdout(), a, play)
	cut()
	return errors.Join(err, server.Close(), g.Wait())
}

// watch starts the agent and waits: for the end of the demo's time, Ctrl-C, or
// the agent's own end, which is an error.
func (o *demoOptions) watch(ctx context.Context, out io.Writer, a *demoAgent, play *played) error {
	if err := a.start(); err != nil {
		return err
	}
	if !o.json {
		fmt.Fprintf(out, "the agent inspects drawn parts: open http://%s\n", a.listen)
		fmt.Fprintln(out, "Ctrl-C ends it and compares the verdicts with the truth")
	}
	var over <-chan time.Time
	if o.seconds > 0 {
		over = time.After(time.Duration(o.seconds * float64(time.Second)))
	}
	select {
	case <-ctx.Done():
	case <-over:
	case <-a.done:
		return a.failure()
	}
	play.end()
	select {
	case <-time.After(settle):
	case <-a.done:
		return a.failure()
	}
	return a.stop()
}

// freeAddress is the address, or one with a free port where that one is taken.
func freeAddress(address string) (string, error) {
	ln, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(address) // check has split it before
		ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", fmt.Errorf("find a port for the page: %w", err)
	}
	free := ln.Addr().String()
	return free, ln.Close()
}

// demoAgent is the agent's process.
type demoAgent struct {
	program, dir, listen, source string

	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{}
	err    error
}

func (a *demoAgent) data() string { return filepath.Join(a.dir, "data") }

// configure writes the configuration that the agent is started with.
func (a *demoAgent) configure() error {
	text := strings.Join([]string{
		"listen: " + strconv.Quote(a.listen),
		"data: " + strconv.Quote(a.data()),
		"stations:",
		"  - id: demo",
		"    line: drawn",
		"    camera: {source: " + strconv.Quote(a.source) + "}",
		"    model: drawn-parts",
		"",
	}, "\n")
	return os.WriteFile(filepath.Join(a.dir, "station.yaml"), []byte(text), 0o600)
}

func (a *demoAgent) start() error {
	a.cmd = exec.Command(a.program, "run", "--config", filepath.Join(a.dir, "station.yaml"))
	a.cmd.Stderr = &a.stderr
	// Ctrl-C is this program's to hear: it ends the agent when the last parts are decided.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	a.done = make(chan struct{})
	go func() {
		a.err = a.cmd.Wait()
		close(a.done)
	}()
	return nil
}

// stop ends the agent and waits for it.
func (a *demoAgent) stop() error {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the agent: %w", err)
	}
	select {
	case <-a.done:
	case <-time.After(stopLimit):
		_ = a.cmd.Process.Kill() // only fails for one that has ended
		<-a.done
		return fmt.Errorf("end the agent: it was still there after %v and was killed", stopLimit)
	}
	if a.err != nil {
		return a.failure()
	}
	return nil
}

// failure is what the agent said at its end.
func (a *demoAgent) failure() error {
	how := "without an error"
	if a.err != nil {
		how = a.err.Error()
	}
	return fmt.Errorf("the agent ended by itself (%s): %s", how, strings.TrimSpace(a.stderr.String()))
}

// played draws the scene and remembers when it drew what.
type played struct {
	scene *scene.Scene

	mu    sync.Mutex // protects all below
	drawn []drawnAt
	ended int // the last frame that counts, 0 before end
}

type drawnAt struct {
	at time.Time
	n  int
}

// Frame draws frame n now.
func (p *played) Frame(n int, dst *vision.Frame) error {
	p.mu.Lock()
	p.drawn = append(p.drawn, drawnAt{time.Now(), n})
	p.mu.Unlock()
	return p.scene.Frame(n, dst)
}

// end says that parts which leave from now on don't count.
func (p *played) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.drawn) > 0 {
		p.ended = p.drawn[len(p.drawn)-1].n
	}
}
