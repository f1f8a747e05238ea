package shm

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blocking is what one blocked receive needs in place; the only receiver's.
type blocking struct {
	head unix.Msghdr
	iov  unix.Iovec
	oob  []byte
}

// recvmsg is unix.Recvmsg, but gives Go's processor away before it blocks. In
// an ordinary system call the thread keeps it until the runtime's monitor takes
// it away, and the monitor then polls for 10 ms, most of them every 70 µs: with
// slow cameras that was two thirds of what the agent and its workers used.
func (b *blocking) recvmsg(fd int, into []byte) (n, oobn, flags int, err error) {
	if b.oob == nil {
		b.oob = make([]byte, unix.CmsgSpace(4*4))
	}
	b.iov.Base = &into[0]
	b.iov.SetLen(len(into))
	b.head = unix.Msghdr{Iov: &b.iov, Control: &b.oob[0]}
	b.head.SetIovlen(1)
	b.head.SetControllen(len(b.oob))
	got, failed := blockingCall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.head)), unix.MSG_CMSG_CLOEXEC)
	runtime.KeepAlive(b)
	if failed != 0 {
		return 0, 0, 0, failed
	}
	return int(got), int(b.head.Controllen), int(b.head.Flags), nil
}

// blockingCall is a system call of a goroutine that holds no processor. Between
// the two calls into the runtime nothing may grow the stack.
//
//go:nosplit
//go:norace
//go:uintptrescapes
func blockingCall(trap, a, b, c uintptr) (uintptr, syscall.Errno) {
	enterBlocking()
	n, _, err := syscall.RawSyscall(trap, a, b, c)
	leaveBlocking()
	return n, err
}

// The runtime keeps these two for whom it doesn't know (go.dev/issue/67401).

//go:linkname enterBlocking runtime.entersyscallblock
func enterBlocking()

//go:linkname leaveBlocking runtime.exitsyscall
func leaveBlocking()
