package plc

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

func openModbus(t testing.TB, c ModbusConfig, s Station) (*Modbus, string) {
	t.Helper()
	if c.Listen == "" {
		c.Access = loopback()
	}
	c.Heartbeat = 200 * time.Millisecond // results are lost where three don't come
	d, err := NewModbus(c, s, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return d, started(t, d).Open
}

// A Modbus client that nobody here wrote goes through the whole handshake.
func TestPymodbus(t *testing.T) {
	python, err := filepath.Abs("../../build/plc-python/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Skipf("there is no pymodbus (.ci/setup python installs it): %v", err)
	}
	s := &station{recipe: "caps", recipes: []string{"caps", "lids"}}
	s.answer = func(_ context.Context, tr Trigger) Answer {
		a := passed(tr)
		a.Recipe = "lids"
		switch tr.ID[len(tr.ID)-1] {
		case '3':
			a.Verdict, a.Reason = vision.Fail, "scratch 0.9 > 0.5"
		case '7':
			a.Verdict, a.Reason = vision.None, vision.ReasonLate
		}
		return a
	}
	d, at := openModbus(t, ModbusConfig{}, s)
	_, port, _ := net.SplitHostPort(at)
	const parts = 40
	cmd := exec.CommandContext(t.Context(), python, "testdata/controller.py", port, fmt.Sprint(parts))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, complaint.String())
	}
	var want strings.Builder
	for n := range parts {
		verdict := "PASS 0"
		switch n % 10 {
		case 3:
			verdict = "FAIL 1000"
		case 7:
			verdict = "NONE 6"
		}
		fmt.Fprintf(&want, "t%d p%d %s\n", n, n, verdict)
	}
	if string(out) != want.String() {
		t.Errorf("got\n%s\nwant\n%s", out, want.String())
	}
	if s := d.Stats(); s.Triggers != parts || s.Acknowledged != parts || s.Missed+s.Overruns+s.Lost+s.Malformed != 0 {
		t.Errorf("%+v", s)
	}
}

// plc is a controller that asks and waits for each answer.
type plc struct {
	*talker
	id uint16
}

// ask sends a PDU and gives the response's.
func (c *plc) ask(pdu ...byte) []byte {
	c.t.Helper()
	c.id++
	c.raw(c.id, 0, pdu)
	return c.response(c.id)
}

func (c *plc) raw(id, protocol uint16, pdu []byte) {
	c.t.Helper()
	if _, err := c.Write(adu(id, protocol, pdu)); err != nil {
		c.t.Fatal(err)
	}
}

func adu(id, protocol uint16, pdu []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = binary.BigEndian.AppendUint16(b, protocol)
	b = binary.BigEndian.AppendUint16(b, uint16(1+len(pdu)))
	return append(append(b, 17), pdu...)
}

func (c *plc) response(id uint16) []byte {
	c.t.Helper()
	var head [7]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		c.t.Fatal(err)
	}
	if binary.BigEndian.Uint16(head[:]) != id || head[2]|head[3] != 0 || head[6] != 17 {
		c.t.Fatalf("a response begins with % x, its request had number %d", head, id)
	}
	pdu := make([]byte, binary.BigEndian.Uint16(head[4:])-1)
	if _, err := io.ReadFull(c.in, pdu); err != nil {
		c.t.Fatal(err)
	}
	return pdu
}

// coil writes one; input reads the status word.
func (c *plc) coil(at byte, on bool) {
	c.t.Helper()
	value := byte(0)
	if on {
		value = 0xFF
	}
	if got := c.ask(writeCoil, 0, at, value, 0); got[0] != writeCoil {
		c.t.Fatalf("coil %d: % x", at, got)
	}
}

func (c *plc) inputs() (regs [inputCount]uint16) {
	c.t.Helper()
	return words(c.ask(readInput, 0, 0, 0, inputCount))
}

func words(pdu []byte) (regs [inputCount]uint16) {
	for n := range regs {
		if len(pdu) >= 4+2*n {
			regs[n] = binary.BigEndian.Uint16(pdu[2+2*n:])
		}
	}
	return regs
}

