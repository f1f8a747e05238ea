package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/uplink"
)

// rigLimit is how long anything between device and fleet may take.
const rigLimit = 2 * time.Minute

// rig is a whole fleet service in this process, on loopback, with a meter in
// the cable to its broker.
type rig struct {
	dir   string
	meter *meter
	fleet *fleet.Fleet
	ca    *enroll.CA
	store *store.Store // opened beside the service, as its commands do
	tasks tasks
}

// tasks are goroutines that end together.
type tasks struct {
	group *errgroup.Group
	stop  context.CancelFunc
}

func startTasks(ctx context.Context, all ...func(context.Context) error) tasks {
	ctx, stop := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	for _, task := range all {
		g.Go(func() error { return task(ctx) })
	}
	return tasks{g, stop}
}

func (t *tasks) end() error {
	if t.group == nil {
		return nil
	}
	t.stop()
	return t.group.Wait()
}

// withRig measures with a fleet of its own.
func withRig(ctx context.Context, measure func(*rig) ([]Row, error)) (rows []Row, err error) {
	r, err := openRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return measure(r)
}

func openRig(ctx context.Context) (*rig, error) {
	dir, err := os.MkdirTemp("", "sightline-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	r := &rig{dir: dir}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start a fleet: %w", err), r.close())
	}
	return r, nil
}

func (r *rig) open(ctx context.Context) (err error) {
	data := filepath.Join(r.dir, "fleet")
	if r.ca, _, err = fleet.Init(ctx, data, []string{"127.0.0.1"}); err != nil {
		return err
	}
	if r.meter, err = newMeter(ctx); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(r.meter.addr())
	if err != nil {
		return err
	}
	const any = "127.0.0.1:0"
	r.fleet, err = fleet.Open(fleet.Config{
		Dir: data, HTTPS: any, HTTP: any, MQTT: any, MQTTPublic: ":" + port, Version: "bench", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return errors.Join(err, r.meter.listener.Close())
	}
	r.meter.to = r.fleet.MQTTAddr()
	r.tasks = startTasks(ctx, r.fleet.Run, r.meter.run)
	r.store, err = fleet.OpenStore(data)
	return err
}

func (r *rig) close() error {
	err := r.tasks.end()
	if r.store != nil {
		err = errors.Join(err, r.store.Close())
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// enroll makes a device part of the fleet as a person does.
func (r *rig) enroll(ctx context.Context, name string) (*identity.Identity, error) {
	token, err := enroll.NewService(r.ca, r.store, enroll.Config{}).Token(ctx, "bench", 0)
	if err != nil {
		return nil, err
	}
	return identity.Enroll(ctx, identity.Config{Dir: filepath.Join(r.dir, name), Fleet: "https://" + r.fleet.Addr(), Token: token.String()})
}

// device is an enrolled device's way to the fleet: a new journal, and an
// uplink when connected.
type device struct {
	id      *identity.Identity
	dir     string
	journal *journal.Journal
	uplink  *uplink.Uplink // nil before connect
	writer  tasks
	link    tasks
}

func (r *rig) device(ctx context.Context, id *identity.Identity) (*device, error) {
	dir, err := os.MkdirTemp(r.dir, "journal-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	d := &device{id: id, dir: dir}
	if d.journal, _, err = journal.Open(dir); err != nil {
		return nil, err
	}
	d.writer = startTasks(ctx, d.journal.Run)
	return d, nil
}

// connect starts the uplink, with its defaults but for batches of a size that
// wait until they are full; size 0 leaves the defaults. There is no state.
func (d *device) connect(ctx context.Context, size int) {
	cfg := uplink.Config{Device: d.id.Device(), Broker: d.id.MQTT(), TLS: d.id.TLS(), Journal: d.journal, Log: slog.New(slog.DiscardHandler)}
	if size > 0 {
		cfg.MaxBatch, cfg.Linger = size, time.Hour
	}
	d.uplink = uplink.New(cfg)
	d.link = startTasks(ctx, d.uplink.Run)
}

func (d *device) close() error {
	err := errors.Join(d.link.end(), d.writer.end(), d.journal.Close())
	return errors.Join(err, os.RemoveAll(d.dir))
}

// append records bodies and returns when they are on disk, with the number of
// the last.
func (d *device) append(bodies [][]byte) (last uint64, err error) {
	const most = 10_000 // that wait for the disk at once
	for begin := 0; begin < len(bodies); begin += most {
		var p *journal.Pending
		for _, b := range bodies[begin:min(begin+most, len(bodies))] {
			p = d.journal.Append(b)
		}
		<-p.Done()
		if last, err = p.Result(); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// acknowledged waits until the fleet has the journal up to seq.
func (d *device) acknowledged(ctx context.Context, seq uint64) error {
	err := await(ctx, func() bool { return d.uplink.Stats().Watermark >= seq })
	if err != nil {
		return fmt.Errorf("wait for the fleet to have %d: %w; the uplink: %+v", seq, err, d.uplink.Stats())
	}
	return nil
}

// await looks again and again whether it is so.
func await(ctx context.Context, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, rigLimit)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
