package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
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
	// slowPeriods is how long the slow bundle's model takes, in times between
	// two pictures: too long by far, and short enough that no part gets by
	// unseen.
	slowPeriods = 2.2
)

// attempt is one bundle and what must become of it.
type attempt struct {
	name, version string
	what          string // for people
	make          func(c *campaign, dir string) error
	spoil         func(p *publisher, digest string) error // what happens to it once it is published; may be nil
	state, reason string
}

var attempts = []attempt{
	{
		name: "good", version: "1.1.0", what: "a good bundle, to one device and then the other",
		make:  func(c *campaign, dir string) error { return c.publisher.copy(dir) },
		state: "succeeded",
	},
	{
		name: "tampered", version: "1.2.0", what: "a good bundle, but on the fleet's disk somebody changes one bit of it",
		make:  func(c *campaign, dir string) error { return c.publisher.copy(dir) },
		spoil: (*publisher).tamper,
		state: "refused", reason: "damaged",
	},
	{
		name: "wrong", version: "1.3.0", what: "a wrong model, rightly signed",
		make: func(c *campaign, dir string) error {
			_, err := mutant.Write(os.DirFS(c.publisher.good), dir, mutant.Replace, 1)
			return err
		},
		state: "refused", reason: "golden_gate",
	},
	{
		name: "slow", version: "1.4.0", what: "a model that sees the same and is too slow for the belt",
		make:  (*campaign).slow,
		state: "rolled_back", reason: "slow",
	},
}

// rolloutSummary is what became of one rollout.
type rolloutSummary struct {
	Bundle   string  `json:"bundle"`          // name and version, as commands take it
	State    string  `json:"state"`           // succeeded, refused, rolled_back or halted
	Running  int     `json:"devices_running"` // devices that have proved that they run it
	Reason   string  `json:"reason"`          // the device's code; empty for one that succeeded
	Text     string  `json:"text"`            // for people
	Seconds  float64 `json:"seconds"`         // from its begin to its end
	Verdicts int     `json:"verdicts"`        // told by it on all devices, until the demo's end
	None     int     `json:"none"`            // of them NONE

	digest string
	right  bool // as it has to be
}

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

// chooseAttempts are those that --rollout names.
func chooseAttempts(text string) ([]attempt, error) {
	if text == "all" {
		return attempts, nil
	}
	var chosen []attempt
	for _, name := range strings.Split(text, ",") {
		i := slices.IndexFunc(attempts, func(a attempt) bool { return a.name == name })
		if i < 0 {
			return nil, cli.Usage("--rollout=%s: all, or some of good, tampered, wrong, slow, as in --rollout=good,slow", text)
		}
		chosen = append(chosen, attempts[i])
	}
	return chosen, nil
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
	for n := 0; n < maxRetries && err == nil && s.State == "rolled_back" && a.state == "succeeded"; n++ {
		c.demo.say("rolled back (%s): this machine is busy with something else; once more: sightline rollout resume %s --retry-failed", s.Reason, id)
		if _, err = c.publisher.sightline("", "rollout", "resume", id, "--retry-failed"); err == nil {
			r, s, err = c.follow(ctx, id)
		}
	}
	if err != nil {
		return nil, err
	}
	s.digest, s.Seconds = digest, time.Since(began).Seconds()
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

// outcome says what became of a rollout: one that halted did so for what a
// device said.
func outcome(r *rolloutAnswer) *rolloutSummary {
	s := &rolloutSummary{Bundle: r.Bundle + "@" + r.Version, State: r.State, Running: r.Proven, Text: r.Reason}
	if r.State != "halted" {
		return s
	}
	for _, d := range r.Devices {
		if d.State != "failed" {
			continue
		}
		s.Reason, s.Text = d.Reason, d.Text
		switch d.Reason {
		case "untrusted", "damaged", "bad_model", "golden_gate":
			s.State = "refused"
		case "crashes", "slow", "late", "none_rate", "hot", "restarts":
			s.State = "rolled_back"
		}
		break
	}
	return s
}

// tell says how a rollout ended, and where to see why.
func (c *campaign) tell(ctx context.Context, r *rolloutAnswer, s *rolloutSummary) error {
	state := strings.ReplaceAll(s.State, "_", " ")
	if s.State == "succeeded" {
		c.demo.say("%s after %.0f s: %d devices have proved that they run it", state, s.Seconds, s.Running)
		return nil
	}
	c.demo.say("%s after %.0f s: %s", state, s.Seconds, s.Reason)
	for _, d := range r.Devices {
		b := c.belt(d.Device)
		if d.State != "failed" || b == nil {
			continue
		}
		c.demo.say("device %d still runs %s; its page: http://%s/stations/%s#update", b.number, cmp.Or(c.proven[d.Device], "what it had"), b.listen, b.station())
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
		c.demo.say("what was expected and what was found, drawn: http://%s/v1/updates/pictures/%s", b.listen, url.PathEscape(seen.Update.Failure.Pictures[0]))
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

// slow makes a bundle that takes slowPeriods times as long as there is between
// two pictures.
func (c *campaign) slow(dir string) error {
	s, err := c.demo.belts[0].look(context.Background())
	if err != nil {
		return err
	}
	if s.Model.P50 <= 0 {
		return errors.New("slow the model down: the device doesn't say how long it takes")
	}
	b := c.demo.belts[0]
	period := 1000 / (b.play.scene.Config().Rate * c.demo.options.speed) // ms
	factor := max(3, int(math.Ceil(slowPeriods*period/s.Model.P50)))
	c.demo.say("the model takes %.1f ms, a picture comes every %.0f ms: it is made %d times as slow", s.Model.P50, period, factor)
	return mutant.WriteSlow(os.DirFS(c.publisher.good), dir, factor)
}

// missing says which rollouts didn't come to the end that they have to; nil
// for none.
func (c *campaign) missing() error {
	var all []string
	for n, a := range c.attempts {
		want := a.state
		if a.reason != "" {
			want += ", " + a.reason
		}
		switch {
		case n >= len(c.results):
			all = append(all, fmt.Sprintf("%s %s didn't come to its end (%s)", demoBundle, a.version, want))
		case !c.results[n].right:
			s := c.results[n]
			all = append(all, fmt.Sprintf("%s is %s (%s: %s), it has to be %s", s.Bundle, s.State, s.Reason, s.Text, want))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return errors.Join(c.err, errors.New(strings.Join(all, "\n")))
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
