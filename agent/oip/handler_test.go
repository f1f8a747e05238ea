package oip

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision/sched"
)

const mixedInfer = "/v2/models/tensors_mixed/infer"

// mixedJSON is a good request of the model tensors_mixed; change replaces one piece of
// it by another.
func mixedJSON(change ...string) string {
	text := `{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,0,0,1]},` +
		`{"name":"b","datatype":"FP32","shape":[2],"data":[0.5,0.25]},{"name":"k","datatype":"INT64","shape":[],"data":[2]}]}`
	return strings.NewReplacer(change...).Replace(text)
}

func TestHandlerAnswersJSON(t *testing.T) {
	_, server := serve(t, Limits{}, "tensors_mixed")
	want := `{"model_name":"tensors_mixed","model_version":"1","id":"a","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[9,10.5]},` +
		`{"name":"most","datatype":"FP32","shape":[],"data":[10.5]},{"name":"places","datatype":"INT64","shape":[2,2],"data":[0,0,0,3]}]}`
	for _, path := range []string{mixedInfer, "/v2/models/tensors_mixed/versions/1/infer"} {
		if code, got := post(t, server, path, mixedJSON()); code != 200 || got != want {
			t.Errorf("%s: %d %s", path, code, got)
		}
	}
	// Later fields and parameters are passed over.
	if code, got := post(t, server, mixedInfer, mixedJSON(`"id":"a"`, `"id":"a","later":{"x":[1]},"parameters":{"mine":7}`)); code != 200 || got != want {
		t.Errorf("%d %s", code, got)
	}
}

