package web

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Problem answers with problem details (RFC 9457), as huma's own errors are,
// where huma isn't asked.
func Problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.NewError(status, detail)) // a reader that has gone needs nothing more
}

// Cursor makes a page's end opaque, so that nobody counts on what is in it. The
// kind says what the end is, and keeps one list's cursors from another's.
func Cursor(kind, end string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + ":" + end))
}

// ParseCursor reads what Cursor made of that kind; "" is the first page, whose
// end is "".
func ParseCursor(kind, text string) (end string, ok bool) {
	if text == "" {
		return "", true
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	end, ok = strings.CutPrefix(string(b), kind+":")
	return end, ok && end != ""
}
