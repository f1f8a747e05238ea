package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/internal/web"
)

// access is who may use a route.
type access uint8

const (
	_       access = iota
	open           // anybody; what it does is harmless or checks by itself
	scraper        // a viewer, or a program on this machine
	device         // a viewer, or a device that shows its certificate
	viewer         // who has logged in, and so below
	operator
	admin
)

// accesses is the decision about each route. New refuses one without.
var accesses = map[string]access{
	"GET /assets/": open, "GET /healthz": open,
	"GET /login": open, "POST /login": open, "POST /v1/login": open,
	"POST /v1/enroll": open, // its token is checked
	"POST /v1/renew":  open, // its certificate is checked
	"GET /metrics":    scraper,

	"/": viewer, "GET /{$}": viewer, "GET /devices/{device}": viewer, "GET /results": viewer, "GET /results/{id}": viewer,
	"POST /logout": viewer,
	"/v1/":         viewer, "GET /v1/me": viewer, "POST /v1/logout": viewer,
	"GET /v1/devices": viewer, "GET /v1/devices/{device}": viewer, "GET /v1/results": viewer, "GET /v1/results/{id}": viewer,
	"GET /v1/holes": viewer, "GET /v1/totals": viewer, "GET /v1/health": viewer, "GET /v1/events": viewer,
	"GET /openapi.json": viewer, "GET /openapi.yaml": viewer, "GET /openapi-3.0.json": viewer, "GET /openapi-3.0.yaml": viewer,

	"GET /rollouts": viewer, "GET /rollouts/{id}": viewer, "GET /v1/rollouts": viewer, "GET /v1/rollouts/{id}": viewer,

	"GET /v1/bundles":                 viewer,
	"GET /v1/updates/metadata/{file}": device, "GET /v1/updates/targets/{sha256}": device, "GET /v1/updates/pieces/{sha256}": device,
	"GET /v1/updates/keys": operator, "PUT /v1/updates/targets/{sha256}": operator, // nothing runs but what is signed
	"POST /v1/updates/root": admin, "POST /v1/updates/metadata/targets": admin,

	"POST /v1/enroll-tokens": operator,
	"POST /v1/rollouts":      operator, "POST /rollouts/{id}/{act}": operator,
	"POST /v1/rollouts/{id}/pause": operator, "POST /v1/rollouts/{id}/resume": operator,
	"POST /v1/rollouts/{id}/abort": operator, "POST /v1/rollouts/{id}/rollback": operator,

	"POST /v1/devices/{device}/revoke": admin, "POST /devices/{device}/revoke": admin,
}

// route is a registered pattern with the decision about it.
type route struct {
	pattern string
	access  access
}

// gate is the mux that lets nobody past who may not.
type gate struct {
	server *Server
	mux    *http.ServeMux
	routes []route
}

// HandleFunc registers a handler behind the decision about its pattern.
func (g *gate) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	need := accesses[pattern]
	g.routes = append(g.routes, route{pattern, need})
	if need == open {
		g.mux.HandleFunc(pattern, handler)
		return
	}
	g.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if need == scraper && fromThisMachine(r) || need == device && g.server.fromDevice(r) {
			handler(w, r)
			return
		}
		p, err := g.server.identify(w, r)
		switch {
		case errors.Is(err, errNobody):
			unauthorized(w, r)
		case err != nil:
			g.server.log.Warn("look up a login", "err", err)
			deny(w, r, http.StatusServiceUnavailable, "logins can't be looked up now, the log says why")
		case !p.may(need):
			deny(w, r, http.StatusForbidden, fmt.Sprintf("this needs the role %s, and %s is %s: ask an admin", need.role(), p.User, p.Role))
		default:
			if most, ok := bodies[pattern]; ok {
				r = web.WholeBody(w, r, most)
			}
			handler(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
		}
	})
}