const (
	bitReady = 1 << 1
	bitAck   = 1 << 2
	bitValid = 1 << 4
	bitMiss  = 1 << 5
	bitOver  = 1 << 6
	bitPass  = 1 << 8
	bitRej   = 1 << 9
	bitFault = 1 << 10
)

func (c *plc) waitFor(bits, want uint16) [inputCount]uint16 {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		in := c.inputs()
		if in[0]&bits == want {
			return in
		}
		if time.Now().After(end) {
			c.t.Fatalf("status stays %012b, want %012b in %012b", in[0], want, bits)
		}
	}
}

// triggers writes an ID and the trigger in one request, and takes the trigger back.
func (c *plc) triggers(id string) {
	c.t.Helper()
	regs := make([]uint16, holdingCount)
	regs[controlWord] = coilTrigger
	pack(regs[triggerIDAt:partIDAt], id)
	pdu := []byte{writeRegisters, 0, 0, 0, holdingCount, 2 * holdingCount}
	for _, r := range regs {
		pdu = binary.BigEndian.AppendUint16(pdu, r)
	}
	if got := c.ask(pdu...); got[0] != writeRegisters {
		c.t.Fatalf("% x", got)
	}
	c.coil(0, false)
}

func TestModbusExceptions(t *testing.T) {
	t.Parallel()
	_, at := openModbus(t, ModbusConfig{}, &station{})
	c := &plc{talker: dial(t, at, "")}
	for _, x := range []struct{ request, want string }{
		{"0100000010", "01020000"},
		{"0200090001", "020101"}, // Reject stands without a result
		{"0100000000", "8103"},
		{"01000007d1", "8103"},
		{"0100000011", "8102"},
		{"01ffffffff", "8103"},
		{"01ffff0010", "8102"},
		{"02000f0002", "8202"},
		{"0300000000", "8303"},
		{"030000007e", "8303"},
		{"0300000051", "8302"},
		{"03ffff0001", "8302"},
		{"0303e70002", "8302"},
		{"030438007d", "8302"},
		{"0400510001", "8402"},
		{"04005000", "8403"},
		{"0400500001", "04020000"},
		{"050000ff01", "8503"},
		{"05000f0000", "05000f0000"},
		{"0500100000", "8502"},
		{"05000000", "8503"},
		{"060050ffff", "8602"},
		{"0600014e", "8603"},
		{"0600010001", "8603"}, // there are no recipes
		{"0600107f00", "8603"}, // no name
		{"0600102041", "8603"}, // a space in front
		{"0f000000040100", "0f00000004"},
		{"0f0000000400", "8f03"},
		{"0f000d00040101", "8f02"},
		{"0f00000000", "8f03"},
		{"100000000204", "9003"},
		{"10000000000000", "9003"},
		{"1000000001020000ff", "9003"},
		{"10004f0002040000", "9003"},
		{"10004f00020400000000", "9002"},
		{"1000020001021234", "1000020001"},
		{"17000000010050000102ffff", "9702"},
		{"17005000010010000102ffff", "9702"},
		{"170000000100100001020000", "1702" + "0000"},
		{"1700000001001000010200", "9703"},
		{"07", "8701"},
		{"2b0e0100", "ab01"},
		{"00", "8001"},
		{"80", "8001"},
	} {
		pdu, err := hex.DecodeString(x.request)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(c.ask(pdu...)); got != x.want {
			t.Errorf("%s: got %s, want %s", x.request, got, x.want)
		}
	}
	if got := c.inputs(); got[0]&bitAck != 0 {
		t.Error("a refused request acted")
	}
}

