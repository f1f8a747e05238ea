package oip

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// asWorker, in the environment, makes this test binary a worker process.
const asWorker = "SIGHTLINE_OIP_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) == "" {
		os.Exit(m.Run())
	}
	if err := infer.WorkerMain(context.Background(), 3); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const testModels = "../../vision/infer/testdata"

// model is one of the tests' models with a worker that runs until the test's end. limit
// is of a run, 0 for the usual one.
func model(t testing.TB, s *sched.Scheduler, name string, limit time.Duration) Model {
	t.Helper()
	library, err := infer.FindLibrary("")
	if err != nil {
		t.Skip("left out: ", err)
	}
	w := infer.New(infer.Config{
		Executable: os.Args[0], Env: []string{asWorker + "=1"}, Library: library, Tensors: true, Limit: limit,
		Model: infer.Model{Path: filepath.Join(testModels, name+".onnx")}, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with: %v", err)
		}
	})
	m := Model{Name: name, Version: "1", Worker: w, Cost: s.Model(name), Streams: map[sched.Class]*sched.Stream{}}
	for _, class := range []sched.Class{sched.Critical, sched.Normal, sched.BestEffort} {
		m.Streams[class] = s.Join(sched.StreamConfig{Name: name, Class: class, Width: 2})
	}
	return m
}

// serve serves models of the tests, with these limits, until the test's end. It
// returns when they are ready.
func serve(t testing.TB, limits Limits, names ...string) (*Handler, *httptest.Server) {
	t.Helper()
	s := sched.New(sched.Config{Slots: 2})
	var list []Model
	for _, name := range names {
		list = append(list, model(t, s, name, 0))
	}
	for _, m := range list {
		ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
		if _, err := m.Worker.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		stop()
	}
	h := NewHandler(Config{Models: func() []Model { return list }, Version: "9.9", Limits: limits})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return h, server
}

// post sends a request with headers that follow each other as name and value. It may
// lie about its length.
func post(t testing.TB, server *httptest.Server, path, body string, headers ...string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return do(t, req)
}

func get(t testing.TB, server *httptest.Server, path string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t testing.TB, req *http.Request) (code int, answer string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// dial opens a bare connection.
func dial(t testing.TB, server *httptest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
