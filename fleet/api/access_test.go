package api

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
)

// request is one that the pattern takes.
func (r route) request(ctx context.Context) *http.Request {
	method, path, ok := strings.Cut(r.pattern, " ")
	if !ok {
		method, path = "GET", r.pattern
	}
	path = strings.NewReplacer("{device}", "dnone00001", "{sha256}", strings.Repeat("0", 64), "{file}", "timestamp.json", "{id}", "1", "{$}", "").Replace(path)
	if path == "/" && r.pattern == "/" {
		path = "/nowhere"
	}
	body := "{}"
	if !strings.HasPrefix(path, "/v1/") {
		body = ""
	}
	out := httptest.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(body))
	out.Header.Set("Content-Type", "application/json")
	if body == "" {
		out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return out
}

// Every route that is registered, asked by everybody: who may gets something
// else than a refusal, who may not gets a refusal and nothing else.
func TestEveryRouteByEverybody(t *testing.T) {
	f := newFleet(t)
	if len(f.routes) < 25 {
		t.Fatalf("only %d routes are registered", len(f.routes))
	}
	for _, r := range f.routes {
		for _, role := range []auth.Role{0, auth.Viewer, auth.Operator, auth.Admin} {
			for _, by := range []string{"token", "session"} {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				if r.pattern == "GET /v1/events" { // it doesn't end by itself
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				}
				req := r.request(ctx)
				if role != 0 && by == "token" {
					secret := auth.NewSecret(auth.TokenPrefix) // one each, since logging out ends it
					f.must(f.store.AddAPIToken(ctx, store.APIToken{Key: auth.KeyOf(secret), Name: secret, User: role.String(), Role: role}))
					req.Header.Set("Authorization", "Bearer "+secret)
				} else if role != 0 {
					req.AddCookie(f.session(role.String()))
				}
				w := f.serve(req)
				cancel()
				r.check(t, role, by, w)
			}
		}
	}
}

func (r route) check(t *testing.T, role auth.Role, by string, w *httptest.ResponseRecorder) {
	t.Helper()
	toLogin := w.Code == http.StatusSeeOther && strings.HasPrefix(w.Header().Get("Location"), "/login")
	if r.pattern == "POST /logout" && role != 0 {
		toLogin = false // that is where it leads
	}
	refused := w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") != "" || toLogin
	forbidden := w.Code == http.StatusForbidden
	switch {
	case r.access == open || role.May(r.access.role()):
		if refused || forbidden || w.Code >= 500 {
			t.Errorf("%s by %v with a %s: %d %s", r.pattern, role, by, w.Code, w.Body)
		}
	case role == 0:
		if !refused || strings.Contains(w.Body.String(), "Sightline fleet") {
			t.Errorf("%s by nobody: %d %s", r.pattern, w.Code, w.Body)
		}
	case !forbidden:
		t.Errorf("%s by %v with a %s: %d %s", r.pattern, role, by, w.Code, w.Body)
	}
}

// A route that nobody has decided on keeps the service from starting.
func TestUndecidedRoute(t *testing.T) {
	g := &gate{mux: http.NewServeMux()}
	for pattern := range accesses {
		g.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	}
	if err := g.check(); err != nil {
		t.Fatal(err)
	}
	g.HandleFunc("DELETE /v1/devices/{device}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	if err := g.check(); err == nil || err.Error() != "nobody has decided who may DELETE /v1/devices/{device}" {
		t.Errorf("%v", err)
	}
	if err := (&gate{}).check(); err == nil || !strings.Contains(err.Error(), "GET /v1/me is decided on and doesn't exist") {
		t.Errorf("%v", err)
	}
}