// Frames cut anywhere, many at once, of another protocol; and lengths that can't be.
func TestModbusFraming(t *testing.T) {
	t.Parallel()
	d, at := openModbus(t, ModbusConfig{}, &station{})
	c := &plc{talker: dial(t, at, "")}
	for _, b := range adu(7, 0, []byte{readInput, 0, 7, 0, 1}) {
		c.send("%s", []byte{b})
	}
	if got := c.response(7); hex.EncodeToString(got) != "04020000" {
		t.Errorf("got % x", got)
	}
	var many []byte
	for n := range 100 {
		many = append(many, adu(uint16(n), 0, []byte{readInput, 0, 7, 0, 1})...)
		many = append(many, adu(9999, 5, []byte{writeCoil, 0, 0, 0xFF, 0})...)
	}
	c.send("%s", many)
	for n := range 100 {
		c.response(uint16(n))
	}
	if s := until(t, d, func(s Stats) bool { return s.Malformed == 100 }); s.Triggers != 0 {
		t.Errorf("%+v", s)
	}
	for _, length := range []int{0, 1, 255, 65535} {
		bad := &plc{talker: dial(t, at, "")}
		frame := adu(1, 0, []byte{readInput, 0, 7, 0, 1})
		binary.BigEndian.PutUint16(frame[4:], uint16(length))
		bad.send("%s", frame)
		bad.closed()
	}
	// A frame that doesn't go on is given up, a pause between frames isn't.
	half := &plc{talker: dial(t, at, "")}
	half.send("%s", adu(1, 0, []byte{readInput, 0, 7, 0, 1})[:9])
	half.closed()
}

// Eight results wait in order; then triggers are missed, and both are latched.
func TestModbusQueue(t *testing.T) {
	t.Parallel()
	d, at := openModbus(t, ModbusConfig{}, &station{})
	c := &plc{talker: dial(t, at, "")}
	for n := range queueLength {
		c.waitFor(bitReady, bitReady)
		c.triggers(fmt.Sprintf("t%d", n))
	}
	in := c.waitFor(bitOver, bitOver)
	if in[0]&bitReady != 0 || in[2] != queueLength {
		t.Errorf("status %012b, %d wait", in[0], in[2])
	}
	c.triggers("more")
	if in = c.inputs(); in[0]&(bitMiss|bitAck) != bitMiss || in[3] != 1 {
		t.Errorf("status %012b, %d missed", in[0], in[3])
	}
	for n := range queueLength {
		in := c.waitFor(bitValid, bitValid)
		if id := unpack(in[16:48]); id != fmt.Sprintf("t%d", n) || in[0]&bitPass == 0 || in[7] != uint16(n+1) {
			t.Errorf("result %d is of %q, sequence %d", n, id, in[7])
		}
		if again := c.inputs(); again[7] != in[7] || again[0]&bitValid == 0 {
			t.Error("Results Valid doesn't hold until Results Ack")
		}
		c.coil(1, true)
		if in := c.inputs(); in[0]&(bitValid|bitPass|bitRej) != bitRej || in[8] != 0 || in[16] != 0 {
			t.Errorf("after Results Ack: status %012b, verdict %d", in[0], in[8])
		}
		c.coil(1, false)
	}
	if in := c.inputs(); in[0]&(bitMiss|bitOver|bitReady) != bitMiss|bitOver|bitReady {
		t.Errorf("status %012b", in[0])
	}
	c.coil(2, true)
	if in := c.inputs(); in[0]&(bitMiss|bitOver) != 0 {
		t.Errorf("status %012b after Clear Faults", in[0])
	}
	if s := d.Stats(); s.Missed != 1 || s.Overruns != 1 || s.Acknowledged != queueLength {
		t.Errorf("%+v", s)
	}
}

// Results survive a lost connection of the same controller, and nobody else's.
func TestModbusReconnect(t *testing.T) {
	t.Parallel()
	d, at := openModbus(t, ModbusConfig{Hold: 20 * time.Second}, &station{})
	c := &plc{talker: dial(t, at, "127.0.0.1")}
	c.triggers("one")
	c.waitFor(bitValid, bitValid)
	c = &plc{talker: dial(t, at, "127.0.0.1")} // the old connection is half open
	if in := c.inputs(); unpack(in[16:48]) != "one" || in[0]&bitValid == 0 {
		t.Errorf("status %012b", in[0])
	}
	_ = c.Close()
	until(t, d, func(s Stats) bool { return s.Client == "" })
	c = &plc{talker: dial(t, at, "127.0.0.2")}
	if in := c.inputs(); in[0]&(bitValid|bitPass) != 0 || in[2] != 0 {
		t.Errorf("another controller sees the first one's result: status %012b", in[0])
	}
	if got := hex.EncodeToString(c.ask(readHolding, 0, triggerIDAt, 0, 1)); got != "03020000" {
		t.Errorf("another controller's trigger would have the first one's ID: %s", got)
	}
	if s := d.Stats(); s.Lost != 1 {
		t.Errorf("%+v", s)
	}
}

