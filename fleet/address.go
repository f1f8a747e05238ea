package fleet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sightline-edge/sightline/fleet/enroll"
)

// brokerTold is where devices are told that the broker is, "" for the one
// inside at the host that they enrolled at. An address that they could never
// take, because no certificate has its name, is an error.
func (f *Fleet) brokerTold() (string, error) {
	told, flag := f.cfg.MQTTPublic, "--mqtt-public"
	if told == "" {
		told, flag = f.cfg.Broker, "--broker"
	}
	if told == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(told)
	if err != nil {
		return "", fmt.Errorf("tell devices where the broker is: %w", err)
	}
	switch {
	case host == "":
		return told, nil
	case f.cfg.MQTTPublic == "" && loopback(told): // to a device that would be itself
		return ":" + port, nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(name); err == nil {
		name = addr.Unmap().String()
	}
	if !slices.Contains(f.ca.Names(), name) {
		return "", fmt.Errorf("tell devices to send to %s (%s): they would refuse it, because the fleet's certificates are for %s: "+
			"add a line %s to %s, and with another broker make its certificate anew with sightline-fleet mosquitto",
			told, flag, strings.Join(f.ca.Names(), ", "), name, filepath.Join(f.cfg.Dir, CAFolder, enroll.NamesFile))
	}
	return told, nil
}

func (f *Fleet) named(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort(f.ca.Names()[0], strconv.Itoa(t.Port))
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("answer at %s: another program does already: stop that one, or choose another port", addr)
	} else if err != nil {
		return nil, fmt.Errorf("answer at %s: %w", addr, err)
	}
	return l, nil
}

// loopback tells whether an address can only be reached from this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
