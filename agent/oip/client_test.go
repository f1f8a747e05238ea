package oip

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// peer answers each request with bytes as another maker's server would send
// them, and keeps what it was asked.
type peer struct {
	status int
	length string // of the JSON before binary data
	body   string

	path, asked, header, authorization string
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a request cut off shows in what was asked
	p.path, p.asked, p.header, p.authorization = r.URL.EscapedPath(), string(body), r.Header.Get(headerLength), r.Header.Get("Authorization")
	if p.length != "" {
		w.Header().Set(headerLength, p.length)
	}
	if p.status != 0 {
		w.WriteHeader(p.status)
	}
	io.WriteString(w, p.body)
}

func (p *peer) client(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	cfg.URL = server.URL + cfg.URL
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var oneInput = []Tensor{{Name: "x", Datatype: "INT16", Shape: []int64{1, 2}, Data: []byte("\x01\x00\x02\x00")}}

func TestClientInfers(t *testing.T) {
	answer := `{"model_name":"m","model_version":"3","outputs":[` +
		`{"name":"a","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}},` +
		`{"name":"b","datatype":"FP32","shape":[1],"data":[2.5]}]}`
	p := &peer{length: fmt.Sprint(len(answer)), body: answer + "\x07\x08"}
	c := p.client(t, ClientConfig{URL: "/under"})
	got, err := c.Infer(t.Context(), "big one", "3", oneInput, []string{"b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Tensor{
		{Name: "b", Datatype: "FP32", Shape: []int64{1}, Data: []byte("\x00\x00\x20\x40")},
		{Name: "a", Datatype: "UINT8", Shape: []int64{2}, Data: []byte{7, 8}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	asked := `{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","datatype":"INT16","shape":[1,2],"parameters":{"binary_data_size":4}}],` +
		`"outputs":[{"name":"b","parameters":{"binary_data":true}},{"name":"a","parameters":{"binary_data":true}}]}`
	if p.asked != asked+"\x01\x00\x02\x00" || p.header != fmt.Sprint(len(asked)) || p.path != "/under/v2/models/big%20one/versions/3/infer" {
		t.Errorf("asked %s with %q behind %s bytes of JSON", p.path, p.asked, p.header)
	}
}

func TestClientTellsItsDeadline(t *testing.T) {
	p := &peer{body: `{"outputs":[]}`}
	c := p.client(t, ClientConfig{})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if _, err := c.Infer(ctx, "m", "", oneInput, nil); err != nil {
		t.Fatal(err)
	}
	var micros int
	if _, err := fmt.Sscanf(p.asked, `{"parameters":{"timeout":%d,`, &micros); err != nil || micros < 30e6 || micros > 60e6 {
		t.Errorf("a minute is told as %d µs (%v): %s", micros, err, p.asked)
	}
}

func TestClientRefusesAnswers(t *testing.T) {
	bin := func(size int) string {
		return fmt.Sprintf(`{"outputs":[{"name":"a","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":%d}}]}`, size)
	}
	good := bin(2)
	for _, c := range []struct {
		peer peer
		want string
	}{
		{peer{status: 400, body: `{"error":"no such\nmodel"}`}, "it answers 400 Bad Request: no such model"},
		{peer{status: 503, body: `<html>`}, "it answers 503 Service Unavailable"},
		{peer{status: 302}, "it answers 302 Found"},
		{peer{body: `{"outputs":[`}, "its answer can't be used: its JSON: unexpected end of JSON input, at byte 12 of 12"},
		{peer{body: ``}, "its answer can't be used: its JSON: it is empty"},
		{peer{body: `{"outputs":[]} {}`}, "its answer can't be used: its JSON: invalid character '{' after top-level value, at byte 16 of 17"},
		{peer{body: `{"outputs":3}`}, "its answer can't be used: its JSON: 3 stands where a list is wanted"},
		{peer{body: `{"outputs":[]}`}, "its answer can't be used: the output a isn't in it"},
		{peer{length: "x", body: good}, `its answer can't be used: Inference-Header-Content-Length is "x": the number of bytes of JSON is wanted`},
		{peer{length: "9999", body: good}, "its answer can't be used: Inference-Header-Content-Length is 9999: the whole body has "},
		{peer{length: fmt.Sprint(len(good)), body: good + "1"}, "its answer can't be used: a: its binary data ends after 1 of 2 bytes"},
		{peer{length: fmt.Sprint(len(good)), body: good + "123"}, "its answer can't be used: 1 bytes too many stand behind the last tensor"},
		{peer{body: bin(3)}, "its answer can't be used: a: its binary_data_size is 3, [2] of UINT8 are 2"},
		{peer{body: bin(-3)}, "its answer can't be used: a: its binary_data_size is -3"},
		{peer{body: strings.Repeat(" ", 5000)}, "its answer has "},
	} {
		client := c.peer.client(t, ClientConfig{MaxBytes: 4096})
		_, err := client.Infer(t.Context(), "m", "", oneInput, []string{"a"})
		if err == nil || !strings.Contains(err.Error(), ": "+c.want) {
			t.Errorf("%v: got %v, want %s", c.peer, err, c.want)
		}
	}
}

func TestClientTellsTheCode(t *testing.T) {
	c := (&peer{status: http.StatusTooManyRequests, body: `{"error":"busy"}`}).client(t, ClientConfig{})
	var status *StatusError
	if err := c.Ready(t.Context(), "m", ""); !errors.As(err, &status) || status.Code != 429 || status.Message != "busy" {
		t.Error(err)
	}
}

func TestClientGivesUpWithItsContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the end of the connection isn't seen
		<-r.Context().Done()
	}))
	defer server.Close()
	c, err := NewClient(ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := c.Infer(ctx, "m", "", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestClientReadsMetadata(t *testing.T) {
	p := &peer{body: `{"name":"m","versions":["1","2"],"platform":"onnxruntime_onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,3]}],"outputs":[],"later":{"x":[1]}}`}
	c := p.client(t, ClientConfig{})
	got, err := c.Metadata(t.Context(), "m", "")
	want := Metadata{Name: "m", Versions: []string{"1", "2"}, Platform: "onnxruntime_onnx",
		Inputs: []TensorMetadata{{Name: "x", Datatype: "FP32", Shape: []int64{-1, 3}}}, Outputs: []TensorMetadata{}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
}

// TestClientRefusesMetadata: a server's word has the bounds that its tensors have.
func TestClientRefusesMetadata(t *testing.T) {
	tensor := func(name, datatype string, rank int) string {
		return fmt.Sprintf(`{"name":%q,"datatype":%q,"shape":[%s]}`, name, datatype, strings.TrimPrefix(strings.Repeat(",1", rank), ","))
	}
	good := tensor("x", "FP32", 4)
	for _, c := range []struct{ inputs, outputs, want string }{
		{good + strings.Repeat(","+good, maxTensors), good, "its JSON: a list of tensors has more than 256 entries"},
		{good, good + strings.Repeat(","+good, maxTensors), "its JSON: a list of tensors has more than 256 entries"},
		{tensor(strings.Repeat("x", maxName+1), "FP32", 4), good, "a tensor's name has 513 bytes, 1 to 512 are possible"},
		{good, tensor("", "FP32", 4), "a tensor's name has 0 bytes, 1 to 512 are possible"},
		{good, tensor("y", strings.Repeat("x", maxName+1), 4), "the datatype of y has 513 bytes, at most 512 are possible"},
		{tensor("x", "FP32", maxRank+1), good, "x has 33 dimensions, at most 32 are possible"},
		{tensor("x", "FP32", 1000), good, "its JSON: a shape of 2001 bytes: at most 1024 are read"},
		{"3", good, "its JSON: inputs is a number, which isn't wanted there"},
	} {
		client := (&peer{body: fmt.Sprintf(`{"name":"m","inputs":[%s],"outputs":[%s]}`, c.inputs, c.outputs)}).client(t, ClientConfig{})
		if _, err := client.Metadata(t.Context(), "m", ""); err == nil || !strings.HasSuffix(err.Error(), "its answer can't be used: "+c.want) {
			t.Errorf("got %.300v, want %s", err, c.want)
		}
	}
	most := tensor(strings.Repeat("x", maxName), "FP32", maxRank)
	client := (&peer{body: fmt.Sprintf(`{"inputs":[%s],"outputs":[%s]}`, most, most+strings.Repeat(","+most, maxTensors-1))}).client(t, ClientConfig{})
	if m, err := client.Metadata(t.Context(), "m", ""); err != nil || len(m.Inputs) != 1 || len(m.Outputs) != maxTensors {
		t.Errorf("as much as is possible: %d and %d tensors, %.300v", len(m.Inputs), len(m.Outputs), err)
	}
}

// TestClientUsesNoProxy: tensors go to the server that was named, whatever the
// environment says. It is read once, so a process of its own has it.
func TestClientUsesNoProxy(t *testing.T) {
	if to := os.Getenv("SIGHTLINE_TEST_ASKS"); to != "" {
		c, err := NewClient(ClientConfig{URL: to})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Infer(t.Context(), "m", "", oneInput, nil); err != nil {
			t.Error(err)
		}
		return
	}
	var asked, diverted atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		io.WriteString(w, `{"outputs":[]}`)
	}))
	defer server.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { diverted.Add(1) }))
	defer proxy.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClientUsesNoProxy$")
	to := strings.Replace(server.URL, "127.0.0.1", "0.0.0.0", 1) // loopback too, but for such a name a proxy is asked
	cmd.Env = append(os.Environ(), "SIGHTLINE_TEST_ASKS="+to, "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if asked.Load() != 1 || diverted.Load() > 0 {
		t.Errorf("the server was asked %d times, the proxy %d", asked.Load(), diverted.Load())
	}
}

