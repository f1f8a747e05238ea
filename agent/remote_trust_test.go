package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// stranger is a server that says of its model what it likes, and sees nothing in pictures.
type stranger struct {
	*httptest.Server
	mu            sync.Mutex // protects all below
	input, output string     // description of the tensors, without their names
	name          string     // of the output
	digest        string
	slow          time.Duration // to describe the model
	hangs         bool          // instead of running it
	described     int           // how often it was asked
	ran           int
}

func newStranger(t testing.TB) *stranger {
	t.Helper()
	s := &stranger{input: `"datatype":"FP32","shape":[1,3,8,8]`, output: `"datatype":"FP32","shape":[1,-1,6]`, name: "found", digest: peerDigest}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/parts", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.described++
		select {
		case <-time.After(s.slow):
		case <-r.Context().Done():
		}
		fmt.Fprintf(w, `{"name":"parts","inputs":[{"name":"images",%s}],"outputs":[{"name":%q,%s}],"properties":{"digest":%q}}`, s.input, s.name, s.output, s.digest)
	})
	mux.HandleFunc("POST /v2/models/parts/infer", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ran++
		if io.Copy(io.Discard, r.Body); s.hangs {
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, `{"outputs":[{"name":%q,"datatype":"FP32","shape":[1,0,6],"data":[]}]}`, s.name)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// set changes the server, and gives how often it was asked what its model is.
func (s *stranger) set(change func()) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	return s.described
}

func (s *stranger) asked() int { return s.set(func() {}) }

