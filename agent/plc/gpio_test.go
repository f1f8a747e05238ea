package plc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// bench is the lines' far end: it has what stood on them, and moves the inputs.
type bench struct {
	told  func(edge)
	start time.Time

	mu     sync.Mutex
	shown  []string // "ms lamps", each change
	fails  error    // of the next set
	refuse error    // of the next open
	closed int
}

func (b *bench) open(_ *GPIOConfig, told func(edge)) (chip, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse; err != nil {
		b.refuse = nil
		return chip{}, err
	}
	b.told = told
	b.set(safe)
	return chip{set: func(l lamps) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if err := b.fails; err != nil {
			b.fails = nil
			return err
		}
		b.set(l)
		return nil
	}, close: func() error { b.closed++; return nil }}, nil
}

func (b *bench) set(l lamps) {
	l.beat = false // has a test of its own
	line := fmt.Sprintf("%d %s", time.Since(b.start).Milliseconds(), l)
	if n := len(b.shown); n == 0 || strings.SplitN(b.shown[n-1], " ", 2)[1] != l.String() {
		b.shown = append(b.shown, line)
	}
}

func (l lamps) String() string {
	var on []string
	for _, x := range []struct {
		on   bool
		name string
	}{{l.ready, "ready"}, {l.pass, "pass"}, {l.reject, "reject"}, {l.gate, "gate"}} {
		if x.on {
			on = append(on, x.name)
		}
	}
	return strings.Join(on, "+")
}

func (b *bench) trigger() { b.told(edge{what: triggered, at: time.Now()}) }

func wires(c GPIOConfig) GPIOConfig {
	c.Chip = "gpiochip9"
	c.Ready, c.Pass, c.Reject, c.Beat = &Wire{Offset: 1}, &Wire{Offset: 2}, &Wire{Offset: 3}, &Wire{Offset: 5}
	c.Heartbeat = 100 * time.Millisecond
	return c
}

