package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/sync/wire/rest"
)

// one is a device that has inspected one part.
type one struct {
	api.Source // what is asked of it here is below
	result     rest.Result
}

func (o one) Now() api.Now { return api.Now{} }
func (o one) Results(context.Context, api.Query) ([]api.Result, bool, error) {
	return []api.Result{o.result}, false, nil
}
func (o one) Picture(string) (api.PartPicture, bool) { return api.PartPicture{}, true }

// TestObject: what P5's bare side sends is, byte for byte, what the device's
// interface says of the same result.
func TestObject(t *testing.T) {
	m := newMade(3)
	for seq := range uint64(50) {
		r := m.next()
		got, err := object(seq+1, r)
		if err != nil {
			t.Fatal(err)
		}
		s, err := api.New(api.Config{Source: one{result: rest.FromWire(seq+1, r)}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/results", nil))
		var page struct{ Results []json.RawMessage }
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Results) != 1 {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if diff := cmp.Diff(string(page.Results[0]), string(got)); diff != "" {
			t.Fatalf("-interface +ours:\n%s", diff)
		}
	}
}

func TestMadeIsSeeded(t *testing.T) {
	var all [3][]byte
	for i, seed := range []uint64{1, 1, 2} {
		bodies, err := newMade(seed).bodies(100)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = bytes.Join(bodies, nil)
	}
	if !bytes.Equal(all[0], all[1]) || bytes.Equal(all[0], all[2]) {
		t.Error("a seed must give the same records each time, and another one others")
	}
	m, verdicts, evidence := newMade(5), map[wire.Verdict]int{}, 0
	for range 1000 {
		r := m.next()
		verdicts[r.GetVerdict()]++
		evidence += len(r.GetEvidence())
		if r.GetFirstCaptured() >= r.GetBestCaptured()+int64(time.Second) || r.GetBestCaptured() > r.GetDecided() || r.GetFirstSeq() > r.GetBestSeq() || r.GetBestSeq() > r.GetLastSeq() {
			t.Fatalf("out of order: %v", r)
		}
	}
	if verdicts[wire.Verdict_VERDICT_FAIL] < 50 || verdicts[wire.Verdict_VERDICT_PASS] < 500 || evidence < 900 || evidence > 1300 {
		t.Errorf("verdicts %v, %d pieces of evidence in 1,000 parts", verdicts, evidence)
	}
}

// TestMeter: bytes are those that were sent, both ways, and segments are as
// short as Ethernet's.
func TestMeter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // answers as it is asked
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_, _ = io.Copy(c, c)
		}
	}()
	m, err := newMeter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.read(); err == nil {
		t.Error("something was read of no connection")
	}
	m.to = l.Addr().String()
	relay := startTasks(t.Context(), m.run)
	c, err := net.Dial("tcp", m.addr())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(n int) traffic {
		t.Helper()
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		now, err := m.read()
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	before := ask(1)
	for _, size := range []int{100, 14_000} {
		now := ask(size)
		got := now.since(before)
		least := uint64(2 * ((size + ethernetMSS - 1) / ethernetMSS))
		if got.bytes != uint64(2*size) || got.segments < least || got.segments > 3*least+2 {
			t.Errorf("%d bytes there and back: %+v, at least %d segments", size, got, least)
		}
		if got.wire() != got.bytes+got.segments*52 {
			t.Errorf("on the wire: %d of %+v", got.wire(), got)
		}
		before = now
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := relay.end(); err != nil {
		t.Error(err)
	}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r, err := openRig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// TestWireBytes: each event costs what its bytes say, over the real path and
// over the bare one.
func TestWireBytes(t *testing.T) {
	r := newRig(t)
	id, err := r.enroll(t.Context(), "device")
	if err != nil {
		t.Fatal(err)
	}
	var per []float64
	for _, size := range []int{1, 10, 100} {
		c := wireCase{size: size, batches: 3}
		ours, err := c.batched(t.Context(), r, id, 1)
		if err != nil {
			t.Fatal(err)
		}
		bare, err := c.single(t.Context(), r, id.Device(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if bare.Value < 850 || bare.Value > 1500 {
			t.Errorf("a bare message costs %.0f bytes", bare.Value)
		}
		per = append(per, ours.Value)
	}
	if per[0] < 300 || per[1] > per[0]/2 || per[2] > per[1]*0.8 || per[2] < 30 {
		t.Errorf("1, 10, 100 a batch: %.0f bytes an event", per)
	}
	m, err := r.store.Totals(t.Context(), id.Device())
	if err != nil || m.Results != 4*(1+10+100) {
		t.Errorf("%d results at the fleet, %v", m.Results, err)
	}
}

func TestIngestIsCompared(t *testing.T) {
	var log bytes.Buffer
	for _, raw := range []bool{true, false} {
		row, err := ingestCase{id: "P9/test", goal: "told", raw: raw, groups: 1}.measure(t.Context(), &Env{Log: &log}, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := checkRow(Figure{ID: "P9"}, row); err != nil || row.Ours <= 0 || row.Ratio > 3 {
			t.Errorf("%+v, %v", row, err)
		}
	}
}

// TestLive: with and without a backlog every result is seen, and the backlog
// is in front of what is new.
func TestLive(t *testing.T) {
	l := &live{rig: newRig(t), backlog: 20_000, parts: 10}
	if err := l.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	idle, err := l.idle(t.Context())
	if err != nil || len(idle.Each) != l.parts {
		t.Fatalf("%d of %d results were seen, %v", len(idle.Each), l.parts, err)
	}
	bare, err := l.message(t.Context())
	if err != nil || len(bare.Each) != l.parts || bare.Value > idle.Value {
		t.Errorf("messages: %+v, results %+v, %v", bare, idle, err)
	}
	own, other, err := l.drain(t.Context())
	if err != nil || len(own.Each) == 0 || len(other.Each) == 0 {
		t.Fatalf("while draining: %+v, %+v, %v", own, other, err)
	}
	if took := l.draining[0] * 1e3; own.Value < took/3 {
		t.Errorf("a new result took %.0f ms, and the backlog before it %.0f", own.Value, took)
	}
}

// TestReader: a stream that is cut goes on after its newest event, and what
// was left out counts as seen with what came after it.
func TestReader(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		numbers := [][2]int{{7, 1}, {8, 2}, {9, 2}}
		if len(asked) > 1 {
			numbers = [][2]int{{20, 9}}
		}
		for _, n := range numbers {
			fmt.Fprintf(w, "id: %d\nevent: result\ndata: {\"fleet_id\":%d,\"epoch\":\"%s\",\"seq\":%d,\"id\":\"x\"}\n\n", n[0], n[0], "0a", n[1])
		}
		fmt.Fprint(w, ": still here\n\nevent: device\ndata: {\"id\":\"d\"}\n\nid: 21\ndata: {\"epoch\":\"0b\",\"seq\":99,\"id\":\"x\"}\n\n")
	}))
	defer s.Close()
	r := &reader{url: s.URL, token: "secret", epoch: []byte(`"epoch":"0a"`)}
	began := time.Now()
	run := startTasks(t.Context(), r.run)
	if err := await(t.Context(), func() bool { return r.newest() == 9 }); err != nil {
		t.Fatal(err)
	}
	if err := run.end(); err != nil {
		t.Error(err)
	}
	ms := r.latencies([]seen{{1, began}, {2, began}, {5, began}, {9, began}, {10, began}})
	if len(ms) != 4 || ms[2] != ms[3] || ms[2] < milliseconds(comeBack) || ms[1] > milliseconds(comeBack) || asked[1] != "21" {
		t.Errorf("latencies %v, asked for what is after %q", ms, asked)
	}
	wrong := &reader{url: s.URL, token: "other"}
	if err := wrong.run(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a login: %v", err)
	}
}
