// Package fleet is the central service: it holds the store, the broker, the
// certificate authority, the ingester and the interface together.
package fleet

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/fleet/api"
	"github.com/sightline-edge/sightline/fleet/broker"
	"github.com/sightline-edge/sightline/fleet/depot"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/ingest"
	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/wire"
)

// Service is the name in the certificate of the fleet's own MQTT client, the
// ingester. Devices are given ids of another form.
const Service = "sightline-fleet"

// Files in the fleet's data directory.
const (
	DatabaseName = "fleet.db"
	CAFolder     = "ca"
	brokerFolder = "broker"
)

// Config says how a fleet is served. Dir, HTTPS and MQTT (or Broker) must be
// given.
type Config struct {
	Dir    string // made by Init
	HTTPS  string // address of pages, REST and enrolment
	HTTP   string // the same without TLS, on loopback only; "" for none
	MQTT   string // address of the embedded broker
	Broker string // host:port of another broker; then none is embedded
	// MQTTPublic is where devices reach the broker, as host:port, if it isn't
	// MQTT or Broker; an empty host is the one that they enrolled at, another
	// must be among the fleet's names.
	MQTTPublic string
	Version    string
	Log        *slog.Logger
}

// ErrNotInitialised is Open's error for a directory without a fleet.
var ErrNotInitialised = errors.New("there is no fleet yet: make one with sightline-fleet init")

// Fleet is a service that is open: its ports answer from Run on.
type Fleet struct {
	cfg      Config
	store    *store.Store
	ca       *enroll.CA
	enroll   *enroll.Service
	broker   *broker.Broker // nil with another broker
	depot    *depot.Depot
	ingest   *ingest.Ingest
	rollouts *rollout.Engine
	api      *api.Server
	health   health.Set
	lock     *os.File     // of the directory
	https    net.Listener // plain TCP; TLS is put around it
	http     net.Listener // nil without
	identity *tls.Config
	running  bool
}

// OpenStore opens the database of the fleet in the directory.
func OpenStore(dir string) (*store.Store, error) {
	path := filepath.Join(dir, DatabaseName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the fleet in %s: %w", dir, ErrNotInitialised)
	}
	return store.Open(path)
}

// OpenCA opens the certificate authority of the fleet in the directory.
func OpenCA(dir string) (*enroll.CA, error) {
	ca, err := enroll.OpenCA(filepath.Join(dir, CAFolder))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the fleet in %s: %w", dir, ErrNotInitialised)
	}
	return ca, err
}

// Open opens everything and takes the ports. Close gives it back; Run does too.
func Open(cfg Config) (f *Fleet, err error) {
	f = &Fleet{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f = nil
		}
	}()
	if cfg.HTTP != "" && !loopback(cfg.HTTP) {
		return f, fmt.Errorf("answer at %s without TLS: only loopback addresses may, as 127.0.0.1:8082", cfg.HTTP)
	}
	if f.ca, err = OpenCA(cfg.Dir); err != nil {
		return f, err
	}
	if f.store, err = OpenStore(cfg.Dir); err != nil {
		return f, err
	}
	if f.lock, err = lock(cfg.Dir); err != nil {
		return f, err
	}
	if f.identity, err = f.ca.Server(f.store.Now()); err != nil {
		return f, err
	}
	if f.depot, err = depot.Open(filepath.Join(cfg.Dir, depot.FolderName), f.store.Now, cfg.Log); err != nil {
		return f, err
	}
	if err = f.openBroker(); err != nil {
		return f, err
	}
	if f.https, err = listen(cfg.HTTPS); err != nil {
		return f, err
	}
	f.openRollouts()
	if err = f.openAPI(); err != nil {
		return f, err
	}
	if cfg.HTTP != "" {
		f.http, err = listen(cfg.HTTP)
	}
	return f, err
}