// binaryMixed is the request with x, and what else is said, as binary data.
func binaryMixed(parameters string) (body, length string) {
	head := mixedJSON(`"data":[1,0,0,1]`, `"parameters":{"binary_data_size":16}`, `"id":"a"`, `"id":"a"`+parameters)
	data := ""
	for _, v := range []float32{1, 0, 0, 1} {
		data += string(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
	}
	return head + data, fmt.Sprint(len(head))
}

func TestHandlerRefusesRequests(t *testing.T) {
	h, server := serve(t, Limits{Body: 64 << 10}, "tensors_mixed", "slow")
	good, length := binaryMixed("")
	packed := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		fmt.Fprint(z, text)
		z.Close()
		return b.String()
	}
	header := func(n string) []string { return []string{headerLength, n} }
	for _, c := range []struct {
		name, body string
		headers    []string
		code       int
		want       string
	}{
		{"no JSON", "hello", nil, 400, "the request's JSON: invalid character 'h' looking for beginning of value, at byte 1 of 5"},
		{"nothing", "", nil, 400, "the request's JSON: it is empty"},
		{"an array", "[]", nil, 400, "the request's JSON: it is a array, an object is wanted"},
		{"two values", mixedJSON() + "{}", nil, 400, "the request's JSON: invalid character '{' after top-level value, at byte "},
		{"cut off", mixedJSON()[:40], nil, 400, "the request's JSON: unexpected end of JSON input, at byte 40 of 40"},
		{"deep", strings.Repeat(`{"a":`, 11000), nil, 400, "the request's JSON: "},
		{"deep data", mixedJSON("[1,0,0,1]", strings.Repeat("[", 9000)+strings.Repeat("]", 9000)), nil, 400, "input x: its data is nested 9000 deep, its shape [1,4] has 2 dimensions"},
		{"a number for a name", mixedJSON(`"name":"x"`, `"name":5`), nil, 400, "the request's JSON: inputs.name is a number, which isn't wanted there"},
		{"an id that is no text", mixedJSON(`"id":"a"`, `"id":5`), nil, 400, "the request's JSON: id is a number, which isn't wanted there"},
		{"inputs that are no list", `{"inputs":{"x":[]}}`, nil, 400, `the request's JSON: {"x":[]} stands where a list is wanted`},
		{"a list of many", `{"inputs":[` + strings.Repeat("{},", 20000) + `{}]}`, nil, 400, "the request's JSON: a list of tensors has more than 256 entries"},
		{"a long shape", mixedJSON("[1,4]", "["+strings.Repeat("1,", 20000)+"4]"), nil, 400, "the request's JSON: a shape of 40003 bytes: at most 1024 are read"},
		{"no inputs", `{"inputs":[]}`, nil, 400, "the input x is missing: [-1,4] of FP32"},
		{"no datatype", mixedJSON(`"datatype":"FP32",`, ""), nil, 400, "input x: its datatype is missing"},
		{"unknown datatype", mixedJSON(`FP32`, "float"), nil, 400, `input x: its datatype is "float": one of BOOL, `},
		{"no shape", mixedJSON(`"shape":[1,4],`, ""), nil, 400, "input x: its shape is missing"},
		{"negative shape", mixedJSON("[1,4]", "[-1,4]"), nil, 400, "input x: its shape is [-1,4]: a dimension can't be negative"},
		{"huge shape", mixedJSON("[1,4]", "[4611686018427387904,4]"), nil, 400, "input x: its shape is [4611686018427387904,4]: more than 2147483647 values"},
		{"large shape", mixedJSON("[1,4]", "[100000,4]"), nil, 413, "the request has more than the 65536 bytes that are taken"},
		{"no data", mixedJSON(`,"data":[1,0,0,1]`, ""), nil, 400, "input x: its data is missing: data or a binary_data_size is wanted"},
		{"two kinds of data", mixedJSON(`"data":[1,0,0,1]`, `"data":[1,0,0,1],"parameters":{"binary_data_size":16}`), nil, 400, "input x: it has data and a binary_data_size: one of them is wanted"},
		{"too few values", mixedJSON("[1,0,0,1]", "[1,0,0]"), nil, 400, "input x: its data has 3 values, its shape [1,4] wants 4"},
		{"shared memory", mixedJSON(`"data":[1,0,0,1]`, `"parameters":{"shared_memory_region":"a"}`), nil, 400, "input x: it lies in shared memory, which isn't supported: send its data"},
		{"negative time-out", mixedJSON(`"id":"a"`, `"parameters":{"timeout":-1}`), nil, 400, "its timeout is -1: µs are wanted, 0 for none"},
		{"a time-out of text", mixedJSON(`"id":"a"`, `"parameters":{"timeout":"1s"}`), nil, 400, "the request's JSON: parameters.timeout is a string, which isn't wanted there"},
		{"a long id", mixedJSON(`"id":"a"`, `"id":"`+strings.Repeat("a", 5000)+`"`), nil, 400, "its id has 5000 bytes, at most 4096 are possible"},
		{"output twice", mixedJSON(`"id":"a"`, `"outputs":[{"name":"y"},{"name":"y"}]`), nil, 400, "the output y is wanted twice"},
		{"output in shared memory", mixedJSON(`"id":"a"`, `"outputs":[{"name":"y","parameters":{"shared_memory_region":"a"}}]`), nil, 400, "the output y: shared memory isn't supported: ask for binary data"},
		{"header length of text", good, header("many"), 400, `Inference-Header-Content-Length is "many": the number of bytes of JSON is wanted`},
		{"negative header length", good, header("-1"), 400, `Inference-Header-Content-Length is "-1": the number of bytes of JSON is wanted`},
		{"header length beyond the body", good, header("9999"), 400, "Inference-Header-Content-Length is 9999: the whole body has "},
		{"header length too short", good, header("10"), 400, "the request's JSON: unexpected end of JSON input, at byte 10 of 10"},
		{"binary data cut off", good[:len(good)-1], header(length), 400, "input x: the request ends after 15 of its 16 bytes"},
		{"binary data too long", good + "1", header(length), 400, "more bytes follow than the inputs' sizes say"},
		{"wrong binary size", strings.Replace(good, `:16}`, `:12}`, 1), header(length), 400, "input x: its binary_data_size is 12, [1,4] of FP32 are 16"},
		{"raw, of a model with several inputs", "1234", header("0"), 400, "a request without JSON is for models with one input: model tensors_mixed has x, b, k"},
		{"unknown encoding", mixedJSON(), []string{"Content-Encoding", "br"}, 415, `the content encoding "br" isn't supported: gzip and deflate are`},
		{"no gzip", mixedJSON(), []string{"Content-Encoding", "gzip"}, 400, "read the request: gzip: invalid header"},
		{"gzip cut off", packed(mixedJSON())[:60], []string{"Content-Encoding", "gzip"}, 400, "read the request: unexpected EOF"},
		{"a bomb", packed(strings.Repeat(" ", 10<<20)), []string{"Content-Encoding", "gzip"}, 413, "the request has more than the 65536 bytes that are taken"},
		{"too many bytes", strings.Repeat(" ", 65<<10), nil, 413, "the request has more than the 65536 bytes that are taken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, got := post(t, server, mixedInfer, c.body, c.headers...)
			var said struct{ Error string }
			if err := json.Unmarshal([]byte(got), &said); err != nil || code != c.code || !strings.HasPrefix(said.Error, c.want) {
				t.Errorf("%d %s, want %d %s", code, got, c.code, c.want)
			}
		})
	}
	if code, got := post(t, server, mixedInfer, good, header(length)...); code != 200 {
		t.Errorf("a good request after them: %d %s", code, got)
	}
	if h.room.left != h.cfg.Limits.Memory || len(h.seats) != 0 {
		t.Errorf("%d of %d bytes and %d seats are free", h.room.left, h.cfg.Limits.Memory, len(h.seats))
	}
}

