package oip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/internal/web"
)

// Limits of a Client.
const (
	defaultAnswer = 64 << 20 // bytes
	maxMetadata   = 4 << 20  // bytes
	dialTimeout   = 5 * time.Second
	idleTimeout   = 90 * time.Second
	idleConns     = 8
	maxHeaders    = 64 << 10 // bytes
)

// ClientConfig says which server a Client asks.
type ClientConfig struct {
	URL       string // such as https://server:8000, or with a path that /v2 stands below; without a user or password
	TokenFile string // a file with one line, sent as a bearer token; or the name of a systemd credential. It is read at each request, so it may be changed
	CAFile    string // PEM certificates that the server is checked by; "" for the system's
	MaxBytes  int64  // of an answer; 0 counts as 64 MiB
}

// Client asks a server that speaks the protocol. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	token string // the file's path
	most  int64
	http  *http.Client
}

// StatusError is a server's answer that it won't or can't.
type StatusError struct {
	Code    int    // of HTTP
	Message string // the server's own words, "" without
}

// Error tells the code and what the server says.
func (e *StatusError) Error() string {
	what := fmt.Sprintf("it answers %d %s", e.Code, http.StatusText(e.Code))
	if e.Message == "" {
		return what
	}
	return what + ": " + e.Message
}

// NewClient makes a Client; it connects when it is first used.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" {
		return nil, errors.New("the inference server's address must be http:// or https:// and a host") // it may hold a password
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the inference server's address must have no user, password, query or fragment: a token stands in a file")
	}
	if cfg.TokenFile != "" && base.Scheme == "http" && !web.Loopback(base.Hostname()) {
		return nil, fmt.Errorf("the inference server %s is asked without encryption: a token is sent over https:// alone", cfg.URL)
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultAnswer
	}
	transport := &http.Transport{ // without a proxy: what is sent is for that server, and nobody named another
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout: idleTimeout, MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConns, MaxResponseHeaderBytes: maxHeaders,
		DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}
	if transport.TLSClientConfig, err = trust(cfg.CAFile); err != nil {
		return nil, err
	}
	return &Client{base: base, token: cfg.TokenFile, most: cfg.MaxBytes, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Infer runs a model on inputs and gives the outputs of those names in that
// order, or all of them in the server's order without names. version may be ""
// for the server's choice. ctx's deadline is told to the server as time-out.
// The outputs' data are the caller's. A *StatusError is the server's own answer.
func (c *Client) Infer(ctx context.Context, model, version string, inputs []Tensor, outputs []string) ([]Tensor, error) {
	fault := func(err error) ([]Tensor, error) {
		return nil, fmt.Errorf("infer with %s at %s: %w", model, c.base, err)
	}
	header, body, err := encodeRequest(ctx, inputs, outputs)
	if err != nil {
		return fault(err)
	}
	sent := int64(0)
	for _, part := range body {
		sent += int64(len(part))
	}
	req, err := c.request(ctx, http.MethodPost, path(model, version)+"/infer")
	if err != nil {
		return fault(err)
	}
	req.GetBody = func() (io.ReadCloser, error) {
		var parts []io.Reader
		for _, part := range body {
			parts = append(parts, bytes.NewReader(part))
		}
		return io.NopCloser(io.MultiReader(parts...)), nil
	}
	req.Body, _ = req.GetBody() // never an error
	req.ContentLength = sent
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set(headerLength, strconv.Itoa(header))
	answer, text, err := c.do(req, c.most)
	if err != nil {
		return fault(err)
	}
	got, err := decodeAnswer(answer.Header.Get(headerLength), text)
	if err == nil {
		got, err = inOrder(got, outputs)
	}
	if err != nil {
		return fault(fmt.Errorf("its answer can't be used: %w", err))
	}
	return got, nil
}

// encodeRequest gives the JSON's length, and the body in pieces: the JSON, then
// the inputs' own data.
func encodeRequest(ctx context.Context, inputs []Tensor, outputs []string) (header int, body [][]byte, err error) {
	var r request
	r.Parameters.BinaryDataOutput = true
	if until, ok := ctx.Deadline(); ok {
		left := max(time.Until(until).Microseconds(), 1)
		r.Parameters.Timeout = &left
	}
	body = append(body, nil)
	for i := range inputs {
		if err := inputs[i].check(); err != nil {
			return 0, nil, err
		}
		r.Inputs = append(r.Inputs, inputs[i].encode())
		body = append(body, inputs[i].Data)
	}
	yes := true
	for _, name := range outputs {
		r.Outputs = append(r.Outputs, wantedOutput{Name: name, Parameters: wantedParameters{BinaryData: &yes}})
	}
	if body[0], err = json.Marshal(r); err != nil {
		return 0, nil, err
	}
	return len(body[0]), body, nil
}

// decodeAnswer gives the tensors of the body of an answer.
func decodeAnswer(length string, text []byte) ([]Tensor, error) {
	n, ok, err := parseHeaderLength(length, int64(len(text)))
	if err != nil {
		return nil, err
	}
	if !ok {
		n = int64(len(text))
	}
	var r response
	if err := decodeJSON(text[:n], &r); err != nil {
		return nil, fmt.Errorf("its JSON: %w", err)
	}
	return decodeTensors(r.Outputs, text[n:])
}

// inOrder gives the tensors of those names, each of which must be there.
func inOrder(got []Tensor, names []string) ([]Tensor, error) {
	if len(names) == 0 {
		return got, nil
	}
	var out []Tensor
	for _, name := range names {
		i := slices.IndexFunc(got, func(t Tensor) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("the output %s isn't in it", name)
		}
		out = append(out, got[i])
	}
	return out, nil
}

// Metadata asks what a model takes and gives.
func (c *Client) Metadata(ctx context.Context, model, version string) (Metadata, error) {
	text, err := c.get(ctx, path(model, version))
	if err != nil {
		return Metadata{}, fmt.Errorf("ask %s for the model %s: %w", c.base, model, err)
	}
	m, err := decodeMetadata(text)
	if err != nil {
		return Metadata{}, fmt.Errorf("ask %s for the model %s: its answer can't be used: %w", c.base, model, err)
	}
	return m, nil
}

// Ready returns nil when the server says that the model is ready.
func (c *Client) Ready(ctx context.Context, model, version string) error {
	if _, err := c.get(ctx, path(model, version)+"/ready"); err != nil {
		return fmt.Errorf("ask %s whether the model %s is ready: %w", c.base, model, err)
	}
	return nil
}

// path is a model's path below the server's address.
func path(model, version string) string {
	p := "/v2/models/" + url.PathEscape(model)
	if version != "" {
		p += "/versions/" + url.PathEscape(version)
	}
	return p
}

func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	req, err := c.request(ctx, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	_, text, err := c.do(req, maxMetadata)
	return text, err
}

func (c *Client) request(ctx context.Context, method, path string) (*http.Request, error) {
	at := strings.TrimSuffix(c.base.String(), "/") + path
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, err
	}
	// A run changes nothing, so it may be sent again when an idle connection was
	// just closed; the header itself isn't sent.
	req.Header["Idempotency-Key"] = nil
	if c.token == "" {
		return req, nil
	}
	token, err := readToken(c.token)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req, nil
}

// do sends a request and reads the answer, of at most so many bytes.
func (c *Client) do(req *http.Request, most int64) (*http.Response, []byte, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, bare(req.Context(), err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, nil, refused(res)
	}
	if res.ContentLength > most {
		return nil, nil, fmt.Errorf("its answer has %d bytes, at most %d are read", res.ContentLength, most)
	}
	var text []byte
	if res.ContentLength >= 0 {
		text = make([]byte, res.ContentLength)
		_, err = io.ReadFull(res.Body, text)
	} else {
		text, err = io.ReadAll(io.LimitReader(res.Body, most+1))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read its answer: %w", bare(req.Context(), err))
	}
	if int64(len(text)) > most {
		return nil, nil, fmt.Errorf("its answer has more than %d bytes", most)
	}
	return res, text, nil
}
