package ipcam

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RTSP is a network camera with one stream (RFC 2326), by RTP over the same
// connection or over UDP as the viewer asks. The zero values of the optional
// fields are useful.
type RTSP struct {
	Stream Stream
	Codec  Codec   // told to viewers until the stream's first picture
	Rate   float64 // frames a second, told to viewers; 0 tells nothing
	Path   string  // of the stream, "/cam"; empty takes any
	Wait   bool    // the stream begins when the first viewer plays, not when Serve starts

	User, Password string // if set, viewers must give them (Digest)

	Control *Control // how it misbehaves; nil: not at all
}

// server is a running RTSP.
type server struct {
	RTSP
	nonce string
	hub   *relay
	udp   udpPorts
}

// Serve answers viewers on ln until the stream or ctx ends, then hangs up on
// all of them. It closes ln.
func (c RTSP) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServer(c)
	defer s.udp.close()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.talk(ctx, conn) })
		}
	})
	err := s.play(ctx)
	s.hub.end(ctx, 2*time.Second)
	cancel()
	ln.Close()
	wg.Wait()
	s.hub.senders.Wait()
	return err
}

func newServer(c RTSP) *server {
	if c.Control == nil {
		c.Control = &Control{}
	}
	return &server{RTSP: c, nonce: rand.Text(), hub: newRelay(c.Codec, c.Control)}
}

func (s *server) play(ctx context.Context) error {
	if s.Wait {
		select {
		case <-ctx.Done():
			return nil
		case <-s.hub.came:
		}
	}
	return s.Stream(ctx, s.hub.publish)
}

// talk answers one viewer's requests until it leaves.
func (s *server) talk(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // frees a sender that holds on
	v := &viewer{conn: conn}
	defer s.Control.meet(conn)()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	defer v.leave()
	in := bufio.NewReader(conn)
	for ctx.Err() == nil {
		s.Control.hold(ctx)
		r, err := readRequest(in)
		if err != nil {
			return
		}
		if r.method == "" {
			continue // a report about reception
		}
		s.Control.hold(ctx)
		again, err := s.answer(ctx, v, r)
		if err != nil || !again {
			return
		}
	}
}

// request is one RTSP request.
type request struct {
	method, url string
	header      textproto.MIMEHeader
}

// readRequest reads a request, or an interleaved packet (then without method).
func readRequest(in *bufio.Reader) (request, error) {
	first, err := in.Peek(1)
	if err != nil {
		return request{}, err
	}
	if first[0] == '$' {
		head := make([]byte, 4)
		if _, err := io.ReadFull(in, head); err != nil {
			return request{}, err
		}
		_, err := in.Discard(int(head[2])<<8 | int(head[3]))
		return request{}, err
	}
	tp := textproto.NewReader(in)
	line, err := tp.ReadLine()
	if err != nil {
		return request{}, err
	}
	parts := strings.Fields(line)
	if len(parts) != 3 || !strings.HasPrefix(parts[2], "RTSP/") {
		return request{}, fmt.Errorf("not an RTSP request: %.40q", line)
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		return request{}, err
	}
	if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil && n > 0 && n < 1<<16 {
		if _, err := in.Discard(n); err != nil {
			return request{}, err
		}
	}
	return request{parts[0], parts[1], h}, nil
}
