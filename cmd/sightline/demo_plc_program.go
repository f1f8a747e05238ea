package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// What the Modbus door's registers mean, as docs/plc.md tells.
const (
	doorInputs   = 81 // input registers, read at once
	doorOutputs  = 80 // holding registers, written at once
	triggerIDAt  = 16 // of both
	partIDAt     = 48
	idLength     = 32 // registers
	coilTrigger  = 1 << 0
	coilAck      = 1 << 1
	coilClear    = 1 << 2
	coilRestart  = 1 << 3
	isOnline     = 1 << 0
	isReady      = 1 << 1
	hasAccepted  = 1 << 2 // Trigger Ack
	hasResult    = 1 << 4 // Results Valid
	hasMissed    = 1 << 5
	hasOverrun   = 1 << 6
	hasPass      = 1 << 8
	isRepetition = 1 << 11
)

// Limits of the controller's program.
const (
	beatsMissing = 3                      // heartbeats that don't come stop the belt
	beatsToStart = 2                      // and so many must have come before it starts
	staleInputs  = 250 * time.Millisecond // what was read so long ago says nothing about now
	openLimit    = time.Second            // after a trigger no result is waited for at a standing belt
	breath       = 300 * time.Millisecond // from a stop to the next start at least
)

// Why a part has no result of its own.
const (
	lostNotReady = "not_ready" // it came when the door promised nothing: no trigger was given
	lostMissed   = "missed"    // the door didn't accept its trigger
	lostMissing  = "missing"   // its trigger was given, and no result came
)

// doorSays is what the controller read at one moment.
type doorSays struct {
	status, beat, waiting, accepted, number uint16
	verdict                                 vision.Verdict
	trigger, part                           string // of the result
}

func (s *doorSays) is(bit uint16) bool { return s != nil && s.status&bit != 0 }

// readDoor makes sense of the input registers. A verdict that isn't known is NONE.
func readDoor(r []uint16) *doorSays {
	s := &doorSays{
		status: r[0], beat: r[1], waiting: r[2], accepted: r[6], number: r[10],
		trigger: unpackID(r[triggerIDAt : triggerIDAt+idLength]), part: unpackID(r[partIDAt : partIDAt+idLength]),
	}
	switch {
	case r[8] == 1 && s.is(hasPass):
		s.verdict = vision.Pass
	case r[8] == 2:
		s.verdict = vision.Fail
	}
	return s
}

// onBelt is a part between the light barrier and the gate, and what became of it.
type onBelt struct {
	n             int // of the scene
	id, trigger   string
	came, askedAt time.Time
	asked         bool   // Trigger was raised for it
	accepted      bool   // by the door, under number
	number        uint16 //
	answered      bool
	verdict       vision.Verdict // that was read over Modbus; NONE before
	lost          string         // why it is rejected without a result; "" as long as one may come
	through       bool           // it was at the gate
	passed        bool           // which was open
}

// good tells whether its own result says PASS.
func (p *onBelt) good() bool { return p.answered && p.lost == "" && p.verdict == vision.Pass }

// rejectGate is the gate downstream. Without being told it is shut, and rejects.
type rejectGate struct{ open bool }

// meet takes a part through: the gate is opened for one whose own result is good,
// and is shut again behind it.
func (g *rejectGate) meet(p *onBelt) {
	if p.good() {
		g.open = true
	}
	p.through, p.passed = true, g.open
	g.open = false
}

// plcProgram is the controller's program: the handshake, the parts on their way to
// the gate, and the belt's motor. It knows neither wire nor clock.
type plcProgram struct {
	every    time.Duration // of heartbeats
	patience time.Duration // from the light barrier to the trigger: later the part isn't in place
	ending   bool          // the belt doesn't start again

	in     *doorSays // newest; nil without a connection
	read   time.Time
	beat   uint16
	beatAt time.Time // when it changed
	beats  int       // since the belt stands, or the connection is new

	control         uint16
	pending, asking *onBelt // that waits for its trigger; whose trigger is raised
	parts           []*onBelt
	way             []*onBelt // of parts, between light barrier and gate

	run       bool // the motor
	why       string
	halted    time.Time
	restarted bool // Restart was pulsed since the belt stands

	missed, strange, double int
}

// arrive hears the light barrier.
func (c *plcProgram) arrive(now time.Time, n int) {
	p := &onBelt{n: n, id: "part-" + strconv.Itoa(n), trigger: "t" + strconv.Itoa(n), came: now}
	c.parts, c.way = append(c.parts, p), append(c.way, p)
	if c.pending != nil { // the one before it got no trigger in time
		c.pending.lost, c.pending = lostNotReady, nil
	}
	why := c.hindrance(now)
	if c.run && why == "" {
		c.pending = p
		return
	}
	p.lost = lostNotReady
	c.halt(now, "a part arrives, and "+why)
}

// hindrance is why no trigger can be given now, "" for none.
func (c *plcProgram) hindrance(now time.Time) string {
	switch {
	case c.in == nil:
		return "the agent's door doesn't answer"
	case now.Sub(c.read) > staleInputs:
		return fmt.Sprintf("the agent's door hasn't answered for %d ms", now.Sub(c.read).Milliseconds())
	case !c.in.is(isOnline):
		return "the agent isn't online"
	case c.control&coilTrigger == 0 && !c.in.is(hasAccepted) && !c.in.is(isReady): // else the last trigger alone keeps it low
		return "the agent isn't ready for a trigger"
	}
	return ""
}

