package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/sync/identity"
)

// startLimit is how long the fleet service may take until it answers.
const startLimit = 15 * time.Second

// demoFleet is the fleet service, and the network between it and the devices.
type demoFleet struct {
	program, dir   string
	process        *process
	address        string // of its page, without TLS
	user, password string
	token          string // of its REST interface
	https, mqtt    *cable.Cable
}

func newDemoFleet(program, dir string) (*demoFleet, error) {
	f := &demoFleet{program: program, dir: dir}
	var err error
	if f.https, err = cable.New(""); err != nil {
		return nil, err
	}
	f.mqtt, err = cable.New("")
	return f, err
}

// cables lays the network until ctx ends.
func (f *demoFleet) cables(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return f.https.Run(ctx) })
	g.Go(func() error { return f.mqtt.Run(ctx) })
	return g.Wait()
}

// start makes a fleet and serves it behind the cables.
func (f *demoFleet) start(ctx context.Context, listen string) error {
	out, err := command(f.program, "init", "--data", f.dir, "--name", "127.0.0.1", "--name", "localhost", "--json")
	if err != nil {
		return err
	}
	var made struct{ User, Password string }
	if err := json.Unmarshal(out, &made); err != nil {
		return fmt.Errorf("make the fleet: %w", err)
	}
	f.user, f.password = made.User, made.Password
	if f.address, err = freeAddress(listen); err != nil {
		return err
	}
	var free [2]string
	for i := range free {
		if free[i], err = cable.FreeAddress("127.0.0.1"); err != nil {
			return err
		}
	}
	f.https.To(free[0])
	f.mqtt.To(free[1])
	f.process, err = begin("the fleet service", f.program, "serve", "--data", f.dir, "--https", free[0], "--mqtt", free[1],
		"--mqtt-public", ":"+strconv.Itoa(f.mqtt.Port()), "--http", f.address)
	if err != nil {
		return err
	}
	if out, err = command(f.program, "user", "token", f.user, "--data", f.dir, "--for", "demo"); err != nil {
		return err
	}
	f.token = strings.TrimSpace(string(out))
	return f.wait(ctx)
}

// wait returns when the service answers.
func (f *demoFleet) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		_, err := f.devices(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the fleet service: %w", err)
		case <-f.process.done:
			return f.process.failure()
		case <-time.After(pollEvery / 5):
		}
	}
}

// enroll makes a belt's device part of the fleet, with a real token.
func (f *demoFleet) enroll(agent string, b *belt) error {
	token, err := command(f.program, "token", "--data", f.dir, "--group", demoGroup)
	if err != nil {
		return err
	}
	if _, err = command(agent, "enroll", "--fleet", "https://"+f.https.Addr(), "--token", strings.TrimSpace(string(token)),
		"--data", b.data(), "--station-label", fmt.Sprintf("drawn belt %d", b.number)); err != nil {
		return err
	}
	id, err := identity.Open(b.data())
	if err != nil {
		return fmt.Errorf("read device %d's identity: %w", b.number, err)
	}
	b.device = id.Device()
	return nil
}

// get asks the fleet's REST interface.
func (f *demoFleet) get(ctx context.Context, path string, into any) error {
	l := login{Fleet: "http://" + f.address, Token: f.token}
	return l.call(ctx, http.MethodGet, path, nil, into)
}

// demoDevice is a device as the fleet sees it.
type demoDevice struct {
	ID       string    `json:"id"`
	Presence string    `json:"presence"`
	Since    time.Time `json:"since"`
}

func (f *demoFleet) devices(ctx context.Context) ([]demoDevice, error) {
	var out struct{ Devices []demoDevice }
	err := f.get(ctx, "/v1/devices", &out)
	return out.Devices, err
}

// fleetResult names a result as the fleet has it.
type fleetResult struct {
	Device string `json:"device"`
	Seq    uint64 `json:"seq"`
}

// results is everything that the fleet has.
func (f *demoFleet) results(ctx context.Context) (all []fleetResult, err error) {
	for cursor := ""; ; {
		var page struct {
			Results []fleetResult
			Next    string
		}
		path := "/v1/results?limit=500"
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		if err := f.get(ctx, path, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Results...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

// outage is what happened while the network was cut.
type outage struct {
	from, to time.Time
	stale    map[string]time.Duration // longest age at which the fleet showed a device as stale
	drained  time.Duration            // after the network was back, until nothing waited any more
}

func (o *outage) length() time.Duration { return o.to.Sub(o.from) }

// cutNetwork pulls both cables after a while, for a while, and watches.
func (d *demonstration) cutNetwork(ctx context.Context, after, length time.Duration) {
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return
	}
	o := &d.network
	o.stale = map[string]time.Duration{}
	o.from = time.Now()
	d.say("the network is cut for %v: inspection goes on, the fleet will show the devices as stale", length.Round(100*time.Millisecond))
	d.fleet.https.Set(cable.Pulled)
	d.fleet.mqtt.Set(cable.Pulled)
	back := time.After(length)
	for waiting := true; waiting; {
		select {
		case <-back:
			waiting = false
		case <-ctx.Done():
			waiting = false
		case <-time.After(pollEvery):
			d.lookForStale(ctx)
		}
	}
	d.fleet.https.Set(cable.Whole)
	d.fleet.mqtt.Set(cable.Whole)
	o.to = time.Now()
	d.say("the network is back")
	if d.waitDrained(ctx) == nil {
		o.drained = time.Since(o.to)
		d.say("the fleet has all that was decided meanwhile, %.1f s after the network was back", o.drained.Seconds())
	}
}

// lookForStale notes which devices the fleet shows as stale, and how long.
func (d *demonstration) lookForStale(ctx context.Context) {
	devices, err := d.fleet.devices(ctx)
	if err != nil {
		return // asked again
	}
	for _, v := range devices {
		if v.Presence != "stale" {
			continue
		}
		if _, seen := d.network.stale[v.ID]; !seen {
			d.say("the fleet shows device %s as stale: it has heard nothing for %.0f s", v.ID, time.Since(v.Since).Seconds())
		}
		d.network.stale[v.ID] = max(d.network.stale[v.ID], time.Since(v.Since))
	}
}

// waitDrained returns when no device has anything for the fleet.
func (d *demonstration) waitDrained(ctx context.Context) error {
	var errs []error
	for _, b := range d.belts {
		errs = append(errs, b.drained(ctx, drainLimit))
	}
	return errors.Join(errs...)
}
