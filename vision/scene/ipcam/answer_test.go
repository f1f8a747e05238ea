package ipcam

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	ctl, addr := scripted(t, Script{}, RTSP{User: "u", Password: "p"})
	ctl.Set(Script{Deny: true})
	c := dial(t, addr)
	if s, h, _ := c.do("DESCRIBE", ""); s != "401 Unauthorized" || !strings.HasPrefix(h.Get("WWW-Authenticate"), "Digest ") {
		t.Errorf("DESCRIBE: %s, %v", s, h)
	}
	if s, _, _ := c.do("DESCRIBE", "Authorization: Digest username=\"u\"\r\n"); s != "401 Unauthorized" {
		t.Errorf("DESCRIBE with a wrong password: %s", s)
	}
	right := func(h textproto.MIMEHeader) string {
		_, rest, _ := strings.Cut(h.Get("WWW-Authenticate"), `nonce="`)
		nonce, _, _ := strings.Cut(rest, `"`)
		sum := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
		return fmt.Sprintf("Authorization: Digest username=\"u\", nonce=\"%s\", uri=\"/\", response=\"%s\"\r\n",
			nonce, sum(sum("u:camera:p")+":"+nonce+":"+sum("DESCRIBE:/")))
	}
	_, h, _ := c.do("DESCRIBE", "")
	if s, _, _ := c.do("DESCRIBE", right(h)); s != "401 Unauthorized" {
		t.Errorf("DESCRIBE with the right password: %s, although none is to be right", s)
	}
	ctl.Set(Script{})
	if s, _, _ := c.do("DESCRIBE", right(h)); s != "200 OK" {
		t.Errorf("DESCRIBE with the right password: %s", s)
	}
	if n := ctl.Counts(); n.Connections != 1 || n.Requests["DESCRIBE"] != 5 || n.Credentials != 3 || n.Denied != 2 {
		t.Errorf("counts %+v", n)
	}
	ctl.Set(Script{Answers: map[string]string{"PLAY": "453 Not Enough Bandwidth", "SETUP": "", "DESCRIBE": "503 Service Unavailable"}})
	for method, want := range map[string]string{"PLAY": "453 Not Enough Bandwidth", "DESCRIBE": "503 Service Unavailable", "OPTIONS": "200 OK", "FLY": "401 Unauthorized"} {
		if s, _, _ := dial(t, addr).do(method, ""); s != want {
			t.Errorf("%s: %s, want %s", method, s, want)
		}
	}
	c = dial(t, addr)
	c.ask("SETUP", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
	c.quiet(100 * time.Millisecond)
	if s, _, _ := c.do("OPTIONS", ""); s != "200 OK" {
		t.Errorf("OPTIONS: %s", s)
	}
}

func TestAnnouncedRate(t *testing.T) {
	t.Parallel()
	ctl, addr := scripted(t, Script{}, RTSP{Rate: 25})
	for _, rate := range []string{"25", "5"} {
		if _, _, body := dial(t, addr).do("DESCRIBE", ""); !strings.Contains(body, "a=framerate:"+rate+"\r\n") {
			t.Errorf("want a rate of %s in %s", rate, body)
		}
		ctl.Set(Script{Rate: 5})
	}
}

func TestSilent(t *testing.T) {
	t.Parallel()
	ctl, addr := scripted(t, Script{Silent: true}, RTSP{})
	c := dial(t, addr)
	c.play()
	c.quiet(200 * time.Millisecond)
	if s, _, _ := c.do("OPTIONS", ""); s != "200 OK" {
		t.Errorf("OPTIONS: %s", s)
	}
	ctl.Set(Script{})
	c.media()
}

// drain passes over packets until nothing comes for d.
func (c *client) drain(d time.Duration) {
	c.t.Helper()
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(d)) // a closed connection is told below
		if _, err := c.in.Peek(1); err != nil {
			return
		}
		c.packet()
	}
}

func TestHalfOpen(t *testing.T) {
	t.Parallel()
	ctl, addr := scripted(t, Script{}, RTSP{})
	c := dial(t, addr)
	c.play()
	c.media()
	ctl.Set(Script{HalfOpen: true})
	c.drain(300 * time.Millisecond)
	c.ask("OPTIONS", "")
	c.quiet(100 * time.Millisecond)
	fresh := dial(t, addr) // the kernel takes it
	fresh.ask("OPTIONS", "")
	fresh.quiet(100 * time.Millisecond)
	ctl.Set(Script{})
	c.answer("OPTIONS")
	c.media()
	ctl.Set(Script{HalfOpen: true}) // and so it ends: that must take no longer
}

func TestHangUp(t *testing.T) {
	t.Parallel()
	ctl, addr := scripted(t, Script{}, RTSP{})
	c := dial(t, addr)
	c.play()
	c.media()
	ctl.HangUp()
	if _, err := io.Copy(io.Discard, c.in); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	dial(t, addr).play()
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	_, addr := scripted(t, Script{Garbage: .5, Seed: 3}, RTSP{Stream: fake(H264, 1000, time.Millisecond)})
	c := dial(t, addr)
	c.play()
	noise := 0
	for range 200 {
		if p := c.media(); !bytes.HasSuffix(p.Payload, bytes.Repeat([]byte{0xaa}, 900)) {
			noise++
		}
	}
	if noise < 60 || noise > 140 {
		t.Errorf("%d of 200 packets are noise, want half", noise)
	}
}
