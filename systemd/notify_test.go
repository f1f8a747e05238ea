package systemd

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// manager is the socket on which a service manager listens.
type manager struct {
	*net.UnixConn
	t *testing.T
}

func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{conn, t}
}

// hears is the next message, "" if none comes within d.
func (m manager) hears(d time.Duration) string {
	m.t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(d)); err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := m.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func TestWithoutManagerNothingHappens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	for _, err := range []error{Ready(), Stopping(), Status("up"), Watchdog(t.Context(), func() bool { return true })} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestManagerHears(t *testing.T) {
	m := newManager(t)
	for want, tell := range map[string]func() error{
		"READY=1": Ready, "STOPPING=1": Stopping,
		"STATUS=two stations, one stalled": func() error { return Status("two stations,\n one stalled ") },
	} {
		if err := tell(); err != nil {
			t.Fatal(err)
		}
		if got := m.hears(5 * time.Second); got != want {
			t.Errorf("the manager hears %q, want %q", got, want)
		}
	}
}

func TestManagerThatIsGoneIsAnError(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := Ready(); err == nil || !strings.Contains(err.Error(), "READY") {
		t.Errorf("got %v, want an error that names READY", err)
	}
}

// A service that makes no progress any more is not fed, and fed again when it does.
func TestWatchdogIsFedByProgress(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(int((200 * time.Millisecond).Microseconds())))
	t.Setenv("WATCHDOG_PID", "")
	var alive atomic.Bool
	alive.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Watchdog(ctx, alive.Load) }()
	for range 3 {
		if got := m.hears(5 * time.Second); got != "WATCHDOG=1" {
			t.Fatalf("the manager hears %q", got)
		}
	}
	alive.Store(false)
	for range 2 { // one may be under way
		if m.hears(300*time.Millisecond) == "" {
			break
		}
	}
	if got := m.hears(300 * time.Millisecond); got != "" {
		t.Errorf("a service without progress still says %q", got)
	}
	alive.Store(true)
	if got := m.hears(5 * time.Second); got != "WATCHDOG=1" {
		t.Errorf("after it goes on the manager hears %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWatchdogOfAnotherProcessIsntOurs(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "1000")
	t.Setenv("WATCHDOG_PID", "1") // as our workers inherit their parent's
	if err := Watchdog(t.Context(), func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	if got := m.hears(50 * time.Millisecond); got != "" {
		t.Errorf("the manager hears %q", got)
	}
}

func TestWatchdogRefusesGarbage(t *testing.T) {
	for _, usec := range []string{"-1", "0", "soon", "99999999999999999999"} {
		t.Setenv("WATCHDOG_USEC", usec)
		if err := Watchdog(t.Context(), func() bool { return true }); err == nil {
			t.Errorf("WATCHDOG_USEC=%s is taken", usec)
		}
	}
}
