// Package shm is what the agent and its worker processes share: child
// processes with a socket (Process), JSON messages with descriptors beside
// them (Conn), and frame slots in shared memory (Pool). A slot has one owner
// at any time; messages pass the ownership, the pixels never move.
package shm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxMessage is the largest message in bytes; the kernel's default socket
// buffer holds one of this size.
const MaxMessage = 160 << 10

// ErrTooLong means that a message wasn't sent because it has more than MaxMessage bytes.
var ErrTooLong = errors.New("the message is too long")

// sendTimeout bounds how long a worker that stopped reading can hold up a send.
const sendTimeout = 2 * time.Second

// Conn carries JSON messages over a SOCK_SEQPACKET socket. Receiving blocks a
// thread of its own instead of Go's poller: under load the hand-over's p99 is
// 0.1 ms that way against several (docs/rationale.md).
type Conn struct {
	buf   []byte   // of the only receiver
	block blocking // the same one's

	mu     sync.Mutex // protects the fields below
	fd     int
	users  int
	closed bool
}

// Pair makes a connected pair: the agent's end, and the file to hand to a
// child as its descriptor 3.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a worker's socket: %w", err)
	}
	return NewConn(fds[0]), os.NewFile(uintptr(fds[1]), "worker-socket"), nil
}

// NewConn takes over a SOCK_SEQPACKET descriptor; a worker calls NewConn(3).
func NewConn(fd int) *Conn {
	tv := unix.NsecToTimeval(sendTimeout.Nanoseconds())
	// Both are hints: without them a send only waits longer or fails sooner.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4*MaxMessage)
	unix.CloseOnExec(fd)
	return &Conn{fd: fd, buf: make([]byte, MaxMessage)}
}

// Send writes v as one message, with descriptors that the peer gets copies of.
// It is safe for concurrent use. A peer that doesn't read for two seconds is an error.
func (c *Conn) Send(v any, fds ...int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("send to the worker: %w", err)
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("send to the worker: %w: it has %d bytes, at most %d fit", ErrTooLong, len(b), MaxMessage)
	}
	fd, err := c.use()
	if err != nil {
		return err
	}
	defer c.done()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err = unix.Sendmsg(fd, b, oob, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("send to the worker: %w", err)
	}
	return nil
}

// Recv waits for one message, decodes it into v and returns the descriptors
// that came with it, which the caller owns. It returns io.EOF when the peer is
// gone or the Conn is closed. Only one goroutine may receive.
func (c *Conn) Recv(v any) ([]int, error) {
	fd, err := c.use()
	if err != nil {
		return nil, io.EOF
	}
	defer c.done()
	// Whoever was woken by the last message runs first, on this thread: cheaper
	// than to wake another one for it.
	runtime.Gosched()
	var n, oobn, flags int
	for {
		n, oobn, flags, err = c.block.recvmsg(fd, c.buf)
		// A peer that closes with messages unread is told once as ECONNRESET, before
		// its own last messages, which follow.
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNRESET) {
			break
		}
	}
	switch {
	case err == nil && n == 0:
		return nil, io.EOF
	case err != nil:
		return nil, fmt.Errorf("receive from the worker: %w", err)
	}
	fds, err := rights(c.block.oob[:oobn])
	if err == nil && flags&unix.MSG_TRUNC != 0 {
		err = fmt.Errorf("message is longer than %d bytes", MaxMessage)
	}
	if err == nil {
		err = json.Unmarshal(c.buf[:n], v)
	}
	if err != nil {
		CloseAll(fds)
		return nil, fmt.Errorf("receive from the worker: %w", err)
	}
	return fds, nil
}

// CloseAll closes descriptors that came with a message and aren't wanted.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nothing was written through it
	}
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range msgs {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials or the like, which nobody asked for
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// Close wakes a blocked Recv, whose caller then gets io.EOF. It may be called
// more than once.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // the peer may be gone already
	if c.users == 0 {
		return unix.Close(c.fd)
	}
	return nil
}

func (c *Conn) use() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, fmt.Errorf("send to the worker: %w", os.ErrClosed)
	}
	c.users++
	return c.fd, nil
}

func (c *Conn) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 && c.closed {
		_ = unix.Close(c.fd) // after the shutdown there is nothing left to lose
	}
}