func TestHandlerRefusesPaths(t *testing.T) {
	_, server := serve(t, Limits{}, "tensors_mixed")
	for _, c := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"GET", "/v2/nothing", 404, "there is nothing at /v2/nothing: /v2 tells what there is"},
		{"GET", mixedInfer, 405, mixedInfer + " is answered to POST, not to GET"},
		{"DELETE", "/v2/models/tensors_mixed", 405, "/v2/models/tensors_mixed is answered to GET, not to DELETE"},
		{"GET", "/v2/models/tensors_mixed/versions/2", 404, `model tensors_mixed has no version "2": it has 1`},
		{"GET", "/v2/models/a%2Fb/ready", 404, `model "a/b" is unknown: there are tensors_mixed`},
		{"GET", "/v2/models/" + strings.Repeat("a", 5000), 404, `model "` + strings.Repeat("a", 64) + `…" is unknown: there are tensors_mixed`},
		{"POST", "/v2/repository/models/x/load", 400, "models aren't loaded or unloaded by clients: restart the server with others, or send the station another bundle"},
		{"GET", "/v2/systemsharedmemory/status", 400, "shared memory isn't supported: send tensors as binary data"},
		{"POST", "/v2/cudasharedmemory/region/x/register", 400, "shared memory isn't supported: send tensors as binary data"},
		{"GET", "/v2/trace/setting", 400, "tracing isn't supported"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		code, got := do(t, req)
		if want, err := json.Marshal(map[string]string{"error": c.want}); err != nil || code != c.code || strings.TrimSpace(got) != string(want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, code, got, c.code, want)
		}
	}
}

// A client that goes in the middle of its body leaves nothing behind.
func TestHandlerForgetsWhoLeaves(t *testing.T) {
	h, server := serve(t, Limits{}, "tensors_mixed")
	good, length := binaryMixed("")
	for range 50 {
		c := dial(t, server)
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s", mixedInfer, headerLength, length, len(good), good[:len(good)-5])
		c.Close()
	}
	free := func() bool {
		h.room.mu.Lock()
		defer h.room.mu.Unlock()
		return h.room.left == h.cfg.Limits.Memory && len(h.seats) == 0
	}
	for until := time.Now().Add(10 * time.Second); !free(); <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("room or seats are never given back")
		}
	}
}

func slowRequest(bright bool, timeout int) (string, []string) {
	picture := make([]byte, 4*3*64*64)
	if bright {
		binary.LittleEndian.PutUint32(picture, math.Float32bits(1))
	}
	head := fmt.Sprintf(`{"parameters":{"timeout":%d},"inputs":[{"name":"images","datatype":"FP32","shape":[1,3,64,64],"parameters":{"binary_data_size":%d}}]}`, timeout, len(picture))
	return head + string(picture), []string{headerLength, fmt.Sprint(len(head))}
}

// More requests than there are seats are refused, and told to come again.
func TestHandlerBoundsWhoWaits(t *testing.T) {
	h, server := serve(t, Limits{Requests: 2}, "slow")
	body, headers := slowRequest(true, 3_000_000)
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			if code, got := post(t, server, "/v2/models/slow/infer", body, headers...); code != http.StatusGatewayTimeout {
				t.Errorf("a run of minutes: %d %s", code, got)
			}
		})
	}
	for until := time.Now().Add(10 * time.Second); len(h.seats) < 2 && time.Now().Before(until); <-time.After(time.Millisecond) {
	}
	res, err := http.Post(server.URL+"/v2/models/slow/infer", "", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body) // what is missing shows in the comparison
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || !strings.Contains(string(text), "2 requests are under way or wait already: ask again") {
		t.Errorf("the third of two: %d %q %s", res.StatusCode, res.Header.Get("Retry-After"), text)
	}
	busy.Wait()
	if got := h.Stats()[0].Codes; !cmp.Equal(got, map[int]uint64{503: 1, 504: 2}) {
		t.Errorf("counted %v", got)
	}
}

