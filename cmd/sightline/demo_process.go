package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
)

// stopLimit is how long a program may take to end before it is killed.
const stopLimit = 8 * time.Second

// findAgent is the agent's program: named, beside this one, or of PATH.
func findAgent(named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("find the agent: %w: name another with --agent", err)
		}
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

// findFleet is the fleet service's program: beside the agent, or of PATH.
func findFleet(agent string) (string, error) {
	path := filepath.Join(filepath.Dir(agent), "sightline-fleet")
	if _, err := os.Stat(path); err == nil {
		return filepath.Abs(path) // a bare name would be looked for in PATH
	}
	path, err := exec.LookPath("sightline-fleet")
	if err != nil {
		return "", fmt.Errorf("find sightline-fleet: it is neither beside %s nor in PATH: run make build", agent)
	}
	return path, nil
}

// process is a program that the demo started.
type process struct {
	name   string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{} // closed when it has ended
	err    error         // valid then
}

// begin starts a program. Ctrl-C is the demo's to hear: it ends the program in
// its own time.
func begin(name, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends the program and waits for it. One that never began is stopped.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill() // only fails for one that has ended
		<-p.done
		return fmt.Errorf("end %s: it was still there after %v and was killed", p.name, stopLimit)
	}
	if p.err != nil {
		return p.failure()
	}
	return nil
}

// failure is what the program said at its end.
func (p *process) failure() error {
	how := "without an error"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s ended by itself (%s): %s", p.name, how, strings.TrimSpace(p.stderr.String()))
}

// command runs a program to its end and gives what it printed.
func command(path string, args ...string) ([]byte, error) {
	return output(exec.Command(path, args...))
}

// output is command with a command that was made before.
func output(cmd *exec.Cmd) ([]byte, error) {
	var errout bytes.Buffer
	cmd.Stderr = &errout
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(cmd.Args[0]), cmd.Args[1], err, strings.TrimSpace(errout.String()))
	}
	return out, nil
}

// freeAddress is the address, or one with a free port where that one is taken or
// any port will do.
func freeAddress(address string) (string, error) {
	host, port, _ := net.SplitHostPort(address) // check has split it before
	if port == "0" {
		return cable.FreeAddress(host)
	}
	ln, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return cable.FreeAddress(host)
	case err != nil:
		return "", fmt.Errorf("listen for the page: %w", err)
	}
	return ln.Addr().String(), ln.Close()
}

// nextAddress is the same host's port so many further on; 0 stays any port.
func nextAddress(address string, by int) string {
	host, port, _ := net.SplitHostPort(address) // check has split it before
	n, err := strconv.Atoi(port)
	if err != nil || n == 0 || n+by > 65535 {
		return net.JoinHostPort(host, "0")
	}
	return net.JoinHostPort(host, strconv.Itoa(n+by))
}