// A controller that was away for longer than a lost connection takes begins anew.
func TestModbusHoldEnds(t *testing.T) {
	t.Parallel()
	d, at := openModbus(t, ModbusConfig{Hold: time.Millisecond}, &station{})
	c := &plc{talker: dial(t, at, "")}
	c.triggers("one")
	c.waitFor(bitValid, bitValid)
	_ = c.Close()
	until(t, d, func(s Stats) bool { return s.Lost == 1 })
	c = &plc{talker: dial(t, at, "")}
	if in := c.inputs(); in[0]&(bitValid|bitPass) != 0 {
		t.Errorf("status %012b", in[0])
	}
}

func TestModbusRestart(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := &station{answer: func(ctx context.Context, tr Trigger) Answer {
		if tr.ID == "slow" {
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
		return passed(tr)
	}}
	d, at := openModbus(t, ModbusConfig{}, s)
	c := &plc{talker: dial(t, at, "")}
	c.triggers("slow")
	c.triggers("old")
	c.coil(3, true)
	close(hold)
	c.coil(3, false)
	c.triggers("new")
	if in := c.waitFor(bitValid, bitValid); unpack(in[16:48]) != "new" || in[7] != 1 {
		t.Errorf("%q is shown, sequence %d", unpack(in[16:48]), in[7])
	}
	if s := d.Stats(); s.Lost != 2 {
		t.Errorf("%+v", s)
	}
	c.coil(0, true)
	c.coil(3, true) // a trigger that stays high is no edge
	if s := d.Stats(); s.Triggers != 4 || s.Missed != 0 {
		t.Errorf("%+v", s)
	}
	if in := c.inputs(); in[0]&bitReady != 0 {
		t.Errorf("ready under a trigger that stays high: status %012b", in[0])
	}
}

func TestModbusRecipe(t *testing.T) {
	t.Parallel()
	s := &station{recipe: "caps", recipes: []string{"caps", "lids", "cups"}}
	_, at := openModbus(t, ModbusConfig{}, s)
	c := &plc{talker: dial(t, at, "")}
	recipe := func(n byte) string { return hex.EncodeToString(c.ask(writeRegister, 0, 1, 0, n)) }
	if got := recipe(4); got != "8603" {
		t.Errorf("a recipe that isn't there: %s", got)
	}
	if got := recipe(2); got != "0600010002" {
		t.Error(got)
	}
	for c.inputs()[4] != 2 {
	}
	s.refuse(errors.New("its model isn't there"))
	recipe(3)
	if in := c.waitFor(bitFault, bitFault); in[4] != 2 {
		t.Errorf("the echo is %d", in[4])
	}
	c.coil(2, true)
	c.waitFor(bitFault, 0)
}

// A stuck agent is offline, and a trigger is missed.
func TestModbusStuck(t *testing.T) {
	t.Parallel()
	s := &station{}
	d, at := openModbus(t, ModbusConfig{}, s)
	c := &plc{talker: dial(t, at, "")}
	s.stuck.Store(true)
	c.waitFor(1|bitReady, 0)
	beat := c.inputs()[1]
	c.triggers("x")
	if in := c.inputs(); in[0]&(bitMiss|bitRej|bitAck) != bitMiss|bitRej || in[1] != beat {
		t.Errorf("status %012b, beat %d, it was %d", in[0], in[1], beat)
	}
	if s := d.Stats(); s.Missed != 1 || s.Alive {
		t.Errorf("%+v", s)
	}
}