// Tokens that are none, and those that have ended, let nobody in, and a cookie
// beside a bad token doesn't help.
func TestBadTokens(t *testing.T) {
	f := newFleet(t)
	expired := auth.NewSecret(auth.TokenPrefix)
	f.must(f.store.AddAPIToken(t.Context(), store.APIToken{
		Key: auth.KeyOf(expired), Name: "old", User: "admin", Role: auth.Admin, Expires: f.store.Now().Add(-time.Second),
	}))
	cookie := f.session("admin")
	for _, header := range []string{
		"Bearer", "Bearer ", "Bearer " + auth.NewSecret(auth.TokenPrefix), "Bearer " + expired, "Bearer " + cookie.Value, "Basic " + f.tokens[auth.Admin],
		f.tokens[auth.Admin], "Bearer " + f.tokens[auth.Admin] + "x", "Bearer ' OR 1=1 --", "Bearer " + strings.Repeat("x", 8000),
	} {
		r := httptest.NewRequest("GET", "http://localhost/v1/me", nil)
		r.Header.Set("Authorization", header)
		r.AddCookie(cookie)
		if w := f.serve(r); w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Bearer realm="sightline"` ||
			!strings.HasPrefix(w.Header().Get("Content-Type"), "application/problem+json") {
			t.Errorf("%.40q: %d %v %s", header, w.Code, w.Header(), w.Body)
		}
	}
	for _, header := range []string{"Bearer ", "bearer ", "BEARER  "} {
		r := httptest.NewRequest("GET", "http://localhost/v1/me", nil)
		r.Header.Set("Authorization", header+f.tokens[auth.Operator])
		w := f.serve(r)
		if me := body[struct{ User, Role string }](t, w); me.User != "operator" || me.Role != "operator" {
			t.Errorf("%q: %d %s", header, w.Code, w.Body)
		}
	}
}

// A token does no more than its user may now.
func TestTokenOfWhoIsGone(t *testing.T) {
	f := newFleet(t)
	f.must(f.store.RemoveUser(t.Context(), "admin"))
	if w := f.ask(auth.Admin, "GET", "/v1/me"); w.Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Metrics are for who has logged in, and for a program on this machine, not
// for whoever a proxy on this machine speaks for.
func TestWhoMayScrape(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		from, header string
		status       int
	}{
		{"127.0.0.1:4711", "", 200}, {"[::1]:4711", "", 200}, {"192.0.2.1:4711", "", 401}, {"127.0.0.1:4711", "X-Forwarded-For", 401},
		{"127.0.0.1:4711", "Forwarded", 401}, {"", "", 401},
	} {
		r := httptest.NewRequest("GET", "http://localhost/metrics", nil)
		r.RemoteAddr = c.from
		if c.header != "" {
			r.Header.Set(c.header, "for=192.0.2.1")
		}
		if w := f.serve(r); w.Code != c.status {
			t.Errorf("from %q with %q: %d, want %d", c.from, c.header, w.Code, c.status)
		}
		r.TLS = &tls.ConnectionState{}
		if w := f.serve(r); w.Code != 401 {
			t.Errorf("over TLS from %q with %q: %d", c.from, c.header, w.Code)
		}
	}
}

func TestOtherSitesAreKeptOut(t *testing.T) {
	f := newFleet(t)
	f.add("dsome00001", "line-a", "")
	cookie := f.session("admin")
	for _, target := range []string{"/logout", "/login", "/devices/dsome00001/revoke", "/v1/devices/dsome00001/revoke", "/v1/enroll-tokens"} {
		for name, value := range map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} {
			r := httptest.NewRequest("POST", "http://localhost"+target, strings.NewReader(`reason=x`))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(name, value)
			r.AddCookie(cookie)
			if w := f.serve(r); w.Code != 403 {
				t.Errorf("POST %s with %s %s: %d", target, name, value, w.Code)
			}
		}
	}
	if w := f.ask(auth.Viewer, "GET", "/v1/devices/dsome00001"); strings.Contains(w.Body.String(), `"presence":"revoked"`) {
		t.Error("another site has revoked a device")
	}
	r := httptest.NewRequest("GET", "http://localhost/v1/me", nil)
	r.Host = "rebound.example"
	r.AddCookie(cookie)
	if w := f.serve(r); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("by another name: %d", w.Code)
	}
}
