package shm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
)

// Command describes a worker process.
type Command struct {
	Path string // executable
	Args []string
	Env  []string // added to the agent's own
	Log  *slog.Logger
}

// Process is a running worker. Its descriptor 3 is the peer of Conn. It dies
// with the agent (PR_SET_PDEATHSIG) and stays out of the terminal's process
// group, so that Ctrl-C reaches only the agent, which stops it in order.
type Process struct {
	Conn *Conn

	cmd  *exec.Cmd
	done chan struct{}

	mu      sync.Mutex // protects the fields below
	last    []string   // of its standard error, see keep
	crashed bool       // they tell of a crash
}

// keepLines is how much of a dead worker's standard error is told.
const keepLines = 8

// crashLines is how much of a crash is told.
const crashLines = 3

// Start runs the command.
func (c Command) Start() (*Process, error) {
	conn, child, err := Pair()
	if err != nil {
		return nil, err
	}
	defer child.Close()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.ExtraFiles = []*os.File{child}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = onStarter(cmd.Start)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start worker %s: %w", c.Path, err)
	}
	p := &Process{Conn: conn, cmd: cmd, done: make(chan struct{})}
	go p.wait(stderr, c.Log)
	return p, nil
}

// starter is a thread that never ends. The kernel sends PR_SET_PDEATHSIG when the thread
// ends that started a process, and any of Go's may: one that a goroutine was locked to
// ends with it.
var starter = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range jobs {
			do()
		}
	}()
	return jobs
})

func onStarter(start func() error) error {
	done := make(chan error)
	starter() <- func() { done <- start() }
	return <-done
}

// wait reads the worker's standard error to its end, then collects the process.
func (p *Process) wait(stderr io.Reader, log *slog.Logger) {
	lines := bufio.NewReaderSize(stderr, 4096)
	for {
		line, _, err := lines.ReadLine() // over-long lines come in pieces
		if err != nil {
			break
		}
		text := plainText(string(line))
		if text == "" {
			continue
		}
		p.keep(text)
		log.Debug("worker says", "worker", p.Pid(), "text", text)
	}
	_ = p.cmd.Wait() // the state is read from ProcessState
	close(p.done)
}

// colours are what programs put around text for terminals (ECMA-48, SGR).
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// plainText is a line without what isn't text, since people read it on pages too.
func plainText(line string) string {
	line = colours.ReplaceAllString(line, "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, line))
}

// crashes are how Go's runtime begins to tell of one. What follows is long, and says less
// the longer it is.
var crashes = []string{"SIG", "fatal error: ", "panic: "}

// keep remembers a line for Exit: the newest ones, or of a crash the first.
func (p *Process) keep(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.crashed && slices.ContainsFunc(crashes, func(c string) bool { return strings.HasPrefix(line, c) }) {
		p.crashed, p.last = true, nil
	}
	switch {
	case p.crashed && len(p.last) >= crashLines:
	case len(p.last) >= keepLines:
		p.last = append(p.last[1:], line)
	default:
		p.last = append(p.last, line)
	}
}

// Pid is the worker's process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and been waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells in words how the process ended, with the end of its standard
// error. Only after Done.
func (p *Process) Exit() string {
	if said := p.Said(); said != "" {
		return p.cmd.ProcessState.String() + ": " + said
	}
	return p.cmd.ProcessState.String()
}

// Said is the end of the process's standard error, on one line.
func (p *Process) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, " | ")
}

// CPU is the processor time that the process used. Only after Done.
func (p *Process) CPU() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Stop closes the connection, which asks the worker to end, and kills it when
// it is still there after grace. It returns when the process has ended.
func (p *Process) Stop(grace time.Duration) {
	p.Conn.Close()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return
	case <-t.C:
	}
	p.Kill()
	<-p.done
}

// Signal sends the process one, unless it has ended.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // only fails for one that has

// Kill ends the process at once; it also ends one that is stopped or hangs in a driver.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() } // only fails for a process that has ended

// Backoff waits before try n (1, 2, …) of starting a worker or reaching a
// camera again: not at all at first, then from 100 ms doubling to at most 3 s,
// the second half of it at random. It returns early with the context's error.
func Backoff(ctx context.Context, n int) error {
	if n <= 1 {
		return ctx.Err()
	}
	d := min(100*time.Millisecond<<min(n-2, 10), 3*time.Second)
	d = d/2 + rand.N(d/2)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
