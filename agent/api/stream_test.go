package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
)

// serve is a server that is closed after the clients that a test opens later.
func serve(t testing.TB, s *Server) *httptest.Server {
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

// event is one server-sent event.
type event struct{ id, kind, data string }

// reader reads a stream of events.
type reader struct {
	t    testing.TB
	rows *bufio.Reader
	body io.Closer
}

func listen(t testing.TB, url, lastID string) *reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if ct := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%s %s", answer.Status, ct)
	}
	return &reader{t, bufio.NewReader(answer.Body), answer.Body}
}

// next is the next event of that kind.
func (r *reader) next(kind string) event {
	r.t.Helper()
	var e event
	for {
		row, err := r.rows.ReadString('\n')
		if err != nil {
			r.t.Fatalf("the stream ended: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(row, "\n"), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			if e.kind == kind {
				return e
			}
			e = event{}
		}
	}
}

func (r *reader) result() (id string, part string) {
	r.t.Helper()
	e := r.next("result")
	var res Result
	if err := json.Unmarshal([]byte(e.data), &res); err != nil {
		r.t.Fatal(err)
	}
	return e.id, res.ID
}

// until polls a condition that other goroutines bring about.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(10 * time.Second); !done(); {
		select {
		case <-end:
			t.Fatalf("waited 10 s for %s", what)
		case <-tick.C:
		}
	}
}

func TestEventsBeginNow(t *testing.T) {
	m, s := filled(t, 5)
	server := serve(t, s)
	r := listen(t, server.URL, "")
	r.next("health")
	m.tell(result("station1", 5, time.Now()))
	if id, part := r.result(); id != "6" || part != "station1-4705" {
		t.Errorf("the first event is %s %s, want number 6", id, part)
	}
	m.told(result("station1", 6, time.Now()), false)
	if id, part := r.result(); id != "" || part != "station1-4706" {
		t.Errorf("a result without a record came as %q %s, want no id", id, part)
	}
}

func TestEventsReplayWhatWasMissed(t *testing.T) {
	m, s := filled(t, 250)
	server := serve(t, s)
	r := listen(t, server.URL, "7")
	for want := 8; want <= 250; want++ {
		if id, _ := r.result(); id != fmt.Sprint(want) {
			t.Fatalf("got number %s, want %d", id, want)
		}
	}
	m.tell(result("station1", 250, time.Now()))
	if id, _ := r.result(); id != "251" {
		t.Errorf("after the replay came %s, want 251", id)
	}
	w := httptest.NewRequest("GET", "http://localhost/v1/events", nil)
	w.Header.Set("Last-Event-ID", "x")
	out := httptest.NewRecorder()
	s.Handler().ServeHTTP(out, w)
	if out.Code != 422 {
		t.Errorf("Last-Event-ID x: %d", out.Code)
	}
}

// What was told between the subscription and the replay is in both.
func TestReplayAndLiveOverlap(t *testing.T) {
	m, s := filled(t, 5)
	out := httptest.NewRecorder()
	e := eventStream{out: web.NewPieces(out, "text/event-stream"), server: s, sent: 2}
	live := make(chan Result, 5)
	for _, r := range []Result{m.results[3], {ID: "unrecorded"}, m.results[4]} {
		live <- r
	}
	late := result("station1", 5, time.Now())
	later := late
	late.Seq, later.Seq = 6, 7
	live <- later // two stations may be told in another order than recorded
	live <- late
	close(live)
	e.replay(t.Context())
	e.run(t.Context(), live)
	var ids []string
	for row := range strings.Lines(out.Body.String()) {
		if id, ok := strings.CutPrefix(row, "id: "); ok {
			ids = append(ids, strings.TrimSpace(id))
		}
	}
	if d := cmp.Diff([]string{"3", "4", "5", "7", "7"}, ids); d != "" {
		t.Error(d)
	}
	if n := strings.Count(out.Body.String(), "event: result"); n != 6 {
		t.Errorf("%d results, want 6: five with a number, one without", n)
	}
}

func TestEventsTellHealthWhenItChanges(t *testing.T) {
	m, s := filled(t, 0)
	server := serve(t, s)
	r := listen(t, server.URL, "")
	if e := r.next("health"); e.data != "[]" && e.data != "null" {
		t.Errorf("at first: %s", e.data)
	}
	m.health.Raise(health.JournalFull, "", "")
	if e := r.next("health"); !strings.Contains(e.data, `"journal_full"`) {
		t.Errorf("then: %s", e.data)
	}
}

