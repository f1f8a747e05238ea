package ipcam

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RTSP is a network camera with one H.264 stream over TCP (RFC 2326, RTP
// interleaved). The zero values of the optional fields are useful.
type RTSP struct {
	Stream Stream
	Rate   float64 // frames a second, told to viewers; 0 tells nothing
	Path   string  // of the stream, "/cam"; empty takes any
	Wait   bool    // the stream begins when the first viewer plays, not when Serve starts

	User, Password string // if set, viewers must give them (Digest)
}

// server is a running RTSP.
type server struct {
	RTSP
	nonce string
	hub   *relay
}

// Serve answers viewers on ln until the stream or ctx ends, then hangs up on
// all of them. It closes ln.
func (c RTSP) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{RTSP: c, nonce: rand.Text(), hub: newRelay()}
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
	return err
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
	v := &viewer{conn: conn}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	defer v.leave()
	in := bufio.NewReader(conn)
	for ctx.Err() == nil {
		r, err := readRequest(in)
		if err != nil {
			return
		}
		if r.method == "" {
			continue // a report about reception
		}
		again, err := s.answer(v, r)
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

// answer does what a request asks; it reports whether the talk goes on.
func (s *server) answer(v *viewer, r request) (bool, error) {
	if r.method != "OPTIONS" && s.User != "" && !s.allowed(r) {
		return true, v.reply(r, "401 Unauthorized",
			fmt.Sprintf("WWW-Authenticate: Digest realm=\"camera\", nonce=\"%s\"\r\n", s.nonce), "")
	}
	session := "Session: " + s.nonce[:8] + ";timeout=60\r\n"
	switch r.method {
	case "OPTIONS":
		return true, v.reply(r, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN\r\n", "")
	case "DESCRIBE":
		u, err := url.Parse(r.url)
		if err != nil || s.Path != "" && strings.TrimSuffix(u.Path, "/") != s.Path {
			return true, v.reply(r, "404 Not Found", "", "")
		}
		return true, v.reply(r, "200 OK", "Content-Type: application/sdp\r\nContent-Base: "+strings.TrimSuffix(r.url, "/")+"/\r\n", s.sdp())
	case "SETUP":
		if !strings.Contains(r.header.Get("Transport"), "RTP/AVP/TCP") {
			return true, v.reply(r, "461 Unsupported Transport", "", "")
		}
		v.set = true
		return true, v.reply(r, "200 OK", session+"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", "")
	case "PLAY":
		if !v.set {
			return true, v.reply(r, "455 Method Not Valid in This State", "", "")
		}
		if err := v.reply(r, "200 OK", session+"Range: npt=now-\r\n", ""); err != nil {
			return false, err
		}
		v.join(s.hub)
		return true, nil
	case "PAUSE":
		v.leave()
		return true, v.reply(r, "200 OK", session, "")
	case "GET_PARAMETER", "SET_PARAMETER":
		return true, v.reply(r, "200 OK", session, "")
	case "TEARDOWN":
		return false, v.reply(r, "200 OK", session, "")
	}
	return true, v.reply(r, "501 Not Implemented", "", "")
}

func (s *server) sdp() string {
	rate := ""
	if s.Rate > 0 {
		rate = fmt.Sprintf("a=framerate:%g\r\n", s.Rate)
	}
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n" +
		"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n" + rate + "a=control:track1\r\n"
}

// allowed checks Digest access as RFC 2617 has it without qop.
func (s *server) allowed(r request) bool {
	kind, rest, _ := strings.Cut(r.header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Digest") {
		return false
	}
	p := map[string]string{}
	for _, pair := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		p[name] = strings.Trim(value, `"`)
	}
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	want := sum(sum(s.User+":camera:"+s.Password) + ":" + s.nonce + ":" + sum(r.method+":"+p["uri"]))
	return p["username"] == s.User && p["nonce"] == s.nonce && subtle.ConstantTimeCompare([]byte(p["response"]), []byte(want)) == 1
}
