package ipcam

import (
	"context"
	"net"
	"sync"
	"time"
)

// Script says how an RTSP camera misbehaves. The zero value is one that doesn't.
type Script struct {
	Answers map[string]string // by method, as PLAY: what is answered instead, as "453 Not Enough Bandwidth"; "": never an answer
	Deny    bool              // no user and password are right
	NoTCP   bool              // SETUP over TCP is refused (461)
	NoUDP   bool              // SETUP over UDP is refused (461)
	Rate    float64           // frames a second, announced instead of RTSP.Rate; 0: not instead

	Silent   bool // no media is sent; everything else goes on
	HalfOpen bool // nothing is read or written any more, and nobody is hung up on
	Backlog  int  // at least so many pictures of the past come in a burst when a viewer plays; at most maxBacklog, and none from before the script

	Loss      float64 // share of RTP packets that get lost, at random
	LoseEvery int     // each n-th RTP packet gets lost; 0: none
	Garbage   float64 // share of RTP packets whose payload is noise
	Seed      uint64  // of what is random

	NoReports   bool          // no RTCP sender reports
	ReportEvery time.Duration // 0 means 5 s; the first comes with the first picture
	ReportSkew  time.Duration // of the reports' clock against ours
}

// Counts are what viewers have asked an RTSP camera for.
type Counts struct {
	Connections int
	Requests    map[string]int // by method
	Credentials int            // requests with user and password
	Denied      int            // of these, with wrong ones
	Lost        uint64         // RTP packets that the script let get lost
}

// Control changes an RTSP camera while it runs, and tells what viewers asked
// it. The zero value is ready; it is for one camera.
type Control struct {
	mu      sync.Mutex // protects what follows
	script  *Script
	changed chan struct{} // closed when the script changes; nil while nobody waits
	counts  Counts
	conns   map[net.Conn]bool
}

// Set makes the camera follow a script from now on.
func (c *Control) Set(s Script) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script = &s
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// HangUp closes the connections of all viewers. They may come again.
func (c *Control) HangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
}

// Counts are what has been asked so far.
func (c *Control) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts
	n.Requests = make(map[string]int, len(c.counts.Requests))
	for method, times := range c.counts.Requests {
		n.Requests[method] = times
	}
	return n
}

var behaved Script

// now is the script that holds; the same pointer as long as it is the same.
func (c *Control) now() *Script {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *Control) nowLocked() *Script {
	if c.script == nil {
		return &behaved
	}
	return c.script
}

// hold waits while connections are to be half open.
func (c *Control) hold(ctx context.Context) {
	for ctx.Err() == nil {
		c.mu.Lock()
		if !c.nowLocked().HalfOpen {
			c.mu.Unlock()
			return
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// meet counts a connection in; the result counts it out.
func (c *Control) meet(conn net.Conn) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		c.conns = map[net.Conn]bool{}
	}
	c.conns[conn] = true
	c.counts.Connections++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.conns, conn)
	}
}

// asked counts a request.
func (c *Control) asked(method string, credentials, denied bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts.Requests == nil {
		c.counts.Requests = map[string]int{}
	}
	if _, known := methods[method]; known { // what strangers send is no key
		c.counts.Requests[method]++
	}
	if credentials {
		c.counts.Credentials++
	}
	if denied {
		c.counts.Denied++
	}
}

func (c *Control) lost(packets uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Lost += packets
}
