package cable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports that Linux gives to nobody who asks for any (ip_local_port_range of ip(7)
// begins with 32768), so that no connection takes one before its owner does.
const (
	firstPort = 10_240
	lastPort  = 32_767
)

// FreeAddress is the host's address with a port on which nobody listens, for a program that
// is told where to.
func FreeAddress(host string) (string, error) {
	for range 1000 {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort+1))))
		switch {
		case err == nil:
			return ln.Addr().String(), ln.Close()
		case !errors.Is(err, syscall.EADDRINUSE):
			return "", fmt.Errorf("find a free port: %w", err)
		}
	}
	return "", fmt.Errorf("find a free port from %d to %d on %s: all are taken", firstPort, lastPort, host)
}