// A reader that doesn't read holds nobody up; when it reads again it gets all
// that was recorded.
func TestSlowReaderBlocksNobodyAndCatchesUp(t *testing.T) {
	m, s := filled(t, 1)
	m.room = 4
	server := serve(t, s)
	slow := listen(t, server.URL, "")
	until(t, "the subscription", func() bool { return m.subscribers() == 1 })
	const n = 20000 // far more than socket buffers hold
	start := time.Now()
	for i := range n {
		m.tell(result("station1", 1+i, start))
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("telling %d results took %v with a reader that doesn't read", n, d)
	}
	if m.Now().Lost == 0 {
		t.Error("nothing was lost: the reader wasn't slow enough for this test")
	}
	last := ""
	for last != fmt.Sprint(n+1) {
		id, _ := slow.result()
		if last != "" && len(id) < len(last) {
			t.Fatalf("number %s came after %s", id, last)
		}
		last = id
	}
}

func TestEventsAreBoundedAndLeaveNothing(t *testing.T) {
	m, s := filled(t, 1)
	server := serve(t, s)
	var open []*reader
	for range maxReaders {
		open = append(open, listen(t, server.URL, ""))
	}
	answer, err := http.Get(server.URL + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("stream %d: %s", maxReaders+1, answer.Status)
	}
	for _, r := range open {
		r.body.Close()
	}
	until(t, "the streams' end", func() bool { return m.subscribers() == 0 && s.readers.Load() == 0 })
}

func TestLiveGivesPicturesWithTheirMarks(t *testing.T) {
	m, s := filled(t, 1)
	server := serve(t, s)
	m.show(&Shot{Seq: 7, JPEG: []byte("one"), Width: 960, Height: 540, Marks: Marks{
		Parts: []Mark{{ID: "p1", Label: "瓶盖😀\r\n", Score: 0.5, Box: Box{1, 2, 3, 4}, Suspect: true}}}})
	answer, err := http.Get(server.URL + "/v1/stations/station1/live")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	parts := multipart.NewReader(answer.Body, "frame")
	p, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"seq":7,"width":960,"height":540,"parts":[{"id":"p1","label":"\u74f6\u76d6\ud83d\ude00\r\n","score":0.5,"box":[1,2,3,4],"suspect":true}],"defects":[]}`
	if got := p.Header.Get("Sightline-Overlay"); got != want {
		t.Errorf("overlay\n%s, want\n%s", got, want)
	}
	m.show(&Shot{Seq: 8, JPEG: []byte("two")})
	if b, err := io.ReadAll(p); err != nil || string(b) != "one" {
		t.Errorf("picture %q, %v", b, err)
	}
	p, err = parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Header.Get("Content-Length"); got != "3" {
		t.Errorf("length %s", got)
	}
	answer.Body.Close()
	m.show(&Shot{Seq: 9, JPEG: []byte("three")})
	until(t, "the viewer's end", func() bool { m.show(&Shot{Seq: 10}); return s.viewers.Load() == 0 })
}

func TestLiveIsBounded(t *testing.T) {
	m, s := filled(t, 1)
	server := serve(t, s)
	m.show(&Shot{Seq: 1, JPEG: []byte("x")})
	for range maxViewers {
		answer, err := http.Get(server.URL + "/v1/stations/station1/live")
		if err != nil || answer.StatusCode != 200 {
			t.Fatal(answer, err)
		}
		defer answer.Body.Close()
	}
	for _, target := range []string{"live", "picture.jpg"} {
		answer, err := http.Get(server.URL + "/v1/stations/station1/" + target)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 503 {
			t.Errorf("viewer %d of %s: %s", maxViewers+1, target, answer.Status)
		}
	}
}

func TestNextPicture(t *testing.T) {
	m, s := filled(t, 1)
	m.show(&Shot{Seq: 1, JPEG: []byte("x")})
	w := ask(t, s, "GET", "/v1/stations/station1/picture.jpg")
	if w.Code != 200 || w.Body.String() != "x" || w.Header().Get("Content-Type") != "image/jpeg" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	m.show(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a client that has gone
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/v1/stations/station1/picture.jpg", nil)
	out := httptest.NewRecorder()
	s.Handler().ServeHTTP(out, r)
	if out.Code != 503 {
		t.Errorf("without a picture: %d", out.Code)
	}
}
