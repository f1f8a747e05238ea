package capture

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// httpHere opens an HTTP camera in the test's own process, for waits of 300 ms.
func httpHere(t *testing.T, at string, change func(*order)) (reader, opened, error) {
	t.Helper()
	o := order{Kind: httpCamera, At: at, Read: 300}
	if change != nil {
		change(&o)
	}
	r, desc, err := openHTTP(t.Context(), o)
	if err == nil {
		t.Cleanup(sync.OnceFunc(r.Close))
	}
	return r, desc, err
}

func heapRoom(n int) ([]byte, error) { return make([]byte, n), nil }

// site serves h and counts connections.
func served(t *testing.T, h http.HandlerFunc) (at string, connections *atomic.Int64) {
	t.Helper()
	connections = &atomic.Int64{}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	return srv.URL, connections
}

func givePicture(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data) // a viewer that left is fine
}

// TestSnapshots: an address with one picture is fetched again and again, on one
// connection, at the rate that is asked for; the same bytes are pictures too.
func TestSnapshots(t *testing.T) {
	data := jpegOf(t, plain(64, 48, 50))
	at, connections := served(t, func(w http.ResponseWriter, _ *http.Request) { givePicture(w, data) })
	r, desc, err := httpHere(t, at, func(o *order) { o.Options.Rate = 50 })
	if err != nil || desc.Rate != 50 || desc.Codec != "snapshot" {
		t.Fatalf("%+v, %v", desc, err)
	}
	began := time.Now()
	last := int64(0)
	for i := range 20 {
		s, err := r.Read(heapRoom)
		if err != nil || s.Width != 64 || s.Timing != vision.Arrived || s.Mono <= last {
			t.Fatalf("picture %d: %+v, %v", i, s, err)
		}
		last = s.Mono
	}
	if d := time.Since(began); d < 19*20*time.Millisecond-10*time.Millisecond {
		t.Errorf("20 pictures in %v, 50 a second were asked for", d)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestSnapshotNotModified: what the camera says is no new picture isn't one, and
// a camera that says so isn't silent.
func TestSnapshotNotModified(t *testing.T) {
	t.Parallel()
	var version, unchanged atomic.Int64
	at, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		tag, stamp := fmt.Sprintf(`"v%d"`, version.Load()), time.Unix(1e9+version.Load(), 0).UTC().Format(http.TimeFormat)
		header := "ETag"
		if r.URL.Path == "/time" {
			header, tag = "Last-Modified", stamp
		}
		w.Header().Set(header, tag)
		if r.Header.Get("If-None-Match") == tag || r.Header.Get("If-Modified-Since") == tag {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		givePicture(w, jpegOf(t, plain(64, 48, byte(version.Load()))))
	})
	cfg := config(at + "/tag")
	cfg.Rate, cfg.Silence = 40, 2*beatEvery
	r := start(t, cfg)
	r.next(10 * time.Second).Release()
	began := time.Now()
	eventually(t, 10*time.Second, "longer than a silent camera may be", func() bool { return time.Since(began) > 9*cfg.Silence/4+beatEvery })
	if s := r.Stats(); s.Captured != 1 || s.Restarts != 0 || s.State != Streaming {
		t.Errorf("%+v", s)
	}
	version.Add(77)
	f := r.next(10 * time.Second)
	if f.Pix[0] != 77 || unchanged.Load() < 10 {
		t.Errorf("gray %d after %d times of nothing new", f.Pix[0], unchanged.Load())
	}
	f.Release()

	here, _, err := httpHere(t, at+"/time", func(o *order) { o.Options.Rate = 100 })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.Read(heapRoom); err != nil {
		t.Fatal(err)
	}
	if s, err := here.Read(heapRoom); !errors.Is(err, errNothing) {
		t.Errorf("%+v, %v", s, err)
	}
	version.Add(1)
	if s, err := here.Read(heapRoom); err != nil || s.Width != 64 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSnapshotTroubles: a bad answer between good ones costs that picture alone.
func TestSnapshotTroubles(t *testing.T) {
	t.Parallel()
	data := noisyJPEG(t, 64, 48)
	var n atomic.Int64
	at, _ := served(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) {
		case 2:
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case 4: // ends early
			w.Header().Set("Content-Type", "image/jpeg")
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:100])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 6:
			givePicture(w, data[:len(data)/2]) // whole, but no picture
		case 8:
			givePicture(w, nil)
		case 10:
			panic(http.ErrAbortHandler)
		case 13:
			w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
			_, _ = w.Write([]byte("--b\r\n"))
		default:
			givePicture(w, data)
		}
	})
	r, _, err := httpHere(t, at, func(o *order) { o.Options.Rate, o.Read = 100, 2000 })
	if err != nil {
		t.Fatal(err)
	}
	var incomplete, unreadable uint64
	good := 0
	for {
		s, err := r.Read(heapRoom)
		if bad := (errUnreadable{}); errors.As(err, &bad) {
			unreadable++
			continue
		}
		if errors.Is(err, errNoSnapshot) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		good++
		incomplete += s.incomplete
	}
	if good != 7 || incomplete != 2 || unreadable != 1 {
		t.Errorf("%d good, %d incomplete, %d unreadable of 13 answers", good, incomplete, unreadable)
	}
}