// Outputs take of the same room as inputs, until they are sent.
func TestHandlerBoundsOutputs(t *testing.T) {
	h, server := serve(t, Limits{Memory: 1700}, "tensors_mixed")
	if code, got := post(t, server, mixedInfer, mixedJSON()); code != 200 {
		t.Errorf("%d %s", code, got)
	}
	many := mixedJSON("[1,4]", "[20,4]", "[1,0,0,1]", "["+strings.Repeat("1,", 79)+"1]")
	want := fmt.Sprintf("the inputs and outputs of this request take %d bytes, at most 1700 are possible", 20*4*4+8+8+20*2*4+4+2*80*8)
	if code, got := post(t, server, mixedInfer, many); code != 400 || !strings.Contains(got, want) {
		t.Errorf("%d %s, want %s", code, got, want)
	}
	if h.room.left != 1700 {
		t.Errorf("%d of 1700 bytes are free", h.room.left)
	}
}

// A run that its worker stops says so, and not that the time-out was too short.
func TestHandlerTellsTheLimitOfARun(t *testing.T) {
	m := model(t, sched.New(sched.Config{}), "slow", 200*time.Millisecond)
	if _, err := m.Worker.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(NewHandler(Config{Models: func() []Model { return []Model{m} }}))
	defer server.Close()
	body, headers := slowRequest(true, 0)
	code, got := post(t, server, "/v2/models/slow/infer", body, headers...)
	if want := "the model took too long: stopped after 200ms, which is what a run may take here"; code != http.StatusGatewayTimeout || !strings.Contains(got, want) {
		t.Errorf("%d %s, want %s", code, got, want)
	}
}

// A client that leaves while its run is on stops it, so that the next needn't wait.
func TestHandlerStopsRunsThatNobodyWaitsFor(t *testing.T) {
	h, server := serve(t, Limits{Wait: time.Hour}, "slow")
	body, headers := slowRequest(true, 0)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v2/models/slow/infer", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(headers[0], headers[1])
	left := make(chan struct{})
	go func() {
		defer close(left)
		if res, err := http.DefaultClient.Do(req); err == nil {
			t.Errorf("a run of minutes was answered: %s", res.Status)
		}
	}()
	for until := time.Now().Add(10 * time.Second); h.cfg.Models()[0].Streams[sched.Normal].Stats().Holding == 0 && time.Now().Before(until); <-time.After(time.Millisecond) {
	}
	leave()
	<-left
	dark, headers := slowRequest(false, 0)
	if code, got := post(t, server, "/v2/models/slow/infer", dark, headers...); code != 200 {
		t.Errorf("the next request: %d %s", code, got)
	}
	for until := time.Now().Add(10 * time.Second); h.Stats()[0].Codes[statusGone] == 0; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("counted %v", h.Stats()[0].Codes)
		}
	}
}

func TestHandlerOutlivesAWorker(t *testing.T) {
	_, server := serve(t, Limits{}, "slow")
	good, headers := slowRequest(false, 0)
	if code, got := post(t, server, "/v2/models/slow/infer", good, headers...); code != 200 {
		t.Fatalf("%d %s", code, got)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is good
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has gone
		}
		for _, field := range strings.Fields(string(text)) {
			var pid int
			if _, err := fmt.Sscan(field, &pid); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL) // the answers tell whether it was the worker
			}
		}
	}
	for until := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		code, got := post(t, server, "/v2/models/slow/infer", good, headers...)
		if code == 200 {
			break
		}
		if code != 500 && code != 503 || time.Now().After(until) {
			t.Fatalf("after the worker's end: %d %s", code, got)
		}
	}
}

// TestTritonClient: Triton's own client from PyPI finds all that it looks for.
func TestTritonClient(t *testing.T) {
	python, err := filepath.Abs("../../build/oip-python/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Skip("left out: build/oip-python is absent: make setup fetches Triton's client from PyPI")
	}
	_, server := serve(t, Limits{}, "tensors_types", "tensors_mixed", "slow", "float16")
	out, err := exec.CommandContext(t.Context(), python, "testdata/client.py", strings.TrimPrefix(server.URL, "http://")).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "162 checks, 0 failed\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
