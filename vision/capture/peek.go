package capture

import (
	"encoding/json"
	"errors"

	"golang.org/x/sys/unix"
)

// peekMost is the length in bytes of the longest order for a device.
const peekMost = 16 << 10

// NeedsOpenCV waits for the order on the socket fd and tells whether OpenCV has to read
// its source. The order stays there for WorkerMain, of this program or of another one.
func NeedsOpenCV(fd int) bool {
	buf := make([]byte, peekMost)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_PEEK)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		var m message
		return err == nil && json.Unmarshal(buf[:n], &m) == nil && m.Order != nil && m.Order.Kind == device
	}
}
