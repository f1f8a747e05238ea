package plc

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// station answers as it is scripted. It is what a door asks, not a part of one.
type station struct {
	answer func(ctx context.Context, t Trigger) Answer // nil: passes
	taking func(n int)                                 // before it takes the n-th trigger
	keeps  bool                                        // it never says that it has taken one
	script []vision.Verdict                            // by the triggers' order, after lasts
	lasts  time.Duration
	stuck  atomic.Bool
	busy   atomic.Bool

	mu       sync.Mutex
	recipe   string
	recipes  []string
	refuses  error // of SetRecipe
	progress uint64
	seen     []Trigger
}

func (s *station) Trigger(ctx context.Context, t Trigger) Answer {
	s.mu.Lock()
	s.seen = append(s.seen, t)
	n := len(s.seen)
	s.mu.Unlock()
	if s.taking != nil {
		s.taking(n)
	}
	if !s.keeps {
		t.Taken()
	}
	if s.script != nil {
		wait(ctx, s.lasts)
		return Answer{Verdict: s.script[(n-1)%len(s.script)], Reason: "ok"}
	}
	if s.answer != nil {
		return s.answer(ctx, t)
	}
	return passed(t)
}

func passed(t Trigger) Answer {
	return Answer{TriggerID: t.ID, PartID: t.Part, Attempt: 1, Verdict: vision.Pass, Reason: "ok"}
}

func (s *station) Ready() (bool, string) {
	if s.busy.Load() {
		return false, "the station warms up"
	}
	return true, ""
}

func (s *station) Recipe() (string, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recipe, s.recipes
}

func (s *station) SetRecipe(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses != nil {
		return s.refuses
	}
	s.recipe = name
	return nil
}

func (s *station) Progress() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stuck.Load() {
		s.progress++
	}
	return s.progress
}

// doors have this in common.
type door interface {
	Run(ctx context.Context) error
	Stats() Stats
}

// started runs a door until the test ends, and waits for it to be alive.
func started(t testing.TB, d door) Stats {
	t.Helper()
	background(t, d)
	return until(t, d, func(s Stats) bool { return s.Alive && s.Open != "" })
}

// background runs a door until the test ends.
func background(t testing.TB, d door) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// until waits for the stats to be as they should.
func until(t testing.TB, d door, ok func(Stats) bool) Stats {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-tick.C {
		s := d.Stats()
		if ok(s) {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("the door never came to it: %+v", s)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// loopback is an access for tests: every address of loopback but 127.0.0.66.
func loopback() Access {
	return Access{Listen: "127.0.0.1:0", Peers: []string{"127.0.0.0/26"}}
}

// talker is a controller's end of a connection.
type talker struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

// dial comes from an address of loopback.
func dial(t testing.TB, to, from string) *talker {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(cmp.Or(from, "127.0.0.1"))}, Timeout: 10 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &talker{c, t, bufio.NewReader(c)}
}

func (c *talker) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.Conn, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talker) expect(want string) {
	c.t.Helper()
	got, err := c.in.ReadString('\n')
	if err != nil || got != want+"\r\n" {
		c.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// closed waits for the other end to close.
func (c *talker) closed() {
	c.t.Helper()
	b, err := io.ReadAll(c.in)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatalf("the connection is still open, after %q", b)
	}
}

func TestReasonCodesAreUnique(t *testing.T) {
	var codes []uint16
	for _, r := range reasonCodes {
		codes = append(codes, r.code)
	}
	if slices.Sort(codes); len(slices.Compact(codes)) != len(reasonCodes) {
		t.Error("two reasons have the same code")
	}
	for reason, want := range map[string]uint16{
		"": 0, "ok": 0, vision.ReasonLate: 6, "camera_dark": 102, "camera_on_fire": 100, "scratch 0.8 > 0.5": ruleWords,
	} {
		if got := reasonCode(reason); got != want {
			t.Errorf("%q has code %d, want %d", reason, got, want)
		}
	}
}