func TestClientSendsATokenOfAFile(t *testing.T) {
	p := &peer{}
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that doesn't trust it
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cfg := ClientConfig{
		URL: server.URL, TokenFile: write("token", []byte("abc.def\n")),
		CAFile: write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(t.Context(), "m", ""); err != nil || p.authorization != "Bearer abc.def" {
		t.Errorf("%v, authorization %q", err, p.authorization)
	}
	write("token", []byte("two\nlines"))
	if err := c.Ready(t.Context(), "m", ""); err == nil || !strings.HasSuffix(err.Error(), "token: it must hold one line of letters, digits and signs") {
		t.Error(err)
	}
	cfg.CAFile = ""
	stranger, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	write("token", []byte("secret"))
	if err := stranger.Ready(t.Context(), "m", ""); err == nil || p.authorization == "Bearer secret" {
		t.Errorf("a server of an unknown authority is trusted: %v", err)
	}
}

func TestClientRefusesAddresses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		cfg  ClientConfig
		want string
	}{
		{ClientConfig{}, "the inference server's address must be http:// or https:// and a host"},
		{ClientConfig{URL: "grpc://h:1"}, "the inference server's address must be http:// or https:// and a host"},
		{ClientConfig{URL: "http://u:pw@h"}, "the inference server's address must have no user, password, query or fragment: a token stands in a file"},
		{ClientConfig{URL: "http://far:8000", TokenFile: "t"}, "the inference server http://far:8000 is asked without encryption: a token is sent over https:// alone"},
		{ClientConfig{URL: "https://far", CAFile: missing}, "read the certificates " + missing + ": no such file or directory"},
	} {
		if _, err := NewClient(c.cfg); err == nil || err.Error() != c.want {
			t.Errorf("%v: got %v, want %s", c.cfg, err, c.want)
		}
	}
}

// Any answer is an error or whole tensors.
func FuzzAnswer(f *testing.F) {
	text := `{"outputs":[{"name":"a","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}},{"name":"b","datatype":"BYTES","shape":[1],"data":["x"]}]}`
	f.Add(fmt.Sprint(len(text)), []byte(text+"12"))
	f.Add("", []byte(`{"outputs":[{"name":"b","datatype":"FP64","shape":[1,1],"data":[[0.5]]}]}`))
	f.Fuzz(func(t *testing.T, length string, body []byte) {
		got, err := decodeAnswer(length, body)
		for _, tensor := range got {
			if wrong := tensor.check(); err == nil && wrong != nil {
				t.Error(wrong)
			}
		}
	})
}
