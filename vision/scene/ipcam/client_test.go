package ipcam

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// client is a viewer that hides nothing of what it gets.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	addr string
	seq  int
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, in: bufio.NewReader(conn), addr: addr}
}

// ask sends a request without waiting for the answer.
func (c *client) ask(method, header string) {
	c.t.Helper()
	c.seq++
	url := "rtsp://" + c.addr + "/cam"
	if method == "SETUP" {
		url += "/track1"
	}
	if _, err := fmt.Fprintf(c.conn, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", method, url, c.seq, header); err != nil {
		c.t.Fatal(err)
	}
}

// do asks and gives the answer.
func (c *client) do(method, header string) (status string, h textproto.MIMEHeader, body string) {
	c.t.Helper()
	c.ask(method, header)
	return c.answer(method)
}

// answer is the one to what was asked; packets before it are passed over.
func (c *client) answer(method string) (status string, h textproto.MIMEHeader, body string) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // a closed connection is told below
	for {
		first, err := c.in.Peek(1)
		if err != nil {
			c.t.Fatalf("%s: %v", method, err)
		}
		if first[0] != '$' {
			break
		}
		c.packet()
	}
	tp := textproto.NewReader(c.in)
	line, err := tp.ReadLine()
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	if h, err = tp.ReadMIMEHeader(); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	var n int
	_, _ = fmt.Sscan(h.Get("Content-Length"), &n) // 0 without one
	b := make([]byte, n)
	if _, err := io.ReadFull(c.in, b); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	return strings.TrimPrefix(line, "RTSP/1.0 "), h, string(b)
}

// play sets up over TCP and plays.
func (c *client) play() {
	c.t.Helper()
	if s, _, _ := c.do("SETUP", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"); s != "200 OK" {
		c.t.Fatalf("SETUP: %s", s)
	}
	if s, _, _ := c.do("PLAY", ""); s != "200 OK" {
		c.t.Fatalf("PLAY: %s", s)
	}
}

// packet is the next interleaved packet.
func (c *client) packet() (channel byte, pkt []byte) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // a closed connection is told below
	head := make([]byte, 4)
	if _, err := io.ReadFull(c.in, head); err != nil {
		c.t.Fatalf("a packet: %v", err)
	}
	if head[0] != '$' {
		c.t.Fatalf("% x isn't a packet's beginning", head)
	}
	pkt = make([]byte, binary.BigEndian.Uint16(head[2:]))
	if _, err := io.ReadFull(c.in, pkt); err != nil {
		c.t.Fatalf("a packet: %v", err)
	}
	return head[1], pkt
}

// media is the next RTP packet.
func (c *client) media() *rtp.Packet {
	c.t.Helper()
	for {
		if channel, b := c.packet(); channel == 0 {
			return parse(c.t, b)
		}
	}
}

func parse(t *testing.T, b []byte) *rtp.Packet {
	t.Helper()
	var p rtp.Packet
	if err := p.Unmarshal(b); err != nil {
		t.Fatalf("RTP: %v", err)
	}
	return &p
}

// report is the next sender report's times.
func (c *client) report() (ntp time.Time, stamp uint32) {
	c.t.Helper()
	for {
		channel, b := c.packet()
		if channel != 1 {
			continue
		}
		if len(b) < 28 || b[1] != 200 {
			c.t.Fatalf("RTCP % x", b)
		}
		sec, frac := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		return time.Unix(int64(sec)-ntpEpoch, int64(frac)*int64(time.Second)>>32), binary.BigEndian.Uint32(b[16:])
	}
}

// quiet fails the test when anything comes within d.
func (c *client) quiet(d time.Duration) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(d)) // a closed connection is told below
	b, err := c.in.Peek(1)
	if ne, ok := err.(net.Error); err == nil || !ok || !ne.Timeout() {
		c.t.Fatalf("% x, error %v: want nothing", b, err)
	}
}
