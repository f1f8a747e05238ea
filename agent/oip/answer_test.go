package oip

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/sched"
)

// TestAnswersJSON: what is written piece by piece is what a whole would be.
func TestAnswersJSON(t *testing.T) {
	long := strings.Repeat("\x01\x00\x02\x00", 20_000)
	for _, name := range []string{"y", `a "b"\`, "ü<&>\u2028", "\x1f", "<", "a\xffb"} {
		outputs := []answered{
			{Tensor{Name: name, Datatype: "INT16", Shape: []int64{2, 20_000}, Data: []byte(long)}, false},
			{Tensor{Name: "b", Datatype: "UINT8", Shape: []int64{3}, Data: []byte("abc")}, true},
			{Tensor{Name: "c", Datatype: "BOOL", Data: []byte{1}}, false},
		}
		three := int64(3)
		want, err := json.Marshal(response{ModelName: name, ModelVersion: "1", ID: name, Outputs: few[wireTensor]{
			{Name: name, Datatype: "INT16", Shape: []int64{2, 20_000}, Data: json.RawMessage("[" + strings.Repeat("1,2,", 19_999) + "1,2]")},
			{Name: "b", Datatype: "UINT8", Shape: []int64{3}, Parameters: tensorParameters{BinaryDataSize: &three}},
			{Name: "c", Datatype: "BOOL", Shape: []int64{}, Data: json.RawMessage("[true]")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		m := &served{Model: Model{Name: name, Version: "1"}}
		counted, sent := jsonText{}, jsonText{to: &got}
		if err := counted.answer(m, name, outputs); err != nil || counted.length() != int64(len(want)) || cap(counted.buf) > 2*pieceBytes {
			t.Errorf("%q: %d bytes of JSON, want %d; %d are held (%v)", name, counted.length(), len(want), cap(counted.buf), err)
		}
		if err := sent.answer(m, name, outputs); err != nil {
			t.Error(err)
		}
		if sent.flush(); got.String() != string(want) {
			t.Errorf("%q: %.200s, want %.200s", name, got.String(), want)
		}
	}
}

// TestEntries: an array is cut where its own commas are.
func TestEntries(t *testing.T) {
	for text, want := range map[string][]string{
		`[]`: nil, ` [ ] `[1:]: nil, `[1]`: {"1"}, `[ {"a":[1,2],"b":"]},\"["} , [[3],{}],"x,\\",null ]`: {`{"a":[1,2],"b":"]},\"["}`, `[[3],{}]`, `"x,\\"`, "null"},
	} {
		var got []string
		for entry := range entries([]byte(text)) {
			got = append(got, string(entry))
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestLateAnswersAreHeard: an answer that comes later than the server lets others take is
// sent all the same.
func TestLateAnswersAreHeard(t *testing.T) {
	h, first := serve(t, Limits{}, "slow")
	first.Close()
	server := httptest.NewUnstartedServer(h)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	server.Start()
	defer server.Close()
	body, headers := slowRequest(true, 1_000_000)
	if code, got := post(t, server, "/v2/models/slow/infer", body, headers...); code != http.StatusGatewayTimeout || !strings.Contains(got, "within its timeout of 1000000 µs") {
		t.Errorf("%d %s", code, got)
	}
}

func TestTimeoutsAreBounded(t *testing.T) {
	micros := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		timeout *int64
		want    time.Duration
	}{{nil, 20 * time.Second}, {micros(0), 20 * time.Second}, {micros(5), 5 * time.Microsecond}, {micros(60e6), time.Minute}, {micros(3600e6), time.Minute}, {micros(1 << 62), time.Minute}} {
		var q query
		q.Parameters.Timeout = c.timeout
		if got := q.limit(20 * time.Second); got != c.want {
			t.Errorf("%v: %v, want %v", c.timeout, got, c.want)
		}
	}
	var q query
	q.Parameters.Timeout = micros(3600e6)
	m := &served{Model: Model{Name: "m", Cost: sched.New(sched.Config{}).Model("m")}}
	if err := q.refused(sched.ErrLate, m, time.Minute, time.Now()); !strings.Contains(err.Error(), "within the 1m0s that a request waits") {
		t.Error(err)
	}
}

// TestHalfAnswersCount: a client that leaves in the middle of its answer is counted as
// one that left.
func TestHalfAnswersCount(t *testing.T) {
	h, server := serve(t, Limits{}, "tensors_mixed")
	body, headers := rowsBinary(200_000)
	c := dial(t, server)
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s: %s\r\nContent-Length: %d\r\n\r\n", mixedInfer, headers[0], headers[1], len(body))
	if _, err := c.Write(body); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for until := time.Now().Add(10 * time.Second); len(h.Stats()) == 0; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it isn't counted")
		}
	}
	if got := h.Stats()[0].Codes; got[statusGone] != 1 || len(got) != 1 {
		t.Errorf("counted %v", got)
	}
}
