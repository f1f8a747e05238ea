package plc

import (
	"errors"
	"fmt"
	"time"
)

// GatePlace says how far behind the trigger the gate stands that rejects: by
// exactly one of the three.
type GatePlace struct {
	Parts  int           // triggers: the gate has part n when part n+Parts triggers
	Pulses int           // of the encoder
	Delay  time.Duration // on a belt of constant speed
}

// maxBetween bounds the parts between trigger and gate. One more isn't followed,
// and is rejected as everything that isn't followed.
const maxBetween = 1024

func (p GatePlace) check(encoder bool) error {
	set := 0
	for _, on := range []bool{p.Parts != 0, p.Pulses != 0, p.Delay != 0} {
		if on {
			set++
		}
	}
	switch {
	case set != 1:
		return errors.New("place: exactly one of parts, pulses and delay says where the gate stands")
	case p.Parts < 0 || p.Parts > maxBetween:
		return fmt.Errorf("place: parts must be from 1 to %d, got %d", maxBetween, p.Parts)
	case p.Pulses < 0 || p.Pulses > 1e9:
		return fmt.Errorf("place: pulses must be from 1 to 1000000000, got %d", p.Pulses)
	case p.Delay < 0 || p.Delay > 10*time.Minute:
		return fmt.Errorf("place: delay must be more than 0 and at most 10m, got %v", p.Delay)
	case p.Pulses > 0 && !encoder:
		return errors.New("place: pulses need an encoder line")
	}
	return nil
}

// gate is the shift register between trigger and gate. It opens for a part that
// is known to be good when it arrives, for one pulse, and is shut otherwise: each
// bit is "reject" until a PASS has made it something else.
type gate struct {
	place GatePlace
	pulse time.Duration

	between []between // parts on their way, in order
	count   uint64    // encoder pulses
	until   time.Time // the gate is open before that
	late    uint64    // good parts that were rejected, because the gate was told too late
}

// between is one part between trigger and gate.
type between struct {
	i    *inspection // nil: it was missed
	due  time.Time   // by place.Delay
	mark uint64      // by place.Pulses
}

// enter takes a part that passed the trigger at a time. With places counted in
// parts that moves the others on.
func (g *gate) enter(i *inspection, at, now time.Time) {
	if len(g.between) < maxBetween+1 {
		g.between = append(g.between, between{i, at.Add(g.place.Delay), g.count + uint64(g.place.Pulses)})
	}
	if g.place.Parts > 0 && len(g.between) > g.place.Parts {
		g.arrive(at, now)
	}
}

// step takes one pulse of the encoder.
func (g *gate) step(at, now time.Time) {
	g.count++
	for g.place.Pulses > 0 && len(g.between) > 0 && g.between[0].mark <= g.count {
		g.arrive(at, now)
	}
}

// advance takes the time, and tells when it wants to be asked again (zero: not by itself).
func (g *gate) advance(now time.Time) (open bool, again time.Time) {
	for g.place.Delay > 0 && len(g.between) > 0 && !g.between[0].due.After(now) {
		g.arrive(g.between[0].due, now)
	}
	if open = now.Before(g.until); open {
		again = g.until
	}
	if g.place.Delay > 0 && len(g.between) > 0 && (again.IsZero() || g.between[0].due.Before(again)) {
		again = g.between[0].due
	}
	return open, again
}

// arrive decides about the first part, which reached the gate at a time. A part
// ends the opening of the one before it. An opening isn't moved by being told
// late: it would let the next part through.
func (g *gate) arrive(at, now time.Time) {
	first := g.between[0]
	g.between = g.between[1:]
	g.until = time.Time{}
	if !first.i.passes() {
		return
	}
	if end := at.Add(g.pulse); now.Before(end) {
		g.until = end
	} else {
		g.late++
	}
}

// distrust makes every part on its way one to be rejected: where they are isn't
// known any more. It tells how many might have passed.
func (g *gate) distrust() (lost int) {
	for n := range g.between {
		if g.between[n].i != nil {
			lost++
		}
		g.between[n].i = nil
	}
	g.until = time.Time{}
	return lost
}
