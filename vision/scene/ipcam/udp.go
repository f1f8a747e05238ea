package ipcam

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// udpPorts are a camera's ports for RTP and RTCP over UDP, one behind the
// other. They are opened for the first viewer that wants them.
type udpPorts struct {
	mu        sync.Mutex // protects what follows
	rtp, rtcp *net.UDPConn
	closed    bool
}

// udpTo is where one viewer's packets go. Nobody reads what viewers send there.
type udpTo struct {
	ports              *udpPorts
	rtp, rtcp          *net.UDPConn
	viewer, viewerRTCP *net.UDPAddr
}

// to reads a viewer's transport parameters; its address is that of the RTSP
// connection.
func (p *udpPorts) to(conn net.Conn, params string) (*udpTo, error) {
	var first, second int
	for _, param := range strings.Split(params, ";") {
		if pair, ok := strings.CutPrefix(strings.TrimSpace(param), "client_port="); ok {
			a, b, _ := strings.Cut(pair, "-")
			first, _ = strconv.Atoi(a) // 0 is refused below
			second, _ = strconv.Atoi(b)
		}
	}
	there, ok := conn.RemoteAddr().(*net.TCPAddr)
	here, ok2 := conn.LocalAddr().(*net.TCPAddr)
	if first < 1 || first > 65535 || second < 1 || second > 65535 || !ok || !ok2 {
		return nil, errors.New("the viewer doesn't say where it takes UDP")
	}
	if err := p.open(here.IP); err != nil {
		return nil, err
	}
	return &udpTo{p, p.rtp, p.rtcp, &net.UDPAddr{IP: there.IP, Port: first}, &net.UDPAddr{IP: there.IP, Port: second}}, nil
}

// open finds a free even port whose successor is free, too (RFC 3550 section 11).
func (p *udpPorts) open(ip net.IP) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	if p.rtp != nil {
		return nil
	}
	for range 100 {
		a, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			return fmt.Errorf("open an RTP port: %w", err)
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			if b, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port + 1}); err == nil {
				p.rtp, p.rtcp = a, b
				return nil
			}
		}
		a.Close()
	}
	return errors.New("open an RTP port: no two free ports in a row")
}

func (p *udpPorts) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.rtp != nil {
		p.rtp.Close()
		p.rtcp.Close()
	}
}

// String is the Transport header's parameters.
func (t *udpTo) String() string {
	here := t.rtp.LocalAddr().(*net.UDPAddr).Port
	return fmt.Sprintf("client_port=%d-%d;server_port=%d-%d", t.viewer.Port, t.viewerRTCP.Port, here, here+1)
}

// send gives a picture's packets to the network, which promises nothing.
func (t *udpTo) send(p packed) {
	p.each(func(channel byte, pkt []byte) {
		conn, to := t.rtp, t.viewer
		if channel == 1 {
			conn, to = t.rtcp, t.viewerRTCP
		}
		_, _ = conn.WriteToUDP(pkt, to)
	})
}
