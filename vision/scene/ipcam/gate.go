package ipcam

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Fault is what a Gate does to connections.
type Fault uint8

// The faults of a Gate. Each holds until the next is set.
const (
	None    Fault = iota
	Freeze        // connections stay open, and nothing comes through
	Cut           // connections are closed, and new ones at once, too
	Reset         // the same by TCP's RST
	Refuse        // the port is closed
	Garbage       // what the camera sends arrives as noise
)

// Gate is a TCP relay in front of a camera that behaves as bad cameras and
// networks do. Make it with NewGate.
type Gate struct {
	addr, target string

	mu     sync.Mutex // protects what follows
	fault  Fault
	thaw   chan struct{} // closed when the fault changes
	ln     net.Listener  // nil while the port is closed
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

// NewGate opens a port of loopback that leads to target (host:port). It
// relays from now on, until Close.
func NewGate(target string) (*Gate, error) {
	g := &Gate{target: target, thaw: make(chan struct{}), conns: map[net.Conn]bool{}, addr: "127.0.0.1:0"}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g, g.openLocked()
}

// Addr is the gate's own host:port; it stays the same for its life.
func (g *Gate) Addr() string { return g.addr }

func (g *Gate) openLocked() error {
	ln, err := net.Listen("tcp", g.addr)
	if err != nil {
		return fmt.Errorf("open gate: %w", err)
	}
	g.ln, g.addr = ln, ln.Addr().String()
	g.wg.Go(func() { g.accept(ln) })
	return nil
}

// Set changes what happens to the connections there are and to new ones.
func (g *Gate) Set(f Fault) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.New("set fault: the gate is closed")
	}
	g.fault = f
	close(g.thaw)
	g.thaw = make(chan struct{})
	if f == Refuse && g.ln != nil {
		g.ln.Close()
		g.ln = nil
	}
	if f == Cut || f == Reset || f == Refuse {
		g.dropLocked()
	}
	if f != Refuse && g.ln == nil {
		return g.openLocked()
	}
	return nil
}

func (g *Gate) dropLocked() {
	for c := range g.conns {
		g.hangUp(c)
	}
	clear(g.conns)
}

// hangUp closes one connection; by RST where the fault asks for it.
func (g *Gate) hangUp(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok && g.fault == Reset {
		_ = tcp.SetLinger(0) // only makes the close less rude
	}
	c.Close()
}

// Close ends the port and all connections.
func (g *Gate) Close() {
	g.mu.Lock()
	g.closed = true
	g.fault = Cut
	close(g.thaw)
	g.thaw = make(chan struct{})
	if g.ln != nil {
		g.ln.Close()
		g.ln = nil
	}
	g.dropLocked()
	g.mu.Unlock()
	g.wg.Wait()
}

func (g *Gate) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		if g.closed || g.fault == Cut || g.fault == Reset || g.fault == Refuse {
			g.hangUp(c)
			g.mu.Unlock()
			continue
		}
		g.conns[c] = true
		g.wg.Go(func() { g.relay(c) })
		g.mu.Unlock()
	}
}

func (g *Gate) relay(c net.Conn) {
	defer g.forget(c)
	up, err := net.DialTimeout("tcp", g.target, 5*time.Second)
	if err != nil {
		return
	}
	defer g.forget(up)
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.conns[up] = true
	g.mu.Unlock()
	g.wg.Go(func() {
		g.pipe(up, c, false)
		up.Close()
		c.Close()
	})
	g.pipe(c, up, true)
}

func (g *Gate) forget(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
	c.Close()
}

// pipe copies, holding on while frozen; what comes from the camera may be garbled.
func (g *Gate) pipe(to, from net.Conn, camera bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		g.mu.Lock()
		for g.fault == Freeze {
			thaw := g.thaw
			g.mu.Unlock()
			<-thaw
			g.mu.Lock()
		}
		noise := g.fault == Garbage && camera
		g.mu.Unlock()
		if noise {
			_, _ = rand.Read(buf[:n]) // never fails
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
