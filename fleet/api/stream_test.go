package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// listener reads a stream of events.
type listener struct {
	testing.TB
	lines chan string // "event id", closed at the end
	stop  context.CancelFunc
}

func (f *fleet) listen(url, query, lastID string) *listener {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/v1/events"+query, nil)
	f.must(err)
	r.Header.Set("Authorization", "Bearer "+f.tokens[auth.Viewer])
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := http.DefaultClient.Do(r)
	f.must(err)
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		f.Fatalf("%s %v", answer.Status, answer.Header)
	}
	l := &listener{f, make(chan string, 5000), cancel}
	f.Cleanup(cancel)
	go func() {
		defer answer.Body.Close()
		defer close(l.lines)
		id := ""
		for scan := bufio.NewScanner(answer.Body); scan.Scan(); {
			if text, ok := strings.CutPrefix(scan.Text(), "id: "); ok {
				id = " " + text
			}
			if text, ok := strings.CutPrefix(scan.Text(), "event: "); ok {
				l.lines <- text + id
				id = ""
			}
		}
	}()
	return l
}

func (l *listener) next() string {
	l.Helper()
	select {
	case text := <-l.lines:
		return text
	case <-time.After(10 * time.Second):
		l.Fatal("no event in 10 s")
		return ""
	}
}

