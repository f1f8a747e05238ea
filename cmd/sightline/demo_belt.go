package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// pollEvery is how often the demo asks its programs how they are doing.
const pollEvery = 250 * time.Millisecond

// belt is drawn parts on a belt, the camera that sees them, and the device
// that inspects them.
type belt struct {
	number int
	dir    string
	play   *played
	source string // of the camera
	listen string // of the agent's page
	agent  *process
	device string // its id at the fleet
}

func (b *belt) data() string { return filepath.Join(b.dir, "data") }

func (b *belt) station() string { return "belt" + strconv.Itoa(b.number) }

// film serves the camera until ctx ends.
func (b *belt) film(ctx context.Context, g *errgroup.Group, speed float64) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the drawn camera's port: %w", err)
	}
	b.source = "http://" + l.Addr().String() + "/camera"
	cfg := b.play.scene.Config()
	mjpeg, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: b.play, Width: cfg.Width, Height: cfg.Height, Rate: cfg.Rate * speed})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	mjpeg.Wait, mjpeg.Quality = true, 90
	server := &http.Server{Handler: mjpeg, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	g.Go(func() error { return mjpeg.Run(ctx) })
	g.Go(func() error {
		defer context.AfterFunc(ctx, func() { _ = server.Close() })() // Serve's error tells
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

// start configures and starts the agent. With a bundle's name its station
// follows that, and begins with the shipped model.
func (b *belt) start(program, listen, bundle string) (err error) {
	if b.listen, err = freeAddress(listen); err != nil {
		return err
	}
	lines := []string{
		"listen: " + strconv.Quote(b.listen),
		"data: " + strconv.Quote(b.data()),
		"fleet: {report: 1s}",
		"stations:",
		"  - id: " + b.station(),
		"    line: drawn",
		"    camera: {source: " + strconv.Quote(b.source) + "}",
		"    model: drawn-parts",
	}
	if bundle != "" {
		lines = append(lines, "    bundle: "+bundle)
	}
	file := filepath.Join(b.dir, "station.yaml")
	if err := errors.Join(os.MkdirAll(b.dir, 0o700), os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600)); err != nil {
		return fmt.Errorf("configure the agent: %w", err)
	}
	b.agent, err = begin("the agent", program, "run", "--config", file)
	return err
}

// link is how the agent's connection to the fleet is doing, as /v1/fleet says.
type link struct {
	Connected bool   `json:"connected"`
	Backlog   uint64 `json:"backlog"`
}

func (b *belt) link(ctx context.Context) (l link, err error) {
	device := login{Fleet: "http://" + b.listen} // its REST interface asks for no token
	err = device.call(ctx, http.MethodGet, "/v1/fleet", nil, &l)
	return l, err
}

// drained waits until the fleet has all of the device's records.
func (b *belt) drained(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		l, err := b.link(ctx)
		if err == nil && l.Connected && l.Backlog == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("device %d still has %d records for the fleet after %v (connected: %v): %s", b.number, l.Backlog, drainLimit, l.Connected,
				strings.TrimSpace(b.agent.stderr.String()))
		case <-b.agent.done:
			return b.agent.failure()
		case <-time.After(pollEvery):
		}
	}
}
