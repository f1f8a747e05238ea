package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/sightline-edge/sightline/cmd/internal/mutant"
)

// How the demo's rollouts go. A real line would watch a bundle for longer.
const (
	demoGroup     = "drawn"
	demoProbation = 8 * time.Second
	demoVerdicts  = 10
	demoTimeout   = time.Minute
	// rolloutLimit is how long all of them may take.
	rolloutLimit = 165 * time.Second
	// settledLimit is how long a device may take, after a rollout's end, to
	// tell what it runs.
	settledLimit = 10 * time.Second
	// maxRetries is how often a device may try a bundle again that it found too
	// slow and that isn't: it shares its processor with who knows what.
	maxRetries = 2
)

// campaign is the demo's rollouts.
type campaign struct {
	demo      *demonstration
	publisher *publisher
	attempts  []attempt
	screen    *os.File          // to draw on, nil for lines
	proven    map[string]string // by device, the version that it has proved to run

	// Valid once it is over.
	results []rolloutSummary
	err     error
}

// onTerminal is the terminal that out is, nil for none.
func onTerminal(out io.Writer) *os.File {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// prepare makes the keys and the bundle that all others are made from.
func (c *campaign) prepare() error {
	c.demo.say("the keys: three for the root, one for the bundles; what the good bundle must see in %d drawn pictures is recorded", mutant.GoldenPictures)
	return errors.Join(c.publisher.keys(c.demo.fleet), c.publisher.record())
}

// rollOut runs the campaign beside what else goes on. The channel that it gives
// tells that all are through, and that at least has passed where there is one.
func (d *demonstration) rollOut(ctx context.Context, g *errgroup.Group, least <-chan time.Time) <-chan time.Time {
	over := make(chan time.Time)
	g.Go(func() error {
		d.campaign.run(ctx)
		if least != nil {
			select {
			case <-least:
			case <-ctx.Done():
			}
		}
		close(over)
		return nil
	})
	return over
}

// run makes one rollout after the other.
func (c *campaign) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, rolloutLimit)
	defer cancel()
	if c.err = c.connected(ctx); c.err != nil {
		return
	}
	for n := range c.attempts {
		a := &c.attempts[n]
		c.demo.say("\nrollout %d of %d: %s %s, %s", n+1, len(c.attempts), demoBundle, a.version, a.what)
		s, err := c.try(ctx, a)
		if err != nil {
			c.err = fmt.Errorf("roll out %s %s: %w", demoBundle, a.version, err)
			return
		}
		c.results = append(c.results, *s)
	}
}

// connected waits until the fleet has heard of every device.
func (c *campaign) connected(ctx context.Context) error {
	return c.until(ctx, rolloutLimit, func() (string, bool) {
		devices, err := c.demo.fleet.devices(ctx)
		if err != nil {
			return err.Error(), false
		}
		here := 0
		for _, d := range devices {
			if d.Presence == "online" {
				here++
			}
		}
		return fmt.Sprintf("%d of %d devices have connected to the fleet", here, len(c.demo.belts)), here == len(c.demo.belts)
	})
}

// until asks again and again until something holds; the error is what it said
// at last.
func (c *campaign) until(ctx context.Context, limit time.Duration, holds func() (string, bool)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		text, ok := holds()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New(text)
		case <-time.After(pollEvery):
		}
	}
}

// try publishes a bundle and rolls it out.
func (c *campaign) try(ctx context.Context, a *attempt) (*rolloutSummary, error) {
	dir := filepath.Join(c.publisher.dir, a.name+"-"+a.version)
	if err := a.make(c, dir); err != nil {
		return nil, err
	}
	digest, err := c.publisher.publish(dir, a.version)
	if err == nil && a.spoil != nil {
		err = a.spoil(c.publisher, digest)
	}
	if err != nil {
		return nil, err
	}
	id, err := c.publisher.begin(a.version)
	if err != nil {
		return nil, err
	}
	c.demo.say("its page: http://%s/rollouts/%s", c.demo.fleet.address, id)
	began := time.Now()
	r, s, err := c.follow(ctx, id)
	retries := 0
	for err == nil && retries < maxRetries && s.State == "rolled_back" && a.state == "succeeded" {
		retries++
		c.demo.say("rolled back (%s): this machine is busy with something else; once more: sightline rollout resume %s --retry-failed", s.Reason, id)
		if _, err = c.publisher.sightline("", "rollout", "resume", id, "--retry-failed"); err == nil {
			r, s, err = c.follow(ctx, id)
		}
	}
	if err != nil {
		return nil, err
	}
	s.digest, s.Retries, s.Seconds = digest, retries, time.Since(began).Seconds()
	for _, d := range r.Devices {
		if d.State == "proven" {
			c.proven[d.Device] = a.version
		}
	}
	if err := c.until(ctx, settledLimit, func() (string, bool) { return c.runs(ctx) }); err != nil {
		return nil, fmt.Errorf("it ended as %s (%s), but %w", s.State, s.Reason, err)
	}
	s.right = s.State == a.state && s.Reason == a.reason
	return s, c.tell(ctx, r, s)
}