func (s *stranger) remote(t testing.TB, timeout time.Duration) *Remote {
	t.Helper()
	r, err := NewRemote(RemoteConfig{Server: oip.ClientConfig{URL: s.URL}, Model: "parts", Timeout: timeout, Options: infer.Options{Family: "yolov8", Labels: []string{"a"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// speck is a frame of four pixels.
var speck = vision.Frame{Pix: make([]byte, 12), Width: 2, Height: 2, Stride: 6, Format: vision.BGR24}

// TestRemoteDigest: verdicts have a server's digest only if it is one.
func TestRemoteDigest(t *testing.T) {
	for said, want := range map[string]string{
		peerDigest: peerDigest, strings.ToUpper(peerDigest): peerDigest,
		"": "", "77ab": "", peerDigest[1:]: "", peerDigest + "0": "", strings.Repeat("x", 64): "", strings.Repeat("ab", 1<<20): "",
	} {
		s := newStranger(t)
		s.set(func() { s.digest = said })
		r := s.remote(t, 10*time.Second)
		if _, err := r.look(t.Context(), &speck); err != nil {
			t.Fatal(err)
		}
		if got := r.About().Digest; got != want {
			t.Errorf("%d bytes of %.10q became %d of %.10q", len(said), said, len(got), got)
		}
	}
}

// TestRemoteIsTooMuch: a model whose input would take the device's memory isn't fed, and
// what a server says stands nowhere at length.
func TestRemoteIsTooMuch(t *testing.T) {
	s := newStranger(t)
	good, rows := s.input, s.output
	for _, c := range []struct{ input, output, want string }{
		{`"datatype":"FP32","shape":[1,3,8192,8192]`, rows, "takes 805306368 bytes"},
		{`"datatype":"FP16","shape":[8,3,8192,8192]`, rows, "takes 6442450944 bytes"},
		{`"datatype":"` + strings.Repeat("é", 200) + `","shape":[1,3,8,8]`, rows, "expected a picture"},
		{`"datatype":"FP32","shape":[` + strings.Repeat("-1000000000000000000,", 31) + `3]`, rows, "expected an input of"},
		{good, rows + `},{"name":"` + strings.Repeat("é", 250) + `",` + rows, "family yolov8 needs one output"},
	} {
		s.set(func() { s.input, s.output = c.input, c.output })
		r := s.remote(t, 10*time.Second)
		_, err := r.look(t.Context(), &speck)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > maxFault+len("…") {
			t.Errorf("%.900v, want %s", err, c.want)
		}
		if _, fault, _ := r.breaker.state(); fault != fmt.Sprint(err) {
			t.Errorf("%.900s", fault)
		}
	}
	long := briefly(fmt.Errorf("%s%w", strings.Repeat("é", maxFault), context.DeadlineExceeded))
	if !errors.Is(long, context.DeadlineExceeded) || len(long.Error()) > maxFault+len("…") {
		t.Error(long)
	}
}

// TestRemoteGetsAnotherModel: a server's model may be another one at any time. One of the
// same shapes is told by its own digest within knownFor, one of others is fed and read as
// it wants after a failure.
func TestRemoteGetsAnotherModel(t *testing.T) {
	s := newStranger(t)
	r := s.remote(t, 10*time.Second)
	look := func() error {
		_, err := r.look(t.Context(), &speck)
		return err
	}
	for range 3 {
		if err := look(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.asked(); n != 1 {
		t.Errorf("asked %d times for what it said", n)
	}
	other := strings.Repeat("01", 32)
	s.set(func() { s.digest = other })
	r.mu.Lock()
	feeder := r.known.spare[0]
	r.known.read = r.known.read.Add(-knownFor)
	r.mu.Unlock()
	if err := look(); err != nil || r.About().Digest != other || s.asked() != 2 {
		t.Errorf("%v, %s, asked %d times", err, r.About().Digest, s.asked())
	}
	if r.known.spare[0] != feeder {
		t.Error("the tensors are made anew, though they are the same")
	}
	s.set(func() { s.name, s.input, s.digest = "seen", `"datatype":"FP32","shape":[1,3,16,16]`, peerDigest })
	if err := look(); err == nil || r.About().Digest != other {
		t.Errorf("%v, %s", err, r.About().Digest)
	}
	if err := look(); err != nil || r.About().Digest != peerDigest || s.asked() != 3 {
		t.Errorf("%v, %s, asked %d times", err, r.About().Digest, s.asked())
	}
}

// TestRemoteIsSlowToTell: a server that takes nearly all of the time to say what its
// model is comes to run it with the next picture.
func TestRemoteIsSlowToTell(t *testing.T) {
	s := newStranger(t)
	s.set(func() { s.slow, s.hangs = 50*time.Millisecond, true })
	r := s.remote(t, 500*time.Millisecond)
	if _, err := r.look(t.Context(), &speck); !errors.Is(err, context.DeadlineExceeded) || s.asked() != 1 {
		t.Fatal(err, s.asked())
	}
	s.set(func() { s.hangs = false })
	if _, err := r.look(t.Context(), &speck); err != nil || s.asked() != 1 {
		t.Error(err, s.asked())
	}
	s.set(func() { s.hangs = true })
	for want := range 2 { // later it is asked anew: while it hung it may have got another model
		if _, err := r.look(t.Context(), &speck); err == nil || s.asked() != 1+want {
			t.Error(err, s.asked())
		}
	}
}

// TestRemoteBreaksTheDecoder: an answer that is too much for what reads it costs a look,
// not the agent.
func TestRemoteBreaksTheDecoder(t *testing.T) {
	s := newStranger(t)
	r := s.remote(t, 10*time.Second)
	r.known = &described{read: time.Now(), spare: []*infer.Elsewhere{{}}} // which panics
	if _, err := r.look(t.Context(), &speck); err == nil || !strings.Contains(err.Error(), "BUG: the answer of parts can't be read") {
		t.Error(err)
	}
	if _, err := r.look(t.Context(), &speck); err != nil {
		t.Error(err)
	}
}

// TestPracticeEndsWithItsLane: nobody asks a server that is away for a model that its
// station doesn't have any more.
func TestPracticeEndsWithItsLane(t *testing.T) {
	l := seeing(t, "first")
	s := newStranger(t)
	s.set(func() { s.name = strings.Repeat("x", 600) }) // it is refused
	b := newBelt(t, l, track.Stream)
	b.station.lane.Cascade = &Cascade{Remote: s.remote(t, 10*time.Second)}
	left := b.station.current()
	ended := make(chan struct{})
	go func() {
		b.station.practise(t.Context(), left)
		close(ended)
	}()
	deadline := time.After(20 * time.Second)
	for s.asked() == 0 {
		select {
		case <-deadline:
			t.Fatal("the server wasn't asked")
		case <-ended:
			t.Fatal("it ended while the station had it")
		case <-time.After(10 * time.Millisecond):
		}
	}
	b.station.mu.Lock()
	b.station.lane = newLane(l, track.Stream, b.station.views)
	b.station.mu.Unlock()
	select {
	case <-ended:
	case <-deadline:
		t.Error("it goes on for a lane that was left")
	}
}

// TestBudgetCountsWhatRan: the cost of the large model is what it ran, failed runs
// included; what is likely to come counts for the budget alone, so the cost never falls.
func TestBudgetCountsWhatRan(t *testing.T) {
	const likely = 60 * time.Millisecond
	var b budget
	b.part()
	total := time.Duration(0)
	for _, took := range []time.Duration{20 * time.Millisecond, 0, 30 * time.Millisecond} {
		if !b.spend(likely, time.Millisecond) || b.spend(likely, time.Millisecond) {
			t.Error("what is likely doesn't count for the budget")
		}
		if got := b.stats().Cost; got != total {
			t.Errorf("before the run the cost is %v, want %v", got, total)
		}
		b.settle(likely, took)
		total += took
		if got := b.stats(); got.Cost != total || b.sum != took {
			t.Errorf("after it the cost is %v, %v of the newest; want %v and %v", got.Cost, b.sum, total, took)
		}
		for range budgetParts {
			b.part()
		}
	}
}

// TestFailedLooksCost: a look that failed, or came to nothing in time, is paid for; one
// that the breaker kept from the server isn't.
func TestFailedLooksCost(t *testing.T) {
	l := seeing(t, "first")
	s := newStranger(t)
	const patience = 200 * time.Millisecond
	r := s.remote(t, patience)
	b := newBelt(t, l, track.Stream)
	b.station.lane.Cascade = &Cascade{Remote: r}
	for range practiceRuns {
		if _, err := r.look(t.Context(), &speck); err != nil {
			t.Fatal(err)
		}
	}
	s.set(func() { s.hangs = true })
	x := &second{lane: b.station.current(), by: time.Now().Add(time.Minute), exhibits: []exhibit{{frame: speck}}}
	for range breakAfter {
		before := b.station.budget.stats().Cost
		o := b.station.lookAgain(t.Context(), x)
		if o.look.Missed != MissedLate || o.look.Took < patience/2 || b.station.budget.stats().Cost != before+o.look.Took {
			t.Errorf("%+v, cost %v", o.look, b.station.budget.stats().Cost-before)
		}
	}
	before := b.station.budget.stats()
	if o := b.station.lookAgain(t.Context(), x); o.look.Missed != MissedBreaker || o.look.Took != 0 || b.station.budget.stats().Cost != before.Cost {
		t.Errorf("%+v, cost %v", o.look, b.station.budget.stats().Cost-before.Cost)
	}
}
