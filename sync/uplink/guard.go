package uplink

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a connection.
const (
	silence    = 35 * time.Second // without a byte from the broker; the client asks for one every 20 s
	writeLimit = 5 * time.Second  // for a piece to leave
	piece      = 16 << 10         // bytes written at once: a slow link isn't a dead one
	maxPacket  = 72 << 10         // bytes of a packet from the broker: a piece of a bundle has 64 KiB
)

// Packets that a broker sends to a client that only subscribes with QoS 0, by
// the upper half of their first byte.
const (
	packetConnack  = 2
	packetPublish  = 3
	packetPuback   = 4
	packetSuback   = 9
	packetPingresp = 13
)

var errPacket = errors.New("the broker sent what is no MQTT packet for this device")

// guard is the connection that the MQTT client sees. The client lets a broker
// make it allocate 256 MB, or panic with a SUBACK that grants more than was
// asked for, and has no limit on most of its writes: guard looks at the packet
// headers as they come in, and gives each read and write its time.
type guard struct {
	net.Conn
	handshake atomic.Bool // a deadline for all of it holds

	mu sync.Mutex // held for a whole packet, so that a ping doesn't cut one in two

	// Of the incoming packet; only Read uses them, which one goroutine calls.
	at    place
	kind  byte
	size  int
	shift int
}

type place int

const (
	inHeader place = iota
	inLength
	inBody
)

func (g *guard) Read(b []byte) (int, error) {
	if !g.handshake.Load() {
		if err := g.Conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return 0, err
		}
	}
	n, err := g.Conn.Read(b)
	if bad := g.follow(b[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// follow goes through the packets' bytes and refuses what none may have.
func (g *guard) follow(b []byte) error {
	for len(b) > 0 {
		switch g.at {
		case inHeader:
			g.kind, g.size, g.shift, g.at = b[0]>>4, 0, 0, inLength
			b = b[1:]
		case inLength:
			g.size |= int(b[0]&0x7f) << g.shift
			g.shift += 7
			more := b[0]&0x80 != 0
			b = b[1:]
			if g.size > maxPacket || more && g.shift > 21 {
				return fmt.Errorf("%w: kind %d, %d bytes or more", errPacket, g.kind, g.size)
			}
			if more {
				continue
			}
			if !possible(g.kind, g.size) {
				return fmt.Errorf("%w: kind %d, %d bytes", errPacket, g.kind, g.size)
			}
			g.at = inBody
			if g.size == 0 {
				g.at = inHeader
			}
		case inBody:
			n := min(g.size, len(b))
			g.size -= n
			b = b[n:]
			if g.size == 0 {
				g.at = inHeader
			}
		}
	}
	return nil
}

func possible(kind byte, size int) bool {
	switch kind {
	case packetConnack, packetPuback:
		return size == 2
	case packetSuback:
		return size == 2+len(downKinds)
	case packetPublish:
		return size > 2
	case packetPingresp:
		return size == 0
	}
	return false
}

func (g *guard) Write(b []byte) (written int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(b) > 0 {
		if !g.handshake.Load() {
			if err := g.Conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
				return written, err
			}
		}
		n, err := g.Conn.Write(b[:min(len(b), piece)])
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// SetDeadline is how the client bounds its handshake, and ends that bound.
func (g *guard) SetDeadline(t time.Time) error {
	g.handshake.Store(!t.IsZero())
	return g.Conn.SetDeadline(t)
}

// SetWriteDeadline does nothing: the client gives a whole packet what each of
// its pieces gets here.
func (g *guard) SetWriteDeadline(time.Time) error { return nil }
