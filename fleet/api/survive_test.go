package api

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestNoNumbers: one device that tells numbers which JSON doesn't have hides
// neither itself nor the others.
func TestNoNumbers(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	f.add("dline00002", "line-a", "")
	f.send("dline00001", inspected("station1", 1))
	f.connect("dline00001", 0, wellState("s1"))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	r := inspected("station1", 2)
	r.Score, r.Box = nan, &wire.Box{X: inf, Y: -inf}
	r.Evidence = []*wire.Evidence{{Score: nan, Box: &wire.Box{W: nan}}}
	r.Measurements = []*wire.Measurement{{Value: math.NaN(), Limit: math.Inf(-1)}}
	f.send("dline00002", r)
	st := wellState("s1")
	st.Stations[0].Rate = inf
	st.Board = &wire.Board{
		Temperatures: []*wire.Reading{{Name: "x", Value: nan}}, Load: proto.Float32(nan), Cpu: proto.Float32(inf),
		Gpus: []*wire.GPU{{Load: proto.Float32(nan), Temperature: proto.Float32(-inf), Power: proto.Float32(nan)}},
	}
	f.connect("dline00002", 0, st)
	for target, want := range map[string]string{
		"/v1/results": `"device":"dline00001"`, "/v1/results/2": `"device":"dline00002"`, "/v1/devices": `"id":"dline00001"`,
		"/v1/devices/dline00002": `"temperature_c":0`, "/v1/health": "warnings", "/": "dline00002", "/devices/dline00002": "dline00002", "/results/2": "dline00002",
	} {
		if w := f.ask(auth.Viewer, "GET", target); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.200s", target, w.Code, w.Body)
		}
	}
}

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
	f := newFleet(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	ask := func(h http.HandlerFunc) (w *httptest.ResponseRecorder, ended any) {
		w = httptest.NewRecorder()
		defer func() { ended = recover() }()
		f.survive(h).ServeHTTP(w, httptest.NewRequest("GET", "/v1/x", nil))
		return w, nil
	}
	w, ended := ask(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("error marshaling response"))
		panic("oh")
	})
	if p := body[struct{ Detail string }](t, w); w.Code != http.StatusServiceUnavailable || ended != nil || !strings.Contains(p.Detail, "log says why") {
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

// TestManyStations: what is told of a device takes time as its stations and
// warnings are many, not as one times the other.
func TestManyStations(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	st := &wire.State{}
	for range 120_000 {
		st.Stations = append(st.Stations, &wire.StationState{State: "stalled", Id: "s"})
		st.Warnings = append(st.Warnings, &wire.Warning{Severity: 1, Subject: "s"})
	}
	d, err := f.store.Device(t.Context(), "dline00001")
	if err != nil {
		t.Fatal(err)
	}
	d.State = st
	began := time.Now()
	view := newDevice(d, time.Now())
	if n := len(looksOf(&view)); n < 120_000 || time.Since(began) > 5*time.Second {
		t.Errorf("%d bytes after %v", n, time.Since(began))
	}
}
