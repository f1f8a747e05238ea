package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	device  = "press-1"
	patient = 20 * time.Second // for what must come, on a busy machine
)

func full() bool { return os.Getenv("SIGHTLINE_FAULTS") == "full" }

// eventually waits until the condition holds.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-tick.C
	}
}

// mosquitto is the real broker.
type mosquitto struct {
	t    testing.TB
	conf string
	addr string
	cmd  *exec.Cmd
}

func newMosquitto(t testing.TB, extra ...string) *mosquitto {
	t.Helper()
	// A port that the system gives nobody else while the broker is away.
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.N(12000)))
	for try := 0; err != nil && try < 20; try++ {
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.N(12000)))
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, addr: l.Addr().String(), conf: filepath.Join(t.TempDir(), "mosquitto.conf")}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"listener " + m.addr[strings.LastIndex(m.addr, ":")+1:] + " 127.0.0.1", "allow_anonymous true", "persistence false",
		"set_tcp_nodelay true", "max_queued_messages 0", "log_dest none",
	}
	if os.Geteuid() == 0 {
		lines = append(lines, "user root")
	}
	if err := os.WriteFile(m.conf, []byte(strings.Join(append(lines, extra...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(func() {
		if m.cmd != nil {
			m.kill()
		}
	})
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	m.cmd = exec.Command(path, "-c", m.conf)
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, patient, "the broker answers", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

func (m *mosquitto) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait() // it says that it was killed
	m.cmd = nil
}

func (m *mosquitto) restart() {
	m.t.Helper()
	m.kill()
	m.start()
}

// openJournal opens the journal in dir and runs it until stop or the test's
// end.
func openJournal(t testing.TB, dir string) (j *journal.Journal, stop func()) {
	t.Helper()
	j, opened, err := journal.Open(dir)
	if err != nil || opened.Quarantined != "" {
		t.Fatal(err, opened)
	}
	return j, runJournal(t, j)
}

func runJournal(t testing.TB, j *journal.Journal) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-done, j.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// fill appends records that continue the journal and waits for the disk.
func fill(t testing.TB, j *journal.Journal, n int) {
	t.Helper()
	from := j.Stats().Last
	var last *journal.Pending
	for i := range uint64(n) {
		last = j.Append(record(t, from+i+1))
		if i%10000 == 9999 {
			<-last.Done()
		}
	}
	<-last.Done()
	if seq, err := last.Result(); err != nil || seq != from+uint64(n) {
		t.Fatalf("filled up to %d, %v", seq, err)
	}
}

// record is what a device might say at that number.
func record(t testing.TB, seq uint64) []byte {
	t.Helper()
	at := int64(1_750_000_000_000_000_000 + seq*700_000_000)
	r := &wire.Result{
		PartId: fmt.Sprintf("p-%08d", seq), Station: "station-1", Line: "line-1", Camera: "front", Label: "cap",
		Verdict: wire.Verdict_VERDICT_PASS, Score: 0.9 + float32(seq%97)/1000, Box: &wire.Box{X: float32(seq % 640), Y: 100, W: 80, H: 80},
		FirstSeq: seq * 20, LastSeq: seq*20 + 15, BestSeq: seq*20 + 7, Frames: 16,
		FirstCaptured: at, LastCaptured: at + 500_000_000, BestCaptured: at + 230_000_000, Decided: at + 512_000_000,
		Model: "fastest", ModelDigest: strings.Repeat("3f", 32), Rule: "threshold:defect>0.5", Attempt: 1, Latency: 12_000_000,
	}
	if seq%9 == 0 {
		r.Verdict, r.Reason = wire.Verdict_VERDICT_FAIL, "scratch"
		r.Evidence = []*wire.Evidence{{Label: "scratch", Score: 0.7, Frames: 5, Box: r.Box}}
	}
	b, err := wire.EncodeResult(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// running is an uplink at work.
type running struct {
	*Uplink
	t    testing.TB
	stop func() time.Duration // ends it, and how long that took
}

// quick is a configuration for tests: what waits for hours or seconds in the
// field waits for less.
func quick(broker string, j *journal.Journal) Config {
	return Config{
		Device: device, Broker: broker, Journal: j, Linger: 10 * time.Millisecond, Spread: 30 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func start(t testing.TB, cfg Config) *running {
	t.Helper()
	r := &running{Uplink: New(cfg), t: t}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	r.stop = func() time.Duration {
		if stopped {
			return 0
		}
		stopped = true
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *running) drained(within time.Duration) {
	r.t.Helper()
	began := time.Now()
	for {
		if s := r.Stats(); s.Located && s.Backlog == 0 && s.InFlight == 0 {
			return
		} else if time.Since(began) > within {
			r.t.Fatalf("not drained within %s: %+v", within, s)
		}
		<-time.After(5 * time.Millisecond)
	}
}
