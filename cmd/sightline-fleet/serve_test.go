package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet"
)

// output is what a command printed so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func initFleet(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "fleet")
	if code := run(t.Context(), []string{"init", "--data", dir, "--name", "127.0.0.1"}, io.Discard, io.Discard); code != 0 {
		t.Fatal("init failed")
	}
	return dir
}

var address = regexp.MustCompile(`open (https?)://(\S+)`)

// serve runs the service until the function that it gives is called.
func serve(t *testing.T, dir string, args ...string) (addresses map[string]string, stop func() (int, string)) {
	t.Helper()
	var out, errs output
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"serve", "--data", dir, "--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"}, args...), &out, &errs)
	}()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(out.String(), "devices send to") {
		select {
		case code := <-ended:
			t.Fatalf("serve ended with %d: %s", code, errs.String())
		case <-limit:
			t.Fatalf("serve said %q", out.String())
		case <-tick.C:
		}
	}
	addresses = map[string]string{}
	for _, m := range address.FindAllStringSubmatch(out.String(), -1) {
		addresses[m[1]] = m[2]
	}
	return addresses, func() (int, string) {
		cancel()
		return <-ended, errs.String()
	}
}

// It answers on both addresses, ends when it is told to, and starts again on
// what is there.
func TestServe(t *testing.T) {
	dir := initFleet(t)
	for range 2 {
		at, stop := serve(t, dir, "--http", "127.0.0.1:0")
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		for scheme, addr := range at {
			answer, err := client.Get(scheme + "://" + addr + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s://%s/healthz: %s", scheme, addr, answer.Status)
			}
			_ = answer.Body.Close()
		}
		began := time.Now()
		if code, said := stop(); code != 0 {
			t.Errorf("it ended with %d: %s", code, said)
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("the end took %v", took)
		}
		if _, err := net.Dial("tcp", at["https"]); err == nil {
			t.Error("it still answers")
		}
	}
}

// The ingester finds the broker inside wherever it listens.
func TestBrokerOnOneAddress(t *testing.T) {
	at, stop := serve(t, initFleet(t), "--mqtt", "127.0.0.2:0", "--http", "127.0.0.1:0")
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for connected := false; !connected; {
		select {
		case <-limit:
			_, said := stop()
			t.Fatalf("the ingester isn't connected: %s", said)
		case <-tick.C:
		}
		answer, err := http.Get("http://" + at["http"] + "/metrics")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		connected = err == nil && bytes.Contains(body, []byte("\nsightline_ingest_connected 1\n"))
	}
	if code, said := stop(); code != 0 {
		t.Errorf("it ended with %d: %s", code, said)
	}
}

func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	var errs bytes.Buffer
	if code := run(t.Context(), args, io.Discard, &errs); code != 1 || !strings.Contains(errs.String(), want) {
		t.Errorf("%v: code %d, %q; want %q", args, code, errs.String(), want)
	}
}

func TestPortInUse(t *testing.T) {
	dir := initFleet(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	addr := busy.Addr().String()
	fails(t, "answer at "+addr+": another program does already", "serve", "--data", dir, "--https", addr, "--mqtt", "127.0.0.1:0")
	fails(t, addr, "serve", "--data", dir, "--https", "127.0.0.1:0", "--mqtt", addr)
}

// A database that a newer program wrote is left alone.
func TestNewerDatabase(t *testing.T) {
	dir := initFleet(t)
	db, err := sql.Open("sqlite", filepath.Join(dir, fleet.DatabaseName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, "a newer version of this program wrote the database: run that one", "serve", "--data", dir, "--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0")
}

// Two services never share a directory, whichever broker each has.
func TestTwoServices(t *testing.T) {
	dir := initFleet(t)
	_, stop := serve(t, dir)
	for _, more := range [][]string{{"--mqtt", "127.0.0.1:0"}, {"--broker", "127.0.0.1:1"}} {
		fails(t, "serve the fleet in "+dir+": it is in use by another sightline-fleet serve", append([]string{"serve", "--data", dir, "--https", "127.0.0.1:0"}, more...)...)
	}
	if code, said := stop(); code != 0 {
		t.Errorf("the first one ended with %d: %s", code, said)
	}
}

// Devices are told a broker's address only if a certificate can have its name,
// and never their own.
func TestWhereDevicesAreTold(t *testing.T) {
	dir := initFleet(t) // named 127.0.0.1
	if err := os.WriteFile(filepath.Join(dir, "ca", "names"), []byte("fleet.example\n10.0.0.5\n::1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ broker, public, refused string }{
		{"mqtt.example:8883", "", "tell devices to send to mqtt.example:8883 (--broker): they would refuse it, because the fleet's certificates are for fleet.example, 10.0.0.5, ::1: " +
			"add a line mqtt.example to " + filepath.Join(dir, "ca", "names")},
		{"", "mqtt.example:8883", "(--mqtt-public)"},
		{"127.0.0.1:8883", "127.0.0.1:8883", "(--mqtt-public)"},
		{"127.0.0.1:8883", "", ""}, {"localhost:8883", "", ""}, {"Fleet.Example.:8883", "", ""}, {"10.0.0.5:8883", "", ""},
		{"[::ffff:10.0.0.5]:8883", "", ""}, {"mqtt.example:8883", "fleet.example:443", ""}, {"mqtt.example:8883", ":443", ""},
	} {
		cfg := fleet.Config{Dir: dir, HTTPS: "127.0.0.1:0", MQTT: "127.0.0.1:0", Broker: c.broker, MQTTPublic: c.public, Log: slog.New(slog.DiscardHandler)}
		f, err := fleet.Open(cfg)
		if err == nil {
			err = f.Close()
		}
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%q, %q: %v", c.broker, c.public, err)
		}
	}
}

// The log tells what happens to the fleet, without being asked to, and nothing
// else.
func TestLogTellsWhatHappens(t *testing.T) {
	dir := initFleet(t)
	var password output
	if code := run(t.Context(), []string{"user", "add", "anna", "--data", dir}, &password, io.Discard); code != 0 {
		t.Fatal("no user")
	}
	_, secret, _ := strings.Cut(password.String(), "password:  ")
	at, stop := serve(t, dir, "--http", "127.0.0.1:0")
	in := `{"user":"anna","password":"` + strings.Fields(secret)[0] + `"}`
	answer, err := http.Post("http://"+at["http"]+"/v1/login", "application/json", strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s %v", answer.Status, err)
	}
	code, said := stop()
	if code != 0 || !strings.Contains(said, "level=INFO msg=login user=anna from=127.0.0.1") || strings.Contains(said, "WARN") || strings.Count(said, "\n") > 5 {
		t.Errorf("it ended with %d and said:\n%s", code, said)
	}
}
