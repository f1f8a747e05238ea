package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const childDir = "SIGHTLINE_TEST_BROKER_CHILD" // in the child: the folder with its CA

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child runs a broker until it is killed, and prints a line once it serves.
func child(dir, listen string) error {
	server, err := tls.LoadX509KeyPair(filepath.Join(dir, "broker.pem"), filepath.Join(dir, "broker.key"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	a := &authority{}
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return err
	}
	b, err := Open(Config{
		Listen: listen, Dir: filepath.Join(dir, "broker"), Who: a.who,
		TLS: &tls.Config{Certificates: []tls.Certificate{server}},
	})
	if err != nil {
		return err
	}
	fmt.Println("serves")
	return b.Run(context.Background())
}

// TestMemory: idle connections cost little, and silent ones less.
func TestMemory(t *testing.T) {
	count := 100
	if full() {
		count = 500
	}
	dir := t.TempDir()
	s := &subject{authority: newAuthority(t), addr: freePort(t)}
	s.write(t, dir)
	pid, _ := startChild(t, dir, s.addr)
	s.reader(t)
	before := resident(t, pid)
	for range 200 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	silent := resident(t, pid)
	t.Logf("%d KiB with a service, %d KiB each for 200 silent connections", before, (silent-before)/200)
	before = silent
	for i := range count {
		name := fmt.Sprintf("press-%03d", i)
		s.connect(t, name).subscribe(t, down(name, "ack"), 0)
	}
	after := resident(t, pid)
	t.Logf("%d KiB each for %d idle devices", (after-before)/count, count)
	if each := (after - before) / count; each > 1024 { // several times what it is
		t.Errorf("an idle device costs %d KiB", each)
	}
}

// resident is the KiB that a process has in memory.
func resident(t *testing.T, pid int) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// startChild returns once the child serves; kill ends it with -9.
func startChild(t *testing.T, dir, addr string) (pid int, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], addr)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if killed {
			return
		}
		killed = true
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	}
	t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the broker didn't open: %q, %v\n%s", line, err, &errors)
	}
	return cmd.Process.Pid, kill
}

// TestKill: the broker is killed with -9 under load and started again on the
// same directory, again and again: it opens, and its clients come back.
func TestKill(t *testing.T) {
	t.Parallel()
	times := 4
	if full() {
		times = 60
	}
	dir := t.TempDir()
	s := &subject{authority: newAuthority(t), addr: freePort(t)}
	s.write(t, dir)
	_, kill := startChild(t, dir, s.addr)

	back := func(o *mqtt.ClientOptions) *mqtt.ClientOptions {
		return o.SetAutoReconnect(true).SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond).SetMaxReconnectInterval(100 * time.Millisecond)
	}
	heard := make(chan string, 1<<16)
	o := back(s.options(t, service, s.client(t, service, time.Now().Add(time.Hour))))
	o.SetOnConnectHandler(func(c mqtt.Client) {
		c.Subscribe("sightline/v1/+/+/up/ev", 1, func(_ mqtt.Client, m mqtt.Message) { heard <- string(m.Payload()) })
	})
	s.dial(t, o)
	a := s.dial(t, back(s.options(t, deviceA, s.client(t, deviceA, time.Now().Add(time.Hour)))))

	say := func(what string) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		late := time.After(2 * patient)
		for {
			select {
			case got := <-heard:
				if got == what {
					return
				}
			case <-tick.C: // as a device does that has no acknowledgement
				a.Publish(up(deviceA, "ev"), 1, false, what)
			case <-late:
				t.Fatalf("%q wasn't heard", what)
			}
		}
	}
	for n := range times {
		say(fmt.Sprintf("before kill %d", n))
		for i := range 200 {
			a.Publish(up(deviceA, "ev"), 1, false, fmt.Sprintf("load %d", i))
		}
		kill()
		_, kill = startChild(t, dir, s.addr)
		say(fmt.Sprintf("after kill %d", n))
	}
}
