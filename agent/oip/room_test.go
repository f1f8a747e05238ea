package oip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// rowsBinary is a request of tensors_mixed with so many rows as binary data, of which
// y and places are wanted as JSON.
func rowsBinary(rows int) (body []byte, headers []string) {
	head := mixedJSON(`"data":[1,0,0,1]`, fmt.Sprintf(`"parameters":{"binary_data_size":%d}`, 16*rows), "[1,4]", fmt.Sprintf("[%d,4]", rows),
		`"id":"a"`, `"id":"a","outputs":[{"name":"y"},{"name":"places"}]`)
	body = []byte(head)
	for n := range 4 * rows {
		body = binary.LittleEndian.AppendUint32(body, math.Float32bits(float32(n)*1.1+1))
	}
	return body, []string{headerLength, fmt.Sprint(len(head))}
}

// rowsJSON is one with its rows, of zeros, as JSON, and y as binary data.
func rowsJSON(rows int) string {
	return mixedJSON("[1,4]", fmt.Sprintf("[%d,4]", rows), "[1,0,0,1]", "["+strings.Repeat("0.000,", 4*rows-1)+"0]",
		`"id":"a"`, `"outputs":[{"name":"y","parameters":{"binary_data":true}}]`)
}

// took sends a request and tells what program and client took for it and the answer,
// whose size it gives.
func took(t testing.TB, server *httptest.Server, body io.Reader, headers ...string) (bytes, size int64) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+mixedInfer, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	size, err = io.Copy(io.Discard, res.Body)
	if err != nil || res.StatusCode != 200 || size != res.ContentLength {
		t.Fatalf("%s: %d of %d bytes (%v)", res.Status, size, res.ContentLength, err)
	}
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc), size
}

// TestJSONAnswersTakeLittle: an answer as JSON is never there as a whole.
func TestJSONAnswersTakeLittle(t *testing.T) {
	_, server := serve(t, Limits{}, "tensors_mixed")
	body, headers := rowsBinary(200_000)
	bytes, size := took(t, server, bytes.NewReader(body), headers...)
	t.Logf("%d bytes for an answer of %d", bytes, size)
	if size < 8<<20 || bytes > 1<<20 {
		t.Errorf("it takes %d bytes for an answer of %d", bytes, size)
	}
}

// TestJSONRequestsTakeWhatIsReserved: reading JSON takes no more than what a request is
// let in with, whether its length is known or not, and gives it back before the run.
func TestJSONRequestsTakeWhatIsReserved(t *testing.T) {
	body := rowsJSON(200_000)
	all := int64(jsonCost*len(body) + 16*200_000 + 2*infer.Align)
	_, server := serve(t, Limits{Memory: all}, "tensors_mixed")
	bytes, _ := took(t, server, strings.NewReader(body))
	t.Logf("%d bytes for a request of %d", bytes, len(body))
	if bytes > int64(jsonCost*len(body))+1<<20 {
		t.Errorf("it takes %d bytes for a request of %d", bytes, len(body))
	}
	_, server = serve(t, Limits{Memory: all - 1}, "tensors_mixed")
	if code, got := post(t, server, mixedInfer, body); code != http.StatusRequestEntityTooLarge || !strings.Contains(got, "send tensors as binary data") {
		t.Errorf("more than there is: %d %s", code, got)
	}
	_, server = serve(t, Limits{}, "tensors_mixed")
	bytes, _ = took(t, server, struct{ io.Reader }{strings.NewReader(body)})
	t.Logf("%d bytes where its length isn't known", bytes)
	if text := int64(8 << 20); bytes > grownCost*text { // the next power of two, and all before
		t.Errorf("it takes %d bytes for a request of %d whose length isn't known", bytes, len(body))
	}
}

// TestWaitingTakesNoText: of a request that waits for its turn only the inputs count.
func TestWaitingTakesNoText(t *testing.T) {
	h, server := serve(t, Limits{}, "slow")
	text := `{"parameters":{"timeout":1000000},"inputs":[{"name":"images","datatype":"FP32","shape":[1,3,64,64],"data":[` + strings.Repeat("1,", 3*64*64-1) + "1]}]}"
	var asked sync.WaitGroup
	defer asked.Wait()
	asked.Go(func() { post(t, server, "/v2/models/slow/infer", text) })
	taken := func() int64 {
		h.room.mu.Lock()
		defer h.room.mu.Unlock()
		return h.cfg.Limits.Memory - h.room.left
	}
	for until := time.Now().Add(900 * time.Millisecond); taken() != 4*3*64*64; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d bytes are taken, %d of them are inputs", taken(), 4*3*64*64)
		}
	}
}

// atRest waits until no request is under way.
func atRest(t testing.TB, h *Handler) {
	t.Helper()
	late := time.After(10 * time.Second)
	for range cap(h.seats) {
		select {
		case h.seats <- struct{}{}:
			defer func() { <-h.seats }()
		case <-late:
			t.Fatal("requests don't end")
		}
	}
}

