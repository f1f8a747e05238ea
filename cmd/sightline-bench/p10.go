package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/sync/uplink"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/transfer"
)

// The slow link of P10.
const (
	slowRate  = 2_000_000             // bytes/s each way
	slowDelay = 40 * time.Millisecond // each way
)

// p10 measures bringing a bundle to a device, and what that does to results.
func p10() Figure {
	return Figure{
		ID:   "P10",
		What: "a 50 MB bundle to a device over MQTT ÷ the bare messages; results beside it; what is sent again after cuts",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			return withRig(ctx, func(r *rig) (rows []Row, err error) {
				c := &carry{live: &live{rig: r, parts: 300}, bytes: 50_000_000, cuts: 5}
				if err := c.open(ctx); err != nil {
					return nil, err
				}
				defer func() { err = errors.Join(err, c.slow.end()) }()
				if rows, err = c.measure(ctx, env); err != nil {
					return rows, err
				}
				more, err := switchRows(ctx, env)
				return append(rows, more...), err
			})
		},
	}
}

// carry is a fleet with a bundle, and a device that gets it.
type carry struct {
	*live
	bytes int // of the bundle's largest file
	cuts  int

	file    string // the bundle
	want    transfer.Want
	cable   *cable.Cable // a slow one to the broker
	slow    tasks
	trips   []Sample // round trips of batches beside a transfer, ms
	resting []Sample // without
}

func (c *carry) open(ctx context.Context) (err error) {
	if err := c.live.open(ctx); err != nil {
		return err
	}
	folder := filepath.Join(c.dir, "bundle")
	c.file = folder + ".slb"
	if c.want, err = ballast(folder, c.bytes); err != nil {
		return err
	}
	if err := c.put(ctx); err != nil {
		return err
	}
	if c.cable, err = cable.New(c.fleet.MQTTAddr()); err != nil {
		return err
	}
	c.cable.Shape(slowRate, slowDelay)
	c.slow = startTasks(ctx, c.cable.Run)
	return nil
}

// carried is a device with a connection that also carries bundles.
type carried struct {
	*looked
	puller *transfer.Puller
	dir    string
}

// connect is device.connect with a puller, over the broker's address that is given.
func (c *carry) connect(ctx context.Context, d *looked, broker string) (*carried, error) {
	dir, err := os.MkdirTemp(c.dir, "transfer-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	log := slog.New(slog.DiscardHandler)
	out := &carried{looked: d, dir: dir, puller: transfer.New(transfer.Config{Dir: dir, Log: log})}
	d.uplink = uplink.New(uplink.Config{
		Device: d.id.Device(), Broker: broker, TLS: d.id.TLS(), Journal: d.journal, Log: log, Spread: 50 * time.Millisecond,
		Heard: func(kind wire.Kind, payload []byte) {
			if kind == wire.KindBlock {
				out.puller.Heard(payload)
			}
		},
	})
	out.puller.Over(d.uplink)
	d.link = startTasks(ctx, d.uplink.Run)
	if err := await(ctx, func() bool { return d.uplink.Stats().Located }); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the fleet: %w: %+v", err, d.uplink.Stats()), out.close())
	}
	return out, nil
}

func (d *carried) close() error { return errors.Join(d.looked.close(), os.RemoveAll(d.dir)) }

// over gives the function a connected device, and closes it.
func (c *carry) over(ctx context.Context, broker string, do func(*carried) error) (err error) {
	l, err := c.look(ctx, c.other)
	if err != nil {
		return err
	}
	d, err := c.connect(ctx, l, broker)
	if err != nil {
		return err // it is closed
	}
	defer func() { err = errors.Join(err, d.close()) }()
	return do(d)
}

func (c *carry) measure(ctx context.Context, env *Env) (rows []Row, err error) {
	what := fmt.Sprintf("a bundle of %.0f MB, each piece verified: MB/s ÷ those of the same file between the disks of two plain clients "+
		"of the same broker, in the same pieces, asked for by number, 256 KiB under way", float64(c.want.Length)/1e6)
	often := *env // turns are short, and other things run
	often.Rounds = max(3*env.Rounds, 15)
	mqtt, err := often.Compare(ctx, Row{ID: "P10/mqtt", Goal: ">= 0.85", What: what}, c.pull, c.bare)
	if err != nil {
		return rows, err
	}
	rows = append(rows, mqtt)
	web, err := often.Compare(ctx, Row{ID: "P10/http", Goal: toldMore, What: "the same by HTTP with ranges: MB/s ÷ the plain clients'"}, c.web, c.bare)
	if err != nil {
		return rows, err
	}
	rows = append(rows, web)
	late, err := env.Compare(ctx, Row{
		ID: "P10/event", Goal: "<= 2",
		What: "a result from the journal to the fleet's reader during the transfer, on a link of 2 MB/s and 80 ms: p99 ms ÷ without it",
	}, c.beside, c.alone)
	if err != nil {
		return rows, err
	}
	rows = append(rows, late)
	trip, err := env.Compare(ctx, Row{
		ID: "P10/ack", What: "the same turns: ms until the device has the fleet's acknowledgement ÷ without the transfer",
	}, again(c.trips), again(c.resting))
	if err != nil {
		return rows, err
	}
	rows = append(rows, trip)
	cut, err := c.cut(ctx)
	return append(rows, cut), err
}