// openBroker opens the embedded broker if there is to be one, and what talks
// to devices over it.
func (f *Fleet) openBroker() error {
	address := f.cfg.Broker
	told, err := f.brokerTold()
	if err != nil {
		return err
	}
	f.enroll = enroll.NewService(f.ca, f.store, enroll.Config{}) // for Who, until the port is known
	if address == "" {
		f.broker, err = broker.Open(broker.Config{
			Listen: f.cfg.MQTT, Dir: filepath.Join(f.cfg.Dir, brokerFolder), TLS: f.identity, Who: f.enroll.Who, Log: f.cfg.Log,
		})
		if err != nil {
			return err
		}
		host, port, err := net.SplitHostPort(f.broker.Addr().String())
		if err != nil {
			return fmt.Errorf("tell devices where the broker is: %w", err)
		}
		if ip := net.ParseIP(host); ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		address, told = net.JoinHostPort(host, port), cmp.Or(told, ":"+port)
	}
	f.enroll = enroll.NewService(f.ca, f.store, enroll.Config{MQTT: told, Revoked: f.cut, Root: f.depot.Root})
	client := f.ca.ClientTLS(Service, f.store.Now)
	client.ServerName = f.ca.Names()[0]
	f.ingest = ingest.New(ingest.Config{Store: f.store, Broker: address, TLS: client, Log: f.cfg.Log, Told: f.told, Heard: f.heard})
	return nil
}

// told passes results on to pages once there are pages.
func (f *Fleet) told(rows []store.Row) { f.api.Told(rows) }

// heard takes what a device says about bundles.
func (f *Fleet) heard(device string, kind wire.Kind, body []byte) {
	switch kind {
	case wire.KindGet:
		f.depot.Answer(device, body, func(b *wire.Block) { f.block(device, b) })
	case wire.KindReport:
		f.reported(device, body)
	}
}

// block sends a device a piece of a file. One that is lost is asked for again.
func (f *Fleet) block(device string, b *wire.Block) {
	body, err := wire.Marshal(b)
	if err != nil {
		panic("BUG: a block can't be encoded: " + err.Error())
	}
	f.ingest.Send(device, wire.KindBlock, body)
}

// cut ends a device's connection now. Another broker can't be told; there the
// ingester takes nothing of it any more.
func (f *Fleet) cut(device string) {
	if f.broker != nil {
		f.broker.Cut(device)
	}
}

func (f *Fleet) openAPI() (err error) {
	f.api, err = api.New(api.Config{
		Store: f.store, Enroll: f.enroll, Depot: f.depot, Log: f.cfg.Log, Version: f.cfg.Version, Hosts: f.ca.Names(), Address: f.Addr(),
		Health: f.health.List, Figures: f.figures, Rollouts: f.rollouts,
	})
	return err
}

// Addr is where pages and REST answer, as host:port; the host of one that is
// every address of this machine is the fleet's first name.
func (f *Fleet) Addr() string { return f.named(f.https.Addr()) }

// HTTPAddr is the address without TLS, "" if there is none.
func (f *Fleet) HTTPAddr() string {
	if f.http == nil {
		return ""
	}
	return f.http.Addr().String()
}

// MQTTAddr is the embedded broker's address, "" if there is none.
func (f *Fleet) MQTTAddr() string {
	if f.broker == nil {
		return ""
	}
	return f.named(f.broker.Addr())
}

// Run serves until ctx ends or a part of it can't go on, then closes all.
func (f *Fleet) Run(ctx context.Context) error {
	f.running = true // each part closes what it was given
	g, ctx := errgroup.WithContext(ctx)
	if f.broker != nil {
		g.Go(func() error { return f.broker.Run(ctx) })
		g.Go(func() error { return f.watchRevoked(ctx) })
	}
	g.Go(func() error { return f.ingest.Run(ctx) })
	g.Go(func() error { return f.depot.Run(ctx) })
	g.Go(func() error { return f.watch(ctx) })
	g.Go(func() error { return f.rollouts.Run(ctx) })
	https := f.identity.Clone()
	https.NextProtos = []string{"h2", "http/1.1"}
	answers := []net.Listener{tls.NewListener(f.https, https)}
	if f.http != nil {
		answers = append(answers, f.http)
	}
	g.Go(func() error { return f.api.Run(ctx, answers...) })
	return errors.Join(g.Wait(), f.Close())
}

// Close gives back what Run hasn't.
func (f *Fleet) Close() error {
	var errs []error
	if !f.running {
		for _, l := range []net.Listener{f.https, f.http} {
			if l != nil {
				errs = append(errs, l.Close())
			}
		}
		if f.broker != nil {
			errs = append(errs, f.broker.Close())
		}
	}
	if f.depot != nil {
		errs = append(errs, f.depot.Close())
	}
	if f.store != nil {
		errs = append(errs, f.store.Close())
		f.store = nil
	}
	if f.lock != nil { // last: who takes it after this one finds nothing open
		errs = append(errs, f.lock.Close())
		f.lock = nil
	}
	return errors.Join(errs...)
}
