package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// TestServedNames: a server of models answers to its own names, and says what keeps
// others out as its clients understand it.
func TestServedNames(t *testing.T) {
	l, err := listen("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- serveModels(ctx, nil, l, []string{"models.example"}, io.Discard, slog.New(slog.DiscardHandler))
	}()
	for _, c := range []struct {
		method, host, path, site string
		status                   int
		want                     string
	}{
		{"GET", "", "/v2", "", 200, `{"name":"sightline"`},
		{"GET", "models.example:8000", "/v2", "", 200, `{"name":"sightline"`},
		{"GET", "Models.Example.", "/v2", "", 200, `{"name":"sightline"`},
		{"GET", "elsewhere.example", "/v2", "", 421, `{"error":"this server isn't known by that name: use its address in numbers, or start it with --host and that name"}`},
		{"GET", "elsewhere.example", "/v2/models/a", "", 421, `{"error":"`},
		{"GET", "elsewhere.example", "/metrics", "", 421, "this server isn't known by that name"},
		{"POST", "", "/v2/models/a/infer", "cross-site", 403, `{"error":"another site's page made the browser send this: ask from a program, or from a page of this server"}`},
		{"POST", "", "/v2/models/a/infer", "", 404, `{"error":"`},
	} {
		r, err := http.NewRequest(c.method, "http://"+l.Addr().String()+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.HasPrefix(string(body), c.want) {
			t.Errorf("%s %s of %q: %d %s, want %d %s", c.method, c.path, c.host, answer.StatusCode, body, c.status, c.want)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
