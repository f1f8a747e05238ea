package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestAllow: a handler that was allowed to reads, and is heard, after the server's own
// time.
func TestAllow(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Allow(w, time.Now().Add(time.Second))
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
	}))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	server.Start()
	defer server.Close()
	body, slow := io.Pipe()
	go func() {
		io.WriteString(slow, "said ")
		<-time.After(200 * time.Millisecond)
		io.WriteString(slow, "slowly")
		slow.Close()
	}()
	res, err := http.Post(server.URL, "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != "said slowly" {
		t.Errorf("%q (%v)", text, err)
	}
}
