// Package cable is a network between programs on one machine that can be cut: a
// TCP proxy on loopback. The demonstration pulls it; the tests do worse.
package cable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// State says what the cable does with what is sent over it.
type State int

// The states.
const (
	Whole   State = iota // everything passes
	Pulled               // nothing passes, nobody is told: connections hang, new ones too
	Refused              // connections are reset (RST), new ones too
	Trickle              // one byte a second passes in each direction
)

// Cable passes connections on to a target.
type Cable struct {
	listener net.Listener
	target   string

	mu     sync.Mutex // protects what follows
	state  State
	turn   chan struct{} // closed when state changes
	conns  map[*net.TCPConn]struct{}
	passed uint64
	rate   int           // bytes/s of a direction; 0 for any
	delay  time.Duration // of each direction
}

// New makes a cable that leads to the target, host:port. Run lays it.
func New(target string) (*Cable, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay a cable to %s: %w", target, err)
	}
	return &Cable{listener: l, target: target, turn: make(chan struct{}), conns: map[*net.TCPConn]struct{}{}}, nil
}

// To names another target for connections from now on.
func (c *Cable) To(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = target
}

// Shape makes the cable a slow one for connections from now on: so many bytes
// a second pass in each direction of each, and take so long.
func (c *Cable) Shape(rate int, delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rate, c.delay = rate, delay
}

// Addr is this end of the cable.
func (c *Cable) Addr() string { return c.listener.Addr().String() }

// Port is the port of this end.
func (c *Cable) Port() int { return c.listener.Addr().(*net.TCPAddr).Port }

// Set changes what the cable does, for open connections too.
func (c *Cable) Set(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	close(c.turn)
	c.turn = make(chan struct{})
	if s == Refused {
		c.resetLocked()
	}
}

// Reset ends all open connections with RST, in the middle of whatever they say.
func (c *Cable) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resetLocked()
}

func (c *Cable) resetLocked() {
	for conn := range c.conns {
		_ = conn.SetLinger(0) // its next close is a reset; a closed one has nothing to reset
		_ = conn.Close()
	}
	clear(c.conns)
}

// Passed is how many bytes went over the cable, both ways together.
func (c *Cable) Passed() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

// Run passes connections on until ctx ends.
func (c *Cable) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		_ = c.listener.Close() // Accept's error tells
		c.Reset()
	})()
	var g errgroup.Group
	for {
		conn, err := c.listener.Accept()
		if ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return g.Wait()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("listen for the cable: %w", err), g.Wait())
		}
		g.Go(func() error {
			c.connect(ctx, conn.(*net.TCPConn))
			return nil
		})
	}
}

// connect passes one connection on; its errors are the two ends' to notice.
func (c *Cable) connect(ctx context.Context, near *net.TCPConn) {
	if !c.keep(near) {
		return
	}
	defer c.drop(near)
	if c.wait(ctx) != nil { // a pulled cable answers when it is back
		return
	}
	c.mu.Lock()
	target, rate, delay := c.target, c.rate, c.delay
	c.mu.Unlock()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		_ = near.SetLinger(0)
		return
	}
	far := conn.(*net.TCPConn)
	if !c.keep(far) {
		return
	}
	defer c.drop(far)
	var g errgroup.Group
	for _, way := range [2][2]*net.TCPConn{{near, far}, {far, near}} {
		g.Go(func() error {
			if rate > 0 || delay > 0 {
				return c.drag(ctx, way[0], way[1], rate, delay)
			}
			return c.pass(ctx, way[0], way[1])
		})
	}
	_ = g.Wait()
}

func (c *Cable) keep(conn *net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == Refused {
		_ = conn.SetLinger(0)
		_ = conn.Close()
		return false
	}
	c.conns[conn] = struct{}{}
	return true
}

func (c *Cable) drop(conn *net.TCPConn) {
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
	_ = conn.Close()
}

// wait returns when the cable isn't pulled.
func (c *Cable) wait(ctx context.Context) error {
	for {
		c.mu.Lock()
		state, turn := c.state, c.turn
		c.mu.Unlock()
		if state != Pulled {
			return nil
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass copies one direction. Ending one ends the other, as most protocols would.
func (c *Cable) pass(ctx context.Context, from, to *net.TCPConn) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		for sent := 0; sent < n; {
			if err := c.wait(ctx); err != nil {
				return err
			}
			piece, err := c.piece(ctx, n-sent)
			if err != nil {
				return err
			}
			c.mu.Lock()
			c.passed += uint64(piece) // before the other end can know
			c.mu.Unlock()
			if _, err := to.Write(buf[sent : sent+piece]); err != nil {
				_ = from.Close()
				return err
			}
			sent += piece
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				if c.wait(ctx) != nil { // the end isn't heard over a pulled cable either
					return ctx.Err()
				}
				return to.CloseWrite()
			}
			_ = to.SetLinger(0)
			_ = to.Close()
			return err
		}
	}
}

// piece is how much may pass now.
func (c *Cable) piece(ctx context.Context, n int) (int, error) {
	c.mu.Lock()
	state, turn := c.state, c.turn
	c.mu.Unlock()
	if state != Trickle {
		return n, nil
	}
	select {
	case <-time.After(time.Second):
	case <-turn:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return 1, nil
}
