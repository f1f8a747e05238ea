package capture

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

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
	stale := func(w http.ResponseWriter, _ *http.Request) { // whatever it is told
		w.Header().Set("WWW-Authenticate", `Digest realm="x", nonce="n", stale=true`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	for _, c := range []struct {
		name     string
		camera   http.HandlerFunc
		user     string
		password string
		want     string
		most     int // requests
	}{
		{"wrong basic", (&locked{scheme: "basic"}).ServeHTTP, lockedUser, "wrong-secret", "refuses this user and password", 2},
		{"wrong digest", (&locked{scheme: "digest"}).ServeHTTP, lockedUser, "wrong-secret", "refuses this user and password", 2},
		{"none", (&locked{scheme: "both"}).ServeHTTP, "", "", "asks for a user and password", 2},
		{"forbidden", forbidding, "u", "wrong-secret", "forbidden (403)", 2},
		{"asks for nothing it names", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "u", "wrong-secret", "refuses", 2},
		{"stale each time", stale, "u", "wrong-secret", "refuses this user and password", 3},
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
			if asked > c.most {
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
