package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
)

// slowPeriods is how long the slow bundle's model takes, in times between two
// pictures: too long by far, and short enough that no part gets by unseen.
const slowPeriods = 2.2

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
	Retries  int     `json:"retries"`         // after a good one was rolled back on a busy machine
	Verdicts int     `json:"verdicts"`        // told by it on all devices, until the demo's end
	None     int     `json:"none"`            // of them NONE

	digest string
	right  bool // as it has to be
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