// TestIdleMemoryIsBounded: what is kept for the next requests is a quarter of what
// requests may take, of all models together, and nothing of models that are gone.
func TestIdleMemoryIsBounded(t *testing.T) {
	s := sched.New(sched.Config{Slots: 2})
	list := []Model{model(t, s, "tensors_mixed", 0), model(t, s, "tensors_types", 0)}
	list[1].Worker, list[1].Name = list[0].Worker, "again" // the same model twice, which isn't kept for twice
	var mu sync.Mutex
	h := NewHandler(Config{Limits: Limits{Memory: 8 << 20}, Models: func() []Model {
		mu.Lock()
		defer mu.Unlock()
		return list
	}})
	if _, err := list[0].Worker.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	body, headers := rowsBinary(5000)
	var guests sync.WaitGroup
	for n := range 12 {
		path := []string{mixedInfer, "/v2/models/again/infer"}[n%2]
		guests.Go(func() {
			for range 3 {
				if code, got := post(t, server, path, string(body), headers...); code != 200 && code != 503 {
					t.Errorf("%d %.200s", code, got)
				}
			}
		})
	}
	guests.Wait()
	atRest(t, h)
	sum := int64(0)
	for _, k := range h.idle.list {
		sum += int64(k.arena.Bytes())
	}
	if sum != h.idle.bytes || sum > 2<<20 || sum < 1<<20 {
		t.Errorf("%d arenas of %d bytes are kept, counted as %d", len(h.idle.list), sum, h.idle.bytes)
	}
	m, err := h.serves(list[0])
	if err != nil {
		t.Fatal(err)
	}
	busy := h.arena(m)
	mu.Lock()
	list = nil
	mu.Unlock()
	h.Forget()
	h.giveBack(m, busy)
	if len(h.idle.list) != 0 || h.idle.bytes != 0 || busy.Bytes() != 0 || len(h.known) != 0 {
		t.Errorf("of models that are gone %d arenas of %d bytes are kept", len(h.idle.list), h.idle.bytes)
	}
}

// TestIdleMemoryCountsWhereItIsUsed: a small request with a large request's memory is
// counted with that, and does without where there is no room for it.
func TestIdleMemoryCountsWhereItIsUsed(t *testing.T) {
	h, server := serve(t, Limits{}, "tensors_mixed")
	body, headers := rowsBinary(20_000)
	if code, got := post(t, server, mixedInfer, string(body), headers...); code != 200 {
		t.Fatalf("%d %.200s", code, got)
	}
	atRest(t, h)
	large := h.idle.bytes
	q := &query{room: &h.room, arena: h.arena(&served{Model: h.cfg.Models()[0]})}
	if err := q.reserve(q.held()); err != nil || q.taken != large || large < 300_000 {
		t.Errorf("%d of %d bytes count (%v)", q.taken, large, err)
	}
	h.idle.keep(h.cfg.Models()[0].Worker, q.arena)
	q.close()
	const little = 32 << 10
	rest := h.room.left - little
	h.room.take(rest)
	code, got := post(t, server, mixedInfer, mixedJSON())
	if atRest(t, h); code != 200 || h.idle.bytes > little {
		t.Errorf("with room for little: %d %s; %d bytes are kept", code, got, h.idle.bytes)
	}
	if h.room.giveBack(rest); h.room.left != h.cfg.Limits.Memory {
		t.Errorf("%d of %d bytes are free", h.room.left, h.cfg.Limits.Memory)
	}
}

func TestIdleGivesTheOldestUp(t *testing.T) {
	a, b := infer.New(infer.Config{}), infer.New(infer.Config{})
	const page = 4096
	i := idle{most: 3 * page, count: 3}
	arena := func(w *infer.Worker, pages int) *infer.Arena {
		a := w.NewArena()
		if _, err := a.Room(pages * page); err != nil {
			t.Fatal(err)
		}
		return a
	}
	first, second := arena(a, 1), arena(b, 1)
	if over := append(i.keep(a, first), i.keep(b, second)...); len(over) != 0 {
		t.Errorf("%d are too much for 3 pages", len(over))
	}
	if over := i.keep(b, arena(b, 2)); len(over) != 1 || over[0] != first || i.bytes != 3*page {
		t.Errorf("%d are too much, %d bytes are kept", len(over), i.bytes)
	}
	if i.take(a) != nil || i.take(b) == second || i.take(b) != second || i.bytes != 0 {
		t.Errorf("%+v", i)
	}
	i.most *= 2
	for range 3 {
		i.keep(a, arena(a, 1))
	}
	if over := i.keep(a, arena(a, 1)); len(over) != 1 || len(i.list) != 3 {
		t.Errorf("%d of 4 are kept", len(i.list))
	}
	if over := i.keep(a, arena(a, 7)); len(over) != 4 || len(i.list) != 0 || i.bytes != 0 {
		t.Errorf("one that is too large leaves %+v", i)
	}
}
