package plc

import (
	"context"
	"encoding/binary"
	"time"
)

// Function codes (APP 5.1).
const (
	readCoils          = 1
	readDiscreteInputs = 2
	readHolding        = 3
	readInput          = 4
	writeCoil          = 5
	writeRegister      = 6
	writeCoils         = 15
	writeRegisters     = 16
	readWriteRegisters = 23
)

// Exception codes (APP 7).
const (
	illegalFunction = 1
	illegalAddress  = 2
	illegalValue    = 3
	deviceFailure   = 4
	deviceBusy      = 6
)

// process carries out one request and gives its response, which may be an
// exception (APP 7). A request is carried out whole or not at all.
func (d *Modbus) process(ctx context.Context, pdu []byte) []byte {
	out, exception := d.execute(ctx, pdu)
	if exception != 0 {
		return []byte{pdu[0] | 0x80, exception}
	}
	return out
}

// execute follows the state diagrams of APP 6: function, then quantities, then
// addresses, then the work.
func (d *Modbus) execute(ctx context.Context, pdu []byte) ([]byte, byte) {
	if ctx.Err() != nil {
		return nil, deviceFailure // the agent is ending
	}
	switch pdu[0] {
	case readCoils, readDiscreteInputs:
		return d.readBits(pdu)
	case readHolding, readInput:
		return d.readRegisters(pdu)
	case writeCoil:
		return d.writeOneCoil(pdu)
	case writeRegister:
		return d.writeOneRegister(pdu)
	case writeCoils:
		return d.writeManyCoils(pdu)
	case writeRegisters:
		return d.writeManyRegisters(pdu)
	case readWriteRegisters:
		return d.readWrite(pdu)
	}
	return nil, illegalFunction
}

func word(pdu []byte, at int) int { return int(binary.BigEndian.Uint16(pdu[at:])) } // APP 4.2: big-endian

// readBits: APP 6.1 and 6.2.
func (d *Modbus) readBits(pdu []byte) ([]byte, byte) {
	if len(pdu) != 5 {
		return nil, illegalValue
	}
	at, n := word(pdu, 1), word(pdu, 3)
	if n < 1 || n > 2000 {
		return nil, illegalValue
	}
	if at+n > coilCount {
		return nil, illegalAddress
	}
	var bits uint16
	if pdu[0] == readCoils {
		bits = d.control()
	} else {
		bits = d.look().status()
	}
	bits = bits >> at & (1<<n - 1)
	out := []byte{pdu[0], byte((n + 7) / 8), byte(bits)} // the first in the lowest bit
	if n > 8 {
		out = append(out, byte(bits>>8))
	}
	return out, 0
}

// readRegisters: APP 6.3 and 6.4.
func (d *Modbus) readRegisters(pdu []byte) ([]byte, byte) {
	if len(pdu) != 5 {
		return nil, illegalValue
	}
	return d.read(pdu[0], word(pdu, 1), word(pdu, 3))
}

func (d *Modbus) read(function byte, at, n int) ([]byte, byte) {
	if n < 1 || n > 125 {
		return nil, illegalValue
	}
	var regs []uint16
	switch {
	case function == readInput && at+n <= inputCount:
		all := d.look().inputs()
		regs = all[at : at+n]
	case function != readInput && at+n <= holdingCount:
		all := d.written()
		regs = all[at : at+n]
	case function != readInput && at >= mirrorAt && at+n <= mirrorAt+inputCount:
		all := d.look().inputs()
		regs = all[at-mirrorAt : at-mirrorAt+n]
	default:
		return nil, illegalAddress
	}
	out := append(make([]byte, 0, 2+2*n), function, byte(2*n))
	for _, r := range regs {
		out = binary.BigEndian.AppendUint16(out, r)
	}
	return out, 0
}

func (d *Modbus) control() uint16 { return d.written()[controlWord] }

func (d *Modbus) written() [holdingCount]uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.holding
}

// writeOneCoil: APP 6.5. 0x0000 and 0xFF00 are the only values.
func (d *Modbus) writeOneCoil(pdu []byte) ([]byte, byte) {
	if len(pdu) != 5 || word(pdu, 3) != 0 && word(pdu, 3) != 0xFF00 {
		return nil, illegalValue
	}
	at := word(pdu, 1)
	if at >= coilCount {
		return nil, illegalAddress
	}
	var bits uint16
	if word(pdu, 3) != 0 {
		bits = 1 << at
	}
	if e := d.writeControl(bits, 1<<at); e != 0 {
		return nil, e
	}
	return pdu, 0
}

