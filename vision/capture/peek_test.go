package capture

import (
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOrderStaysForWhoReadsIt: it is looked at, not taken.
func TestOrderStaysForWhoReadsIt(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"a device":    {`{"kind":"start","order":{"kind":` + number(device) + `,"at":"/dev/video0"}}`, true},
		"a recording": {`{"kind":"start","order":{"kind":` + number(video) + `,"at":"a.mp4"}}`, false},
		"no order":    {`{"kind":"start"}`, false},
		"nonsense":    {"\x00{", false},
	} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Sendmsg(fds[0], []byte(c.text), nil, nil, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := NeedsOpenCV(fds[1]); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		again := make([]byte, 200)
		if n, _, err := unix.Recvfrom(fds[1], again, unix.MSG_DONTWAIT); err != nil || string(again[:n]) != c.text {
			t.Errorf("%s: afterwards there is %q, %v", name, again[:max(n, 0)], err)
		}
		_ = unix.Close(fds[0])
		if NeedsOpenCV(fds[1]) {
			t.Errorf("%s: needed by nobody", name)
		}
		_ = unix.Close(fds[1])
	}
	if NeedsOpenCV(-1) {
		t.Error("needed without a socket")
	}
}

// number is a kind as the order has it.
func number(k kind) string { return strconv.Itoa(int(k)) }
