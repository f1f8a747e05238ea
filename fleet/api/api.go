// Package api answers for the fleet: enrolment, REST with its OpenAPI
// description, events, metrics and pages, all behind a login.
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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/fleet/depot"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
)

//go:generate go test -run ^TestOpenAPI$ . -update

//go:embed pages
var pageFiles embed.FS

// answerTime is how long a scrape may take.
const answerTime = 30 * time.Second

// maxReaders is how many streams of events may be open.
const maxReaders = 256

// Config says what a Server serves. Store, Enroll, Depot, Rollouts and Log must
// be given.
type Config struct {
	Store    *store.Store
	Enroll   *enroll.Service
	Depot    *depot.Depot // of bundles
	Rollouts *rollout.Engine
	Log      *slog.Logger
	Version  string   // of the program
	Hosts    []string // names, in lower case, by which the fleet may be asked, besides numbers and localhost
	Address  string   // host:port at which devices enrol, for the page that says how; may be empty

	Health  func() []health.Raised // of the service itself, the worst first; may be nil
	Figures func() []Figure        // of the service's other parts, for /metrics; may be nil
}

// Figure is one number of another part of the service, for /metrics. The names
// are fixed by the program.
type Figure struct {
	Name, Help string
	Total      bool // only ever grows; its name ends in _total
	Value      float64
}

// Server serves the fleet's pages and interfaces.
type Server struct {
	cfg     Config
	store   *store.Store
	log     *slog.Logger
	began   time.Time
	pages   *web.Pages
	routes  []route
	handler http.Handler

	logins, enrols *auth.Backoff
	devices        devices
	hub            hub
	hour           hour
	readers        atomic.Int64 // open streams
}

// New makes a server; Run starts it.
func New(cfg Config) (*Server, error) {
	s := &Server{
		cfg: cfg, store: cfg.Store, log: cfg.Log, began: time.Now(),
		logins: auth.NewBackoff(5, 20, time.Hour), enrols: auth.NewBackoff(0, 200, 5*time.Second), // a factory's devices may come all at once
	}
	s.devices.store, s.hour.began = cfg.Store, s.began
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
	g := &gate{server: s, mux: http.NewServeMux()}
	g.HandleFunc("GET /assets/", assets.ServeHTTP)
	g.HandleFunc("GET /healthz", s.healthz)
	g.HandleFunc("GET /metrics", s.metrics().ServeHTTP)
	s.addPages(g)
	s.addV1(g)
	if err := g.check(); err != nil {
		return nil, err
	}
	s.routes = g.routes
	s.handler = web.KeepBody(web.Guard(web.Survive(sameOrigin(g.mux), s.log), cfg.Hosts...))
	return s, nil
}

// Handler is the whole interface, for tests and for servers of one's own.
func (s *Server) Handler() http.Handler { return s.handler }

// Told takes results that were newly committed, for pages and events. It
// doesn't wait for anybody.
func (s *Server) Told(rows []store.Row) {
	s.hour.add(rows)
	s.hub.tell(rows)
}

// RolloutChanged tells events and pages that something about a rollout is new.
// It doesn't wait for anybody.
func (s *Server) RolloutChanged(id string) {
	if s.hub.heard() {
		s.hub.send([]event{{text: encode("event: rollout\n", &rolloutEvent{id})}})
	}
}

// Run serves on the listeners, which it closes, until the context ends; open
// streams end then too. Devices renew their certificates only over a TLS
// listener that asks for the client's.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.watch(ctx); return nil })
	for _, l := range listeners {
		g.Go(func() error { return web.Serve(ctx, l, s.handler, s.log) })
	}
	return g.Wait()
}

// healthz is for machines that only ask whether all is well: 200, or 503 if the
// store doesn't answer. It says no more, for it knows no login.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := s.devices.list(r.Context()); err != nil {
		s.log.Warn("read devices", "err", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "the store doesn't answer, the log says why")
		return
	}
	fmt.Fprintln(w, "ok")
}
