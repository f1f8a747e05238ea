package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
)

// TestSlowAnswersAreHeard: a trigger, a change of recipe and an installation may take
// longer than other requests, and who asked is told all the same.
func TestSlowAnswersAreHeard(t *testing.T) {
	m := newMemory()
	m.add("line")
	m.recipe, m.takes = "cap-blue", 400*time.Millisecond
	server := httptest.NewUnstartedServer(newServer(t, m).Handler())
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/stations/line/trigger", `{"trigger_id":"t1","deadline_ms":60000}`},
		{"PUT", "/v1/stations/line/recipe", `{"recipe":"cap-red"}`},
		{"POST", "/v1/updates", `{"folder":"/media/usb"}`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode >= 300 {
			t.Errorf("%s: %s %s (%v)", c.path, answer.Status, text, err)
		}
	}
}

// TestEventsAskForLittle: a reader of events gets a new warning without the state of
// everything being put together for it.
func TestEventsAskForLittle(t *testing.T) {
	m := newMemory()
	m.add("line")
	r := listen(t, serve(t, newServer(t, m)).URL, "")
	r.next("health")
	m.health.Raise(health.NoRule, "line", "")
	r.next("health")
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.looked != 0 {
		t.Errorf("it was put together %d times", m.looked)
	}
}
