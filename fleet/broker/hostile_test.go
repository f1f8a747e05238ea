package broker

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/sightline-edge/sightline/sync/wire"
)

// line is a TLS connection with a certificate, and no MQTT on it yet.
func (s *subject) line(t testing.TB, name string) *tls.Conn {
	t.Helper()
	o := s.options(t, name, s.client(t, name, time.Now().Add(time.Hour)))
	o.TLSConfig.ServerName = "127.0.0.1"
	c, err := tls.Dial("tcp", s.addr, o.TLSConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the broker may have done it
	if err := c.SetDeadline(time.Now().Add(2 * patient)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGarbage: bytes that aren't MQTT end the connection and nothing else.
func TestGarbage(t *testing.T) {
	connect := "\x10\x13\x00\x04MQTT\x04\x02\x00\x1e\x00\x07" + deviceA
	garbage := map[string]string{
		"zeros":             strings.Repeat("\x00", 1000),
		"ones":              strings.Repeat("\xff", 1000),
		"http":              "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"nats":              "CONNECT {}\r\n" + strings.Repeat("SUB > 1\r\n", 20),
		"id cut off":        "\x10\x0c\x00\x04MQTT\x04\x02\x00\x1e\x00\x09",
		"other version":     "\x10\x13\x00\x04MQTT\x05\x02\x00\x1e\x00\x07" + deviceA,
		"endless length":    "\x10\xff\xff\xff\xff\xff",
		"publish first":     "\x30\x05\x00\x01a\x00\x00",
		"connect, connect":  connect + connect,
		"connect, zeros":    connect + strings.Repeat("\x00", 100),
		"bad will":          "\x10\x13\x00\x04MQTT\x04\x3e\x00\x1e\x00\x07" + deviceA,
		"topic with + in":   connect + "\x32\x07\x00\x03a/+\x00\x01",
		"packet id 0":       connect + "\x32\x07\x00\x03a/b\x00\x00",
		"subscribe nothing": connect + "\x82\x02\x00\x01",
		"qos 2":             connect + "\x34\x07\x00\x03a/b\x00\x01",
	}
	eachBroker(t, func(t *testing.T, s *subject) {
		other := s.connect(t, deviceB)
		for name, text := range garbage {
			if name == "qos 2" && s.nats == nil {
				continue // Mosquitto serves it
			}
			c := s.line(t, deviceA)
			if _, err := c.Write([]byte(text)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, net.ErrClosed) || isTimeout(err) {
				t.Errorf("%s: the connection lasts: %v", name, err)
			}
		}
		if !other.IsConnectionOpen() {
			t.Error("another device lost its connection")
		}
	})
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// TestOversize: a message over the limit cuts its sender and reaches nobody;
// one just under it is served.
func TestOversize(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		fleet, a, b := s.reader(t), s.connect(t, deviceA), s.connect(t, deviceB)
		big := string(bytes.Repeat([]byte("x"), 8_000_000))
		a.publish(t, up(deviceA, "ev"), 1, big)
		fleet.expect(t, up(deviceA, "ev"), big)
		a.Publish(up(deviceA, "ev"), 1, false, make([]byte, MaxPayload+1))
		a.ended(t)
		b.publish(t, up(deviceB, "ev"), 1, "after")
		fleet.expect(t, up(deviceB, "ev"), "after")
	})
}

// TestSilence: who connects and says nothing, before TLS or after it, is cut.
func TestSilence(t *testing.T) {
	t.Parallel()
	s := startNATS(t, Config{})
	var silent []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	silent = append(silent, s.line(t, deviceA))
	s.connect(t, deviceB) // isn't kept out by them
	for _, c := range silent {
		if err := c.SetReadDeadline(time.Now().Add(2 * quietTime)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Fatal("a silent client was kept")
		}
	}
	until(t, "they are forgotten", func() bool { return s.nats.srv.NumClients() == 1 })
}

// TestFullHouse: more connections than there may be are refused, and room is
// made by those that go.
func TestFullHouse(t *testing.T) {
	s := startNATS(t, Config{Max: 2})
	a := s.connect(t, deviceA)
	s.connect(t, deviceB)
	if _, err := s.try(t, s.options(t, service, s.client(t, service, time.Now().Add(time.Hour)))); err == nil {
		t.Error("a third of two was let in")
	}
	a.Disconnect(0)
	until(t, "a place is free", func() bool { return s.nats.srv.NumClients() == 1 })
	s.connect(t, service)
}

// TestRetainedMessagesAreBounded: one device can't fill the broker, and others
// connect and are served whatever it retains.
func TestRetainedMessagesAreBounded(t *testing.T) {
	s := startNATS(t, Config{})
	fleet, a := s.reader(t), s.connect(t, deviceA)
	large := bytes.Repeat([]byte("x"), 1<<20)
	for range 30 {
		for _, kind := range []string{"ev", "life", "nonsense"} {
			topic := strings.TrimSuffix(up(deviceA, "ev"), "ev") + kind
			if token := a.Publish(topic, 1, true, large); !token.WaitTimeout(patient) || token.Error() != nil {
				t.Fatalf("publish: %v", token.Error())
			}
		}
	}
	used := s.nats.srv.GlobalAccount().JetStreamUsage()
	if used.Memory > maxMemory || used.Store != 0 {
		t.Errorf("the broker holds %d bytes in memory, %d on disk", used.Memory, used.Store)
	}
	for range 60 {
		select {
		case <-fleet.got:
		case <-time.After(patient):
			t.Fatal("the service lost a message")
		}
	}
	s.connect(t, deviceB).publish(t, up(deviceB, "ev"), 1, "served")
	fleet.expect(t, up(deviceB, "ev"), "served")
}

// TestStreamsHaveLimits: NATS has taken ours, for all streams of its own.
func TestStreamsHaveLimits(t *testing.T) {
	s := startNATS(t, Config{})
	s.reader(t)
	z, err := s.nats.srv.Jsz(&server.JSzOptions{Streams: true, Config: true, Accounts: true})
	if err != nil {
		t.Fatal(err)
	}
	total, found := int64(0), 0
	for _, account := range z.AccountDetails {
		for _, stream := range account.Streams {
			if stream.Config.MaxBytes <= 0 || stream.Config.Storage != server.MemoryStorage {
				t.Errorf("%s: %d bytes, %s", stream.Name, stream.Config.MaxBytes, stream.Config.Storage)
			}
			total += stream.Config.MaxBytes
			found++
		}
	}
	if found != len(streams) || total > maxMemory {
		t.Errorf("%d streams with %d bytes in all, want %d with at most %d", found, total, len(streams), maxMemory)
	}
}

// TestNothingGrows: a service that went away with a subscription leaves a
// queue. It is bounded, holds up nobody, and the newest is what remains.
func TestNothingGrows(t *testing.T) {
	t.Parallel()
	count := 20_000 // of 4 KiB: more than may wait
	if full() {
		count = 200_000
	}
	dir := t.TempDir()
	s := startNATS(t, Config{Dir: dir})
	cert := s.client(t, service, time.Now().Add(time.Hour))
	gone := s.dial(t, s.options(t, service, cert).SetCleanSession(false))
	gone.subscribe(t, wire.AllUp("ev"), 1)
	gone.Disconnect(100)

	a := s.connect(t, deviceA)
	body := make([]byte, 4<<10)
	var window []mqtt.Token
	for i := range count {
		binary.BigEndian.PutUint64(body, uint64(i))
		window = append(window, a.Publish(up(deviceA, "ev"), 1, false, slices.Clone(body)))
		if len(window) < 64 && i+1 < count {
			continue
		}
		for _, token := range window {
			if !token.WaitTimeout(patient) || token.Error() != nil {
				t.Fatalf("message %d: %v", i, token.Error())
			}
		}
		window = window[:0]
	}
	used := s.nats.srv.GlobalAccount().JetStreamUsage()
	t.Logf("after %d messages: %d bytes in memory, %d in files", count, used.Memory, diskUse(t, dir))
	if used.Memory > maxMemory || diskUse(t, dir) > 4<<10 {
		t.Errorf("%d bytes in memory, %d in files", used.Memory, diskUse(t, dir))
	}

	back := s.dial(t, s.options(t, service, cert).SetCleanSession(false))
	for last := uint64(0); last != uint64(count-1); {
		select {
		case m := <-back.got:
			last = binary.BigEndian.Uint64(m.Payload())
		case <-time.After(patient):
			t.Fatalf("the last that came was %d", last)
		}
	}
}

// diskUse is the bytes of all files below.
func diskUse(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
