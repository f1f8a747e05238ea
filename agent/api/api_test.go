package api

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/internal/health"
)

var update = flag.Bool("update", false, "write docs/openapi.json and docs/metrics.md anew")

func newServer(t testing.TB, m *memory) *Server {
	t.Helper()
	s, err := New(Config{Source: m, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request to the handler as a client at localhost would.
func ask(t testing.TB, s *Server, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://localhost:8080"+target, nil)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func body[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return v
}

type resultsBody struct {
	Results []Result
	Next    string
}

func filled(t testing.TB, n int) (*memory, *Server) {
	m := newMemory(good("station1"))
	for i := range n {
		m.tell(result("station1", i, time.Date(2026, 1, 2, 3, 4, i%60, 0, time.UTC)))
	}
	return m, newServer(t, m)
}

func TestResultsArePagedNewestFirst(t *testing.T) {
	_, s := filled(t, 123)
	var seqs []uint64
	pages, next := 0, ""
	for {
		b := body[resultsBody](t, ask(t, s, "GET", "/v1/results?limit=50&cursor="+next))
		for _, r := range b.Results {
			seqs = append(seqs, r.Seq)
		}
		pages++
		if next = b.Next; next == "" {
			break
		}
	}
	if pages != 3 || len(seqs) != 123 {
		t.Fatalf("%d results on %d pages, want 123 on 3", len(seqs), pages)
	}
	for i, seq := range seqs {
		if seq != uint64(123-i) {
			t.Fatalf("place %d has number %d", i, seq)
		}
	}
}

func TestResultsAreFiltered(t *testing.T) {
	m, s := filled(t, 100)
	m.tell(result("station2", 4, time.Now()))
	for n := range 3 { // one trigger that was asked twice, and another one
		r := result("station3", 0, time.Now())
		r.Trigger, r.Recipe, r.Attempt = []string{"T-1", "T-1", "T-2"}[n], []string{"0.5 l", "1 l", "1 l"}[n], []int{1, 2, 1}[n]
		r.Camera, r.Views = "top", []PartView{{Camera: "top"}, {Camera: "side"}}
		m.tell(r)
	}
	for query, want := range map[string]int{
		"": 50, "?limit=500": 104, "?limit=500&station=station2": 1, "?limit=500&station=none": 0,
		"?limit=500&verdict=NONE": 10, "?limit=500&verdict=FAIL": 21, "?limit=500&verdict=FAIL&station=station1": 20,
		"?limit=500&label=scratch": 21, "?limit=500&label=cap": 104, "?limit=500&label=dent": 0,
		"?part=station1-4711": 1, "?trigger=T-1": 2, "?trigger=T-1&recipe=0.5+l": 1, "?recipe=1+l": 2, "?trigger=T-3": 0, "?recipe=l": 0,
		"?part=station3-4700&trigger=T-2": 1, "?part=station1-4711&trigger=T-2": 0, "?camera=top": 3, "?camera=side": 3, "?camera=front": 0,
	} {
		b := body[resultsBody](t, ask(t, s, "GET", "/v1/results"+query))
		if len(b.Results) != want {
			t.Errorf("%q gives %d results, want %d", query, len(b.Results), want)
		}
	}
}

func TestOneResult(t *testing.T) {
	m, s := filled(t, 9)
	m.pictures["station1-4704"] = []byte("jpeg")
	r := body[Result](t, ask(t, s, "GET", "/v1/results/5"))
	want := result("station1", 4, time.Date(2026, 1, 2, 3, 4, 4, 0, time.UTC))
	want.Seq, want.Picture = 5, "/v1/parts/station1-4704/picture.jpg"
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	if w := ask(t, s, "GET", r.Picture); w.Code != 200 || w.Body.String() != "jpeg" || w.Header().Get("Content-Type") != "image/jpeg" {
		t.Errorf("its picture: %d %v", w.Code, w.Header())
	}
}

func TestStationsAndHealth(t *testing.T) {
	m, s := filled(t, 3)
	type stations struct{ Stations []Station }
	all := body[stations](t, ask(t, s, "GET", "/v1/stations"))
	if len(all.Stations) != 1 || all.Stations[0].Last == nil || all.Stations[0].Last.Seq != 3 {
		t.Errorf("stations: %+v", all)
	}
	if one := body[Station](t, ask(t, s, "GET", "/v1/stations/station1")); one.ID != "station1" || one.Hour.Yield.Parts != 2412 {
		t.Errorf("station1: %+v", one)
	}
	if got := ask(t, s, "GET", "/v1/health").Body.String(); got != `{"worst":"ok","warnings":[]}`+"\n" {
		t.Errorf("health without warnings: %s", got)
	}
	m.health.Raise(health.NoRule, "station1", "")
	m.health.Raise(health.CameraSilent, "station1", "nothing for 3 s")
	type warnings struct {
		Worst    string
		Warnings []health.Raised
	}
	w := body[warnings](t, ask(t, s, "GET", "/v1/health"))
	if w.Worst != "error" || len(w.Warnings) != 2 || w.Warnings[0].Code != "camera_silent" || w.Warnings[0].Do == "" {
		t.Errorf("health: %+v", w)
	}
}

func TestHealthz(t *testing.T) {
	m, s := filled(t, 1)
	if w := ask(t, s, "GET", "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	m.set(func(st *Station) { st.State, st.StateText = Stalled, "no picture for 3 s" })
	if w := ask(t, s, "GET", "/healthz"); w.Code != 503 || w.Body.String() != "station station1 is stalled: no picture for 3 s\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// What a hostile or a clumsy client may ask. All are problem details, none is
// a 500, and none echoes HTML.
func TestBadRequests(t *testing.T) {
	_, s := filled(t, 3)
	for _, c := range []struct {
		method, target string
		status         int
		detail         string
	}{
		{"GET", "/v1/results?limit=0", 422, "validation failed"},
		{"GET", "/v1/results?limit=501", 422, "validation failed"},
		{"GET", "/v1/results?limit=-1", 422, "validation failed"},
		{"GET", "/v1/results?limit=99999999999999999999", 422, "validation failed"},
		{"GET", "/v1/results?limit=ten", 422, "validation failed"},
		{"GET", "/v1/results?verdict=pass", 422, "validation failed"},
		{"GET", "/v1/results?cursor=AAAA", 422, "cursor isn't one that this device gave: use next of the page before"},
		{"GET", "/v1/results?cursor=" + cursor(0), 422, "cursor isn't one that this device gave: use next of the page before"},
		{"GET", "/v1/results?cursor=" + strings.Repeat("A", 65), 422, "validation failed"},
		{"GET", "/v1/results?label=" + strings.Repeat("x", 201), 422, "validation failed"},
		{"GET", "/v1/results?verdcit=PASS", 422, "validation failed"},
		{"GET", "/v1/results/0", 422, "validation failed"},
		{"GET", "/v1/results/-1", 422, "validation failed"},
		{"GET", "/v1/results/999", 404, "there is no result with number 999"},
		{"GET", "/v1/results/18446744073709551615", 404, "there is no result with number 18446744073709551615"},
		{"GET", "/v1/stations/%3Cscript%3E", 404, `there is no station "<script>"`},
		{"GET", "/v1/stations/none/live", 404, `there is no station "none"`},
		{"GET", "/v1/stations/none/picture.jpg", 404, `there is no station "none"`},
		{"GET", "/v1/parts/none/picture.jpg", 404, `the device has no picture of part "none" any more`},
		{"GET", "/v1/", 404, "there is nothing at GET /v1/; /openapi.json tells what there is"},
		{"DELETE", "/v1/results/1", 404, "there is nothing at DELETE /v1/results/1; /openapi.json tells what there is"},
		{"GET", "/v1/results/%2e%2e%2f%2e%2e", 422, "validation failed"},
	} {
		w := ask(t, s, c.method, c.target)
		p := body[struct {
			Status int
			Detail string
		}](t, w)
		if w.Code != c.status || p.Detail != c.detail || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s %s: %d %s %s", c.method, c.target, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

func TestBrokenJournalIsSaid(t *testing.T) {
	m, s := filled(t, 3)
	m.broken = errors.New("secret path /var/x")
	for target, status := range map[string]int{"/v1/results": 503, "/v1/results/1": 503, "/v1/events": 503, "/": 503, "/results": 503, "/results/1": 503, "/v1/stations": 200} {
		w := ask(t, s, "GET", target)
		if w.Code != status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestOtherSitesAreKeptOut(t *testing.T) {
	_, s := filled(t, 1)
	for host, status := range map[string]int{
		"localhost:8080": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "192.0.2.7": 200, "LOCALHOST.": 200,
		"evil.example": 421, "evil.example:8080": 421, "localhost.evil.example": 421, "": 421, "127.0.0.1.evil.example": 421,
	} {
		for _, target := range []string{"/", "/v1/stations", "/metrics", "/assets/sightline.css"} {
			r := httptest.NewRequest("GET", "http://localhost"+target, nil)
			r.Host = host
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != status {
				t.Errorf("Host %q, %s: %d, want %d", host, target, w.Code, status)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src 'self';") {
				t.Errorf("Host %q, %s: headers %v", host, target, w.Header())
			}
		}
	}
}

func TestOpenAPI(t *testing.T) {
	const file = "../../docs/openapi.json"
	s := newServer(t, newMemory())
	var doc any
	if err := json.Unmarshal(ask(t, s, "GET", "/openapi.json").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fresh(t, file, string(text)+"\n")
}

// fresh compares a generated file, or writes it.
func fresh(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("%s is stale: run go generate ./agent/api\n%s", file, d)
	}
}

func TestMetricsReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("<!-- Made from agent/api/metrics.go by go generate. -->\n# Metrics\n\n`/metrics` of an agent, in Prometheus' text format, " +
		"beside Go's own (`go_…`) and the process's (`process_…`). Labels are bounded: stations by the configuration, models by those in use and the 16 that were last, the others by the program.\n\n" +
		"| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n")
	for _, m := range metricTable() {
		kind := "gauge"
		if m.kind == counter {
			kind = "counter"
		}
		labels := "—"
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, kind, labels, m.help)
	}
	fmt.Fprintf(&b, "| `%s` | histogram | `%s` | %s |\n", stageMetric, strings.Join(stageLabels, "`, `"), stageHelp)
	fresh(t, "../../docs/metrics.md", b.String())
}

// The list of all metrics is testdata/metrics.txt.
func TestMetricsGolden(t *testing.T) {
	m := newMemory(good("station1"), Station{ID: "station2", State: Starting, DeadlineMS: 500, Cascade: second()})
	m.cameras[0].LastFrame, m.cameras[1].LastFrame = nil, nil
	m.recorder, m.lost = Recorder{Late: 1, Owed: 2, Lost: 3}, 4
	m.journal = Journal{Epoch: 9, Last: 4711, Bytes: 1 << 20, Dropped: 5}
	m.fleet = &Fleet{Device: "d0", Connected: true, Backlog: 6, Sent: 7, Resent: 1, SentBytes: 800, Connects: 2, Certificate: time.Unix(1.8e9, 0)}
	m.health.Raise(health.NoRule, "station2", "")
	m.models = inUse()
	var got strings.Builder
	for line := range strings.Lines(ask(t, newServer(t, m), "GET", "/metrics").Body.String()) {
		if strings.Contains(line, "sightline_") {
			got.WriteString(line)
		}
	}
	const file = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Errorf("%s differs, go test -run %s . -update writes it anew:\n%s", file, t.Name(), d)
	}
	for _, m := range metricTable() {
		if !strings.HasPrefix(m.name, "sightline_") || strings.HasSuffix(m.name, "_total") != (m.kind == counter) {
			t.Errorf("%s isn't named as the others", m.name)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	m := newMemory(good("station1"))
	s := newServer(t, m)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	answer, err := http.Get("http://" + l.Addr().String() + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Fatal(answer.Status)
	}
	start := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("ended after %v, with a stream open", d)
	}
	if _, err := io.ReadAll(answer.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Logf("the stream ended with %v", err)
	}
}
