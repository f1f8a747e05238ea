package plc

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Access says where a door on TCP stands and who may come in.
type Access struct {
	// Listen is a numeric address or the name of an interface, with a port:
	// "192.0.2.5:502" or "eth1:502". Every address at once is refused.
	Listen string
	// Peers are the addresses, or prefixes as 192.0.2.0/28, of the controllers that may come in.
	Peers []string
	// Silence is how long the controller may say nothing before another one that
	// may come in takes its place. 0: for ever, as long as its connection lives.
	Silence time.Duration
}

// place is where to listen, once Access has been read.
type place struct {
	device string     // interface that was named; "" for an address
	addr   netip.Addr // that was named; zero for an interface
	port   uint16
}

// admission is an Access that has been checked.
type admission struct {
	place
	peers   []netip.Prefix
	silence time.Duration
}

func (a Access) check() (admission, error) {
	var errs []error
	ad := admission{silence: a.Silence}
	var err error
	if ad.place, err = parsePlace(a.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen %q: %w", a.Listen, err))
	}
	if len(a.Peers) == 0 {
		errs = append(errs, errors.New("peers: none is named, so nobody could come in: name the controller's address"))
	}
	for i, p := range a.Peers {
		prefix, err := parsePeer(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("peers[%d] %q: %w", i, p, err))
		}
		ad.peers = append(ad.peers, prefix)
	}
	if a.Silence < 0 || a.Silence > 0 && a.Silence < 100*time.Millisecond {
		errs = append(errs, fmt.Errorf("silence: must be 0 or at least 100ms, got %v", a.Silence))
	}
	return ad, errors.Join(errs...)
}

func parsePlace(listen string) (place, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return place{}, errors.New("must be an address or an interface with a port, as 192.0.2.5:502 or eth1:502")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return place{}, fmt.Errorf("port must be a number from 0 (any free one, for trials) to 65535, got %q", port)
	}
	pl := place{port: uint16(n)}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "" || host == "*" || err == nil && addr.Unmap().IsUnspecified():
		return place{}, errors.New("that is every network of the device, and this protocol knows no login: name the address or the interface that faces the controller")
	case err == nil && addr.IsMulticast():
		return place{}, errors.New("a multicast address can't be listened on")
	case err == nil:
		pl.addr = addr
	case len(host) > 15 || strings.ContainsAny(host, "/: "):
		return place{}, fmt.Errorf("%q is neither a numeric address nor an interface (host names aren't looked up)", host)
	default:
		pl.device = host
	}
	return pl, nil
}

func parsePeer(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.IsUnspecified() {
			return netip.Prefix{}, errors.New("isn't the address of a controller")
		}
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("must be a numeric address, or a prefix as 192.0.2.0/28")
	case p.Bits() == 0:
		return netip.Prefix{}, errors.New("lets everybody in: name the controller's address")
	case p.Addr() != p.Masked().Addr():
		return netip.Prefix{}, fmt.Errorf("has bits behind its length: did you mean %v or %v?", p.Masked(), p.Addr())
	}
	return p, nil
}

// admits tells whether a peer may come in.
func (a *admission) admits(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(a.peers, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// address finds where to listen now: an interface may get its address late, or another one.
func (p place) address() (netip.AddrPort, error) {
	if p.device == "" {
		return netip.AddrPortFrom(p.addr, p.port), nil
	}
	ifc, err := net.InterfaceByName(p.device)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("there is no interface %s here: %s", p.device, interfaces())
	}
	addrs, err := ifc.Addrs()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("addresses of interface %s: %w", p.device, err)
	}
	var found netip.Addr
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, _ := netip.AddrFromSlice(n.IP)
		addr = addr.Unmap()
		if addr.IsLinkLocalUnicast() && addr.Is6() {
			addr = addr.WithZone(p.device)
		}
		// IPv4 first, then an address that routes: what a controller is given.
		if !found.IsValid() || better(addr, found) {
			found = addr
		}
	}
	if !found.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("interface %s has no address", p.device)
	}
	return netip.AddrPortFrom(found, p.port), nil
}

func better(a, b netip.Addr) bool {
	rank := func(x netip.Addr) int {
		switch {
		case x.Is4() && !x.IsLinkLocalUnicast():
			return 3
		case x.Is4():
			return 2
		case !x.IsLinkLocalUnicast():
			return 1
		}
		return 0
	}
	return rank(a) > rank(b)
}

func interfaces() string {
	all, err := net.Interfaces()
	if err != nil {
		return err.Error()
	}
	names := make([]string, len(all))
	for i, ifc := range all {
		names[i] = ifc.Name
	}
	return "those are " + strings.Join(names, ", ")
}
