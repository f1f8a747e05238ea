package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// afterAnswer is when an answer to what was sent would have come.
func afterAnswer() <-chan time.Time { return time.After(100 * time.Millisecond) }

// TestBrokerKilled: the broker is killed with -9 under load and comes back;
// the device goes back to the watermark, and all is there once.
func TestBrokerKilled(t *testing.T) {
	m := broker(t)
	f := fresh(t, m.addr, nil, "dev-a")
	at := uint64(0)
	for range 3 {
		d := connect(t, m, "dev-a")
		d.say(t, wire.KindHello, &wire.Hello{Protocol: wire.Protocol, Connection: 1, Epoch: 1})
		for end := at + 200; at < end; {
			d.send(t, wire.KindEvents, batch(t, 1, at+1, 50))
			at = max(at, d.ack(t).GetWatermark())
		}
		d.send(t, wire.KindEvents, batch(t, 1, at+1, 50)) // it may arrive, or not
		m.kill(t)
		eventually(t, "the loss", func() bool { return !f.in.Stats().Connected })
		m.start(t)
		eventually(t, "the connection", func() bool { return f.in.Stats().Connected })
	}
	got, err := f.store.Totals(t.Context(), "dev-a")
	if err != nil || got.Results < at || got.Results > at+50 {
		t.Errorf("got %+v, %v after %d", got, err, at)
	}
}

// TestBrokerStops: a broker that stands still costs the answers, not the
// store's work, and no end of Run.
func TestBrokerStops(t *testing.T) {
	m := broker(t)
	f := fresh(t, m.addr, nil, "dev-a")
	if err := m.process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const n = 3000
	raw := make([][]byte, n)
	for i := range raw {
		raw[i] = batch(t, 1, uint64(i)+1, 1)
	}
	began := time.Now()
	for i := range raw {
		eventually(t, "room", func() bool { _, queued := f.in.queue.stats(); return queued < maxOfOne })
		f.in.queue.put(message{device: "dev-a", kind: wire.KindEvents, body: raw[i], at: f.store.Now()})
	}
	eventually(t, "all of it", func() bool { return f.in.Stats().Records == n })
	t.Logf("%d batches while the broker stood still: %v", n, time.Since(began))
	f.stop()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the end took until %v", took)
	}
	if err := m.process.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// TestSilentBroker: one that accepts and says nothing is left again, and
// doesn't keep Run from ending.
func TestSilentBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	s, err := store.Open(filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := New(Config{Store: s, Broker: l.Addr().String(), Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	c := <-accepted
	if in.Stats().Connected {
		t.Error("it says that it is connected")
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Run doesn't end")
	}
	_ = c.Close()
}
