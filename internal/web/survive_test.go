package web

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// saidLog is a log in a test's hands.
type saidLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *saidLog) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *saidLog) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestPanicsAreAnswered: a fault is a problem to who asked and an error in the
// log, unless half an answer has gone.
func TestPanicsAreAnswered(t *testing.T) {
	log := new(saidLog)
	errors := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
	ask := func(h http.HandlerFunc) (w *httptest.ResponseRecorder, ended any) {
		w = httptest.NewRecorder()
		defer func() { ended = recover() }()
		Survive(h, errors).ServeHTTP(w, httptest.NewRequest("GET", "/v1/x", nil))
		return w, nil
	}
	w, ended := ask(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("error marshaling response"))
		panic("oh")
	})
	if w.Code != http.StatusServiceUnavailable || ended != nil || !strings.Contains(w.Body.String(), `"detail":"this can't be answered, the log says why"`) {
		t.Errorf("%d %s, ended with %v", w.Code, w.Body, ended)
	}
	if text := log.String(); !strings.Contains(text, "panic=oh") || !strings.Contains(text, "survive_test.go") {
		t.Errorf("the log says %s", text)
	}
	w, ended = ask(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half "))
		_, _ = w.Write(make([]byte, mostHeld))
		panic("oh")
	})
	if ended != http.ErrAbortHandler || !strings.HasPrefix(w.Body.String(), "half ") || w.Body.Len() != 5+mostHeld {
		t.Errorf("half an answer: %q, ended with %v", w.Body, ended)
	}
	w, ended = ask(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("a piece"))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic("oh")
	})
	if ended != http.ErrAbortHandler || !w.Flushed || w.Body.String() != "a piece" {
		t.Errorf("a stream: %q, ended with %v", w.Body, ended)
	}
	if w, ended = ask(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("all")) }); w.Body.String() != "all" || ended != nil {
		t.Errorf("a short answer: %q, %v", w.Body, ended)
	}
	if w, ended = ask(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }); w.Code != http.StatusTeapot || ended != nil {
		t.Errorf("without a body: %d, %v", w.Code, ended)
	}
}
