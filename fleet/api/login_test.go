package api

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
)

// session is the cookie of a new login.
func (f *fleet) session(user string, life ...time.Duration) *http.Cookie {
	f.Helper()
	secret := auth.NewSecret(auth.SessionPrefix)
	expires := f.store.Now().Add(sessionLife)
	if len(life) > 0 {
		expires = f.store.Now().Add(life[0])
	}
	f.must(f.store.AddSession(f.Context(), store.Session{Key: auth.KeyOf(secret), User: user, Expires: expires}))
	return &http.Cookie{Name: "sightline", Value: secret}
}

// post sends a form as a browser does.
func (f *fleet) post(target string, form url.Values, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	f.Helper()
	r := httptest.NewRequest("POST", "http://localhost"+target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return f.serve(r)
}

func (f *fleet) get(target string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	f.Helper()
	r := httptest.NewRequest("GET", "http://localhost"+target, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return f.serve(r)
}

func credentials(user, password, next string) url.Values {
	return url.Values{"user": {user}, "password": {password}, "next": {next}}
}

func TestLoginAndLogout(t *testing.T) {
	f := newFleet(t)
	w := f.get("/results?verdict=FAIL")
	if w.Code != 303 || w.Header().Get("Location") != "/login?next=%2Fresults%3Fverdict%3DFAIL" {
		t.Fatalf("%d %s", w.Code, w.Header().Get("Location"))
	}
	w = f.get(w.Header().Get("Location"))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `name="next" value="/results?verdict=FAIL"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	w = f.post("/login", credentials("admin", password, "/results?verdict=FAIL"))
	if w.Code != 303 || w.Header().Get("Location") != "/results?verdict=FAIL" || len(w.Result().Cookies()) != 1 {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	cookie := w.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || strings.Contains(w.Body.String(), cookie.Value) {
		t.Errorf("the cookie is %v", cookie)
	}
	if w = f.get("/results", cookie); w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w = f.get("/login?next=/results", cookie); w.Code != 303 || w.Header().Get("Location") != "/results" {
		t.Errorf("who has logged in sees the login: %d", w.Code)
	}
	w = f.post("/logout", nil, cookie)
	if w.Code != 303 || w.Header().Get("Location") != "/login" || w.Result().Cookies()[0].MaxAge != -1 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w = f.get("/", cookie); w.Code != 303 {
		t.Errorf("the session outlives its end: %d", w.Code)
	}
}

func TestWrongLoginSaysNoMoreThanThat(t *testing.T) {
	f := newFleet(t)
	var texts []string
	for _, user := range []string{"admin", "nobody"} {
		w := f.post("/login", credentials(user, "wrong password", "/"))
		if w.Code != 401 || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s: %d %v", user, w.Code, w.Header())
		}
		texts = append(texts, strings.ReplaceAll(w.Body.String(), `value="`+user+`"`, ""))
		w = f.ask(0, "POST", "/v1/login", `{"user":"`+user+`","password":"wrong password"}`)
		if w.Code != 401 || !strings.Contains(w.Body.String(), "the name or the password is wrong") {
			t.Errorf("%s: %d %s", user, w.Code, w.Body)
		}
	}
	if texts[0] != texts[1] {
		t.Error("a name that isn't known is told from a wrong password")
	}
}

func TestBruteForceMeetsBackOff(t *testing.T) {
	f := newFleet(t)
	for range 5 {
		f.post("/login", credentials("admin", "wrong password", "/"))
	}
	for _, p := range []string{"wrong password", password} { // also the right one, else the wait would tell it
		w := f.post("/login", credentials("admin", p, "/"))
		wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if w.Code != 429 || err != nil || wait < 1 || !strings.Contains(w.Body.String(), "Too many attempts: try again in") {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		w = f.ask(0, "POST", "/v1/login", `{"user":"Admin","password":"`+p+`"}`) // the case doesn't matter
		if w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	}
	if w := f.post("/login", credentials("viewer", password, "/")); w.Code != 303 {
		t.Errorf("somebody else: %d", w.Code)
	}
}

// A secret that was in the browser before a login doesn't become the session's.
func TestSessionFixation(t *testing.T) {
	f := newFleet(t)
	planted := f.session("viewer")
	w := f.post("/login", credentials("admin", password, "/"), planted)
	if w.Code != 303 || w.Result().Cookies()[0].Value == planted.Value {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	if w := f.get("/", planted); w.Code != 303 {
		t.Errorf("the secret from before is still good: %d", w.Code)
	}
	made := &http.Cookie{Name: "sightline", Value: auth.NewSecret(auth.SessionPrefix)} // by the attacker
	if w := f.post("/login", credentials("admin", password, "/"), made); w.Result().Cookies()[0].Value == made.Value {
		t.Error("a planted secret was taken over")
	}
}

func TestSessionsEnd(t *testing.T) {
	f := newFleet(t)
	if w := f.get("/", f.session("viewer", -time.Second)); w.Code != 303 {
		t.Errorf("an expired session: %d", w.Code)
	}
	old := f.session("viewer", time.Hour)
	w := f.get("/", old)
	if c := w.Result().Cookies(); w.Code != 200 || len(c) != 1 || c[0].Value != old.Value || c[0].MaxAge != 12*3600 {
		t.Errorf("its use doesn't move its end: %d %v", w.Code, w.Header())
	}
	s, err := f.store.Session(t.Context(), auth.KeyOf(old.Value), f.store.Now())
	if err != nil || s.Expires.Sub(f.store.Now()) < sessionLife-time.Minute {
		t.Errorf("%+v %v", s, err)
	}
	if w = f.get("/", old); len(w.Result().Cookies()) != 0 {
		t.Error("each use moves it anew")
	}
	f.must(f.store.SetPassword(t.Context(), "viewer", hashed()))
	if w = f.get("/", old); w.Code != 303 {
		t.Errorf("it outlives its password: %d", w.Code)
	}
	gone := f.session("operator")
	f.must(f.store.RemoveUser(t.Context(), "operator"))
	if w = f.get("/", gone); w.Code != 303 {
		t.Errorf("it outlives its user: %d", w.Code)
	}
}

// However much it is used, a session ends seven days after its login.
func TestSessionsEndForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))) // no fleet is made in 2000
		f := newFleet(t)
		cookie := f.session("viewer")
		begun := f.store.Now()
		for f.get("/", cookie).Code == 200 {
			time.Sleep(time.Hour)
		}
		if lasted := f.store.Now().Sub(begun); lasted < sessionMost || lasted > sessionMost+time.Hour {
			t.Errorf("it lasted %v", lasted)
		}
	})
}

// A password's hash that is of another cost is renewed by a login, which ends
// nothing: the password is the same.
func TestStaleHashIsRenewed(t *testing.T) {
	f := newFleet(t)
	salt := []byte("a salt for a test")
	sum := argon2.IDKey([]byte(password), salt, 1, 1024, 1, 32)
	b64 := base64.RawStdEncoding
	old := fmt.Sprintf("$argon2id$v=%d$m=1024,t=1,p=1$%s$%s", argon2.Version, b64.EncodeToString(salt), b64.EncodeToString(sum))
	u, err := f.store.User(t.Context(), "viewer")
	f.must(err)
	f.must(f.store.RenewHash(t.Context(), "viewer", u.Hash, old))
	session := f.session("viewer")
	if w := f.post("/login", credentials("viewer", password, "/")); w.Code != 303 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if u, err := f.store.User(t.Context(), "viewer"); err != nil || u.Hash == old {
		t.Errorf("its hash is still the old one: %v", err)
	}
	if w := f.get("/", session); w.Code != 200 {
		t.Errorf("the session ended: %d", w.Code)
	}
	if w := f.ask(auth.Viewer, "GET", "/v1/me"); w.Code != 200 {
		t.Errorf("the token ended: %d", w.Code)
	}
	f.must(f.store.SetPassword(t.Context(), "viewer", old))
	if w := f.ask(auth.Viewer, "GET", "/v1/me"); w.Code != 401 {
		t.Errorf("the token outlives its password: %d", w.Code)
	}
}

func TestLoginOfAProgram(t *testing.T) {
	f := newFleet(t)
	login := func() string {
		w := f.ask(0, "POST", "/v1/login", `{"user":"operator","password":"`+password+`","name":"desk"}`)
		out := body[struct {
			Token, User, Role string
			Expires           time.Time
		}](t, w)
		if w.Code != 200 || !auth.IsSecret(auth.TokenPrefix, out.Token) || out.Role != "operator" || out.Expires.Before(f.store.Now().Add(80*24*time.Hour)) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return out.Token
	}
	f.tokens[auth.Operator] = login()
	login() // once more from the same desk
	if w := f.ask(auth.Operator, "GET", "/v1/me"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range maxLogins {
		login()
	}
	all, err := f.store.APITokens(t.Context())
	f.must(err)
	if n := len(slices.DeleteFunc(all, func(t store.APIToken) bool { return t.User != "operator" })); n != maxLogins+1 { // and the test's own
		t.Errorf("the operator has %d tokens", n)
	}
	if w := f.ask(auth.Operator, "GET", "/v1/me"); w.Code != 401 {
		t.Errorf("the first of many from one desk is still good: %d", w.Code)
	}
	f.tokens[auth.Operator] = login()
	if w := f.ask(auth.Operator, "POST", "/v1/logout"); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.ask(auth.Operator, "GET", "/v1/me"); w.Code != 401 {
		t.Errorf("the token outlives its end: %d", w.Code)
	}
}

func TestLoginLeadsNowhereElse(t *testing.T) {
	f := newFleet(t)
	for next, want := range map[string]string{
		"/": "/", "/results?verdict=FAIL&part=a%2Fb": "/results?verdict=FAIL&part=a%2Fb", "/devices/d1": "/devices/d1", "": "/",
		"//evil.example": "/", "///evil.example": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "https://evil.example": "/", "https:/evil.example": "/",
		"javascript:alert(1)": "/", "evil.example": "/", "/\t/evil.example": "/", "/\n/evil.example": "/", " //evil.example": "/", "/%2f/evil.example": "/",
		"//user@evil.example": "/", "/login": "/", "/logout": "/", "/results#x": "/results#x", "/" + strings.Repeat("x", 2000): "/", "/%zz": "/",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%.40q leads to %q, want %q", next, got, want)
		}
	}
	if w := f.post("/login", credentials("admin", password, "//evil.example")); w.Header().Get("Location") != "/" {
		t.Errorf("it leads to %s", w.Header().Get("Location"))
	}
}

// A link from elsewhere comes without the strict cookie; the page asks once
// more, from here.
func TestLinkFromElsewhere(t *testing.T) {
	f := newFleet(t)
	r := httptest.NewRequest("GET", "http://localhost/results/4711", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := f.serve(r)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `http-equiv="refresh" content="0"`) || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestCookieOverTLS(t *testing.T) {
	f := newFleet(t)
	r := httptest.NewRequest("POST", "https://localhost/login", strings.NewReader(credentials("admin", password, "/").Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.TLS = &tls.ConnectionState{}
	w := f.serve(r)
	if c := w.Result().Cookies(); w.Code != 303 || len(c) != 1 || c[0].Name != "__Host-sightline" || !c[0].Secure {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
