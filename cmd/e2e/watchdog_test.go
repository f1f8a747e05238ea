package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager stands in for the service manager: it hears what the programs that
// are started in this test tell it.
type manager struct {
	conn *net.UnixConn
	t    *testing.T
}

func newManager(t *testing.T, watchdog time.Duration) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	return &manager{conn, t}
}

// hears is the next message, "" if there is none within d.
func (m *manager) hears(d time.Duration) string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// fed wants the watchdog to be fed for so long, each time within its limit.
func (m *manager) fed(how string, long, limit time.Duration) {
	m.t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); {
		if got := m.hears(limit); got != "WATCHDOG=1" {
			m.t.Fatalf("%s: the manager hears %q within %v, want WATCHDOG=1", how, got, limit)
		}
	}
}

// The service manager hears that the agent is up and that it goes on, although
// its camera is away; an agent that hangs isn't fed.
func TestWatchdogOfTheAgent(t *testing.T) {
	agent := agentProgram(t)
	const limit = 2 * time.Second
	m := newManager(t, limit)
	addr := freeAddress(t)
	config := filepath.Join(t.TempDir(), "station.yaml")
	text := fmt.Sprintf("stations:\n  - id: one\n    camera: {source: \"http://%s/camera\"}\n    model: drawn-parts\n    rule: threshold:defect>0.5\n", freeAddress(t))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, agent, "run", "--config", config, "--data", t.TempDir(), "--listen", addr)
	if got := m.hears(patience); got != "READY=1" {
		t.Fatalf("the manager hears %q, want READY=1", got)
	}
	eventually(t, "the camera that is away is warned about", func() bool { return warned(addr, "camera_unreachable") })
	for m.hears(time.Millisecond) != "" { // what was said meanwhile
	}
	m.fed("camera away", 5*time.Second, limit)

	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for m.hears(limit/3) != "" { // one may be under way
	}
	if got := m.hears(limit); got != "" {
		t.Errorf("of an agent that hangs the manager hears %q", got)
	}
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	m.fed("after the hang", limit, patience)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var last string
	for said := m.hears(limit); said != ""; said = m.hears(limit) {
		last = said
	}
	if last != "STOPPING=1" {
		t.Errorf("at its end the manager hears %q", last)
	}
	p.ends(patience)
	if strings.Contains(p.stderr.String(), "no progress") {
		t.Errorf("it believes that it makes no progress:\n%s", p.stderr.String())
	}
}
