package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// folderEvents hears from the kernel of what happens in a folder. A network
// share tells only what this machine does, so it is never all there is.
type folderEvents struct {
	f   *os.File
	buf []byte
}

// folderEvent is what happened to one name; an empty name means the folder.
type folderEvent struct {
	name string
	mask uint32
}

const (
	evWhole = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO // its writer is done with it
	evOpen  = unix.IN_CREATE | unix.IN_MODIFY        // somebody is writing
	evLost  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED
)

// hearFolder begins to listen. A device that has no inotify instance left is
// no error to a reader, which looks by itself.
func hearFolder(dir string) (*folderEvents, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	_, err = unix.InotifyAddWatch(fd, dir, evWhole|evOpen|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONLYDIR)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &folderEvents{f: os.NewFile(uintptr(fd), "inotify"), buf: make([]byte, 32<<10)}, nil
}

// wait returns what happened since it was last called, at the latest at until;
// a time that has passed only asks.
func (e *folderEvents) wait(until time.Time) ([]folderEvent, error) {
	patient := time.Until(until) > 0
	if !patient {
		until = time.Time{} // a passed deadline would not let anything be read
	}
	if err := e.f.SetReadDeadline(until); err != nil {
		return nil, err
	}
	if patient {
		n, err := e.f.Read(e.buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		return parseEvents(e.buf[:max(n, 0)]), err
	}
	raw, err := e.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var n int
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = unix.Read(int(fd), e.buf)
		return true
	})
	if errors.Is(readErr, unix.EAGAIN) || errors.Is(readErr, unix.EINTR) {
		readErr = nil
	}
	return parseEvents(e.buf[:max(n, 0)]), errors.Join(err, readErr)
}

// parseEvents reads inotify(7)'s structures: wd, mask, cookie, length, name.
func parseEvents(b []byte) []folderEvent {
	var all []folderEvent
	for len(b) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(b[4:])
		n := int(binary.NativeEndian.Uint32(b[12:]))
		b = b[unix.SizeofInotifyEvent:]
		if n > len(b) {
			break
		}
		name, _, _ := bytes.Cut(b[:n], []byte{0})
		all = append(all, folderEvent{string(name), mask})
		b = b[n:]
	}
	return all
}

func (e *folderEvents) close() {
	if e != nil {
		e.f.Close()
	}
}
