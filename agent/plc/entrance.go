package plc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Bounds of what a flood may cost, and of how long a dead connection lives.
const (
	admissionsPerSecond = 500             // connections looked at; more wait in the kernel
	deadAfter           = 5 * time.Second // what was sent is unacknowledged by TCP so long: the peer is gone
	writePatience       = 2 * time.Second // a peer that doesn't read for so long is closed
	relisten            = time.Second     // between two tries to listen
	addressLook         = 5 * time.Second // whether an interface still has its address
	farewell            = time.Second     // for the old connection to end when a new one takes over
)

// entrance lets one controller in at a time: the first keeps the place.
type entrance struct {
	admission
	log   *slog.Logger
	busy  string                               // said to a second client; "" closes without a word
	serve func(ctx context.Context, c *client) // until the client ends; it never runs twice at once

	mu     sync.Mutex
	active *client
	bound  string // address that is listened on; "" while shut
	fault  string // why it is shut
	counts EntranceStats
}

// EntranceStats counts who came to a door on TCP.
type EntranceStats struct {
	Connections uint64 // that were served
	Refused     uint64 // of addresses that aren't peers
	Busy        uint64 // of peers, while another one had the place
	Takeovers   uint64 // connections that gave way to a newer one
}

// client is the one connection that is served.
type client struct {
	net.Conn
	peer  netip.Addr
	quit  context.CancelFunc // what is done for it needn't be finished
	ended chan struct{}

	mu    sync.Mutex
	heard time.Time // when it last said something whole
}

func (c *client) hears() {
	c.mu.Lock()
	c.heard = time.Now()
	c.mu.Unlock()
}

func (c *client) lastHeard() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// run listens until ctx ends. What keeps it from listening is told and tried again.
func (e *entrance) run(ctx context.Context) {
	for told := ""; ctx.Err() == nil; {
		ln, err := e.listen(ctx)
		if err != nil {
			if told != err.Error() {
				told = err.Error()
				e.log.Error("the controller's door is shut", "listen", e.place.String(), "err", err)
			}
			e.set("", err.Error())
			wait(ctx, relisten)
			continue
		}
		told = ""
		e.set(ln.Addr().String(), "")
		e.log.Info("the controller's door is open", "listen", ln.Addr().String())
		e.attend(ctx, ln)
		e.set("", "closed")
	}
}

func (p place) String() string {
	if p.device != "" {
		return fmt.Sprintf("%s:%d", p.device, p.port)
	}
	return netip.AddrPortFrom(p.addr, p.port).String()
}

func (e *entrance) set(bound, fault string) {
	e.mu.Lock()
	e.bound, e.fault = bound, fault
	e.mu.Unlock()
}

// listen binds to the address, and to the interface where one was named: an
// address alone would also be reached through the other interfaces.
func (e *entrance) listen(ctx context.Context) (net.Listener, error) {
	at, err := e.place.address()
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{KeepAlive: -1}
	if e.device != "" {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var bind error
			if err := raw.Control(func(fd uintptr) { bind = unix.BindToDevice(int(fd), e.device) }); err != nil {
				return err
			}
			if bind != nil {
				return fmt.Errorf("bind to interface %s: %w", e.device, bind)
			}
			return nil
		}
	}
	return lc.Listen(ctx, "tcp", at.String())
}

// attend accepts until ctx ends, or the interface has another address.
func (e *entrance) attend(ctx context.Context, ln net.Listener) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		e.watchAddress(ctx, ln.Addr().String())
		cancel()
		_ = ln.Close() // its end is what is wanted
		e.evict(nil)
		return nil
	})
	var second time.Time
	for seen := 0; ; seen++ {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil { // too many open files, as a rule
			wait(ctx, 50*time.Millisecond)
			continue
		}
		if now := time.Now(); now.Sub(second) >= time.Second {
			second, seen = now, 0
		} else if seen >= admissionsPerSecond {
			wait(ctx, time.Second-now.Sub(second))
		}
		serving, quit := context.WithCancel(ctx)
		c := e.admit(ctx, conn, quit)
		if c == nil {
			quit()
		} else {
			g.Go(func() error {
				defer close(c.ended)
				defer e.leave(c)
				e.serve(serving, c)
				return nil
			})
		}
	}
	_ = g.Wait() // they give no errors
}

func (e *entrance) watchAddress(ctx context.Context, bound string) {
	for e.device != "" {
		wait(ctx, addressLook)
		if ctx.Err() != nil {
			return
		}
		at, err := e.place.address()
		if b, _ := netip.ParseAddrPort(bound); err != nil || at.Addr() != b.Addr() {
			e.log.Warn("the interface of the controller's door has another address", "listen", e.place.String(), "was", bound)
			return
		}
	}
	<-ctx.Done()
}

// admit decides about one connection: it is served, or closed at once.
func (e *entrance) admit(ctx context.Context, conn net.Conn, quit context.CancelFunc) *client {
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	if !e.admits(remote.Addr()) {
		e.mu.Lock()
		e.counts.Refused++
		n := e.counts.Refused
		e.mu.Unlock()
		if n&(n-1) == 0 { // a flood is told by its doublings
			e.log.Warn("a stranger was refused at the controller's door", "peer", remote.Addr().String(), "refused", n)
		}
		_ = conn.Close() // nobody waits for it
		return nil
	}
	if !e.makeRoom(remote.Addr()) {
		if e.busy != "" {
			_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			_, _ = conn.Write([]byte(e.busy)) // a courtesy
		}
		_ = conn.Close()
		return nil
	}
	if err := watchful(conn); err != nil {
		e.log.Warn("a controller's connection can't be watched for its end", "peer", remote.Addr().String(), "err", err)
	}
	c := &client{Conn: conn, peer: remote.Addr(), quit: quit, ended: make(chan struct{}), heard: time.Now()}
	e.mu.Lock()
	e.active = c
	e.counts.Connections++
	e.mu.Unlock()
	if ctx.Err() != nil { // the end may have come before it could be seen here
		_ = conn.Close()
	}
	return c
}

// makeRoom tells whether a newcomer may have the place. A peer's new connection
// replaces its own old one at once: it has lost that, as after a power cut.
func (e *entrance) makeRoom(peer netip.Addr) bool {
	e.mu.Lock()
	old := e.active
	e.mu.Unlock()
	if old == nil {
		return true
	}
	silent := e.silence > 0 && time.Since(old.lastHeard()) > e.silence
	if old.peer != peer && !silent {
		e.mu.Lock()
		e.counts.Busy++
		e.mu.Unlock()
		return false
	}
	e.mu.Lock()
	e.counts.Takeovers++
	e.mu.Unlock()
	return e.evict(old)
}

// evict closes the client and waits for its end; nil means whoever is in.
func (e *entrance) evict(c *client) bool {
	if c == nil {
		e.mu.Lock()
		c = e.active
		e.mu.Unlock()
		if c == nil {
			return true
		}
	}
	c.quit()
	_ = c.Close() // its server ends by that
	select {
	case <-c.ended:
		return true
	case <-time.After(farewell):
		return false
	}
}

func (e *entrance) leave(c *client) {
	c.quit()
	_ = c.Close()
	e.mu.Lock()
	if e.active == c {
		e.active = nil
	}
	e.mu.Unlock()
}

// watchful makes TCP find out about a peer that is gone without a word.
func watchful(conn net.Conn) error {
	t, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3}); err != nil {
		return err
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	})
	return errors.Join(err, set)
}

// wait lasts d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
