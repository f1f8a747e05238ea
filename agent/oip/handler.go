package oip

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
)

// Config says what a Handler serves.
type Config struct {
	Models  func() []Model // those of now; no two have the same name and version
	Version string         // of the program
	Limits  Limits
}

// Limits bound what all clients together can ask of a Handler.
type Limits struct {
	Body     int64         // bytes of one request; 0: 64 MiB
	Memory   int64         // bytes of all requests that are under way; a quarter as much is kept beside for the next ones; 0: 256 MiB
	Requests int           // that are under way or wait; 0: 32
	Wait     time.Duration // of a request without a time-out of its own; 0: 20 s
}

// Handler serves models under /v2.
type Handler struct {
	cfg   Config
	mux   *http.ServeMux
	seats chan struct{} // one value for each request that is under way
	room  budget

	book book

	mu    sync.Mutex // protects all below
	known map[*infer.Worker]*known
	idle  idle
}

// NewHandler makes a handler.
func NewHandler(cfg Config) *Handler {
	l := &cfg.Limits
	l.Body, l.Memory, l.Requests, l.Wait = cmp.Or(l.Body, 64<<20), cmp.Or(l.Memory, 256<<20), cmp.Or(l.Requests, 32), cmp.Or(l.Wait, 20*time.Second)
	h := &Handler{
		cfg: cfg, mux: http.NewServeMux(), seats: make(chan struct{}, l.Requests), room: budget{all: l.Memory, left: l.Memory},
		book: book{list: map[key]*stats{}}, known: map[*infer.Worker]*known{}, idle: idle{most: l.Memory / 4, count: l.Requests},
	}
	for _, at := range []string{"/v2", "/v2/{$}"} {
		h.handle("GET "+at, h.server)
	}
	h.handle("GET /v2/health/live", func(http.ResponseWriter, *http.Request) error { return nil })
	h.handle("GET /v2/health/ready", h.ready)
	h.handle("GET /v2/models/stats", h.allStats)
	h.handle("GET /v2/repository/index", h.index)
	h.handle("POST /v2/repository/index", h.index)
	for _, at := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		h.handle("GET "+at, h.metadata)
		h.handle("GET "+at+"/ready", h.modelReady)
		h.handle("GET "+at+"/config", h.modelConfig)
		h.handle("GET "+at+"/stats", h.modelStats)
		h.handle("POST "+at+"/infer", h.infer)
	}
	h.handle("/v2/", h.nothing)
	return h
}

// ServeHTTP answers a request whose path begins with /v2.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// fault is an error with the code that it is told with.
type fault struct {
	code int
	error
}

func bad(format string, args ...any) error {
	return fault{http.StatusBadRequest, fmt.Errorf(format, args...)}
}

func busy(format string, args ...any) error {
	return fault{http.StatusServiceUnavailable, fmt.Errorf(format, args...)}
}

// codeOf is the code that an error is told with.
func codeOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var f fault
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &f):
		return f.code
	}
	return http.StatusInternalServerError
}

func (h *Handler) handle(pattern string, answer func(http.ResponseWriter, *http.Request) error) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := answer(w, r); err != nil {
			tell(w, err)
		}
	})
}

// tell answers with an error.
func tell(w http.ResponseWriter, err error) {
	code := codeOf(err)
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(struct { // a client that has gone needs nothing more
		Error string `json:"error"`
	}{err.Error()})
}

func say(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs nothing more
	return nil
}

// unsupported says why what Triton has under a path isn't had here.
var unsupported = []struct{ path, why string }{
	{"/v2/repository/models/", "models aren't loaded or unloaded by clients: restart the server with others, or send the station another bundle"},
	{"/v2/systemsharedmemory", "shared memory isn't supported: send tensors as binary data"},
	{"/v2/cudasharedmemory", "shared memory isn't supported: send tensors as binary data"},
	{"/v2/tpusharedmemory", "shared memory isn't supported: send tensors as binary data"},
	{"/v2/trace", "tracing isn't supported"},
	{"/v2/logging", "log settings can't be changed here"},
}

func (h *Handler) nothing(_ http.ResponseWriter, r *http.Request) error {
	for _, u := range unsupported {
		if strings.HasPrefix(r.URL.Path, u.path) {
			return bad("%s", u.why)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := h.mux.Handler(other); pattern != "/v2/" {
			return fault{http.StatusMethodNotAllowed, fmt.Errorf("%s is answered to %s, not to %s", cut(r.URL.Path), method, cut(r.Method))}
		}
	}
	return fault{http.StatusNotFound, fmt.Errorf("there is nothing at %s: /v2 tells what there is", cut(r.URL.Path))}
}

// find gives the model of a request's path, once it is known what it takes.
func (h *Handler) find(r *http.Request) (*served, error) {
	name, version := r.PathValue("model"), r.PathValue("version")
	var names, versions []string
	for _, m := range h.cfg.Models() {
		switch {
		case m.Name != name:
			names = append(names, m.Name)
		case version != "" && version != m.Version:
			versions = append(versions, m.Version)
		default:
			return h.serves(m)
		}
	}
	if versions != nil {
		return nil, fault{http.StatusNotFound, fmt.Errorf("model %s has no version %q: it has %s", name, cut(version), strings.Join(versions, ", "))}
	}
	there := "no model is served now"
	if names != nil {
		there = "there are " + strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
	}
	return nil, fault{http.StatusNotFound, fmt.Errorf("model %q is unknown: %s", cut(name), there)}
}

// serves gives a model with what is known of it, which was learnt when it was ready.
func (h *Handler) serves(m Model) (*served, error) {
	h.mu.Lock()
	k := h.known[m.Worker]
	h.mu.Unlock()
	if k != nil {
		return &served{m, k}, nil
	}
	k, err := m.learn()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	if other := h.known[m.Worker]; other != nil {
		k = other
	}
	h.known[m.Worker] = k
	h.mu.Unlock()
	h.Forget() // a model that is new may be there instead of another
	return &served{m, k}, nil
}

// budget is bytes that may be taken.
type budget struct {
	all int64

	mu   sync.Mutex // protects left
	left int64
}

func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

func (b *budget) giveBack(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}
