package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
)

// network is two cables one behind the other, so that one end of a connection
// can go without the other hearing of it.
type network struct {
	t         testing.TB
	near, far *cable.Cable
	central   *central
	device    *device
	spare     *cable.Cable // takes far's place when that is left hanging
	cuts      map[string]int
	long      bool // the next outage lasts for longer than a silence is borne
}

// TestFleetCut: the network between a device and the fleet is cut in every way
// while results are made, and what hung in it comes late or never.
func TestFleetCut(t *testing.T) {
	t.Parallel()
	cuts := 5
	if full() {
		cuts = 100
	}
	c := newCentral(t, false)
	n := &network{t: t, near: c.mqtt, far: lay(t), spare: lay(t), central: c, cuts: map[string]int{}}
	n.lead()
	d := newDevice(t, c, "cut")
	n.device = d
	d.start()
	db := c.database()
	ways := []struct {
		name string
		cut  func()
	}{
		{"pulled", n.pulled}, {"reset", n.reset}, {"in a packet", n.inPacket}, {"half-open at the fleet", n.halfOpenFleet}, {"refused", n.refused},
		{"half-open at the device", n.halfOpenDevice}, {"one byte a second", n.trickle}, {"pulled while connecting", n.pulledWhileConnecting},
	}
	for i := range cuts {
		d.until("the fleet's answer", func(now told) bool { return now.Located })
		more(t, db, 1+rand.Uint64N(60))
		moment(100 * time.Millisecond)
		way := ways[i%len(ways)]
		n.long = full() && i%27 == 0 // pulled, in a packet, one byte a second, half-open at the device
		way.cut()
		n.cuts[way.name]++
		n.near.Set(cable.Whole)
		n.far.Set(cable.Whole)
	}
	n.spare.Set(cable.Whole)
	last := d.stop()
	d.audit(c, last)
	t.Logf("%d cuts: %v; %d connections", cuts, n.cuts, last.Connects)
}

// lead lays the network from the device to the fleet.
func (n *network) lead() {
	n.near.To(n.far.Addr())
	for _, end := range []*cable.Cable{n.far, n.spare} {
		end.To(n.central.broker)
	}
}

func (n *network) pulled() {
	n.near.Set(cable.Pulled)
	n.outage()
}

func (n *network) reset() { n.near.Reset() }

func (n *network) refused() {
	n.near.Set(cable.Refused)
	n.outage()
}

// inPacket lets some bytes of what is under way through, and then none.
func (n *network) inPacket() {
	n.far.Set(cable.Trickle)
	passed := n.far.Passed()
	eventually(n.t, "a byte", func() bool { return n.far.Passed() > passed })
	n.far.Reset()
}

// halfOpenFleet cuts the device's end alone: for the broker the connection
// stays, beside the new one of the same device, until the next time that this
// happens; then its end comes late.
func (n *network) halfOpenFleet() {
	n.far.Set(cable.Pulled)
	n.spare.Set(cable.Whole)
	n.near.To(n.spare.Addr())
	n.near.Reset()
	n.far, n.spare = n.spare, n.far
}

// halfOpenDevice cuts the broker's end alone. The device waits for an answer
// that won't come.
func (n *network) halfOpenDevice() {
	n.near.Set(cable.Pulled)
	n.far.Reset()
	n.outage()
}

func (n *network) trickle() {
	n.near.Set(cable.Trickle)
	n.outage()
}

func (n *network) pulledWhileConnecting() {
	n.near.Reset()
	passed := n.near.Passed()
	eventually(n.t, "a handshake", func() bool { return n.near.Passed() > passed })
	n.near.Set(cable.Pulled)
	n.outage()
}

// outage lasts for a while.
func (n *network) outage() {
	if n.long {
		<-time.After(50 * time.Second)
		return
	}
	moment(2 * time.Second)
}
