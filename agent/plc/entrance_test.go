package plc

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestAccess(t *testing.T) {
	peers := []string{"192.0.2.9"}
	for _, x := range []struct {
		a    Access
		want string // "" is right
	}{
		{Access{Listen: "192.0.2.5:502", Peers: peers}, ""},
		{Access{Listen: "eth0.100:502", Peers: []string{"192.0.2.0/28", "2001:db8::7"}}, ""},
		{Access{Listen: "[fe80::1%eth1]:502", Peers: peers}, ""},
		{Access{Listen: ":502", Peers: peers}, `listen ":502": that is every network of the device, and this protocol knows no login`},
		{Access{Listen: "0.0.0.0:502", Peers: peers}, "every network"},
		{Access{Listen: "[::]:502", Peers: peers}, "every network"},
		{Access{Listen: "[::ffff:0.0.0.0]:502", Peers: peers}, "every network"},
		{Access{Listen: "*:502", Peers: peers}, "every network"},
		{Access{Listen: "", Peers: peers}, "must be an address or an interface with a port"},
		{Access{Listen: "192.0.2.5", Peers: peers}, "must be an address or an interface with a port"},
		{Access{Listen: "192.0.2.5:modbus", Peers: peers}, "port must be a number"},
		{Access{Listen: "192.0.2.5:70000", Peers: peers}, "port must be a number"},
		{Access{Listen: "224.0.0.1:502", Peers: peers}, "multicast"},
		{Access{Listen: "line-controller.example:502", Peers: peers}, "host names aren't looked up"},
		{Access{Listen: "192.0.2.5:502"}, "peers: none is named"},
		{Access{Listen: "192.0.2.5:502", Peers: []string{"0.0.0.0/0"}}, `peers[0] "0.0.0.0/0": lets everybody in`},
		{Access{Listen: "192.0.2.5:502", Peers: []string{"::/0"}}, "lets everybody in"},
		{Access{Listen: "192.0.2.5:502", Peers: []string{"0.0.0.0"}}, "isn't the address of a controller"},
		{Access{Listen: "192.0.2.5:502", Peers: []string{"192.0.2.9/28"}}, "did you mean 192.0.2.0/28 or 192.0.2.9?"},
		{Access{Listen: "192.0.2.5:502", Peers: []string{"plc"}}, "must be a numeric address"},
		{Access{Listen: "192.0.2.5:502", Peers: peers, Silence: time.Millisecond}, "silence: must be 0 or at least 100ms, got 1ms"},
	} {
		_, err := x.a.check()
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: got %v, want %q", x.a, err, x.want)
		}
	}
	_, err := Access{Listen: ":1", Silence: -1}.check()
	if n := strings.Count(fmt.Sprint(err), "\n"); n != 2 {
		t.Errorf("all faults at once: got %v", err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	d, at := openASCII(t, ASCIIConfig{}, &station{})
	stranger := dial(t, at, "127.0.0.66")
	stranger.closed()
	until(t, d, func(s Stats) bool { return s.Refused == 1 && s.Connections == 0 })
	c := dial(t, at, "")
	c.send("T 1\n")
	c.expect("R 1 PASS ok")
}

// A second controller that may come in is told so and doesn't disturb the first.
func TestSecondClientIsRefused(t *testing.T) {
	d, at := openASCII(t, ASCIIConfig{}, &station{})
	first := dial(t, at, "127.0.0.1")
	first.send("T 1\n")
	first.expect("R 1 PASS ok")
	second := dial(t, at, "127.0.0.2")
	second.expect("E 50 busy")
	second.closed()
	first.send("T 2\n")
	first.expect("R 2 PASS ok")
	if s := d.Stats(); s.Busy != 1 || s.Connections != 1 || s.Client != "127.0.0.1" {
		t.Errorf("%+v", s)
	}
	_ = first.Close()
	until(t, d, func(s Stats) bool { return s.Client == "" })
	third := dial(t, at, "127.0.0.2")
	third.send("T 3\n")
	third.expect("R 3 PASS ok")
}

// A controller that lost its power comes back while its old connection looks alive.
func TestHalfOpenConnectionGivesWayToItsOwner(t *testing.T) {
	d, at := openASCII(t, ASCIIConfig{}, &station{})
	old := dial(t, at, "")
	old.send("T 1\n")
	old.expect("R 1 PASS ok")
	c := dial(t, at, "")
	c.send("T 2\n")
	c.expect("R 2 PASS ok")
	old.closed()
	if s := d.Stats(); s.Takeovers != 1 || s.Connections != 2 {
		t.Errorf("%+v", s)
	}
}

func TestSilentControllerGivesWay(t *testing.T) {
	t.Parallel()
	a := loopback()
	a.Silence = 100 * time.Millisecond
	d, at := openASCII(t, ASCIIConfig{Access: a}, &station{})
	first := dial(t, at, "127.0.0.1")
	first.send("T 1\n")
	first.expect("R 1 PASS ok")
	for served := false; !served; { // refused until the first has been silent for long enough
		second := dial(t, at, "127.0.0.2")
		second.send("T 2\n")
		line, _ := second.in.ReadString('\n')
		served = line == "R 2 PASS ok\r\n"
	}
	first.closed()
	if s := d.Stats(); s.Takeovers != 1 || s.Client != "127.0.0.2" {
		t.Errorf("%+v", s)
	}
}

// While strangers and a second controller knock as fast as they can, the first
// gets each of its answers.
func TestFlood(t *testing.T) {
	d, at := openASCII(t, ASCIIConfig{}, &station{})
	c := dial(t, at, "")
	done := make(chan struct{})
	for _, from := range []string{"127.0.0.66", "127.0.0.2", "127.0.0.66", "127.0.0.3"} {
		go func() {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Second}
			for n := 0; n < 5000; n++ {
				select {
				case <-done:
					return
				default:
				}
				if k, err := dialer.Dial("tcp", at); err == nil {
					_, _ = k.Write([]byte("T 1\n"))
					_ = k.Close()
				}
			}
		}()
	}
	defer close(done)
	for n := range 500 {
		c.send("T %d\n", n)
		c.expect(fmt.Sprintf("R %d PASS ok", n))
	}
	until(t, d, func(s Stats) bool { return s.Refused > 20 && s.Busy > 20 })
	if s := d.Stats(); s.Connections != 1 || s.Triggers != 500 {
		t.Errorf("%+v", s)
	}
}

// A door binds to the interface that was named, and says what keeps it shut.
func TestInterface(t *testing.T) {
	a := loopback()
	a.Listen = "lo:0"
	_, at := openASCII(t, ASCIIConfig{Access: a}, &station{})
	c := dial(t, at, "")
	c.send("T 1\n")
	c.expect("R 1 PASS ok")

	a.Listen = "none0:502"
	d, err := NewASCII(ASCIIConfig{Access: a}, &station{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	background(t, d)
	until(t, d, func(s Stats) bool { return strings.HasPrefix(s.Fault, "there is no interface none0 here: those are ") })
}

// A place that is taken is tried again until it is free.
func TestDoorOpensLate(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := loopback()
	a.Listen = ln.Addr().String()
	d, err := NewASCII(ASCIIConfig{Access: a}, &station{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	background(t, d)
	until(t, d, func(s Stats) bool { return strings.Contains(s.Fault, "address already in use") })
	_ = ln.Close()
	until(t, d, func(s Stats) bool { return s.Open == a.Listen && s.Fault == "" })
}
