package main

import (
	"fmt"
	"io"
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

// TestSwapWhoseAgentIsGone: the hint can be typed as it is.
func TestSwapWhoseAgentIsGone(t *testing.T) {
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	defer s.Close()
	mux.HandleFunc("PUT /v1/stations/{station}/model", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"model":{"name":"a"},"swap":{"model":"b","phase":"loading"}}`)
	})
	mux.HandleFunc("GET /v1/stations/{station}/model", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	cmd := newSwap()
	cmd.SetArgs([]string{"belt 1", "b", "--agent", s.URL})
	cmd.SetContext(t.Context())
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	err := cmd.Execute()
	if want := "ask again with: sightline-agent swap 'belt 1' --agent " + s.URL; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
