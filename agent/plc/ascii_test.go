package plc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

func openASCII(t testing.TB, c ASCIIConfig, s Station) (*ASCII, string) {
	t.Helper()
	if c.Listen == "" {
		c.Access = loopback()
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 10 * time.Millisecond
		if !c.Push {
			c.Heartbeat = 200 * time.Millisecond
		}
	}
	d, err := NewASCII(c, s, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return d, started(t, d).Open
}

func TestASCIILines(t *testing.T) {
	s := &station{recipe: "caps", recipes: []string{"caps", "lids"}}
	s.answer = func(_ context.Context, tr Trigger) Answer {
		a := passed(tr)
		switch {
		case strings.HasPrefix(tr.ID, "bad"):
			a.Verdict, a.Reason = vision.Fail, "scratch\r\nR x PASS\x00"
		case strings.HasPrefix(tr.ID, "late"):
			a.Verdict, a.Reason = vision.None, vision.ReasonLate
		case strings.HasPrefix(tr.ID, "again"):
			a.Repeated = true
		}
		return a
	}
	d, at := openASCII(t, ASCIIConfig{}, s)
	c := dial(t, at, "")
	for _, x := range []struct{ say, want string }{
		{"T 1\n", "R 1 PASS ok"},
		{"T 2 part-7\r\n", "R 2 PASS ok"},
		{"T bad\r", "R bad FAIL scratch??R x PASS?"},
		{"T late\n", "R late NONE late"},
		{"T again\n", "A again PASS ok"},
		{"\r\n\n  \nP\n", "P caps"},
		{"P lids\n", "P lids"},
		{"P lids\n", "P lids"},
		{"P cups\n", "E 30 no such recipe cups"},
		{"S\n", "S READY 0 0 lids -"},
		{"T\n", "E 13 wrong number of words"},
		{"T 1 2 3\n", "E 13 wrong number of words"},
		{"S 1\n", "E 13 wrong number of words"},
		{"T " + strings.Repeat("x", 65) + "\n", "E 14 name too long"},
		{"T " + strings.Repeat("x", 64) + "\n", "R " + strings.Repeat("x", 64) + " PASS ok"},
		{"t 1\n", "E 10 unknown command"},
		{"T1\n", "E 10 unknown command"},
		{"T \x07\n", "E 12 not printable ASCII"},
		{"T é\n", "E 12 not printable ASCII"},
		{strings.Repeat("x", 257) + "\n", "E 11 line too long"},
		{strings.Repeat("x", 100_000) + "T 1\n", "E 11 line too long"},
		{"?\n", "? T id [part] = inspect; S = status; P [name] = recipe; H = heartbeat"},
		{"T 3\n", "R 3 PASS ok"},
	} {
		c.send("%s", x.say)
		c.expect(x.want)
	}
	s.refuse(errors.New("a part is in view"))
	c.send("P caps\nP\n")
	c.expect("E 31 recipe not changed a part is in view")
	c.expect("P lids")
	if got := d.Stats(); got.Triggers != 7 || got.Malformed != 10 || got.Waiting != 0 || got.Acknowledged != 7 {
		t.Errorf("%+v", got)
	}
}

func (s *station) refuse(err error) {
	s.mu.Lock()
	s.refuses = err
	s.mu.Unlock()
}

// Each byte may come alone, and many lines at once.
func TestASCIIHoweverTCPCutsIt(t *testing.T) {
	_, at := openASCII(t, ASCIIConfig{}, &station{})
	c := dial(t, at, "")
	for _, b := range []byte("T one\r\n") {
		c.send("%c", b)
	}
	c.expect("R one PASS ok")
	c.send("T 1\nT 2\rT 3\r\nT 4\n")
	for n := range 4 {
		c.expect(fmt.Sprintf("R %d PASS ok", n+1))
	}
}

// Answers come in the order of the triggers, whichever is ready first.
func TestASCIIOrder(t *testing.T) {
	gates := map[string]chan struct{}{}
	for n := range queueLength {
		gates[fmt.Sprint(n)] = make(chan struct{})
	}
	s := &station{answer: func(ctx context.Context, tr Trigger) Answer {
		select {
		case <-gates[tr.ID]:
		case <-ctx.Done():
		}
		return passed(tr)
	}}
	d, at := openASCII(t, ASCIIConfig{}, s)
	c := dial(t, at, "")
	for n := range queueLength {
		c.send("T %d\n", n)
	}
	until(t, d, func(s Stats) bool { return s.Waiting == queueLength })
	c.send("T more\n")
	c.expect("E 20 missed more earlier results wait")
	for _, n := range rand.Perm(queueLength) {
		close(gates[fmt.Sprint(n)])
	}
	for n := range queueLength {
		c.expect(fmt.Sprintf("R %d PASS ok", n))
	}
	until(t, d, func(s Stats) bool { return s.Waiting == 0 })
	c.send("S\n")
	c.expect("S READY 0 1 - -")
}

func TestASCIINotReady(t *testing.T) {
	s := &station{}
	d, at := openASCII(t, ASCIIConfig{}, s)
	c := dial(t, at, "")
	s.busy.Store(true)
	c.send("T 1\nS\n")
	c.expect("E 20 missed 1 the station warms up")
	c.expect("S NOTREADY 0 1 - the station warms up")
	if s := d.Stats(); s.Missed != 1 || s.Triggers != 0 {
		t.Errorf("%+v", s)
	}
}

// A stuck agent's heartbeat ends, asked for or pushed, and nothing is promised.
func TestASCIIHeartbeat(t *testing.T) {
	s := &station{}
	d, at := openASCII(t, ASCIIConfig{Push: true, Heartbeat: 20 * time.Millisecond}, s)
	c := dial(t, at, "")
	last := 0
	for range 5 {
		var n int
		line, err := c.in.ReadString('\n')
		if _, scan := fmt.Sscanf(line, "H %d", &n); err != nil || scan != nil || n <= last {
			t.Fatalf("got %q after %d: %v", line, last, err)
		}
		last = n
	}
	s.stuck.Store(true)
	stats := until(t, d, func(s Stats) bool { return !s.Alive })
	if stats.Heartbeat < 60*time.Millisecond {
		t.Errorf("the agent counts as stuck after %v", stats.Heartbeat)
	}
	c.send("H\nT 1\n")
	for { // what was pushed before
		line, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "H") {
			continue
		}
		if line != "E 20 missed 1 the agent makes no progress\r\n" {
			t.Fatalf("got %q", line)
		}
		break
	}
	s.stuck.Store(false)
	until(t, d, func(s Stats) bool { return s.Alive })
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "H") {
			return
		}
	}
}