// ServeHTTP makes the gate a mux for huma.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// check tells of routes without a decision, and of decisions without a route.
func (g *gate) check() error {
	var errs []error
	seen := map[string]bool{}
	for _, r := range g.routes {
		seen[r.pattern] = true
		if r.access == 0 {
			errs = append(errs, fmt.Errorf("nobody has decided who may %s", r.pattern))
		}
	}
	for pattern := range accesses {
		if !seen[pattern] {
			errs = append(errs, fmt.Errorf("%s is decided on and doesn't exist", pattern))
		}
	}
	return errors.Join(errs...)
}

func (a access) role() auth.Role {
	switch a {
	case scraper, device, viewer:
		return auth.Viewer
	case operator:
		return auth.Operator
	}
	return auth.Admin
}

// principal is who asks.
type principal struct {
	User string
	Role auth.Role
	key  [32]byte // of the session or the token
	page bool     // a session, else a token
}

func (p *principal) may(need access) bool { return p.Role.May(need.role()) }

type principalKey struct{}

// who is the one that asks; behind the gate there always is one.
func who(ctx context.Context) *principal {
	p, ok := ctx.Value(principalKey{}).(*principal)
	if !ok {
		panic("BUG: an open route asked who it is")
	}
	return p
}

// errNobody means that a request has no login that holds.
var errNobody = errors.New("no login")

// identify finds who asks: by a token if one is sent, else by the session.
func (s *Server) identify(w http.ResponseWriter, r *http.Request) (*principal, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		secret, ok := bearer(header)
		if !ok {
			return nil, errNobody
		}
		key := auth.KeyOf(secret)
		t, err := s.store.APIToken(r.Context(), key, s.store.Now())
		if err != nil {
			return nil, nobody(err)
		}
		return &principal{User: t.User, Role: t.Role, key: key}, nil
	}
	return s.session(w, r)
}

// bearer reads an Authorization header.
func bearer(header string) (secret string, ok bool) {
	scheme, secret, ok := strings.Cut(header, " ")
	secret = strings.TrimSpace(secret)
	return secret, ok && strings.EqualFold(scheme, "Bearer") && auth.IsSecret(auth.TokenPrefix, secret)
}

func nobody(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExpired) {
		return errNobody
	}
	return err
}

// forPeople reports whether a page was asked for, not an interface.
func forPeople(r *http.Request) bool {
	p := r.URL.Path
	return !strings.HasPrefix(p, "/v1/") && !strings.HasPrefix(p, "/openapi") && p != "/metrics"
}

// unauthorized sends people to the login and tells programs what is missing.
func unauthorized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !forPeople(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="sightline"`)
		web.Problem(w, http.StatusUnauthorized, "this needs a login: send Authorization: Bearer with a token from sightline-fleet user token or POST /v1/login")
		return
	}
	if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		// A link from elsewhere comes without the cookie, which is strict. The
		// same address asked for from here has it, if there is a login.
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><meta http-equiv="refresh" content="0"><title>Sightline</title></html>`)
		return
	}
	target := "/login"
	if next := r.URL.RequestURI(); r.Method == http.MethodGet && next != "/" {
		target += "?next=" + url.QueryEscape(next)
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

func deny(w http.ResponseWriter, r *http.Request, status int, text string) {
	if forPeople(r) {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, text, status)
		return
	}
	web.Problem(w, status, text)
}

// sameOrigin refuses what another site makes a browser do.
func sameOrigin(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deny(w, r, http.StatusForbidden, "another site sent this: open the fleet's own page and do it there")
	}))
	return p.Handler(next)
}

// fromDevice reports whether a device asks that the fleet lets in.
func (s *Server) fromDevice(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	_, service, err := s.cfg.Enroll.Who(r.TLS.PeerCertificates)
	return err == nil && !service
}

// remote is the address that a request comes from.
func remote(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr) // what isn't one is the zero address, one for all of them
	return a.Addr().Unmap()
}

// fromThisMachine reports whether a program here asks at the address that is
// for those, the one without TLS, and not a proxy for someone elsewhere. Behind
// a proxy that passes TLS on, everybody is from this machine.
func fromThisMachine(r *http.Request) bool {
	return r.TLS == nil && remote(r).IsLoopback() && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == "" && r.Header.Get("Via") == ""
}
