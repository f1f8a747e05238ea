package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw is a camera that answers each connection with f.
func raw(t *testing.T, f func(ctx context.Context, c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	background(t, func(ctx context.Context) error {
		defer all.Wait()
		defer context.AfterFunc(ctx, func() { ln.Close() })()
		for {
			c, err := ln.Accept()
			if err != nil {
				return nil
			}
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				_, _ = c.Read(make([]byte, 4096)) // the request, of which nothing matters
				f(ctx, c)
			})
		}
	})
	return "http://" + ln.Addr().String()
}

// drip sends forever, a little at a time.
func drip(ctx context.Context, c net.Conn, what string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := c.Write([]byte{what[i%len(what)]}); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func endless(c net.Conn, what []byte) {
	block := bytes.Repeat(what, 1+(64<<10)/len(what))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// TestHostileHTTP: whatever a peer sends, there is an error in time, in bounds.
func TestHostileHTTP(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const stream = ok + "Content-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"
	pic := string(jpegOf(t, plain(64, 48, 7)))
	huge := []byte(pic) // of 20,000 by 20,000, it says
	at := bytes.Index(huge, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(huge[at+5:], 20_000)
	binary.BigEndian.PutUint16(huge[at+7:], 20_000)
	say := func(s string) func(context.Context, net.Conn) {
		return func(ctx context.Context, c net.Conn) {
			_, _ = io.WriteString(c, s)
			<-ctx.Done()
		}
	}
	then := func(s string, f func(context.Context, net.Conn)) func(context.Context, net.Conn) {
		return func(ctx context.Context, c net.Conn) {
			_, _ = io.WriteString(c, s)
			f(ctx, c)
		}
	}
	for _, c := range []struct {
		name string
		peer func(context.Context, net.Conn)
		want string
	}{
		{"says nothing", say(""), "timed out"},
		{"hangs up", func(context.Context, net.Conn) {}, ""},
		{"endless headers", then(ok, func(_ context.Context, c net.Conn) { endless(c, []byte("X-Y: zzzzzzzzzz\r\n")) }), "headers exceeded"},
		{"one endless header", then(ok+"X: ", func(_ context.Context, c net.Conn) { endless(c, []byte("y")) }), "headers exceeded"},
		{"headers drip", then(ok, func(ctx context.Context, c net.Conn) { drip(ctx, c, "X: y\r\n") }), "timed out"},
		{"endless interim answers", func(_ context.Context, c net.Conn) { endless(c, []byte("HTTP/1.1 103 Early\r\n\r\n")) }, ""},
		{"stream drips", then(stream, func(ctx context.Context, c net.Conn) { drip(ctx, c, "\xff\xd8\xff\xe0\x00\xff") }), "stopped sending"},
		{"stream of cut pictures", then(stream, func(_ context.Context, c net.Conn) { endless(c, []byte(pic[:300])) }), "is whole"},
		{"stream of nothing", then(stream, func(_ context.Context, c net.Conn) { endless(c, make([]byte, 4096)) }), ""},
		{"stream goes silent", say(stream + "--b\r\n"), "stopped sending"},
		{"endless segments", then(stream+"\xff\xd8", func(_ context.Context, c net.Conn) {
			endless(c, append([]byte("\xff\xe1\xff\xff"), make([]byte, 65533)...))
		}), "more than 64 MiB"},
		{"endless data", then(stream+pic[:len(pic)-2], func(_ context.Context, c net.Conn) { endless(c, []byte("x")) }), "more than 64 MiB"},
		{"endless fill", then(stream+"\xff\xd8", func(_ context.Context, c net.Conn) { endless(c, []byte("\xff")) }), ""},
		{"picture drips", then(ok+"Content-Type: image/jpeg\r\n\r\n", func(ctx context.Context, c net.Conn) { drip(ctx, c, pic) }), "doesn't end within"},
		{"endless picture", then(ok+"Content-Type: image/jpeg\r\n\r\n", func(_ context.Context, c net.Conn) { endless(c, []byte("x")) }), "more than 64 MiB"},
		{"length too long", say(ok + "Content-Type: image/jpeg\r\nContent-Length: 999999\r\n\r\n" + pic), "doesn't end within"},
		{"length too short", say(ok + "Content-Type: image/jpeg\r\nContent-Length: 40\r\n\r\n" + pic), "decode jpeg"},
		{"length absurd", say(ok + "Content-Type: image/jpeg\r\nContent-Length: -5\r\n\r\n" + pic), ""},
		{"20,000 pixels a side", say(ok + fmt.Sprintf("Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", len(huge)) + string(huge)), "20000 pixels a side"},
		{"packed", say(ok + "Content-Type: image/jpeg\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"), `"gzip", which nobody asked for`},
		{"a page", say(ok + "Content-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"), "gives text/html, not an MJPEG stream"},
		{"binary status", say("HTTP/1.1 500 \x1b[31m\x00\r\n\r\n"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			r, _, err := httpHere(t, raw(t, c.peer), func(o *order) {
				if strings.Contains(c.want, "64 MiB") {
					o.Read = 5000 // so much takes its time
				}
			})
			if err == nil {
				_, err = r.Read(heapRoom)
				r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\x1b\x00") {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}