// writeManyCoils: APP 6.11.
func (d *Modbus) writeManyCoils(pdu []byte) ([]byte, byte) {
	if len(pdu) < 7 {
		return nil, illegalValue
	}
	at, n := word(pdu, 1), word(pdu, 3)
	if n < 1 || n > 1968 || int(pdu[5]) != (n+7)/8 || len(pdu) != 6+int(pdu[5]) {
		return nil, illegalValue
	}
	if at+n > coilCount {
		return nil, illegalAddress
	}
	bits := uint16(pdu[6])
	if len(pdu) > 7 {
		bits |= uint16(pdu[7]) << 8
	}
	mask := uint16(1<<n - 1)
	if e := d.writeControl(bits&mask<<at, mask<<at); e != 0 {
		return nil, e
	}
	return pdu[:5], 0
}

func (d *Modbus) writeControl(bits, mask uint16) byte {
	return d.write(controlWord, []uint16{d.control()&^mask | bits}, mask)
}

// writeOneRegister: APP 6.6.
func (d *Modbus) writeOneRegister(pdu []byte) ([]byte, byte) {
	if len(pdu) != 5 {
		return nil, illegalValue
	}
	if e := d.write(word(pdu, 1), []uint16{uint16(word(pdu, 3))}, coils); e != 0 {
		return nil, e
	}
	return pdu, 0
}

// writeManyRegisters: APP 6.12.
func (d *Modbus) writeManyRegisters(pdu []byte) ([]byte, byte) {
	if len(pdu) < 8 {
		return nil, illegalValue
	}
	n := word(pdu, 3)
	if n < 1 || n > 123 || int(pdu[5]) != 2*n || len(pdu) != 6+2*n {
		return nil, illegalValue
	}
	if e := d.write(word(pdu, 1), registers(pdu[6:]), coils); e != 0 {
		return nil, e
	}
	return pdu[:5], 0
}

// readWrite: APP 6.17. The write comes before the read.
func (d *Modbus) readWrite(pdu []byte) ([]byte, byte) {
	if len(pdu) < 12 {
		return nil, illegalValue
	}
	at, n, writes := word(pdu, 1), word(pdu, 3), word(pdu, 7)
	if n < 1 || n > 125 || writes < 1 || writes > 121 || int(pdu[9]) != 2*writes || len(pdu) != 10+2*writes {
		return nil, illegalValue
	}
	if at+n > holdingCount && (at < mirrorAt || at+n > mirrorAt+inputCount) {
		return nil, illegalAddress // before anything is written
	}
	if e := d.write(word(pdu, 5), registers(pdu[10:]), coils); e != 0 {
		return nil, e
	}
	return d.read(readWriteRegisters, at, n)
}

func registers(b []byte) []uint16 {
	regs := make([]uint16, len(b)/2)
	for i := range regs {
		regs[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return regs
}

// write takes holding registers and acts upon the levels that they change, in
// this order: Restart, Clear Faults, recipe, Results Ack, Trigger. So one request
// may bring the IDs and the trigger. mask has those coils of the control word that
// the request speaks of.
func (d *Modbus) write(at int, regs []uint16, mask uint16) byte {
	if at+len(regs) > holdingCount {
		return illegalAddress
	}
	ready, _ := d.ready()
	active, all := d.station.Recipe()
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.holding
	next := old
	copy(next[at:], regs)
	next[controlWord] &= coils
	t := Trigger{ID: unpack(next[triggerIDAt:partIDAt]), Part: unpack(next[partIDAt:]), At: now}
	if !nameable(t.ID) || !nameable(t.Part) {
		return illegalValue
	}
	if wanted := next[recipeWanted]; wanted != old[recipeWanted] && wanted != 0 {
		if int(wanted) > len(all) {
			return illegalValue
		}
		if d.switching {
			return deviceBusy
		}
		if all[wanted-1] != active {
			d.switching, d.recipeFault = true, false
			d.switches <- all[wanted-1] // there is room: none is being made the active one
		}
	}
	d.settle()
	d.holding = next
	d.act(next[controlWord], next[controlWord]&^old[controlWord], t, ready)
	if at == controlWord && mask&coilTrigger != 0 {
		d.doubt(next[controlWord]&coilTrigger != 0)
	}
	return 0
}

// doubt takes the trigger's level where a request speaks of it. One that raises what
// is high since an earlier connection may mean a new part, and nobody can tell: it
// is missed, and the accepted one isn't shown in its place. The caller holds mu.
func (d *Modbus) doubt(trigger bool) {
	if d.raised && trigger {
		d.hs.accepted = false
		d.hs.miss()
	}
	d.raised = false
}

// act follows the control word: its levels and the edges among them. The caller
// holds mu.
func (d *Modbus) act(levels, rising uint16, t Trigger, ready bool) {
	if rising&coilRestart != 0 {
		d.hs.forget()
	}
	if rising&(coilRestart|coilClear) != 0 {
		d.hs.clear()
		d.recipeFault = false
	}
	d.hs.acknowledge(levels&coilAck != 0)
	switch {
	case levels&coilTrigger == 0:
		d.hs.lower()
	case rising&coilTrigger != 0:
		d.begin(d.hs.raise(t, ready && !d.switching))
	}
}
