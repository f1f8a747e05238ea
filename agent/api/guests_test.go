package api

import (
	"net/http"
	"strings"
	"testing"
)

// TestGuestsAreRefusedInTheirForm: clients of the Open Inference Protocol read no other.
func TestGuestsAreRefusedInTheirForm(t *testing.T) {
	s := newServer(t, newMemory(good("station1")))
	for path, want := range map[string]string{
		"/v2/models/a/infer":          `{"error":"another site's page`,
		"/v1/stations/station1/model": "open the device's own page",
	} {
		w := sendBy(t, s, "POST", path, "{}", "Sec-Fetch-Site", "cross-site")
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", path, w.Code, w.Body, want)
		}
	}
}
