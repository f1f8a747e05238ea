package plc

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/warthog618/go-gpiocdev"
	"golang.org/x/sys/unix"
)

// edgeBuffer is how many edges the kernel keeps for us per line.
const edgeBuffer = 1024

// openChip takes the lines from the kernel (GPIO character device, ABI v2, Linux
// 5.10 and later): the outputs first, and safe from the first moment. Edges are
// told in their order, from goroutines that have ended when close returns.
func openChip(c *GPIOConfig, told func(edge)) (chip, error) {
	var held []io.Closer
	release := func() error {
		var errs []error
		for n := len(held) - 1; n >= 0; n-- {
			errs = append(errs, held[n].Close())
		}
		return errors.Join(errs...)
	}
	outputs, order, err := openOutputs(c)
	if err != nil {
		return chip{}, fmt.Errorf("take the outputs of %s: %w", c.Chip, err)
	}
	held = append(held, outputs)
	for _, in := range inputs(c) {
		l, err := gpiocdev.RequestLine(c.Chip, in.wire.Offset, in.options(c, told)...)
		if err != nil {
			return chip{}, errors.Join(fmt.Errorf("take line %d of %s as %s: %w", in.wire.Offset, c.Chip, in.name, err), release())
		}
		held = append(held, l)
	}
	set := func(l lamps) error {
		if err := outputs.SetValues(order(l)); err != nil {
			return fmt.Errorf("set the outputs of %s: %w", c.Chip, err)
		}
		return nil
	}
	return chip{set: set, close: release}, nil
}

// openOutputs takes all outputs as one request, so that they change together.
// order puts lamps in the order of the lines.
func openOutputs(c *GPIOConfig) (*gpiocdev.Lines, func(lamps) []int, error) {
	outputs := []struct {
		wire *Wire
		lamp func(lamps) bool
	}{
		{c.Ready, func(l lamps) bool { return l.ready }},
		{c.Pass, func(l lamps) bool { return l.pass }},
		{c.Reject, func(l lamps) bool { return l.reject }},
		{c.Gate, func(l lamps) bool { return l.gate }},
		{c.Beat, func(l lamps) bool { return l.beat }},
	}
	var offsets, low []int
	var lampOf []func(lamps) bool
	for _, o := range outputs {
		if o.wire == nil {
			continue
		}
		offsets = append(offsets, o.wire.Offset)
		lampOf = append(lampOf, o.lamp)
		if o.wire.ActiveLow {
			low = append(low, o.wire.Offset)
		}
	}
	order := func(l lamps) []int {
		values := make([]int, len(lampOf))
		for n, lamp := range lampOf {
			if lamp(l) {
				values[n] = 1
			}
		}
		return values
	}
	options := []gpiocdev.LineReqOption{gpiocdev.WithConsumer("sightline"), gpiocdev.WithABIVersion(2), gpiocdev.AsOutput(order(safe)...)}
	if len(low) > 0 {
		options = append(options, gpiocdev.WithLines(low, gpiocdev.AsActiveLow))
	}
	lines, err := gpiocdev.RequestLines(c.Chip, offsets, options...)
	return lines, order, err
}

// input is a line whose edges are told.
type input struct {
	name          string
	wire          *Wire
	rising, falls edgeKind
	both          bool
}

func inputs(c *GPIOConfig) []input {
	all := []input{{"trigger", &c.Trigger, triggered, released, c.Place.Parts > 0}}
	if c.Ack != nil {
		all = append(all, input{"ack", c.Ack, ackRose, ackFell, true})
	}
	if c.Encoder != nil {
		all = append(all, input{name: "encoder", wire: c.Encoder, rising: encoded})
	}
	return all
}

func (in input) options(c *GPIOConfig, told func(edge)) []gpiocdev.LineReqOption {
	var seen uint32 // line's sequence number; the handler is called by one goroutine
	options := []gpiocdev.LineReqOption{
		gpiocdev.WithConsumer("sightline"),
		gpiocdev.WithABIVersion(2), // sequence numbers, debounce
		gpiocdev.AsInput,
		gpiocdev.WithEventBufferSize(edgeBuffer),
		gpiocdev.WithEventHandler(func(ev gpiocdev.LineEvent) {
			e := edge{what: in.rising, at: wallTime(ev.Timestamp), lost: int(ev.LineSeqno - seen - 1)}
			seen = ev.LineSeqno
			if ev.Type == gpiocdev.LineEventFallingEdge {
				e.what = in.falls
			}
			told(e)
		}),
		gpiocdev.WithRisingEdge,
	}
	if in.both {
		options[len(options)-1] = gpiocdev.WithBothEdges
	}
	if in.wire.ActiveLow {
		options = append(options, gpiocdev.AsActiveLow)
	}
	if in.wire == &c.Trigger && c.Debounce > 0 {
		options = append(options, gpiocdev.WithDebounce(c.Debounce))
	}
	return options
}

// wallTime is the time of an event that the kernel stamped with its monotonic clock.
func wallTime(stamp time.Duration) time.Time {
	var ts unix.Timespec
	now := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return now
	}
	return now.Add(min(0, stamp-time.Duration(ts.Nano())))
}
