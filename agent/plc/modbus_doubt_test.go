package plc

import (
	"testing"
	"time"
)

// A trigger that comes again over a new connection, without having been lowered, is
// nobody's old one: it is missed, and the old one's acknowledgement isn't shown for it.
func TestModbusReconnectWithTriggerHigh(t *testing.T) {
	t.Parallel()
	for _, again := range []struct {
		what string
		pdu  []byte
	}{
		{"one coil", []byte{writeCoil, 0, 0, 0xFF, 0}},
		{"coils", []byte{writeCoils, 0, 0, 0, 4, 1, coilTrigger}},
		{"a register", []byte{writeRegister, 0, controlWord, 0, coilTrigger}},
		{"with a restart", []byte{writeRegister, 0, controlWord, 0, coilTrigger | coilRestart}},
	} {
		t.Run(again.what, func(t *testing.T) {
			d, at := openModbus(t, ModbusConfig{Hold: 20 * time.Second}, &station{})
			c := &plc{talker: dial(t, at, "")}
			c.coil(0, true)
			_ = c.Close()
			until(t, d, func(s Stats) bool { return s.Client == "" })
			c = &plc{talker: dial(t, at, "")} // who connects anew for each request
			if in := c.inputs(); in[0]&(bitAck|bitMiss) != bitAck {
				t.Errorf("status %012b, the trigger's acknowledgement is gone", in[0])
			}
			c.coil(1, false) // speaks of another coil
			if in := c.inputs(); in[0]&(bitAck|bitMiss) != bitAck {
				t.Errorf("status %012b after another coil was written", in[0])
			}
			c.ask(again.pdu...)
			if in := c.inputs(); in[0]&(bitAck|bitMiss) != bitMiss {
				t.Errorf("status %012b, want a missed trigger and no acknowledgement", in[0])
			}
			if s := d.Stats(); s.Triggers != 1 || s.Missed != 1 {
				t.Errorf("%+v", s)
			}
			c.coil(0, false)
			c.waitFor(bitReady, bitReady)
			c.coil(0, true)
			if in := c.inputs(); in[0]&bitAck == 0 || in[6] != 2 {
				t.Errorf("status %012b, accepted %d: lowered and raised it is a new trigger", in[0], in[6])
			}
		})
	}
}

// A restart that is pulsed again over a new connection is one, though the level stood.
func TestModbusReconnectWithRestartHigh(t *testing.T) {
	t.Parallel()
	d, at := openModbus(t, ModbusConfig{Hold: 20 * time.Second}, &station{})
	c := &plc{talker: dial(t, at, "")}
	c.coil(3, true)
	c.coil(0, true)
	c.coil(0, false)
	c.waitFor(bitValid, bitValid)
	_ = c.Close()
	until(t, d, func(s Stats) bool { return s.Client == "" })
	c = &plc{talker: dial(t, at, "")}
	c.coil(3, true)
	if in := c.inputs(); in[0]&(bitValid|bitPass|bitRej) != bitRej || in[2] != 0 {
		t.Errorf("status %012b, %d wait", in[0], in[2])
	}
}

// A PASS that stands while the agent gets stuck isn't shown any longer, and never
// again: once the agent goes on, its part is long past.
func TestModbusStuckUnderAPass(t *testing.T) {
	t.Parallel()
	for _, acked := range []bool{false, true} {
		s := &station{}
		d, at := openModbus(t, ModbusConfig{}, s)
		c := &plc{talker: dial(t, at, "")}
		c.triggers("one")
		c.waitFor(bitValid|bitPass|bitRej, bitValid|bitPass)
		if acked { // the second waits behind the level
			c.coil(1, true)
			c.coil(0, true)
			c.coil(0, false)
			until(t, d, func(s Stats) bool { return s.Triggers == 2 && s.Waiting == 1 })
		}
		s.stuck.Store(true)
		in := c.waitFor(1, 0)
		if in[0]&(bitValid|bitPass|bitRej) != bitRej || in[8] != 0 || in[10] != 0 || in[16] != 0 {
			t.Errorf("stuck: status %012b, verdict %d", in[0], in[8])
		}
		s.stuck.Store(false)
		in = c.waitFor(1, 1)
		if in[0]&(bitValid|bitPass|bitRej) != bitRej || in[2] != 0 {
			t.Errorf("after it was stuck: status %012b, %d wait", in[0], in[2])
		}
		if s := d.Stats(); s.Lost != 1 {
			t.Errorf("%+v", s)
		}
		c.coil(0, true)
		c.coil(0, false)
		if acked { // a level that stayed is no edge: it fetches nothing
			c.coil(1, true)
			c.coil(1, false)
		}
		if in := c.waitFor(bitValid, bitValid); in[10] != in[6] || in[0]&bitPass == 0 {
			t.Errorf("status %012b of number %d, %d was accepted", in[0], in[10], in[6])
		}
	}
}
