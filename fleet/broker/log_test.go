package broker

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLogIsQuiet: what devices do every day isn't told, also when their
// networks fail; who is refused is, once.
func TestLogIsQuiet(t *testing.T) {
	var log lines
	s := startNATS(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	fleet := s.reader(t)
	a := s.connect(t, deviceA)
	a.publish(t, up(deviceA, "ev"), 1, "x")
	fleet.expect(t, up(deviceA, "ev"), "x")
	a.Disconnect(10)
	// One that still holds its place would be the first to lose it, and who takes
	// a place twice within a second is turned away (NATS's flappers).
	until(t, "the client is gone", func() bool { return len(s.nats.Connected()) == 1 })
	a = s.connect(t, deviceA)
	s.connect(t, deviceA) // takes its place
	a.ended(t)

	var line net.Conn // one that breaks off in the middle of what it sends
	o := s.options(t, deviceB, s.client(t, deviceB, time.Now().Add(time.Hour)))
	o.SetCustomOpenConnectionFn(func(_ *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
		var err error
		line, err = tls.Dial("tcp", s.addr, o.TLSConfig)
		return line, err
	})
	o.TLSConfig.ServerName = "127.0.0.1"
	b := s.dial(t, o)
	for range 50 {
		b.Publish(up(deviceB, "ev"), 1, false, make([]byte, 10_000))
	}
	if err := line.(*tls.Conn).NetConn().Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the connection ends", func() bool { return len(s.nats.Connected()) == 2 })
	silent, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	for len(fleet.got) > 0 {
		<-fleet.got
	}
	if said := log.String(); said != "" {
		t.Errorf("it said:\n%s", said)
	}
	stranger := newAuthority(t).client(t, deviceA, time.Now().Add(time.Hour))
	for range 3 {
		if _, err := s.try(t, s.options(t, deviceA, stranger)); err == nil {
			t.Fatal("a stranger was let in")
		}
	}
	said := log.String()
	if strings.Count(said, "\n") != 1 || !strings.Contains(said, `level=WARN msg="broker refused a client" from=127.0.0.1:`) || !strings.Contains(said, "name="+deviceA) {
		t.Errorf("of a stranger it said:\n%s", said)
	}
}

// TestLogIsBounded: neither memory nor lines grow with those who are refused.
func TestLogIsBounded(t *testing.T) {
	var log lines
	l := &logger{log: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 5 * maxRefused {
		l.refusal(fmt.Sprintf("192.0.2.1:%d", i), fmt.Sprint("device", i), "", net.ErrClosed)
	}
	if n := strings.Count(log.String(), "\n"); len(l.refused) > maxRefused || n > 5 {
		t.Errorf("%d are remembered, %d lines", len(l.refused), n)
	}
}