// leave takes the next part through the gate.
func (c *plcProgram) leave(now time.Time, g *rejectGate) *onBelt {
	p := c.way[0]
	c.way = c.way[1:]
	if !p.answered && p.lost == "" {
		p.lost = lostMissing
		if c.pending == p {
			c.pending = nil
		}
		c.halt(now, "a part is at the gate and has no result")
	}
	g.meet(p)
	return p
}

// watch stops the belt when the heartbeat stands still.
func (c *plcProgram) watch(now time.Time) {
	if now.Sub(c.beatAt) > beatsMissing*c.every {
		c.halt(now, fmt.Sprintf("the heartbeat has stood still for %d intervals", beatsMissing))
	}
}

func (c *plcProgram) halt(now time.Time, why string) {
	if !c.run {
		return
	}
	c.run, c.why, c.halted, c.restarted, c.beats = false, why, now, false, 0
	if c.pending != nil {
		c.pending.lost, c.pending = lostNotReady, nil
	}
}

// scan takes what was read, nil where nothing could be, and sets control and the motor.
func (c *plcProgram) scan(now time.Time, in *doorSays) {
	c.in = in
	if in == nil {
		c.control, c.asking, c.restarted, c.beats = 0, nil, false, 0
		return
	}
	c.read = now
	if in.beat != c.beat {
		c.beat, c.beatAt = in.beat, now
		c.beats++
	}
	c.handshake(now)
	c.result()
	if !c.run {
		c.start(now)
	}
}

// handshake lowers and raises Trigger.
func (c *plcProgram) handshake(now time.Time) {
	if p := c.asking; p != nil {
		switch {
		case c.in.is(hasAccepted):
			p.accepted, p.number = true, c.in.accepted
		case c.in.is(hasMissed):
			p.lost = lostMissed
			c.missed++
		case now.Sub(p.askedAt) < openLimit:
			return
		}
		c.asking = nil
		c.control &^= coilTrigger
	}
	c.control &^= coilClear
	if c.in.is(hasMissed) || c.in.is(hasOverrun) {
		c.control |= coilClear
	}
	p := c.pending
	switch {
	case p == nil:
	case now.Sub(p.came) > c.patience:
		p.lost, c.pending = lostNotReady, nil
		c.halt(now, "a part has gone by before its trigger could be given")
	case c.control&(coilTrigger|coilClear) == 0 && c.in.is(isReady) && !c.in.is(hasAccepted):
		p.asked, p.askedAt = true, now
		c.asking, c.pending = p, nil
		c.control |= coilTrigger
	}
}

// result takes a result that stands, once, and acknowledges it. One whose trigger
// isn't known to be accepted, as the connection broke in between, is nobody's.
func (c *plcProgram) result() {
	if !c.in.is(hasResult) {
		c.control &^= coilAck
		return
	}
	if c.control&coilAck != 0 {
		return
	}
	c.control |= coilAck
	for _, p := range c.parts {
		if p.id != c.in.part || p.trigger != c.in.trigger || !p.asked {
			continue
		}
		switch {
		case p.answered:
			c.double++
		case c.in.is(isRepetition) || p.accepted && p.number != c.in.number:
			c.strange++
		case !p.accepted:
		default:
			p.answered, p.verdict = true, c.in.verdict
		}
		return
	}
	c.strange++
}

// start makes the belt run again once the agent is there and owes nothing: what has
// no result by then gets none.
func (c *plcProgram) start(now time.Time) {
	switch {
	case c.ending || now.Sub(c.halted) < breath || c.open(now):
		return
	case c.control == coilRestart:
		c.control, c.restarted = 0, true
		return
	case !c.restarted && c.control == 0:
		c.control = coilRestart
		return
	}
	if c.control != 0 || !c.in.is(isOnline) || !c.in.is(isReady) || c.in.is(hasResult) || c.in.waiting != 0 || c.beats < beatsToStart {
		return
	}
	for _, p := range c.way {
		if !p.answered && p.lost == "" {
			p.lost = lostMissing
		}
	}
	c.run, c.beatAt = true, now
}

// open tells whether a result may still come.
func (c *plcProgram) open(now time.Time) bool {
	for _, p := range c.way {
		if p.asked && !p.answered && p.lost == "" && now.Sub(p.askedAt) < openLimit {
			return true
		}
	}
	return false
}

// outputs are the holding registers. The IDs are those of the trigger that is raised.
func (c *plcProgram) outputs() (r [doorOutputs]uint16) {
	r[0] = c.control
	if c.asking != nil {
		packID(r[triggerIDAt:triggerIDAt+idLength], c.asking.trigger)
		packID(r[partIDAt:partIDAt+idLength], c.asking.id)
	}
	return r
}

// packID writes a name as two characters a register, the first in the high byte.
func packID(to []uint16, s string) {
	for i := range min(len(s), 2*len(to)) {
		to[i/2] |= uint16(s[i]) << (8 * (1 - i%2))
	}
}

func unpackID(from []uint16) string {
	var b []byte
	for i := range 2 * len(from) {
		ch := byte(from[i/2] >> (8 * (1 - i%2)))
		if ch == 0 {
			break
		}
		b = append(b, ch)
	}
	return string(b)
}