// pull is a whole transfer to a device that has nothing else to send.
func (c *carry) pull(ctx context.Context) (s Sample, err error) {
	err = c.over(ctx, c.other.MQTT(), func(d *carried) error {
		s, err = c.fetch(ctx, d.puller)
		return err
	})
	return s, err
}

func (c *carry) fetch(ctx context.Context, p *transfer.Puller) (Sample, error) {
	began := time.Now()
	_, err := p.Fetch(ctx, c.want, nil)
	return Sample{Value: float64(c.want.Length) / 1e6 / time.Since(began).Seconds()}, err
}

// web is a whole transfer over HTTPS.
func (c *carry) web(ctx context.Context) (s Sample, err error) {
	dir, err := os.MkdirTemp(c.dir, "transfer-")
	if err != nil {
		return s, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := transfer.New(transfer.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.other.TLS()}}
	defer client.CloseIdleConnections()
	p.OverHTTP("https://"+c.fleet.Addr(), client)
	return c.fetch(ctx, p)
}

// alone is results over the slow link and nothing else.
func (c *carry) alone(ctx context.Context) (s Sample, err error) {
	err = c.over(ctx, c.cable.Addr(), func(d *carried) error {
		if err := d.inspect(ctx, func() bool { return len(d.born) == c.parts }); err != nil {
			return err
		}
		c.resting = append(c.resting, Sample{Value: milliseconds(d.uplink.Stats().RTT)})
		s, err = d.shown(ctx)
		return err
	})
	return s, err
}

// beside is results over the slow link while a bundle comes.
func (c *carry) beside(ctx context.Context) (s Sample, err error) {
	err = c.over(ctx, c.cable.Addr(), func(d *carried) error {
		came := make(chan int64, c.want.Length/transfer.PieceSize+2)
		fetching := startTasks(ctx, func(ctx context.Context) error {
			_, err := d.puller.Fetch(ctx, c.want, func(done, _ int64) { came <- done })
			if err == nil {
				return errors.New("the transfer ended before the results did")
			}
			return nil // cancelled
		})
		var begun int64
		for begun < 1<<20 { // it has found its pace
			select {
			case begun = <-came:
			case <-ctx.Done():
				return errors.Join(ctx.Err(), fetching.end())
			case <-time.After(rigLimit):
				return errors.Join(errors.New("no bundle comes"), fetching.end())
			}
		}
		began := time.Now()
		if err := d.inspect(ctx, func() bool { return len(d.born) == c.parts }); err != nil {
			return errors.Join(err, fetching.end())
		}
		c.trips = append(c.trips, Sample{Value: milliseconds(d.uplink.Stats().RTT)})
		took := time.Since(began)
		if err := fetching.end(); err != nil {
			return err
		}
		for len(came) > 0 {
			begun = max(begun, <-came)
		}
		if pace := float64(begun-1<<20) / took.Seconds(); pace < slowRate/2 {
			return fmt.Errorf("only %.2f MB/s came beside the results", pace/1e6)
		}
		s, err = d.shown(ctx)
		return err
	})
	return s, err
}

// cut counts what is asked for more than once when the slow link is cut.
func (c *carry) cut(ctx context.Context) (row Row, err error) {
	err = c.over(ctx, c.cable.Addr(), func(d *carried) error {
		left, next := c.cuts, c.want.Length/int64(c.cuts+1)
		_, err := d.puller.Fetch(ctx, c.want, func(done, _ int64) {
			if left > 0 && done >= next {
				left--
				next += c.want.Length / int64(c.cuts+1)
				c.cable.Reset()
			}
		})
		pieces := (c.want.Length + transfer.PieceSize - 1) / transfer.PieceSize
		asked := int64(d.puller.Stats().Asked)
		list := (pieces*32 + transfer.PieceSize - 1) / transfer.PieceSize
		if connects := d.uplink.Stats().Connects; err == nil && (left > 0 || connects != uint64(c.cuts)+1) {
			err = fmt.Errorf("%d of %d cuts were made, %d connections", c.cuts-left, c.cuts, connects)
		}
		row = Row{
			ID: "P10/cuts", Goal: "<= 0.03", Ours: float64((asked-pieces-list)*transfer.PieceSize) / 1e6, Bare: float64(c.want.Length) / 1e6,
			What: fmt.Sprintf("the link of 2 MB/s and 80 ms is cut %d times, one run: MB of pieces asked for again ÷ MB of the bundle", c.cuts),
		}
		row.Ratio = row.Ours / row.Bare
		row.Worst = row.Ratio
		return err
	})
	return row, err
}

// seeded gives bytes that don't shrink, the same each time.
func seeded(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	return b
}
