// Package api answers for the agent: REST with its OpenAPI description, events,
// live pictures, metrics, and the device's page. It knows the agent only as a
// Source.
package api

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/sightline-edge/sightline/internal/web"
)

//go:generate go test -run "^(TestOpenAPI|TestMetricsReference)$" . -update

//go:embed pages
var pageFiles embed.FS

// Limits of what all clients together may hold open.
const (
	maxViewers = 16 // live pictures
	maxReaders = 64 // streams of events
)

// Server serves an agent's page and interfaces.
type Server struct {
	source  Source
	log     *slog.Logger
	pages   *web.Pages
	handler http.Handler

	viewers, readers atomic.Int64 // open streams
}

// Config says what a Server serves. Source and Log must be given.
type Config struct {
	Source Source
	Log    *slog.Logger
	Guests http.Handler // answers under /v2; nil: nobody does
	Hosts  []string     // names, in lower case, by which the device may be asked, besides numbers and localhost
}

// New makes a server; Run starts it.
func New(cfg Config) (*Server, error) {
	s := &Server{source: cfg.Source, log: cfg.Log}
	sub, err := fs.Sub(pageFiles, "pages")
	if err != nil {
		return nil, fmt.Errorf("open the pages: %w", err)
	}
	if s.pages, err = web.Parse(sub); err != nil {
		return nil, err
	}
	assets, err := web.Assets()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", assets)
	s.addPages(mux)
	s.addV1(mux)
	addGuests(mux, cfg.Guests)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.Handle("GET /metrics", s.metrics())
	s.handler = web.KeepBody(web.Guard(web.Survive(ownPages(mux), s.log), cfg.Hosts...))
	return s, nil
}

// Handler is the whole interface, for tests and for servers of one's own.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves on the listener, which it closes, until the context ends; open
// streams end then too.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	return web.Serve(ctx, l, s.handler, s.log)
}

// healthz is for machines that only ask whether all is well: 200, or 503 with
// one line for each station that doesn't inspect.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text := ""
	for _, st := range s.source.Now().Stations {
		if st.State == Stalled || st.State == Failed {
			text += fmt.Sprintf("station %s is %s: %s\n", st.ID, st.State, st.StateText)
		}
	}
	if text != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, text)
		return
	}
	fmt.Fprintln(w, "ok")
}
