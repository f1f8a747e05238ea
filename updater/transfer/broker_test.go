package transfer

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/wire"
)

// mosquitto starts the real broker and gives its address.
func mosquitto(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	lines := []string{
		"listener " + addr[strings.LastIndex(addr, ":")+1:] + " 127.0.0.1", "allow_anonymous true", "persistence false",
		"set_tcp_nodelay true", "max_queued_messages 0", "log_dest none",
	}
	if os.Geteuid() == 0 {
		lines = append(lines, "user root")
	}
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	cmd := exec.Command(path, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it says that it was killed
	})
	for deadline := time.Now().Add(patient); ; <-time.After(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return addr
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func client(addr, id string) *mqtt.ClientOptions {
	return mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetProtocolVersion(4).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectTimeout(patient).SetWriteTimeout(patient)
}

func answered(token mqtt.Token) error {
	if !token.WaitTimeout(patient) {
		return errors.New("the broker doesn't answer")
	}
	return token.Error()
}

// fleetAt has the depot answer through the broker.
func fleetAt(t testing.TB, addr string, d *depot) {
	t.Helper()
	c := mqtt.NewClient(client(addr, "fleet"))
	if err := answered(c.Connect()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Disconnect(100) })
	answers := make(chan []byte, 1000)
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case body := <-answers:
				for _, b := range d.answer(body) {
					c.Publish(wire.Topic(device, wire.Down, wire.KindBlock), 0, false, b).WaitTimeout(patient)
				}
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); all.Wait() })
	if err := answered(c.Subscribe(wire.AllUp(wire.KindGet), 0, func(_ mqtt.Client, m mqtt.Message) { answers <- m.Payload() })); err != nil {
		t.Fatal(err)
	}
}

// line is a device's connection to the broker, which comes back by itself.
type line struct {
	addr string
	p    *Puller

	mu      sync.Mutex
	client  mqtt.Client
	conn    net.Conn
	id      uint64
	changed chan struct{}
	ended   bool
}

func newLine(addr string, p *Puller) (*line, error) {
	l := &line{addr: addr, p: p, changed: make(chan struct{})}
	p.Over(l)
	return l, l.connect()
}

func (l *line) connect() error {
	o := client(l.addr, device).SetConnectionLostHandler(func(mqtt.Client, error) {
		l.be(nil)
		go func() {
			for err := errors.New(""); err != nil; err = l.connect() {
				<-time.After(10 * time.Millisecond)
			}
		}()
	})
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		c, err := net.Dial("tcp", l.addr)
		l.mu.Lock()
		l.conn = c
		l.mu.Unlock()
		return c, err
	})
	c := mqtt.NewClient(o)
	if err := answered(c.Connect()); err != nil {
		return err
	}
	heard := func(_ mqtt.Client, m mqtt.Message) { l.p.Heard(m.Payload()) }
	if err := answered(c.Subscribe(wire.Topic(device, wire.Down, wire.KindBlock), 0, heard)); err != nil {
		c.Disconnect(0)
		return err
	}
	l.be(c)
	return nil
}

// be takes another connection, or none.
func (l *line) be(c mqtt.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.client, l.id = c, 0
	if c != nil {
		l.id = rand.Uint64() | 1
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// cut ends the connection in the middle of whatever it says.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conn.(*net.TCPConn) // not Close, which the client takes for its own
	_, _ = c.CloseRead(), c.CloseWrite()
}

func (l *line) close() {
	l.mu.Lock()
	c := l.client
	l.ended = true
	l.mu.Unlock()
	if c != nil {
		c.Disconnect(100)
	}
}

func (l *line) Say(kind wire.Kind, qos byte, payload []byte) bool {
	l.mu.Lock()
	c := l.client
	l.mu.Unlock()
	return c != nil && c.Publish(wire.Topic(device, wire.Up, kind), qos, false, payload).WaitTimeout(patient)
}

func (l *line) Session() (uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id, l.changed
}

// TestCuts: after each only what was under way is sent again.
func TestCuts(t *testing.T) {
	cuts := 5
	if everything() {
		cuts = 50
	}
	b, w := made(t, cuts*10*mega)
	d, p := newDepot(t, b), newPuller(t.TempDir())
	addr := mosquitto(t)
	fleetAt(t, addr, d)
	l, err := newLine(addr, p)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	next, done := int64(7*mega), 0
	path, err := p.Fetch(t.Context(), w, func(got, _ int64) {
		if got >= next {
			next += 10 * mega
			done++
			l.cut()
		}
	})
	if err != nil || done != cuts {
		t.Fatalf("%v after %d cuts", err, done)
	}
	same(t, path, b)
	again := d.sent - w.Length
	t.Logf("%d cuts: %d bytes were sent again, %.2f %%", cuts, again, 100*float64(again)/float64(w.Length))
	if again > int64(cuts*mostWindow*PieceSize) || again < 0 {
		t.Errorf("%d bytes were sent again after %d cuts", again, cuts)
	}
}

// childOf is what a child of these tests is told.
const childOf = "SIGHTLINE_TEST_TRANSFER_CHILD" // broker, folder, digest, length, hash of the list

func TestMain(m *testing.M) {
	if text := os.Getenv(childOf); text != "" {
		if err := child(strings.Fields(text)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child fetches, and prints how far it has come.
func child(args []string) error {
	length, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	w := Want{Length: length}
	for i, text := range map[*[32]byte]string{&w.Digest: args[2], &w.Pieces: args[4]} {
		b, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		copy(i[:], b)
	}
	p := newPuller(args[1])
	if _, err := newLine(args[0], p); err != nil {
		return err
	}
	_, err = p.Fetch(context.Background(), w, func(done, _ int64) { fmt.Println(done) })
	return err
}

// TestKilled: killed with -9 at any moment, it goes on where it was.
func TestKilled(t *testing.T) {
	kills := 6
	if everything() {
		kills = 100
	}
	b, w := made(t, 20*mega+99)
	addr := mosquitto(t)
	d := newDepot(t, b)
	fleetAt(t, addr, d)
	dir := t.TempDir()
	killed := 0
	var again int64
	for killed < kills {
		before, at, left := d.sentBytes(), int64(0), rand.Int64N(w.Length/4)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childOf+"="+fmt.Sprintf("%s %s %x %d %x", addr, dir, w.Digest, w.Length, w.Pieces))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		first := int64(-1)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if at, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			if first < 0 {
				first = at
			}
			if at-first >= left && at < w.Length {
				_ = cmd.Process.Kill()
				break
			}
		}
		if err := cmd.Wait(); err == nil { // it came to its end: once more from the start
			again += d.sentBytes() - before - (w.Length - first)
			if err := newPuller(dir).Remove(w.Digest); err != nil {
				t.Fatal(err)
			}
			continue
		}
		killed++
	}
	p := newPuller(dir)
	l, err := newLine(addr, p)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	began := int64(-1)
	before := d.sentBytes()
	path, err := p.Fetch(t.Context(), w, func(done, _ int64) {
		if began < 0 {
			began = done
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, path, b)
	again += d.sentBytes() - before - (w.Length - began)
	t.Logf("killed %d times; the last one began with %d of %d", killed, began, w.Length)
	if again > 4*mostWindow*PieceSize || began == 0 {
		t.Errorf("%d bytes were sent again, the last one began with %d", again, began)
	}
}