// Whoever comes next doesn't hear the results of who was there before.
func TestASCIIResultsStayWithTheirConnection(t *testing.T) {
	gate := make(chan struct{})
	s := &station{answer: func(ctx context.Context, tr Trigger) Answer {
		if tr.ID == "old" {
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}
		return passed(tr)
	}}
	d, at := openASCII(t, ASCIIConfig{}, s)
	old := dial(t, at, "")
	old.send("T old\n")
	until(t, d, func(s Stats) bool { return s.Waiting == 1 })
	_ = old.Close()
	until(t, d, func(s Stats) bool { return s.Lost == 1 && s.Client == "" })
	c := dial(t, at, "")
	close(gate)
	c.send("T new\n")
	c.expect("R new PASS ok")
}

// A client that never reads costs itself its place, and nobody memory.
func TestASCIISlowReader(t *testing.T) {
	t.Parallel()
	d, at := openASCII(t, ASCIIConfig{}, &station{})
	c := dial(t, at, "")
	line := []byte(strings.Repeat("?\n", 1000))
	for {
		if _, err := c.Write(line); err != nil {
			break
		}
	}
	until(t, d, func(s Stats) bool { return s.Client == "" })
	again := dial(t, at, "")
	again.send("T 1\n")
	again.expect("R 1 PASS ok")
}

func TestASCIIStopClosesTheDoor(t *testing.T) {
	d, err := NewASCII(ASCIIConfig{Access: loopback(), Heartbeat: 10 * time.Millisecond}, &station{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	s := until(t, d, func(s Stats) bool { return s.Open != "" && s.Alive })
	c := dial(t, s.Open, "")
	c.send("T 1\n")
	c.expect("R 1 PASS ok")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	c.closed()
	if s := d.Stats(); s.Open != "" || s.Client != "" {
		t.Errorf("%+v", s)
	}
}
