package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
)

// site is a fleet's web server with one bundle. before sees each request
// first, and tells whether it has answered it.
type site struct {
	list, bundle []byte
	before       func(w http.ResponseWriter, r *http.Request) (answered bool)
	sent         atomic.Int64 // bytes of the bundle
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.before != nil && s.before(w, r) {
		return
	}
	if strings.Contains(r.URL.Path, "/v1/updates/pieces/") {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.list))
		return
	}
	http.ServeContent(counted{w, s}, r, "", time.Time{}, bytes.NewReader(s.bundle))
}

// counted counts what is sent.
type counted struct {
	http.ResponseWriter
	s *site
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.s.sent.Add(int64(n))
	return n, err
}

// pipes are a network without a kernel, for the time of a bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble serves the site to a client, both at the bubble's time.
func inBubble(t *testing.T, s *site) *http.Client {
	t.Helper()
	network := make(pipes)
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(network) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		network <- there
		return here, nil
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		close(network)
		_ = server.Close()
	})
	return &http.Client{Transport: transport}
}

func newSite(t testing.TB, b []byte) *site {
	t.Helper()
	list, err := bundle.Pieces(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return &site{list: list, bundle: b}
}

// TestHTTP: over a real network; the second time nothing is sent, and what MQTT has
// brought needn't come again.
func TestHTTP(t *testing.T) {
	b, w := made(t, 5*mega+1)
	s := newSite(t, b)
	server := httptest.NewServer(s)
	defer server.Close()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { half(t, newDepot(t, b), dir, w) })
	p := newPuller(dir)
	p.OverHTTP(server.URL+"/", server.Client())
	fetched(t, t.Context(), p, w, b)
	if sent := s.sent.Load(); sent > w.Length/2+2*PieceSize || sent < w.Length/3 {
		t.Errorf("%d bytes were sent", sent)
	}
	before := s.sent.Load()
	fetched(t, t.Context(), p, w, b)
	if s.sent.Load() != before {
		t.Errorf("%d bytes were sent again", s.sent.Load()-before)
	}
	if err := p.Remove(w.Digest); err != nil {
		t.Fatal(err)
	}
	fetched(t, t.Context(), p, w, b)
}

// TestHTTPIsCut: after each cut only the rest is asked for.
func TestHTTPIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 5*mega)
		s := newSite(t, b)
		cuts := 0
		s.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if cuts++; cuts > 5 || strings.Contains(r.URL.Path, "pieces") {
				return false
			}
			http.ServeContent(&cutting{counted{rw, s}, 700_000}, r, "", time.Time{}, bytes.NewReader(b))
			return true
		}
		p := newPuller(t.TempDir())
		p.OverHTTP("http://fleet", inBubble(t, s))
		fetched(t, t.Context(), p, w, b)
		if again := s.sent.Load() - w.Length; again > int64(cuts*PieceSize) {
			t.Errorf("%d bytes were sent again after %d cuts", again, cuts)
		}
	})
}

// cutting ends the connection after so many bytes.
type cutting struct {
	counted
	left int
}

func (c *cutting) Write(b []byte) (int, error) {
	b = b[:min(len(b), c.left)]
	c.left -= len(b)
	n, err := c.counted.Write(b)
	if c.left == 0 {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// still begins to answer the first request for the bundle, and stops.
func still() func(http.ResponseWriter, *http.Request) bool {
	stood := false
	return func(w http.ResponseWriter, r *http.Request) bool {
		if stood || strings.Contains(r.URL.Path, "pieces") {
			return false
		}
		stood = true
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", mega, mega+1))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(make([]byte, 100))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
}

// mute never answers the first request.
func mute() func(http.ResponseWriter, *http.Request) bool {
	asked := false
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if asked {
			return false
		}
		asked = true
		<-r.Context().Done()
		return true
	}
}

// TestHTTPStandsStill: whoever asks by itself is told so, before an answer and
// in it.
func TestHTTPStandsStill(t *testing.T) {
	for _, before := range []func(http.ResponseWriter, *http.Request) bool{mute(), still()} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := made(t, mega)
			s := newSite(t, b)
			s.before = before
			client := inBubble(t, s)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://fleet/v1/updates/targets/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			res, err := Do(client, req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if took := time.Since(began); !errors.Is(err, ErrStill) || took != stall {
				t.Errorf("%v after %s", err, took)
			}
		})
	}
}

// TestHTTPAnswers: what is worth waiting for, and what isn't.
func TestHTTPAnswers(t *testing.T) {
	status := func(code int, times int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			if times--; times < 0 {
				return false
			}
			w.WriteHeader(code)
			return true
		}
	}
	only := func(file string, do func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, file) {
				return false
			}
			do(w)
			return true
		}
	}
	for _, tt := range []struct {
		what   string
		before func(http.ResponseWriter, *http.Request) bool
		want   error // nil: the bundle comes
	}{
		{"404", status(404, 1), ErrMissing},
		{"410", status(410, 1), ErrMissing},
		{"401", status(401, 1), ErrRefused},
		{"403", status(403, 1), ErrRefused},
		{"503 for a while", status(503, 4), nil},
		{"429 for a while", status(429, 4), nil},
		{"500 for a while", status(500, 4), nil},
		{"a redirect to nowhere", status(302, 1), ErrRefused},
		{"another range", only("targets", func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}), ErrWrong},
		{"a shorter file", only("targets", func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes */10")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}), ErrWrong},
		{"another list", only("pieces", func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 17*32-1, 17*32))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 17*32))
		}), ErrWrong},
		{"wrong bytes", only("targets", func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, mega+1)) }), ErrWrong},
		{"it stands still", still(), nil},
		{"it says nothing", mute(), nil},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, w := made(t, mega+1)
				s := newSite(t, b)
				s.before = tt.before
				p := newPuller(t.TempDir())
				p.OverHTTP("http://fleet", inBubble(t, s))
				began := time.Now()
				path, err := p.Fetch(t.Context(), w, nil)
				if !errors.Is(err, tt.want) {
					t.Fatalf("%v", err)
				}
				if err == nil {
					same(t, path, b)
				}
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestHTTPWithoutRanges: a server that sends all of it each time will do.
func TestHTTPWithoutRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, mega+1)
		s := newSite(t, b)
		times := 0
		s.before = func(rw http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range")
			if times++; times == 2 {
				http.ServeContent(&cutting{counted{rw, s}, 300_000}, r, "", time.Time{}, bytes.NewReader(b))
				return true
			}
			return false
		}
		p := newPuller(t.TempDir())
		p.OverHTTP("http://fleet", inBubble(t, s))
		fetched(t, t.Context(), p, w, b)
	})
}

// TestHTTPEndsWithItsContext: also while nothing comes, and while it waits.
func TestHTTPEndsWithItsContext(t *testing.T) {
	for _, hold := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, mega)
			s := newSite(t, b)
			s.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if hold {
					<-r.Context().Done()
				} else {
					rw.WriteHeader(503)
				}
				return true
			}
			p := newPuller(t.TempDir())
			p.OverHTTP("http://fleet", inBubble(t, s))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			began := time.Now()
			if _, err := p.Fetch(ctx, w, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		})
	}
}
