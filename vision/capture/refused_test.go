package capture

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// gatekeeper is a camera with a password that counts who tried with a wrong one.
type gatekeeper struct {
	source string
	denied func() int
}

const goodLine, wrongLine = "user:right\n", "user:wrong\n"

func rtspGatekeeper(t *testing.T) gatekeeper {
	t.Helper()
	needFFmpeg(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ctl ipcam.Control
	camera := ipcam.RTSP{Stream: drawn(t, 160, 120, 25), User: "user", Password: "right", Control: &ctl}
	background(t, func(ctx context.Context) error { return camera.Serve(ctx, ln) })
	return gatekeeper{"rtsp://" + ln.Addr().String() + "/cam", func() int { return ctl.Counts().Denied }}
}

// TestForbiddenAfterAPasswordIsARefusal: some cameras say 403 to a wrong password.
// Without one it is the path that is wrong.
func TestForbiddenAfterAPasswordIsARefusal(t *testing.T) {
	for user, want := range map[string]bool{"user:wrong@": true, "": false} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			in := textproto.NewReader(bufio.NewReader(conn))
			for err == nil {
				if _, err = in.ReadLine(); err != nil {
					return
				}
				header, bad := in.ReadMIMEHeader()
				answer := "RTSP/1.0 403 Forbidden\r\n\r\n"
				if err = bad; user != "" && header.Get("Authorization") == "" {
					answer = "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
				}
				_, _ = conn.Write([]byte(answer)) // whoever asked reads it, or fails the test
			}
		}()
		err = askRTSP(t.Context(), order{At: "rtsp://" + user + ln.Addr().String() + "/x"})
		if errors.Is(err, errDenied) != want || err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("user %q: %v", user, err)
		}
	}
}

// TestWrongPasswordIsNotHammered: cameras lock accounts after a few wrong tries.
// One is all they get, until half a minute has gone or someone has written the
// password anew.
func TestWrongPasswordIsNotHammered(t *testing.T) {
	t.Parallel()
	for name, camera := range map[string]func(*testing.T) gatekeeper{"rtsp": rtspGatekeeper} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := camera(t)
			file := filepath.Join(t.TempDir(), "credentials")
			put := func(line string) {
				t.Helper()
				if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(wrongLine)
			cfg := config(g.source)
			cfg.Credentials = file
			r := start(t, cfg)
			eventually(t, 10*time.Second, "the camera to refuse", func() bool { return r.Stats().State == Refused })
			began := time.Now()
			eventually(t, 10*time.Second, "4 s", func() bool { return time.Since(began) > 4*time.Second })
			if n := g.denied(); n != 1 {
				t.Errorf("the wrong password was tried %d times within %v, want once", n, time.Since(began))
			}
			if s := r.Stats(); s.State != Refused || s.Restarts > 0 || s.Captured > 0 {
				t.Errorf("stats %+v", s)
			}
			put("someone:" + wrongLine) // another one, of another size
			eventually(t, 10*time.Second, "another try", func() bool { return g.denied() >= 2 })
			eventually(t, 10*time.Second, "the camera to refuse", func() bool { return r.Stats().State == Refused })
			put(goodLine)
			written := time.Now()
			r.next(10 * time.Second).Release()
			if n := g.denied(); n != 2 {
				t.Errorf("wrong passwords were tried %d times, two there were", n)
			}
			t.Logf("%v after the right password was written the first frame came", time.Since(written).Round(time.Millisecond))
		})
	}
}
