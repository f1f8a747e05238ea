package web

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWords(t *testing.T) {
	got := []string{
		Age(-time.Hour), Age(999 * time.Millisecond), Age(59 * time.Second), Age(119 * time.Second), Age(47 * time.Hour), Age(72 * time.Hour),
		Percent(1), Percent(0.99999), Percent(0.98715), Percent(0), Percent(0.5), Percent(math.NaN()),
		Count(0), Count(999), Count(1000), Count(1234567), Count(-1000),
		Number(0.914), Number(0.5), Number(12.345), Number(1240.4), Number(2), Number(1.5), Number(-0.25), Number(math.Inf(1)),
		Digest(""), Digest("1b77"), Digest("9f2cab34de001122"),
	}
	want := []string{
		"0 s", "0 s", "59 s", "1 min", "47 h", "3 d",
		"100", "99.9", "98.7", "0.0", "50.0", "–",
		"0", "999", "1,000", "1,234,567", "-1,000",
		"0.914", "0.500", "12.3", "1240", "2", "1.50", "-0.250", "–",
		"", "1b77", "9f2c…22",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

type verdict string

func (v verdict) String() string { return string(v) }

// A verdict that nobody knows is shown as one that rejects.
func TestUnknownVerdictRejects(t *testing.T) {
	for v, want := range map[verdict][2]string{
		"PASS": {"pass", "PASS"}, "FAIL": {"fail", "FAIL"}, "NONE": {"none", "NO DECISION – REJECTED"},
		"": {"none", "NO DECISION – REJECTED"}, "pass": {"none", "NO DECISION – REJECTED"},
	} {
		if got := [2]string{Kind(v), Word(v)}; got != want {
			t.Errorf("%q is shown as %v, want %v", v, got, want)
		}
	}
}

func TestRenderIsWholeOrAnError(t *testing.T) {
	pages, err := Parse(fstest.MapFS{"x.html": {Data: []byte(`{{define "x"}}{{asset "sightline.css"}} {{template "verdict" .V}} {{.Broken}}{{end}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if err := pages.Render(w, 200, "x", struct{ V verdict }{"PASS"}); err == nil || w.Code != 500 || strings.Contains(w.Body.String(), "mark") {
		t.Errorf("a page that can't be rendered: %v, %d %q", err, w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	err = pages.Render(w, 404, "x", struct {
		V      verdict
		Broken string
	}{"FAIL", "<b>"})
	if err != nil || w.Code != 404 || !strings.Contains(w.Body.String(), "&lt;b&gt;") || !strings.Contains(w.Body.String(), "/assets/sightline.css?v=") {
		t.Errorf("%v, %d %q", err, w.Code, w.Body)
	}
	if _, err := Parse(fstest.MapFS{"x.html": {Data: []byte(`{{nothing}}`)}}); err == nil {
		t.Error("a broken template was parsed")
	}
}

func TestAssets(t *testing.T) {
	h, err := Assets()
	if err != nil {
		t.Fatal(err)
	}
	versions, err := assetVersions()
	if err != nil {
		t.Fatal(err)
	}
	get := func(target, match string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("If-None-Match", match)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for name, kind := range map[string]string{"sightline.css": "text/css", "sightline.js": "text/javascript", "icon.svg": "image/svg+xml"} {
		w := get("/assets/"+name+"?v="+versions[name], "")
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
		if w := get("/assets/"+name+"?v=old", ""); w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s of an old version may be kept: %v", name, w.Header())
		}
		if w := get("/assets/"+name, `"`+versions[name]+`"`); w.Code != http.StatusNotModified {
			t.Errorf("%s that hasn't changed: %d", name, w.Code)
		}
	}
	for _, target := range []string{"/assets/", "/assets/none.css", "/assets/x/sightline.css", "/assets/../web.go", "/sightline.css"} {
		if w := get(target, ""); w.Code != 404 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

func TestGuard(t *testing.T) {
	h := Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Body.Read(make([]byte, maxBody+1)); err != nil && r.ContentLength > maxBody {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		}
	}), "line3.local")
	for host, status := range map[string]int{
		"localhost": 200, "localhost:8080": 200, "127.0.0.1": 200, "[::1]:80": 200, "[fe80::1%25eth0]:80": 200, "10.0.0.7:8080": 200, "line3.local:80": 200, "LINE3.local": 200,
		"": 421, "evil.example": 421, "localhost.evil.example:80": 421, "127.0.0.1.nip.example": 421, "line3": 421, "0x7f.1": 421,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("Host %q: %d, want %d", host, w.Code, status)
		}
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy"} {
			if w.Header().Get(name) == "" {
				t.Errorf("Host %q: no %s", host, name)
			}
		}
	}
	r := httptest.NewRequest("POST", "http://localhost/", strings.NewReader(strings.Repeat("x", maxBody+1)))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of %d bytes: %d", maxBody+1, w.Code)
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9_949: "9.9 kB", 9_950: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB", 8_000_000_000: "8.0 GB", 1 << 60: "1152922 TB",
	} {
		if got := Size(bytes); got != want {
			t.Errorf("%d bytes: %s, want %s", bytes, got, want)
		}
	}
}

func TestSentence(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "état": "État", "no picture for 4 s": "No picture for 4 s", "golden/a.jpg: score": "golden/a.jpg: score", "it is at a/b": "It is at a/b",
	} {
		if got := Sentence(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:80": true, "127.0.0.1:8080": true, "127.9.9.9": true, "[::1]:80": true, "::1": true,
		"": false, ":80": false, "0.0.0.0:80": false, "10.0.0.7": false, "localhost.example:80": false, "127.0.0.1.example": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

// TestRefusalsUnderV2: clients of the Open Inference Protocol read no other form.
func TestRefusalsUnderV2(t *testing.T) {
	for path, form := range map[string]string{"/v2": "application/json", "/v2/models": "application/json", "/v1": "text/plain; charset=utf-8", "/v20": "text/plain; charset=utf-8"} {
		w := httptest.NewRecorder()
		DenyForeign(w, httptest.NewRequest("POST", path, nil))
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusForbidden || got != form {
			t.Errorf("%s: %d as %s, want %s", path, w.Code, got, form)
		}
	}
}
