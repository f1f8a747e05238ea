package broker

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// config is a configuration that works.
func config(t testing.TB) Config {
	t.Helper()
	a := newAuthority(t)
	return Config{
		Listen: "127.0.0.1:0", Dir: t.TempDir(), Log: quiet(t), Who: a.who,
		TLS: &tls.Config{Certificates: []tls.Certificate{a.server(t)}},
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := config(t)
	b, err := Open(busy)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		is     error
		says   string
	}{
		"port in use":      {func(c *Config) { c.Listen = taken.Addr().String() }, ErrPort, taken.Addr().String()},
		"directory in use": {func(c *Config) { c.Dir = busy.Dir }, ErrInUse, busy.Dir},
		"no port":          {func(c *Config) { c.Listen = "127.0.0.1" }, nil, "write it as host:port"},
		"named port":       {func(c *Config) { c.Listen = ":mqtt" }, nil, "a number from 0 to 65535"},
		"foreign address":  {func(c *Config) { c.Listen = "192.0.2.1:0" }, nil, "192.0.2.1"},
		"a file":           {func(c *Config) { c.Dir = file }, nil, "make the broker's directory"},
		"no identity":      {func(c *Config) { c.TLS = nil }, nil, "a server's identity"},
	} {
		cfg := config(t)
		c.change(&cfg)
		b, err := Open(cfg)
		if err == nil {
			t.Errorf("%s: it opened", name)
			b.Close()
			continue
		}
		if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.is, c.says)
		}
	}
}

// TestOpenAgain: an end leaves the port and the directory free.
func TestOpenAgain(t *testing.T) {
	cfg := config(t)
	for range 3 {
		b, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listen = b.Addr().String()
		for range 2 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestAllAddresses: an empty host is both families.
func TestAllAddresses(t *testing.T) {
	s := startNATS(t, Config{Listen: ":0"})
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = "127.0.0.1:" + port
	s.connect(t, deviceA)
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil { // there is IPv6 here
		defer l.Close()
		c, err := net.Dial("tcp", "[::1]:"+port)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// TestWhatIsInTheDirectoryDoesNotMatter: garbage, a store of another version
// or somebody's files are neither read nor, outside its own folder, touched.
func TestWhatIsInTheDirectoryDoesNotMatter(t *testing.T) {
	cfg := config(t)
	theirs := filepath.Join(cfg.Dir, "jetstream", "$G", "streams", "$MQTT_sess", "meta.inf")
	stream := filepath.Join(cfg.Dir, storeName, "jetstream", "$G", "streams", "$MQTT_msgs")
	for _, path := range []string{
		theirs, filepath.Join(stream, "meta.inf"), filepath.Join(stream, "msgs", "1.blk"),
		filepath.Join(cfg.Dir, storeName, "jetstream", "$G", "streams", "a file"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(`{"name":"$MQTT_msgs","level":99`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := startNATS(t, cfg)
	fleet, a := s.reader(t), s.connect(t, deviceA)
	a.publish(t, up(deviceA, "ev"), 1, "works")
	fleet.expect(t, up(deviceA, "ev"), "works")
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("somebody's file: %v", err)
	}
	if _, err := os.Stat(stream); !os.IsNotExist(err) {
		t.Errorf("the old store is still there: %v", err)
	}
}

// TestEndIsBounded: clients in every state don't hold up the end.
func TestEndIsBounded(t *testing.T) {
	cfg := config(t)
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	start := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > closeTime {
		t.Errorf("the end took %s", took)
	}
}

// TestNothingElseListens: MQTT is the only door.
func TestNothingElseListens(t *testing.T) {
	s := startNATS(t, Config{})
	if addr := s.nats.srv.Addr(); addr != nil {
		t.Errorf("NATS's own protocol is at %s", addr)
	}
	if addr := s.nats.srv.MonitorAddr(); addr != nil {
		t.Errorf("monitoring is at %s", addr)
	}
	if addr := s.nats.srv.ClusterAddr(); addr != nil {
		t.Errorf("clustering is at %s", addr)
	}
}
