package ipcam

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// methods are RTSP's requests that a camera answers.
var methods = map[string]func(*server, context.Context, *viewer, request) (bool, error){
	"OPTIONS":       (*server).options,
	"DESCRIBE":      (*server).describe,
	"SETUP":         (*server).setup,
	"PLAY":          (*server).start,
	"PAUSE":         (*server).pause,
	"GET_PARAMETER": (*server).parameter,
	"SET_PARAMETER": (*server).parameter,
	"TEARDOWN":      (*server).teardown,
}

// answer does what a request asks; it reports whether the talk goes on.
func (s *server) answer(ctx context.Context, v *viewer, r request) (bool, error) {
	script := s.Control.now()
	known := r.header.Get("Authorization") != ""
	allowed := r.method == "OPTIONS" || s.User == "" && !script.Deny || s.allowed(r) && !script.Deny
	s.Control.asked(r.method, known, known && !allowed)
	if instead, ok := script.Answers[r.method]; ok {
		if instead == "" {
			return true, nil
		}
		return true, v.reply(r, instead, "", "")
	}
	if !allowed {
		return true, v.reply(r, "401 Unauthorized",
			fmt.Sprintf("WWW-Authenticate: Digest realm=\"camera\", nonce=\"%s\"\r\n", s.nonce), "")
	}
	if do, ok := methods[r.method]; ok {
		return do(s, ctx, v, r)
	}
	return true, v.reply(r, "501 Not Implemented", "", "")
}

func (s *server) session() string { return "Session: " + s.nonce[:8] + ";timeout=60\r\n" }

func (s *server) options(_ context.Context, v *viewer, r request) (bool, error) {
	return true, v.reply(r, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN\r\n", "")
}

func (s *server) describe(_ context.Context, v *viewer, r request) (bool, error) {
	u, err := url.Parse(r.url)
	if err != nil || s.Path != "" && strings.TrimSuffix(u.Path, "/") != s.Path {
		return true, v.reply(r, "404 Not Found", "", "")
	}
	return true, v.reply(r, "200 OK", "Content-Type: application/sdp\r\nContent-Base: "+strings.TrimSuffix(r.url, "/")+"/\r\n", s.sdp())
}

func (s *server) setup(_ context.Context, v *viewer, r request) (bool, error) {
	script := s.Control.now()
	for _, offer := range strings.Split(r.header.Get("Transport"), ",") {
		switch profile, rest, _ := strings.Cut(strings.TrimSpace(offer), ";"); profile {
		case "RTP/AVP/TCP":
			if script.NoTCP {
				continue
			}
			v.set, v.udp = true, nil
			return true, v.reply(r, "200 OK", s.session()+"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", "")
		case "RTP/AVP", "RTP/AVP/UDP":
			if script.NoUDP {
				continue
			}
			to, err := s.udp.to(v.conn, rest)
			if err != nil {
				continue
			}
			v.set, v.udp = true, to
			return true, v.reply(r, "200 OK", fmt.Sprintf("%sTransport: RTP/AVP;unicast;%s;ssrc=%08X\r\n", s.session(), to, s.hub.ssrc), "")
		}
	}
	return true, v.reply(r, "461 Unsupported Transport", "", "")
}

func (s *server) start(ctx context.Context, v *viewer, r request) (bool, error) {
	if !v.set {
		return true, v.reply(r, "455 Method Not Valid in This State", "", "")
	}
	if err := v.reply(r, "200 OK", s.session()+"Range: npt=now-\r\n", ""); err != nil {
		return false, err
	}
	v.join(ctx, s.hub)
	return true, nil
}

func (s *server) pause(_ context.Context, v *viewer, r request) (bool, error) {
	v.leave()
	return true, v.reply(r, "200 OK", s.session(), "")
}

func (s *server) parameter(_ context.Context, v *viewer, r request) (bool, error) {
	return true, v.reply(r, "200 OK", s.session(), "")
}

func (s *server) teardown(_ context.Context, v *viewer, r request) (bool, error) {
	return false, v.reply(r, "200 OK", s.session(), "")
}

// sdp describes the stream as it is now.
func (s *server) sdp() string {
	codec, rate := s.hub.sends(), cmp.Or(s.Control.now().Rate, s.Rate)
	var more string
	if codec == H264 {
		more = "a=fmtp:96 packetization-mode=1\r\n"
	}
	if rate > 0 {
		more += fmt.Sprintf("a=framerate:%g\r\n", rate)
	}
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n" +
		"m=video 0 RTP/AVP 96\r\na=rtpmap:96 " + codec.String() + "/90000\r\n" + more + "a=control:track1\r\n"
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
