package web

import (
	"context"
	"io"
	"net/http"
)

type bodyKey struct{}

// KeepBody stands before Guard where some requests may bring more than Guard
// lets through: WholeBody finds their body as it came.
func KeepBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, r.Body)))
	})
}

// WholeBody gives a request that was let in its whole body, at most so many
// bytes of it.
func WholeBody(w http.ResponseWriter, r *http.Request, most int64) *http.Request {
	if whole, ok := r.Context().Value(bodyKey{}).(io.ReadCloser); ok {
		r.Body = http.MaxBytesReader(w, whole, most)
	}
	return r
}
