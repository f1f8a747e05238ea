package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAgentThatIsAnother: whatever sends elsewhere isn't the agent, and what
// answers there is no success.
func TestAgentThatIsAnother(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/v1/updates", http.RedirectHandler("/login", http.StatusSeeOther))
	mux.HandleFunc("/login", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/v1/good", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	s := httptest.NewServer(mux)
	defer s.Close()
	l := local{agent: s.URL + "/"}
	if err := l.post(t.Context(), "/v1/updates", nil); err == nil || !strings.Contains(err.Error(), "303") {
		t.Errorf("a redirect: %v", err)
	}
	if err := l.post(t.Context(), "/v1/good", nil); err != nil {
		t.Error(err)
	}
}
