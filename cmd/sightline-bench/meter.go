package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	ethernetMSS = 1460    // bytes of a segment with its options
	ipHead      = 20 + 20 // IPv4 and TCP
	stampHead   = 12      // the option with timestamps, padded
	withStamps  = 1       // TCPI_OPT_TIMESTAMPS
)

// meter is the cable between devices and the broker: a relay whose segments
// are Ethernet's, not loopback's 64 KiB, and which reads what a device's
// connection has cost off the kernel's own account of it.
type meter struct {
	listener net.Listener
	to       string // the broker; set before Run

	mu     sync.Mutex // protects what follows
	newest *net.TCPConn
}

func newMeter(ctx context.Context) (*meter, error) {
	conf := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if failed := c.Control(func(fd uintptr) { // both ends keep to it
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, ethernetMSS)
		}); failed != nil {
			return failed
		}
		return err
	}}
	l, err := conf.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay the cable to the broker: %w", err)
	}
	return &meter{listener: l}, nil
}

func (m *meter) addr() string { return m.listener.Addr().String() }

// run relays until ctx ends.
func (m *meter) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = m.listener.Close() })() // Accept's error tells
	var relays sync.WaitGroup
	defer relays.Wait()
	for {
		c, err := m.listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the cable to the broker: %w", err)
		}
		m.mu.Lock()
		m.newest = c.(*net.TCPConn)
		m.mu.Unlock()
		relays.Go(func() { m.relay(ctx, c) })
	}
}

// relay ends when either side does.
func (m *meter) relay(ctx context.Context, device net.Conn) {
	broker, err := new(net.Dialer).DialContext(ctx, "tcp", m.to)
	if err != nil {
		_ = device.Close() // the device tells that it has no broker
		return
	}
	hangUp := sync.OnceFunc(func() { _, _ = device.Close(), broker.Close() }) // nothing more is asked of them
	defer context.AfterFunc(ctx, hangUp)()
	var ways sync.WaitGroup
	for _, way := range [2][2]net.Conn{{broker, device}, {device, broker}} {
		ways.Go(func() {
			defer hangUp()
			// Without the kernel's splice: a message goes on as it comes.
			_, _ = io.Copy(struct{ io.Writer }{way[0]}, struct{ io.Reader }{way[1]})
		})
	}
	ways.Wait()
}

// traffic is what a connection has cost, both ways.
type traffic struct {
	bytes    uint64 // of TLS
	segments uint64
	head     uint64 // bytes of each segment's headers
}

// wire is bytes as IP has them.
func (t traffic) wire() uint64 { return t.bytes + t.segments*t.head }

// since is what was added.
func (t traffic) since(before traffic) traffic {
	return traffic{t.bytes - before.bytes, t.segments - before.segments, t.head}
}

// read is the traffic of the newest connection so far. A segment that is
// acknowledged later (by the next one, or after 40 ms) shows up then.
func (m *meter) read() (t traffic, err error) {
	m.mu.Lock()
	c := m.newest
	m.mu.Unlock()
	if c == nil {
		return t, errors.New("read what the connection cost: there was none")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return t, fmt.Errorf("read what the connection cost: %w", err)
	}
	var info *unix.TCPInfo
	if failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); failed != nil {
		err = failed
	}
	if err != nil {
		return t, fmt.Errorf("read what the connection cost: %w", err)
	}
	t = traffic{info.Bytes_sent + info.Bytes_received, uint64(info.Segs_out) + uint64(info.Segs_in), ipHead}
	if info.Options&withStamps != 0 {
		t.head += stampHead
	}
	return t, nil
}
