package plc

import (
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/vision"
)

// Sizes of the blocks (APP 4.4: addresses in a PDU count from 0).
const (
	coilCount    = 16
	inputCount   = 81        // input registers
	holdingCount = 80        // holding registers that the controller writes
	mirrorAt     = 1000      // holding registers that repeat the input registers
	idRegisters  = maxID / 2 // two characters in a register, the first in the high byte
	controlWord  = 0         // holding register
	recipeWanted = 1         // holding register
	triggerIDAt  = 16        // of holding registers
	partIDAt     = 48        // of holding registers
	coilTrigger  = 1 << 0    // bits of the control word
	coilAck      = 1 << 1    //
	coilClear    = 1 << 2    //
	coilRestart  = 1 << 3    //
	coils        = 1<<4 - 1  // those that mean something
)

// moment is the door as one request sees it.
type moment struct {
	online, ready, busy, beats bool
	accepted, missed, overrun  bool
	recipeFault                bool
	beat, waiting, missedCount uint16
	recipe, recipes, sequence  uint16
	acceptedNumber             uint16
	result                     *inspection // under Results Valid; nil: none
	resultRecipe               uint16
}

// verdict is what the shown result says; without one it is None, which rejects.
func (m *moment) verdict() vision.Verdict {
	if m.result == nil {
		return vision.None
	}
	return m.result.answer.Verdict
}

// coilTable is what the controller says in bits.
var coilTable = []struct {
	at            int
	name, meaning string
}{
	{0, "Trigger", "rising edge: inspect; lower it when Trigger Ack is there"},
	{1, "Results Ack", "rising edge: the result was read; lower it when Results Valid is gone"},
	{2, "Clear Faults", "rising edge: take Missed Trigger, Buffer Overrun and Recipe Fault back"},
	{3, "Restart", "rising edge: drop every result that wasn't acknowledged, and the faults; to be pulsed when the controller starts"},
}

// statusTable is what the device says in bits.
var statusTable = []struct {
	at            int
	name, meaning string
	on            func(m *moment) bool
}{
	{0, "Online", "the agent makes progress", func(m *moment) bool { return m.online }},
	{1, "Trigger Ready", "a trigger that comes now gets a verdict", func(m *moment) bool { return m.ready }},
	{2, "Trigger Ack", "the trigger was accepted; until Trigger is lowered", func(m *moment) bool { return m.accepted }},
	{3, "Busy", "at least one inspection runs", func(m *moment) bool { return m.busy }},
	{4, "Results Valid", "a result stands in the input registers; until Results Ack", func(m *moment) bool { return m.result != nil }},
	{5, "Missed Trigger", "a trigger came when none could be accepted: that part must be rejected; latched", func(m *moment) bool { return m.missed }},
	{6, "Buffer Overrun", "eight results waited for Results Ack, so triggers can't be accepted; latched", func(m *moment) bool { return m.overrun }},
	{7, "Heartbeat", "changes with each beat", func(m *moment) bool { return m.beats }},
	{8, "Pass", "Results Valid, and the verdict is PASS", func(m *moment) bool { return m.verdict() == vision.Pass }},
	{9, "Reject", "anything but Pass: also without a result", func(m *moment) bool { return m.verdict() != vision.Pass }},
	{10, "Recipe Fault", "the last change of recipe didn't come about; until the next, or Clear Faults", func(m *moment) bool { return m.recipeFault }},
	{11, "Repeated", "Results Valid, and the trigger's ID had been answered before: this is that answer again", func(m *moment) bool { return m.result != nil && m.result.answer.Repeated }},
}

