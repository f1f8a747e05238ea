package api

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestGuestMetrics: a program without stations tells of its guests, and of nothing that
// it hasn't.
func TestGuestMetrics(t *testing.T) {
	guests := []Guest{
		{Codes: map[int]uint64{404: 3}},
		{Model: "parts", Codes: map[int]uint64{200: 5, 503: 1}, Wait: 1500 * time.Millisecond, Run: 2 * time.Second},
	}
	w := httptest.NewRecorder()
	GuestMetrics(func() []Guest { return guests }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "sightline_") {
			got = append(got, line)
		}
	}
	want := `sightline_oip_requests_total{code="200",model="parts"} 5
sightline_oip_requests_total{code="404",model=""} 3
sightline_oip_requests_total{code="503",model="parts"} 1
sightline_oip_run_seconds_total{model="parts"} 2
sightline_oip_wait_seconds_total{model="parts"} 1.5
`
	if w.Code != 200 || strings.Join(got, "") != want || !strings.Contains(w.Body.String(), "\ngo_goroutines ") {
		t.Errorf("%d %s, want %s", w.Code, strings.Join(got, ""), want)
	}
}
