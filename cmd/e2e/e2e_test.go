// Package e2e tests the built programs as a person would use them: real
// processes, real recordings, kill -9, full disks. The programs are looked for
// in SIGHTLINE_BIN (make test sets it); what can't be tested says why.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/vision/infer"
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// full reports whether the long counts are wanted.
func full() bool { return os.Getenv("SIGHTLINE_FAULTS") == "full" }

// program is a built program's path; tests that need it are left out without.
func program(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("SIGHTLINE_BIN")
	if dir == "" {
		t.Skip("left out: SIGHTLINE_BIN isn't set (make test sets it)")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("left out: %v (make build)", err)
	}
	return path
}

// agentProgram is the agent's path, where ONNX Runtime is too.
func agentProgram(t testing.TB) string {
	t.Helper()
	if _, err := infer.FindLibrary(""); err != nil {
		t.Skip("left out: ", err)
	}
	return program(t, "sightline-agent")
}

// realData is a path in the shared real data.
func realData(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("SIGHTLINE_REALDATA")
	if dir == "" {
		t.Skip("left out: SIGHTLINE_REALDATA isn't set")
	}
	return filepath.Join(dir, name)
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		case <-tick.C:
		}
	}
}

// process is a program that was started.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr bytes.Buffer
	done   chan struct{}
	err    error // after done
}

// start runs a program until it ends or the test does.
func start(t testing.TB, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // most have ended
		<-p.done
		if t.Failed() {
			t.Logf("%s: %v\n%s", filepath.Base(path), p.err, tail(p.stderr.String()))
		}
	})
	return p
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// ends waits for the program's end and wants exit code 0.
func (p *process) ends(limit time.Duration) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%v is still there after %v", p.cmd.Args, limit)
	}
	if p.err != nil {
		p.t.Fatalf("%v: %v\n%s", p.cmd.Args, p.err, tail(p.stderr.String()))
	}
}

// stop ends it by SIGTERM, within two seconds.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	p.ends(2500 * time.Millisecond)
}

// kill ends it by SIGKILL.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
}

// workers are the processes below pid, at any depth, of this kind: "infer" or
// "capture".
func workers(pid int, kind string) []int {
	var found []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	for _, f := range files {
		b, _ := os.ReadFile(f) // a thread that has ended has none
		for _, s := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(s)
			if err != nil {
				continue
			}
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)) // nor has a process
			args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
			if args[len(args)-1] == kind || kind == "capture" && filepath.Base(args[0]) == "sightline-capture" {
				found = append(found, child)
			}
			found = append(found, workers(child, kind)...)
		}
	}
	return found
}

// alive reports whether a process is there and hasn't ended; nobody may have
// asked yet how an orphan did.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return err == nil && !bytes.HasPrefix(rest, []byte("Z"))
}

// freeAddress is an address that nobody listens at.
func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := cable.FreeAddress("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// get decodes what the agent answers, false while it doesn't.
func get(addr, path string, into any) bool {
	client := &http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(b, into) == nil
}

// answer is a result as REST and events give it, as far as the tests look.
type answer struct {
	Seq     uint64 `json:"seq"`
	ID      string `json:"id"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	Told    *struct {
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
	} `json:"told"`
}

// heard is what the line heard.
func (a answer) heard() string {
	if a.Told != nil {
		return a.Told.Verdict + " " + a.Told.Reason
	}
	return a.Verdict + " " + a.Reason
}

// listener hears the agent's events.
type listener struct {
	mu   sync.Mutex // protects all below
	told []answer
	over bool
}

// listen hears the results told from now on, until the agent goes.
func listen(t testing.TB, addr string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	var resp *http.Response
	eventually(t, "listen to "+addr, func() bool {
		resp, err = http.DefaultClient.Do(req)
		return err == nil
	})
	l := &listener{}
	go func() {
		defer resp.Body.Close()
		l.read(resp.Body)
	}()
	return l
}

func (l *listener) read(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	event := ""
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "data":
			var a answer
			if event == "result" && json.Unmarshal([]byte(value), &a) == nil {
				l.mu.Lock()
				l.told = append(l.told, a)
				l.mu.Unlock()
			}
		}
	}
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
}

// all are the answers heard so far; over when the agent has gone.
func (l *listener) all() (told []answer, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]answer(nil), l.told...), l.over
}

// warned reports whether the agent warns of code now.
func warned(addr, code string) bool {
	var all json.RawMessage
	return get(addr, "/v1/health", &all) && strings.Contains(string(all), `"`+code+`"`)
}