// inputTable is what the device says in registers. All registers of one request
// are of one moment.
var inputTable = []struct {
	at, count     int
	name, meaning string
	fill          func(m *moment, to []uint16)
}{
	{0, 1, "Status", "the discrete inputs 0 to 15, 0 in the lowest bit", func(m *moment, to []uint16) { to[0] = m.status() }},
	{1, 1, "Heartbeat", "counts the beats, 1 to 65535 and on from 1; stands still when the agent is stuck", func(m *moment, to []uint16) { to[0] = m.beat }},
	{2, 1, "Waiting", "triggers that were accepted and whose result wasn't acknowledged", func(m *moment, to []uint16) { to[0] = m.waiting }},
	{3, 1, "Missed", "missed triggers since the agent's start, modulo 65536", func(m *moment, to []uint16) { to[0] = m.missedCount }},
	{4, 1, "Recipe Echo", "number of the active recipe; 0: none", func(m *moment, to []uint16) { to[0] = m.recipe }},
	{5, 1, "Recipes", "how many there are", func(m *moment, to []uint16) { to[0] = m.recipes }},
	{6, 1, "Accepted Number", "the device's number of the last trigger that it accepted, 1 to 65535 and on from 1", func(m *moment, to []uint16) { to[0] = m.acceptedNumber }},
	{7, 1, "Sequence", "counts the results that were shown; the same as in register 80, or the result changed between two requests", func(m *moment, to []uint16) { to[0] = m.sequence }},
	{8, 1, "Verdict", "0 NONE, 1 PASS, 2 FAIL; 0 without a result", func(m *moment, to []uint16) { to[0] = uint16(m.verdict()) }},
	{9, 1, "Reason", "code of the reason, below", func(m *moment, to []uint16) {
		if m.result != nil {
			to[0] = reasonCode(m.result.answer.Reason)
		}
	}},
	{10, 1, "Result Number", "the Accepted Number of the result's trigger; 0 without a result", func(m *moment, to []uint16) {
		if m.result != nil {
			to[0] = m.result.number
		}
	}},
	{11, 1, "Attempt", "1 for the first inspection of this ID; 0 without a result", func(m *moment, to []uint16) {
		if m.result != nil {
			to[0] = uint16(min(max(m.result.answer.Attempt, 1), 65535))
		}
	}},
	{12, 1, "Result Recipe", "number of the recipe that judged it; 0: none", func(m *moment, to []uint16) { to[0] = m.resultRecipe }},
	{13, 3, "", "read as 0", nil},
	{16, idRegisters, "Result Trigger ID", "as it was written, or the device's count", func(m *moment, to []uint16) {
		if m.result != nil {
			pack(to, m.result.answer.TriggerID)
		}
	}},
	{48, idRegisters, "Result Part ID", "as it was written", func(m *moment, to []uint16) {
		if m.result != nil {
			pack(to, m.result.answer.PartID)
		}
	}},
	{80, 1, "Sequence", "as in register 7", func(m *moment, to []uint16) { to[0] = m.sequence }},
}

// holdingTable is what the controller says in registers.
var holdingTable = []struct {
	at, count     int
	name, meaning string
}{
	{controlWord, 1, "Control", "the coils 0 to 15, 0 in the lowest bit"},
	{recipeWanted, 1, "Recipe", "a change to a number from 1 makes that recipe the active one: wait for Recipe Echo; 0 changes nothing"},
	{2, 14, "", "ignored"},
	{triggerIDAt, idRegisters, "Trigger ID", "of the next trigger; empty: the device counts"},
	{partIDAt, idRegisters, "Part ID", "of the next trigger; empty: nobody knows it"},
	{mirrorAt, inputCount, "Input registers", "the input registers 0 to 80 again, to be read alone, for controllers that know holding registers alone"},
}

func (m *moment) status() uint16 {
	var word uint16
	for _, s := range statusTable {
		if s.on(m) {
			word |= 1 << s.at
		}
	}
	return word
}

func (m *moment) inputs() (regs [inputCount]uint16) {
	for _, r := range inputTable {
		if r.fill != nil {
			r.fill(m, regs[r.at:r.at+r.count])
		}
	}
	return regs
}

// look takes one moment's view of the door.
func (d *Modbus) look() *moment {
	ready, _ := d.ready()
	active, all := d.station.Recipe()
	m := &moment{recipe: numberOf(active, all), recipes: uint16(min(len(all), 65535))}
	m.beat, m.online = d.beat.state()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	h := &d.hs
	m.ready = ready && d.holding[controlWord]&coilTrigger == 0 && !d.switching && h.room()
	m.busy = h.open > 0
	m.beats = m.beat%2 == 1
	m.accepted, m.missed, m.overrun = h.accepted, h.missed, h.overrun
	m.recipeFault = d.recipeFault
	m.waiting, m.missedCount = uint16(len(h.queue)), uint16(h.counts.Missed)
	m.sequence, m.acceptedNumber = h.sequence, h.number
	if h.shown != nil && m.online { // it is never written again once it is shown
		m.result = h.shown
		m.resultRecipe = numberOf(h.shown.answer.Recipe, all)
	}
	return m
}

// numberOf counts recipes from 1, in the order of the configuration.
func numberOf(name string, all []string) uint16 {
	return uint16(min(slices.Index(all, name)+1, 65535))
}

// pack writes a name as two characters a register, filled up with zeros. What
// isn't printable ASCII, or doesn't fit, never came through a door.
func pack(to []uint16, s string) {
	s = s[:min(len(s), 2*len(to))]
	for i := range to {
		to[i] = 0
		if 2*i < len(s) {
			to[i] = uint16(s[2*i]) << 8
		}
		if 2*i+1 < len(s) {
			to[i] |= uint16(s[2*i+1])
		}
	}
}

// unpack reads a name up to its first zero; spaces behind it fill it up, as
// controllers do.
func unpack(from []uint16) string {
	b := make([]byte, 0, 2*len(from))
	for _, r := range from {
		for _, c := range [2]byte{byte(r >> 8), byte(r)} {
			if c == 0 {
				return strings.TrimRight(string(b), " ")
			}
			b = append(b, c)
		}
	}
	return strings.TrimRight(string(b), " ")
}

// nameable tells whether a name is one: printable ASCII without spaces.
func nameable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