// onBench runs a door for a while of bubble time, and gives what stood on its lines.
func onBench(t *testing.T, c GPIOConfig, s *station, during func(b *bench, d *GPIO)) []string {
	t.Helper()
	var b *bench
	synctest.Test(t, func(t *testing.T) {
		d, err := NewGPIO(c, s, quiet())
		if err != nil {
			t.Fatal(err)
		}
		b = &bench{start: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.run(ctx, b.open) }()
		at(b, 150)
		during(b, d)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b.shown
}

// at waits for a moment of the bubble, ms after its start.
func at(b *bench, ms int) {
	time.Sleep(time.Until(b.start.Add(time.Duration(ms) * time.Millisecond)))
	synctest.Wait()
}

// slowly answers after a time; verdicts come from a script.
func slowly(d time.Duration, verdicts ...vision.Verdict) *station {
	return &station{script: verdicts, lasts: d}
}

func expectShown(t *testing.T, got, want []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

func TestGPIOPulses(t *testing.T) {
	got := onBench(t, wires(GPIOConfig{Pulse: 20 * time.Millisecond}), slowly(5*time.Millisecond, vision.Pass, vision.Fail, vision.None), func(b *bench, d *GPIO) {
		b.trigger()
		at(b, 200)
		b.trigger()
		at(b, 250)
		b.trigger()
		at(b, 300)
		for range 2 { // two at once stand one after the other
			b.trigger()
			synctest.Wait()
		}
		at(b, 400)
		if s := d.Stats(); s.Triggers != 5 || s.Acknowledged != 5 || s.Waiting != 0 || s.Open != "gpiochip9" {
			t.Errorf("%+v", s)
		}
	})
	expectShown(t, got, []string{
		"0 reject", "100 ready",
		"155 ready+pass", "175 ready",
		"205 ready+reject", "225 ready",
		"255 ready+reject", "275 ready",
		"305 ready+pass", "325 ready", "335 ready+reject", "355 ready",
		"400 reject",
	})
}

func TestGPIOAcknowledged(t *testing.T) {
	got := onBench(t, wires(GPIOConfig{Ack: &Wire{Offset: 7}}), slowly(5*time.Millisecond, vision.Pass, vision.Fail), func(b *bench, d *GPIO) {
		b.trigger()
		b.trigger()
		at(b, 1000)
		b.told(edge{what: ackRose})
		at(b, 1010)
		b.told(edge{what: ackFell})
		at(b, 1020)
		b.told(edge{what: ackRose})
		at(b, 1030)
		b.told(edge{what: ackFell})
		at(b, 1100)
	})
	expectShown(t, got, []string{
		"0 reject", "100 ready", "155 ready+pass", "1000 ready", "1010 ready+reject", "1020 ready", "1100 reject",
	})
}

// Each trigger has its pulse in order, also one that was missed: it rejects.
func TestGPIOMissed(t *testing.T) {
	s := slowly(30*time.Millisecond, vision.Pass)
	got := onBench(t, wires(GPIOConfig{Pulse: 10 * time.Millisecond}), s, func(b *bench, d *GPIO) {
		b.trigger()
		s.busy.Store(true)
		at(b, 160)
		b.trigger()
		s.busy.Store(false)
		at(b, 170)
		b.trigger()
		at(b, 250)
		b.told(edge{what: triggered, at: time.Now(), lost: 1})
		at(b, 350)
		if s := d.Stats(); s.Missed != 2 || s.Triggers != 3 {
			t.Errorf("%+v", s)
		}
	})
	expectShown(t, got, []string{
		"0 reject", "100 ready", "155 ", "165 ready",
		"180 ready+pass", "190 ready", "195 ready+reject", "205 ready", "210 ready+pass", "220 ready",
		"250 ready+reject", "260 ready", "280 ready+pass", "290 ready",
		"350 reject",
	})
}

// A stuck agent: not ready, reject, the gate shut, and nothing old comes out later.
func TestGPIOStuck(t *testing.T) {
	s := slowly(320*time.Millisecond, vision.Pass)
	c := wires(GPIOConfig{Gate: &Wire{Offset: 4}, Place: GatePlace{Delay: 900 * time.Millisecond}})
	got := onBench(t, c, s, func(b *bench, d *GPIO) {
		b.trigger()
		at(b, 250)
		s.stuck.Store(true)
		at(b, 750)
		s.stuck.Store(false)
		at(b, 2000)
	})
	expectShown(t, got, []string{"0 reject", "100 ready", "470 ready+pass", "500 reject", "800 ready", "2000 reject"})
}

func TestGPIOGate(t *testing.T) {
	c := wires(GPIOConfig{Gate: &Wire{Offset: 4}, Place: GatePlace{Delay: 200 * time.Millisecond}, Pulse: 30 * time.Millisecond})
	c.Pass, c.Reject = nil, nil
	got := onBench(t, c, slowly(50*time.Millisecond, vision.Pass, vision.Fail, vision.Pass), func(b *bench, d *GPIO) {
		for range 3 {
			b.trigger()
			time.Sleep(100 * time.Millisecond)
		}
		at(b, 700)
	})
	var gate []string
	for _, line := range got {
		ms, on, _ := strings.Cut(line, " ")
		gate = append(gate, fmt.Sprintf("%s %v", ms, strings.Contains(on, "gate")))
	}
	expectShown(t, onlyChanges(gate), []string{"0 false", "350 true", "380 false", "550 true", "580 false"})
}

func onlyChanges(lines []string) (changes []string) {
	last := ""
	for _, l := range lines {
		if _, now, _ := strings.Cut(l, " "); now != last {
			changes, last = append(changes, l), now
		}
	}
	return changes
}

// Places counted in parts, with one edge too many or edges that the kernel lost: a
// bad part never finds the gate open, and what comes later has its own verdict again.
func TestGPIOGateDistrustsABounce(t *testing.T) {
	fallen := func(b *bench, lost int) { b.told(edge{what: released, at: time.Now(), lost: lost}) }
	for _, x := range []struct {
		what   string
		bounce func(b *bench) // behind the trigger of part 4, which is good
	}{
		{"none", func(*bench) {}},
		{"as the contact closes", func(b *bench) {
			fallen(b, 0)
			time.Sleep(10 * time.Millisecond)
			b.trigger()
		}},
		{"as the contact opens", func(b *bench) {
			time.Sleep(60 * time.Millisecond)
			fallen(b, 0)
			time.Sleep(3 * time.Millisecond)
			b.trigger()
		}},
		{"edges were lost", func(b *bench) { time.Sleep(60 * time.Millisecond); fallen(b, 2) }},
	} {
		t.Run(x.what, func(t *testing.T) {
			c := wires(GPIOConfig{Gate: &Wire{Offset: 4}, Place: GatePlace{Parts: 2}})
			c.Pass, c.Reject = nil, nil
			good := func(n int) bool { return n%3 != 0 } // parts 3, 6 and 9 are bad
			var part atomic.Int64                        // the last that triggered
			s := &station{answer: func(context.Context, Trigger) Answer {
				if good(int(part.Load())) {
					return Answer{Verdict: vision.Pass}
				}
				return Answer{Verdict: vision.Fail}
			}}
			open := map[int]bool{} // by the part that stands at the gate
			onBench(t, c, s, func(b *bench, d *GPIO) {
				for n := 1; n <= 12; n++ {
					part.Store(int64(n))
					b.trigger()
					synctest.Wait()
					if n == 4 {
						x.bounce(b)
						synctest.Wait()
					}
					b.mu.Lock()
					open[n-2] = strings.HasSuffix(b.shown[len(b.shown)-1], "gate")
					b.mu.Unlock()
					at(b, 150+200*n-20)
					fallen(b, 0)
					at(b, 150+200*n)
				}
			})
			passed := 0
			for n := 1; n <= 10; n++ {
				switch {
				case open[n] && !good(n):
					t.Errorf("bad part %d finds the gate open", n)
				case open[n]:
					passed++
				case good(n) && (x.what == "none" || n > 4):
					t.Errorf("good part %d finds the gate shut", n)
				}
			}
			if passed == 0 {
				t.Error("no part passes")
			}
		})
	}
}

// An encoder that lost pulses: nobody knows where the parts are.
func TestGPIOEncoderLosesPulses(t *testing.T) {
	c := wires(GPIOConfig{Gate: &Wire{Offset: 4}, Encoder: &Wire{Offset: 8}, Place: GatePlace{Pulses: 10}, Pulse: 30 * time.Millisecond})
	for _, lost := range []int{0, 1} {
		got := onBench(t, c, slowly(time.Nanosecond, vision.Pass), func(b *bench, d *GPIO) {
			b.trigger()
			at(b, 200)
			for n := range 10 {
				e := edge{what: encoded, at: time.Now()}
				if n == 5 {
					e.lost = lost
				}
				b.told(e)
			}
			at(b, 300)
		})
		if open := strings.Contains(strings.Join(got, ";"), "gate"); open != (lost == 0) {
			t.Errorf("%d pulses lost: %q", lost, got)
		}
	}
}

// A chip that fails is given back and taken again; what waited is rejected.
func TestGPIOChipFails(t *testing.T) {
	got := onBench(t, wires(GPIOConfig{}), slowly(30*time.Millisecond, vision.Pass), func(b *bench, d *GPIO) {
		b.trigger()
		b.mu.Lock()
		b.fails = errors.New("no such device")
		b.refuse = errors.New("no such chip")
		b.mu.Unlock()
		at(b, 400)
		if s := d.Stats(); s.Fault != "no such device" || s.Open != "" {
			t.Errorf("%+v", s)
		}
		at(b, 1500)
		if s := d.Stats(); s.Fault != "no such chip" {
			t.Errorf("%+v", s)
		}
		at(b, 2500)
		if s := d.Stats(); s.Fault != "" || s.Open == "" || b.closed != 1 || s.Lost != 1 {
			t.Errorf("%+v, closed %d", s, b.closed)
		}
	})
	expectShown(t, got, []string{"0 reject", "100 ready", "180 reject", "2180 ready", "2500 reject"})
}

func TestGPIOConfig(t *testing.T) {
	for _, x := range []struct {
		c    GPIOConfig
		want string
	}{
		{wires(GPIOConfig{}), ""},
		{GPIOConfig{Pass: &Wire{Offset: 1}}, "chip: must be named"},
		{GPIOConfig{Chip: "gpiochip0", Reject: &Wire{Offset: 1}}, "pass and gate: one of them at least must be wired"},
		{wires(GPIOConfig{Trigger: Wire{Offset: 2}}), "line 2 is both pass and trigger"},
		{wires(GPIOConfig{Trigger: Wire{Offset: -1}}), "trigger: a line's offset must be at least 0"},
		{wires(GPIOConfig{Gate: &Wire{Offset: 9}}), "place: exactly one of"},
		{wires(GPIOConfig{Place: GatePlace{Parts: 1}}), "place: there is no gate"},
		{wires(GPIOConfig{Debounce: -1}), ""},
		{wires(GPIOConfig{Debounce: -1, Gate: &Wire{Offset: 9}, Place: GatePlace{Parts: 1}}), "debounce: can't be none where the gate's place is counted in parts"},
		{wires(GPIOConfig{Debounce: time.Minute}), "debounce: must be from 0 to 10s"},
		{wires(GPIOConfig{Pulse: time.Minute}), "pulse: must be from 0 to 10s"},
	} {
		if _, err := NewGPIO(x.c, &station{}, quiet()); (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %q", x.c, err, x.want)
		}
	}
}

// The kernel's own simulated chip, where there is one: its lines are named in
// SIGHTLINE_GPIOSIM as the chip that gpio-sim made, with at least six lines.
func TestGPIOSim(t *testing.T) {
	name := os.Getenv("SIGHTLINE_GPIOSIM")
	if name == "" {
		_, err := openChip(&GPIOConfig{Chip: "gpiochip-none", Pass: &Wire{}}, func(edge) {})
		if err == nil || !strings.Contains(err.Error(), "take the outputs of gpiochip-none") {
			t.Errorf("a chip that isn't there: %v", err)
		}
		t.Skip("SIGHTLINE_GPIOSIM names no chip of gpio-sim")
	}
	c := wires(GPIOConfig{})
	c.Chip, c.Trigger = name, Wire{Offset: 0}
	d, err := NewGPIO(c, &station{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	started(t, d)
}
