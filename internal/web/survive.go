package web

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// Survive answers for a handler that panics, so that a fault shows, in the log
// as well, and doesn't look like a network that fails.
func Survive(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		late := &lateWriter{ResponseWriter: w}
		defer func() {
			switch p := recover(); {
			case p == nil:
				late.begin()
				return
			case isAbort(p):
				panic(p)
			default:
				log.Error("BUG: a request can't be answered", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			}
			if late.begun {
				panic(http.ErrAbortHandler) // half an answer must not look whole
			}
			Problem(w, http.StatusServiceUnavailable, "this can't be answered, the log says why")
		}()
		next.ServeHTTP(late, r)
	})
}

func isAbort(p any) bool {
	err, ok := p.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// lateWriter keeps the status and the first bytes until more follow: until
// then it can be another answer. huma writes a few words before it panics.
type lateWriter struct {
	http.ResponseWriter
	status int
	held   []byte
	begun  bool
}

const mostHeld = 512 // bytes

func (w *lateWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *lateWriter) Write(b []byte) (int, error) {
	if !w.begun && len(w.held)+len(b) <= mostHeld {
		w.held = append(w.held, b...)
		return len(b), nil
	}
	w.begin()
	return w.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController looks for.
func (w *lateWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController find the deadlines.
func (w *lateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *lateWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	if len(w.held) > 0 {
		_, _ = w.ResponseWriter.Write(w.held) // who has gone needs nothing more, and the next write tells
	}
}