func TestEvents(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	f.add("dline00002", "line-a", "")
	url := serve(f)
	all, one, wake := f.listen(url, "", ""), f.listen(url, "?device=dline00002", ""), f.listen(url, "?wake=true", "")
	f.send("dline00001", inspected("station1", 0), inspected("station1", 1))
	f.send("dline00002", inspected("station1", 2))
	for _, want := range []string{"result 2", "result 1", "result 3"} { // as they were told
		if got := all.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := one.next(); got != "result 3" {
		t.Errorf("got %q", got)
	}
	if got := wake.next(); got != "wake" {
		t.Errorf("got %q", got)
	}
	again := f.listen(url, "", "1") // from where a reader was
	for _, want := range []string{"result 2", "result 3"} {
		if got := again.next(); got != want {
			t.Errorf("replayed %q, want %q", got, want)
		}
	}
	f.send("dline00001", inspected("station1", 3))
	if got := again.next(); got != "result 4" {
		t.Errorf("after the replay came %q", got)
	}
	again.stop()
	until(t, "the reader's end", func() bool { return f.readers.Load() == 3 })
}

// A device is told when it looks otherwise than at the look before, and only then.
func TestDeviceEvents(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	f.add("dline00002", "line-a", "")
	r := &reader{queue: make(chan event, queueLength)}
	defer f.hub.enter(r)()
	var known map[string]string
	look := func() []string {
		all, err := f.store.Devices(t.Context())
		f.must(err)
		known = f.tellDevices(all, known)
		var told []string
		for len(r.queue) > 0 {
			told = append(told, string((<-r.queue).text))
		}
		return told
	}
	if got := look(); len(got) != 0 {
		t.Errorf("at first it told %q", got)
	}
	f.connect("dline00001", 0, wellState("station1"))
	if got := look(); len(got) != 1 || !strings.HasPrefix(got[0], `event: device`+"\n"+`data: {"id":"dline00001","presence":"online"`) {
		t.Errorf("of one that came online it told %q", got)
	}
	f.connect("dline00001", 0, wellState("station1"))
	if got := look(); len(got) != 0 {
		t.Errorf("of one that is as before it told %q", got)
	}
	stalled := wellState("station1")
	stalled.Stations[0].State = "stalled"
	f.connect("dline00001", 0, stalled)
	if got := look(); len(got) != 1 || !strings.Contains(got[0], `"worst":"error"`) {
		t.Errorf("of a stalled station it told %q", got)
	}
}

// More than can be replayed is told as a gap.
func TestGap(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	for i := range 21 {
		var list []*wire.Result
		for j := range 100 {
			list = append(list, inspected("station1", i*100+j))
		}
		f.send("dline00001", list...)
	}
	l := f.listen(serve(f), "", "5")
	if got := l.next(); got != "gap" {
		t.Fatalf("got %q", got)
	}
	if got := l.next(); got != "result 101" {
		t.Errorf("the first after the gap is %q", got)
	}
	for i := 102; i <= 2100; i++ {
		if got := l.next(); got != fmt.Sprintf("result %d", i) {
			t.Fatalf("got %q, want result %d", got, i)
		}
	}
}

// A reader that doesn't read is cut, and nobody waits for it.
func TestSlowReaderIsCut(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	slow := &reader{queue: make(chan event, queueLength)}
	leave := f.hub.enter(slow)
	defer leave()
	picky := &reader{device: "dline00002", queue: make(chan event, queueLength)}
	defer f.hub.enter(picky)()
	sleepy := &reader{wake: true, queue: make(chan event, 1)}
	defer f.hub.enter(sleepy)()
	row := f.send("dline00001", inspected("station1", 0))
	begin := time.Now()
	for range 2 * queueLength {
		f.Told(row)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("telling took %v", d)
	}
	for range queueLength {
		<-slow.queue
	}
	select {
	case _, ok := <-slow.queue:
		if ok {
			t.Error("more is queued than should be")
		}
	default:
		t.Error("it isn't cut")
	}
	if len(picky.queue) != 0 || len(sleepy.queue) != 1 {
		t.Errorf("others have %d and %d events", len(picky.queue), len(sleepy.queue))
	}
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if len(f.hub.readers) != 2 {
		t.Errorf("%d readers are left, want the two that aren't slow", len(f.hub.readers))
	}
}

func TestReadersAreBounded(t *testing.T) {
	f := newFleet(t)
	f.readers.Store(maxReaders)
	w := f.ask(auth.Viewer, "GET", "/v1/events")
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || f.readers.Load() != maxReaders {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// A stream doesn't outlive the login that it began with.
func TestStreamOfWhoIsGone(t *testing.T) {
	f := newFleet(t)
	cookie := f.session("viewer")
	session, token := &principal{key: auth.KeyOf(cookie.Value), page: true}, &principal{key: auth.KeyOf(f.tokens[auth.Viewer])}
	if !f.still(t.Context(), session) || !f.still(t.Context(), token) {
		t.Error("a good login doesn't hold")
	}
	f.must(f.store.RemoveUser(t.Context(), "viewer"))
	if f.still(t.Context(), session) || f.still(t.Context(), token) {
		t.Error("a login outlives its user")
	}
}

func TestHourCounts(t *testing.T) {
	f := newFleet(t)
	f.Told([]store.Row{{Verdict: vision.Pass}, {Verdict: vision.Fail}, {}})
	total, since := f.hour.sum()
	f.Told([]store.Row{{Verdict: vision.Fail, Again: true}})
	if again, _ := f.hour.sum(); again != total {
		t.Errorf("what was told otherwise counts again: %+v", again)
	}
	if total.results != 3 || total.fails != 1 || total.none != 1 || since != f.began {
		t.Errorf("%+v since %v", total, since)
	}
}

// A result that was told otherwise comes again, also to who has come past it, and
// doesn't set back where it goes on.
func TestAgain(t *testing.T) {
	row := store.Row{ID: 3, Device: "dline00001", Verdict: vision.Fail}
	if e := resultEvent(&row); e.id != 3 || !strings.HasPrefix(string(e.text), "id: 3\nevent: result\n") {
		t.Errorf("new: %d %q", e.id, e.text)
	}
	row.Again = true
	if e := resultEvent(&row); e.id != 0 || !strings.HasPrefix(string(e.text), "event: result\ndata: {") || e.device != "dline00001" {
		t.Errorf("again: %d %q", e.id, e.text)
	}
}

// What was replayed doesn't come again, though it was told meanwhile.
func TestReplayedOnce(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	f.send("dline00001", inspected("station1", 0), inspected("station1", 1), inspected("station1", 2))
	w := httptest.NewRecorder()
	out := web.NewPieces(w, "text/event-stream")
	last, err := f.replay(t.Context(), out, "", 1)
	f.must(err)
	if n := strings.Count(w.Body.String(), "event: result"); last != 3 || n != 2 {
		t.Errorf("%d results up to number %d were replayed, want 2 up to 3", n, last)
	}
	w.Body.Reset()
	r := &reader{queue: make(chan event, 3)}
	r.queue <- event{id: 3, text: []byte("again")}
	r.queue <- event{id: 4, text: []byte("new")}
	r.queue <- event{text: []byte(", device")}
	close(r.queue)
	f.stream(t.Context(), out, r, last, nil)
	if got := w.Body.String(); got != "new, device" {
		t.Errorf("after the replay came %q", got)
	}
}

// idle is an address that nobody connects to.
type idle chan struct{}

func (i idle) Accept() (net.Conn, error) { <-i; return nil, net.ErrClosed }
func (i idle) Close() error              { close(i); return nil }
func (i idle) Addr() net.Addr            { return &net.TCPAddr{} }

// A change is told once, at however many addresses the service answers.
func TestEachChangeIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))) // no fleet is made in 2000
		f := newFleet(t)
		f.add("dline00001", "line-a", "")
		f.connect("dline00001", 0, wellState("station1"))
		r := &reader{queue: make(chan event, 10)}
		defer f.hub.enter(r)()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx, make(idle), make(idle)) }()
		time.Sleep(3 * lookEvery)
		f.hangUp("dline00001", 0)
		time.Sleep(3 * lookEvery)
		if n := len(r.queue); n != 1 {
			t.Errorf("it is told %d times", n)
		}
		cancel()
		f.must(<-ended)
	})
}