// follow shows a rollout until its end.
func (c *campaign) follow(ctx context.Context, id string) (*rolloutAnswer, *rolloutSummary, error) {
	fleet := login{Fleet: "http://" + c.demo.fleet.address, Token: c.demo.fleet.token}
	var w watcher
	for {
		r, err := askRollout(ctx, &fleet, id)
		if err == nil {
			if !c.demo.options.json {
				err = w.show(c.demo.out, c.screen, r)
			}
			if err != nil || r.ended() {
				return r, outcome(r), err
			}
			w.last = r
		}
		select {
		case <-ctx.Done():
			if w.last == nil {
				return nil, nil, fmt.Errorf("it isn't through: %w", err)
			}
			return nil, nil, fmt.Errorf("it isn't through: %s: %s", w.last.State, w.last.Reason)
		case <-time.After(pollEvery):
		}
	}
}

// tell says how a rollout ended, and where to see why.
func (c *campaign) tell(ctx context.Context, r *rolloutAnswer, s *rolloutSummary) error {
	state := strings.ReplaceAll(s.State, "_", " ")
	if s.State == "succeeded" {
		c.demo.say("%s after %.0f s: %d devices have proved that they run it", state, s.Seconds, s.Running)
		return nil
	}
	why, still := s.Reason, "still runs"
	if c.screen != nil { // where the text was cut
		why += ": " + clean(s.Text)
	}
	if s.State == "rolled_back" {
		still = "is back at"
	}
	c.demo.say("%s after %.0f s: %s", state, s.Seconds, why)
	for _, d := range r.Devices {
		b := c.belt(d.Device)
		if d.State != "failed" || b == nil {
			continue
		}
		c.demo.say("device %d %s %s; its page: http://%s/stations/%s#update", b.number, still, cmp.Or(c.proven[d.Device], "what it had"), b.listen, b.station())
		if s.Reason != "golden_gate" {
			continue
		}
		seen, err := b.look(ctx)
		if err != nil {
			return err
		}
		if f := seen.Update.Failure; f == nil || f.Version != r.Version || len(f.Pictures) == 0 {
			return fmt.Errorf("device %d has no pictures of what its gate refused", b.number)
		}
		c.demo.say("what was expected and what was found, drawn, until the next bundle fails: http://%s/v1/updates/pictures/%s", b.listen, url.PathEscape(seen.Update.Failure.Pictures[0]))
	}
	return nil
}

func (c *campaign) belt(device string) *belt {
	for _, b := range c.demo.belts {
		if b.device == device {
			return b
		}
	}
	return nil
}

// runs tells whether every device has that version active that it was the last
// to prove, and what is wrong if not.
func (c *campaign) runs(ctx context.Context) (string, bool) {
	for _, b := range c.demo.belts {
		s, err := b.look(ctx)
		if err != nil {
			return err.Error(), false
		}
		is := ""
		if s.Update.Active != nil {
			is = s.Update.Active.Version
		}
		if want := c.proven[b.device]; is != want {
			return fmt.Sprintf("device %d runs version %q, and the last that it proved is %q", b.number, is, want), false
		}
	}
	return "", true
}

// stationSeen is what the demo asks of a device's station.
type stationSeen struct {
	Model struct {
		P50 float64 `json:"p50_ms"`
	}
	Update struct {
		Active  *struct{ Version string }
		Failure *struct {
			Version  string
			Pictures []string
		}
	}
}

// look asks the device how its station is.
func (b *belt) look(ctx context.Context) (s stationSeen, err error) {
	device := login{Fleet: "http://" + b.listen} // its REST interface asks for no token
	err = device.call(ctx, http.MethodGet, "/v1/stations/"+b.station(), nil, &s)
	return s, err
}
