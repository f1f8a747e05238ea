package plc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Times of the GPIO door.
const (
	defaultPulse  = 50 * time.Millisecond
	defaultBounce = time.Millisecond
	readyEvery    = 5 * time.Millisecond // the station is asked whether it is ready
	reopen        = time.Second          // between two tries to have the lines
)

// Wire is one line of the chip.
type Wire struct {
	Offset    int
	ActiveLow bool // active is the low level
}

// GPIOConfig sets up a door of single lines.
type GPIOConfig struct {
	Chip     string        // as gpiochip0 or /dev/gpiochip0
	Trigger  Wire          // input: its edge to active asks for an inspection
	Debounce time.Duration // of the trigger, by the kernel. 0: 1ms; negative: none, which a Place in parts can't do without

	Ack     *Wire // input: its edge to active fetches the result; without it results are pulses
	Encoder *Wire // input: its edges to active are counted

	// Outputs. The Gate is active while it may let a part through, so a line that
	// nobody drives rejects.
	Ready, Pass, Reject, Gate, Beat *Wire

	Pulse     time.Duration // length of Pass, Reject and of the gate's opening. 0: 50ms
	Gap       time.Duration // between two results' pulses. 0: half a pulse
	Place     GatePlace     // of the gate
	Heartbeat time.Duration // interval of beats. 0: 500ms
}

// GPIO is the door of single lines of a GPIO chip.
type GPIO struct {
	line
	config GPIOConfig
	wake   chan struct{}
	asked  atomic.Pointer[readiness]

	// Under line.mu:
	panel  panel
	opened bool
	fault  string // why the lines aren't had
}

// readiness is what the station last said.
type readiness struct {
	ok bool
	at time.Time
}

// NewGPIO checks c. Run takes the lines.
func NewGPIO(c GPIOConfig, s Station, log *slog.Logger) (*GPIO, error) {
	heartbeat, err := checkHeartbeat(c.Heartbeat)
	if err = errors.Join(err, c.check()); err != nil {
		return nil, fmt.Errorf("gpio door: %w", err)
	}
	c.Heartbeat = heartbeat
	if c.Debounce == 0 {
		c.Debounce = defaultBounce
	}
	if c.Pulse == 0 {
		c.Pulse = defaultPulse
	}
	if c.Gap == 0 {
		c.Gap = c.Pulse / 2
	}
	d := &GPIO{config: c, wake: make(chan struct{}, 1)}
	d.line.open(s, log, heartbeat)
	d.changed = func() { signal(d.wake) }
	return d, nil
}

// wires lists those that are configured, by name.
func (c *GPIOConfig) wires() map[string]*Wire {
	all := map[string]*Wire{
		"trigger": &c.Trigger, "ack": c.Ack, "encoder": c.Encoder,
		"ready": c.Ready, "pass": c.Pass, "reject": c.Reject, "gate": c.Gate, "beat": c.Beat,
	}
	for name, w := range all {
		if w == nil {
			delete(all, name)
		}
	}
	return all
}

func (c *GPIOConfig) check() error {
	var errs []error
	if c.Chip == "" {
		errs = append(errs, errors.New("chip: must be named, as gpiochip0"))
	}
	taken := map[int]string{}
	for name, w := range c.wires() {
		if w.Offset < 0 {
			errs = append(errs, fmt.Errorf("%s: a line's offset must be at least 0, got %d", name, w.Offset))
		}
		if other := taken[w.Offset]; other != "" {
			errs = append(errs, fmt.Errorf("line %d is both %s and %s", w.Offset, min(name, other), max(name, other)))
		}
		taken[w.Offset] = name
	}
	if c.Pass == nil && c.Gate == nil {
		errs = append(errs, errors.New("pass and gate: one of them at least must be wired, since a missing reject must not pass a part"))
	}
	if c.Place.Parts > 0 && c.Debounce < 0 {
		errs = append(errs, errors.New("debounce: can't be none where the gate's place is counted in parts, since a bounce would count as one"))
	}
	for name, d := range map[string]time.Duration{"debounce": max(c.Debounce, 0), "pulse": c.Pulse, "gap": c.Gap} {
		if d < 0 || d > 10*time.Second {
			errs = append(errs, fmt.Errorf("%s: must be from 0 to 10s, got %v", name, d))
		}
	}
	if c.Gate != nil {
		if err := c.Place.check(c.Encoder != nil); err != nil {
			errs = append(errs, err)
		}
	} else if c.Place != (GatePlace{}) {
		errs = append(errs, errors.New("place: there is no gate"))
	}
	return errors.Join(errs...)
}

// Run drives the lines until ctx ends. It gives nil: what goes wrong is told in
// Stats and tried again.
func (d *GPIO) Run(ctx context.Context) error {
	return d.run(ctx, openChip)
}

func (d *GPIO) run(ctx context.Context, open func(*GPIOConfig, func(edge)) (chip, error)) error {
	g, ctx := errgroup.WithContext(ctx)
	d.line.run(ctx, g, func() { signal(d.wake) })
	g.Go(func() error { d.askReady(ctx); return nil })
	g.Go(func() error { d.drive(ctx, open); return nil })
	return g.Wait()
}

// Stats is what the door has seen.
func (d *GPIO) Stats() Stats {
	s := d.stats()
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Fault = d.fault
	if d.opened {
		s.Open = d.config.Chip
	}
	return s
}
