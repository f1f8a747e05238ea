package web

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// policy lets a page load only what its own server gives: no script, style or
// frame of anybody else, and none inside the HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxBody is how much a request may send, bytes.
const maxBody = 64 << 10

// Guard keeps other sites away from what next serves. A request must name this
// server by a number, by localhost or by one of hosts: a page elsewhere whose
// name was made to point here (DNS rebinding) sends its own name. Answers
// can't be framed, embedded or sniffed, and nothing is shared across origins.
func Guard(next http.Handler, hosts ...string) http.Handler {
	return GuardNamed(next, "use its address in numbers, or localhost", hosts...)
}

// GuardNamed is Guard for a server that tells otherwise what to do about a name by
// which it isn't known.
func GuardNamed(next http.Handler, do string, hosts ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if !ours(r.Host, hosts) {
			Refuse(w, r, http.StatusMisdirectedRequest, "this server isn't known by that name: "+do)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// Refuse answers a request that is kept out before anybody looks at it, in the form
// that clients of its path know: under /v2 the Open Inference Protocol's, else text.
func Refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	if !Inference(r.URL.Path) {
		http.Error(w, text, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // a client that has gone needs nothing more
		Error string `json:"error"`
	}{text})
}

// DenyForeign refuses what another site's page made a browser send.
func DenyForeign(w http.ResponseWriter, r *http.Request) {
	Refuse(w, r, http.StatusForbidden, "another site's page made the browser send this: ask from a program, or from a page of this server")
}

// Inference tells whether a path is the Open Inference Protocol's.
func Inference(path string) bool { return path == "/v2" || strings.HasPrefix(path, "/v2/") }

// Loopback tells whether a host, with or without a port, can only be reached from this
// machine.
func Loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func ours(host string, hosts []string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || slices.Contains(hosts, name)
}