// locked is a camera with a password.
type locked struct {
	scheme string // basic, digest or both
	once   bool   // a nonce is good for one request
	every  int    // a nonce is stale after so many requests
	late   bool   // the first nonce is stale at once

	mu     sync.Mutex
	nonce  int
	used   int    // of the nonce
	nc     string // last seen
	asked  int    // requests
	clear  int    // requests that carried the password as it is
	failed int    // wrong answers
	inner  http.HandlerFunc
}

const lockedUser, lockedPassword = "bob", "geheim: ü x"

var digestField = regexp.MustCompile(`(\w+)="?([^",]*)"?`)

func (l *locked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if l.allowed(w, r) {
		l.inner(w, r)
	}
}

func (l *locked) allowed(w http.ResponseWriter, r *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	user, password, basic := r.BasicAuth()
	if basic {
		l.clear++
	}
	if basic && l.scheme != "digest" && user == lockedUser && password == lockedPassword {
		return true
	}
	given := r.Header.Get("Authorization")
	stale := false
	if strings.HasPrefix(given, "Digest ") && l.scheme != "basic" {
		f := map[string]string{}
		for _, m := range digestField.FindAllStringSubmatch(given, -1) {
			f[m[1]] = m[2]
		}
		h := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
		want := h(h(lockedUser+":cam, 1:"+lockedPassword) + ":" + f["nonce"] + ":" + f["nc"] + ":" + f["cnonce"] + ":auth:" + h("GET:"+r.URL.RequestURI()))
		current := f["nonce"] == fmt.Sprint("n", l.nonce) && f["nc"] > l.nc && f["uri"] == r.URL.RequestURI()
		switch {
		case f["response"] != want:
			l.failed++
		case !current || l.late && l.nonce == 1 || l.every > 0 && l.used >= l.every || l.once && l.used >= 1:
			stale = !l.once // such cameras don't even say so
		default:
			l.used++
			l.nc = f["nc"]
			return true
		}
	} else if given != "" {
		l.failed++
	}
	l.nonce++
	l.used, l.nc = 0, ""
	if l.scheme != "digest" {
		w.Header().Add("WWW-Authenticate", `Basic realm="cam, 1"`)
	}
	if l.scheme != "basic" {
		w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Digest realm="cam, 1", qop="auth,auth-int", nonce="n%d", stale=%v, algorithm=MD5, opaque="x"`, l.nonce, stale))
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func (l *locked) counts() (asked, clear, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked, l.clear, l.failed
}

// TestPasswords: Basic and Digest, for streams and for single pictures, with
// nonces that last, that become stale, and that are good once.
func TestPasswords(t *testing.T) {
	pic := jpegOf(t, plain(64, 48, 50))
	for _, c := range []struct {
		name   string
		camera *locked
		most   int // requests for ten pictures
	}{
		{"basic", &locked{scheme: "basic"}, 11},
		{"digest", &locked{scheme: "digest"}, 11},
		{"both", &locked{scheme: "both"}, 11},
		{"stale after three", &locked{scheme: "digest", every: 3}, 14},
		{"stale at once", &locked{scheme: "digest", late: true}, 12},
		{"once", &locked{scheme: "digest", once: true}, 20},
	} {
		for _, stream := range []bool{false, true} {
			for _, inAddress := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/stream %v/in the address %v", c.name, stream, inAddress), func(t *testing.T) {
					l := &locked{scheme: c.camera.scheme, once: c.camera.once, every: c.camera.every, late: c.camera.late}
					l.inner = func(w http.ResponseWriter, _ *http.Request) {
						if !stream {
							givePicture(w, pic)
							return
						}
						w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
						_, _ = w.Write(bytes.Repeat(append([]byte("--b\r\n\r\n"), pic...), 10))
					}
					at, _ := served(t, l.ServeHTTP)
					r, _, err := httpHere(t, at+"/a?b=c", func(o *order) {
						o.Options.Rate, o.Read = 500, 2000
						if inAddress {
							u, _ := url.Parse(o.At)
							u.User = url.UserPassword(lockedUser, lockedPassword)
							o.At = u.String()
							o.User, o.Password = "somebody", "else"
						} else {
							o.User, o.Password = lockedUser, lockedPassword
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					for got := uint64(0); got < 10; got++ {
						s, err := r.Read(heapRoom)
						if err != nil {
							t.Fatalf("picture %d: %v", got, err)
						}
						got += s.skipped
					}
					asked, clear, failed := l.counts()
					if l.scheme != "basic" && clear > 0 || failed > 0 || asked > c.most {
						t.Errorf("%d requests, %d with the password as it is, %d wrong", asked, clear, failed)
					}
				})
			}
		}
	}
}

// TestWrongPasswords: they are refusals, which are tried again seldom, and say
// what to do.
func TestWrongPasswords(t *testing.T) {
	forbidding := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusForbidden)
	}
	for _, c := range []struct {
		name     string
		camera   http.HandlerFunc
		user     string
		password string
		want     string
		most     int
	}{
		{"wrong basic", (&locked{scheme: "basic"}).ServeHTTP, lockedUser, "wrong-secret", "refuses this user and password", 0},
		{"wrong digest", (&locked{scheme: "digest"}).ServeHTTP, lockedUser, "wrong-secret", "refuses this user and password", 0},
		{"none", (&locked{scheme: "both"}).ServeHTTP, "", "", "asks for a user and password", 0},
		{"forbidden", forbidding, "u", "wrong-secret", "forbidden (403)", 0},
		{"asks for nothing it names", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "u", "wrong-secret", "refuses", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			at, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				c.camera(w, r)
			})
			_, _, err := httpHere(t, at, func(o *order) { o.User, o.Password = c.user, c.password })
			if !errors.Is(err, errDenied) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "credentials") {
				t.Errorf("error %v", err)
			}
			if strings.Contains(fmt.Sprint(err), "wrong-secret") {
				t.Errorf("the password is shown: %v", err)
			}
			if asked > 2 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

func TestRefusedCameraIsLeftInPeace(t *testing.T) {
	t.Parallel()
	l := &locked{scheme: "digest"}
	at, _ := served(t, l.ServeHTTP)
	cfg := config(strings.Replace(at, "http://", "http://bob:wrong-secret@", 1))
	r := start(t, cfg)
	eventually(t, 10*time.Second, "the refusal", func() bool { return r.Stats().State == Refused })
	began := time.Now()
	eventually(t, 5*time.Second, "a second to pass", func() bool { return time.Since(began) > time.Second })
	if asked, _, failed := l.counts(); asked != 2 || failed != 1 {
		t.Errorf("asked %d times, %d wrong passwords", asked, failed)
	}
	if e := r.Stats().LastError; strings.Contains(e, "wrong-secret") {
		t.Error(e)
	}
}

// TestRedirects: the password goes along on the camera's own host, and nowhere
// else.
func TestRedirects(t *testing.T) {
	pic := jpegOf(t, plain(64, 48, 50))
	var heard atomic.Pointer[http.Header]
	other, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		heard.Store(&h)
		switch r.URL.Path {
		case "/asks":
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			givePicture(w, pic)
		}
	})
	for _, scheme := range []string{"basic", "digest"} {
		l := &locked{scheme: scheme}
		at, _ := served(t, l.ServeHTTP)
		l.inner = func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/same":
				http.Redirect(w, r, "/picture?x=1", http.StatusFound)
			case "/other":
				http.Redirect(w, r, strings.Replace(other, "http://", "http://evil:pw@", 1)+"/gives", http.StatusFound)
			case "/trap":
				http.Redirect(w, r, other+"/asks", http.StatusTemporaryRedirect)
			case "/loop":
				http.Redirect(w, r, "/loop", http.StatusFound)
			case "/file":
				w.Header().Set("Location", "file:///etc/passwd")
				w.WriteHeader(http.StatusFound)
			case "/nowhere":
				w.WriteHeader(http.StatusFound)
			default:
				givePicture(w, pic)
			}
		}
		for path, want := range map[string]string{
			"/same": "", "/other": "", "/trap": "asks for a password (401)", "/loop": "on and on", "/file": "can't be read", "/nowhere": "can't be read",
		} {
			heard.Store(nil)
			r, _, err := httpHere(t, at+path, func(o *order) { o.User, o.Password = lockedUser, lockedPassword })
			if want == "" && err == nil {
				_, err = r.Read(heapRoom)
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s %s: %v, want %q", scheme, path, err, want)
			}
			if h := heard.Load(); h != nil && h.Get("Authorization") != "" {
				t.Errorf("%s %s: another host heard %q", scheme, path, h.Get("Authorization"))
			}
		}
	}
}

func TestSameHost(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"http://cam/x", "http://CAM/y", true}, {"http://cam/x", "https://cam/y", true}, {"https://cam/x", "http://cam/y", false},
		{"http://cam/x", "http://cam:8080/y", false}, {"http://cam/x", "http://cam.evil/y", false}, {"http://[::1]/", "http://[::1]/b", true},
	} {
		a, errA := url.Parse(c.a)
		b, errB := url.Parse(c.b)
		if err := errors.Join(errA, errB); err != nil || sameHost(a, b) != c.want {
			t.Errorf("%s → %s: %v, want %v (%v)", c.a, c.b, !c.want, c.want, err)
		}
	}
}

// The examples of RFC 7616 section 3.9.1, with its nonce and cnonce.
func TestDigestOfTheRFC(t *testing.T) {
	for algorithm, want := range map[string]string{
		"MD5": "8ca523f5e9506fed4657c9700eebdbec", "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		d, err := newDigest(map[string]string{"realm": "http-auth@example.org", "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
			"qop": "auth", "algorithm": algorithm, "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"}, "Mufasa", "Circle of Life")
		if err != nil {
			t.Fatal(err)
		}
		d.cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
		if got := d.answer("GET", "/dir/index.html"); !strings.Contains(got, `response="`+want+`"`) || !strings.Contains(got, "nc=00000001") {
			t.Errorf("%s: %s", algorithm, got)
		}
		if got := d.answer("GET", "/dir/index.html"); !strings.Contains(got, "nc=00000002") {
			t.Errorf("the second answer doesn't count: %s", got)
		}
	}
}

func TestChallenges(t *testing.T) {
	for in, want := range map[string]string{
		`Basic realm="a, b", Digest realm="x=\"y\"", nonce=abc, qop="auth,auth-int"`: `basic map[realm:a, b] digest map[nonce:abc qop:auth,auth-int realm:x="y"] `,
		`Negotiate`: `negotiate map[] `, `NEGOTIATE abc==`: "", `"`: "", `=`: "", `,,`: "", `Digest realm="open`: `digest map[realm:open] `,
	} {
		got := ""
		for _, c := range challenges(http.Header{"Www-Authenticate": {in}}) {
			got += fmt.Sprintf("%s %v ", c.scheme, c.params)
		}
		if want != "" && got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Basic realm="a, b", Digest realm="x", nonce=abc`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range challenges(http.Header{"Www-Authenticate": {s}}) {
			if d, err := newDigest(c.params, "u", "p"); err == nil && strings.ContainsAny(d.answer("GET", "/"), "\r\n") {
				t.Error("a line end")
			}
		}
	})
}

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

