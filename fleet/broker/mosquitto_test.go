package broker

import (
	"bytes"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMosquittoGolden(t *testing.T) {
	for name, cfg := range map[string]MosquittoConfig{
		"plain": {Dir: "/etc/mosquitto/sightline", Listen: ":8883", Services: []string{"fleet-ingest"}},
		"all": {
			Dir: "/srv/broker", Listen: "192.0.2.7:18883", CA: "fleet-ca.pem", Certificate: "tls/server.pem",
			Key: "/run/keys/server.key", CRL: "revoked.pem", Services: []string{"ingest.a", "ingest.b"},
		},
	} {
		files, err := Mosquitto(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range files {
			golden := filepath.Join("testdata", "mosquitto", name, file)
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(text)); diff != "" {
				t.Errorf("%s (-golden +now; -update writes it):\n%s", golden, diff)
			}
		}
	}
}

func TestMosquittoRefusesWrongConfigs(t *testing.T) {
	good := MosquittoConfig{Dir: "/etc/x", Listen: ":8883", Services: []string{"ingest"}}
	for want, change := range map[string]func(*MosquittoConfig){
		"isn't an absolute path":  func(c *MosquittoConfig) { c.Dir = "here" },
		"write it as host:port":   func(c *MosquittoConfig) { c.Listen = "8883" },
		"a number from 1":         func(c *MosquittoConfig) { c.Listen = ":mqtt\nallow_anonymous true" },
		"no service is named":     func(c *MosquittoConfig) { c.Services = nil },
		"a name is of letters":    func(c *MosquittoConfig) { c.Services = []string{"x\ntopic readwrite #"} },
		"has a line break":        func(c *MosquittoConfig) { c.CRL = "x\nallow_anonymous true" },
		"a name is of letters, d": func(c *MosquittoConfig) { c.Services = []string{""} },
	} {
		cfg := good
		change(&cfg)
		if _, err := Mosquitto(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want one with %q", cfg, err, want)
		}
	}
}

// startMosquitto runs the real one with the configuration that is made here. If
// devices are revoked there is a revocation list.
func startMosquitto(t testing.TB, revoked ...string) *subject {
	t.Helper()
	const program = "/usr/sbin/mosquitto"
	if _, err := os.Stat(program); err != nil {
		t.Skip("left out: no Mosquitto here (Debian: apt install mosquitto)")
	}
	s := &subject{authority: newAuthority(t), addr: freePort(t)}
	dir := t.TempDir()
	s.write(t, dir)
	cfg := MosquittoConfig{Dir: dir, Listen: s.addr, Services: []string{service}}
	if len(revoked) > 0 {
		cfg.CRL = "revoked.pem"
		if err := os.WriteFile(filepath.Join(dir, cfg.CRL), s.list(t, revoked...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Mosquitto(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// As root it would become another user, who can't read the key.
	conf := filepath.Join(dir, "test.conf")
	if err := os.WriteFile(conf, append([]byte("user root\n"), files[MosquittoConf]...), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", conf)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("Mosquitto's log:\n%s", &log)
		}
	})
	reachable(t, s.addr)
	return s
}

// TestMosquittoRetainsNothing: messages that are kept for who comes later
// could fill the machine's memory.
func TestMosquittoRetainsNothing(t *testing.T) {
	s := startMosquitto(t)
	a := s.connect(t, deviceA)
	a.Publish(up(deviceA, "ev"), 1, true, "kept").WaitTimeout(patient)
	a.ended(t)
	fleet, b := s.reader(t), s.connect(t, deviceB)
	b.publish(t, up(deviceB, "ev"), 1, "the first")
	fleet.expect(t, up(deviceB, "ev"), "the first")
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// reachable waits until somebody listens there.
func reachable(t testing.TB, addr string) {
	t.Helper()
	until(t, "somebody listens on "+addr, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
}
