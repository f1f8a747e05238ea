package auth

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestSecrets(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		s := NewSecret(TokenPrefix)
		if seen[s] || !IsSecret(TokenPrefix, s) || IsSecret(SessionPrefix, s) || len(s) != 4+43 {
			t.Fatalf("secret %s", s)
		}
		seen[s] = true
	}
	good := NewSecret(SessionPrefix)
	for _, bad := range []string{"", SessionPrefix, good[4:], good + "A", good[:len(good)-1], good[:10] + "!" + good[11:], TokenPrefix + good[4:]} {
		if IsSecret(SessionPrefix, bad) {
			t.Errorf("%q is taken for a secret", bad)
		}
	}
	if KeyOf(good) == KeyOf(good+"x") {
		t.Error("two secrets have one key")
	}
}

func TestNewPassword(t *testing.T) {
	form := regexp.MustCompile(`^[a-z2-9]{6}-[a-z2-9]{6}-[a-z2-9]{6}$`)
	count := map[rune]int{}
	for range 2000 {
		p := NewPassword()
		if !form.MatchString(p) || strings.ContainsAny(p, "ilo01") || len(p) < MinPassword {
			t.Fatalf("password %s", p)
		}
		for _, r := range p {
			count[r]++
		}
	}
	for _, r := range letters { // 36,000 letters, 1,161 of each
		if n := count[r]; n < 900 || n > 1450 {
			t.Errorf("%c came %d times", r, n)
		}
	}
}

func TestCookies(t *testing.T) {
	secret := NewSecret(SessionPrefix)
	plain, secure := httptest.NewRequest("GET", "/", nil), httptest.NewRequest("GET", "/", nil)
	plain.TLS, secure.TLS = nil, &tls.ConnectionState{}
	for _, c := range []struct {
		r    *http.Request
		want string
	}{
		{plain, "sightline=" + secret + "; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict"},
		{secure, "__Host-sightline=" + secret + "; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict"},
	} {
		w := httptest.NewRecorder()
		SetCookie(w, c.r, secret, time.Hour)
		if got := w.Header().Get("Set-Cookie"); got != c.want {
			t.Errorf("set %s\nwant %s", got, c.want)
		}
		back := c.r.Clone(t.Context())
		back.AddCookie(w.Result().Cookies()[0])
		if Cookie(back) != secret {
			t.Error("the cookie doesn't come back")
		}
		w = httptest.NewRecorder()
		ClearCookie(w, c.r)
		if got := w.Result().Cookies()[0]; got.MaxAge != -1 || got.Value != "" {
			t.Errorf("cleared by %v", got)
		}
	}
	planted := secure.Clone(t.Context()) // by somebody on the way, where there was no TLS
	planted.AddCookie(&http.Cookie{Name: "sightline", Value: secret})
	if Cookie(planted) != "" {
		t.Error("a cookie of a connection without TLS is taken over TLS")
	}
	junk := plain.Clone(t.Context())
	junk.AddCookie(&http.Cookie{Name: "sightline", Value: "sls_x"})
	if Cookie(junk) != "" {
		t.Error("junk is taken for a secret")
	}
}

func TestRoles(t *testing.T) {
	for _, c := range []struct {
		has, need Role
		may       bool
	}{
		{0, 0, false}, {0, Viewer, false}, {Admin, 0, false}, {Viewer, Viewer, true}, {Viewer, Operator, false}, {Operator, Viewer, true},
		{Operator, Admin, false}, {Admin, Operator, true}, {Admin, Admin, true},
	} {
		if c.has.May(c.need) != c.may {
			t.Errorf("%v may %v: %v", c.has, c.need, !c.may)
		}
	}
	for _, r := range []Role{Viewer, Operator, Admin} {
		if got, err := ParseRole(r.String()); got != r || err != nil {
			t.Errorf("%v: %v %v", r, got, err)
		}
	}
	for _, bad := range []string{"", "Admin", "role 0", "root"} {
		if _, err := ParseRole(bad); err == nil {
			t.Errorf("role %q is known", bad)
		}
	}
}
