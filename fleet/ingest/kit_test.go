package ingest

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// eventually waits for the thing itself.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s didn't come", what)
		}
	}
}

// mosquitto is a real broker on the loopback address.
type mosquitto struct {
	addr, config string
	process      *exec.Cmd
}

// broker starts Mosquitto with more lines of configuration.
func broker(t testing.TB, lines ...string) *mosquitto {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("left out: Mosquitto isn't installed here (Debian: mosquitto)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{addr: l.Addr().String(), config: filepath.Join(t.TempDir(), "mosquitto.conf")}
	// As root it would otherwise be a user that may not read the test's files.
	text := fmt.Sprintf("listener %d 127.0.0.1\nuser root\nallow_anonymous true\nmax_queued_messages 0\n", l.Addr().(*net.TCPAddr).Port)
	for _, line := range lines {
		text += line + "\n"
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m.process = exec.Command(program, "-c", m.config)
	m.start(t)
	t.Cleanup(func() { m.kill(t) })
	return m
}

func (m *mosquitto) start(t testing.TB) {
	t.Helper()
	m.process = exec.Command(m.process.Path, "-c", m.config)
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broker", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (m *mosquitto) kill(t testing.TB) {
	t.Helper()
	if err := m.process.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = m.process.Wait() // it was killed
}

// device is one that speaks to the fleet, in a test's hands.
type device struct {
	id     string
	client mqtt.Client
	acks   chan *wire.Ack
	errs   chan *wire.Refusal
}

func connect(t testing.TB, m *mosquitto, id string) *device {
	t.Helper()
	return connectTLS(t, m, id, nil)
}

func connectTLS(t testing.TB, m *mosquitto, id string, c *tls.Config) *device {
	t.Helper()
	scheme := "tcp://"
	if c != nil {
		scheme = "ssl://"
	}
	d := &device{id: id, acks: make(chan *wire.Ack, 10000), errs: make(chan *wire.Refusal, 10000)}
	o := mqtt.NewClientOptions().AddBroker(scheme + m.addr).SetTLSConfig(c).SetClientID(id).SetCleanSession(true).SetAutoReconnect(false).SetWriteTimeout(time.Second)
	d.client = mqtt.NewClient(o)
	done(t, d.client.Connect())
	t.Cleanup(func() { d.client.Disconnect(10) })
	done(t, d.client.Subscribe(wire.Topic(id, wire.Down, wire.KindAck), 0, func(_ mqtt.Client, m mqtt.Message) {
		a := new(wire.Ack)
		if err := wire.Unmarshal(m.Payload(), a); err != nil {
			t.Error(err)
		}
		d.acks <- a
	}))
	done(t, d.client.Subscribe(wire.Topic(id, wire.Down, wire.KindError), 0, func(_ mqtt.Client, m mqtt.Message) {
		r := new(wire.Refusal)
		if err := wire.Unmarshal(m.Payload(), r); err != nil {
			t.Error(err)
		}
		d.errs <- r
	}))
	return d
}

func done(t testing.TB, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal("the broker: ", token.Error())
	}
}

func (d *device) send(t testing.TB, kind wire.Kind, body []byte) {
	t.Helper()
	done(t, d.client.Publish(wire.Topic(d.id, wire.Up, kind), 0, false, body))
}

func (d *device) say(t testing.TB, kind wire.Kind, m proto.Message) {
	t.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d.send(t, kind, b)
}

func (d *device) ack(t testing.TB) *wire.Ack {
	t.Helper()
	select {
	case a := <-d.acks:
		return a
	case <-time.After(20 * time.Second):
		t.Fatalf("no acknowledgement came to %s", d.id)
		return nil
	}
}

// batch is an encoded batch of results from first on.
func batch(t testing.TB, epoch, first uint64, n int) []byte {
	t.Helper()
	b := &wire.Batch{Epoch: epoch}
	for i := range uint64(n) {
		seq := first + i
		p := vision.Part{ID: fmt.Sprintf("part-%d", seq), Label: "bottle", Frames: 9, Last: seq}
		r := wire.NewResult(&p, &vision.Decision{Verdict: vision.Pass, Reason: "ok"}, time.Unix(int64(seq), 0))
		r.Station = "st1"
		body, err := wire.EncodeResult(r)
		if err != nil {
			t.Fatal(err)
		}
		b.Items = append(b.Items, wire.Item{First: seq, Last: seq, Body: body})
	}
	raw, err := wire.EncodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// fleet is a store and an ingester that runs.
type fleet struct {
	store *store.Store
	in    *Ingest
	log   *lines
	stop  func()
}

func start(t testing.TB, path, addr string, told func([]store.Row), devices ...string) *fleet {
	t.Helper()
	return startTLS(t, path, addr, nil, told, devices...)
}

func startTLS(t testing.TB, path, addr string, c *tls.Config, told func([]store.Row), devices ...string) *fleet {
	t.Helper()
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range devices {
		key := [32]byte{byte(i), 1}
		if err := s.AddEnrolToken(t.Context(), store.EnrolToken{Key: key, Group: "g", Expires: s.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddDevice(t.Context(), store.Device{ID: id}, key); err != nil {
			t.Fatal(err)
		}
	}
	f := &fleet{store: s, log: new(lines)}
	f.in = New(Config{Store: s, Broker: addr, TLS: c, Log: slog.New(slog.NewTextHandler(f.log, nil)), Told: told})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.in.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(f.log.String())
		}
	})
	t.Cleanup(f.stop)
	eventually(t, "the connection", func() bool { return f.in.Stats().Connected })
	return f
}

// lines is a log that many write.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func fresh(t testing.TB, addr string, told func([]store.Row), devices ...string) *fleet {
	t.Helper()
	return start(t, filepath.Join(t.TempDir(), "fleet.db"), addr, told, devices...)
}