// TestMJPEGCountsWhatIsCut: pictures that others interrupt are lost on the way.
func TestMJPEGCountsWhatIsCut(t *testing.T) {
	pic := noisyJPEG(t, 64, 48)
	half := pic[:len(pic)-len(pic)/4] // within its data, not within a segment before them
	at := raw(t, func(ctx context.Context, c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
		_, _ = c.Write(bytes.Join([][]byte{half, pic, half, half, pic, pic, half, pic}, nil))
		<-ctx.Done()
	})
	r, _, err := httpHere(t, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	var good, cut uint64
	for good < 4 {
		s, err := r.Read(heapRoom)
		if err != nil || s.Timing != vision.Arrived || s.Mono == 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		good += 1 + s.skipped
		cut += s.incomplete
	}
	if good != 4 || cut != 4 {
		t.Errorf("%d whole, %d cut", good, cut)
	}
}

// TestStreamWithoutAType: what has a length is one picture.
func TestStreamWithoutAType(t *testing.T) {
	pic := jpegOf(t, plain(64, 48, 7))
	at, _ := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(pic)))
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(pic)
	})
	if _, desc, err := httpHere(t, at, nil); err != nil || desc.Codec != "snapshot" {
		t.Errorf("%+v, %v", desc, err)
	}
}
