package auth

import (
	"net/http"
	"time"
)

// cookieName is bound to this very host by its prefix (RFC 6265bis, 4.1.3.2)
// where the connection is secret; without TLS browsers refuse that prefix.
func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-sightline"
	}
	return "sightline"
}

// SetCookie gives the session's secret to the browser that asks. No script can
// read it, and no other site's link or form carries it.
func SetCookie(w http.ResponseWriter, r *http.Request, secret string, life time.Duration) {
	http.SetCookie(w, cookie(r, secret, int(life/time.Second)))
}

// ClearCookie takes it away again.
func ClearCookie(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, cookie(r, "", -1))
}

func cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
}

// Cookie is the session's secret that came with the request, "" without. One
// that was set without TLS isn't taken over TLS.
func Cookie(r *http.Request) string {
	c, err := r.Cookie(cookieName(r))
	if err != nil || !IsSecret(SessionPrefix, c.Value) {
		return ""
	}
	return c.Value
}
