package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision/infer"
)

// cascade makes what a station's section cascade says, nil without one. The large model
// must have the labels of the station's own.
func (a *assembly) cascade(s *config.Station, c *choice, threads int, limit time.Duration) (*agent.Cascade, error) {
	set := &s.Cascade
	if !set.On() {
		return nil, nil
	}
	out := newCascade(set)
	if set.Remote.URL != "" {
		cfg, err := remote(s, c)
		if err == nil {
			out.Remote, err = a.remotes.hire(cfg)
		}
		return out, about("cascade.remote", err)
	}
	n, err := large(s, c)
	if err != nil {
		return nil, err
	}
	out.Large, out.About = a.hire(n, threads, limit), n.about
	return out, nil
}

// newCascade is when the large model is asked, without that.
func newCascade(set *config.Cascade) *agent.Cascade {
	return &agent.Cascade{
		Band: band(set), Disagreement: set.Disagreement, Crop: set.Look == config.Crop, Budget: set.Budget(), Small: set.Otherwise == config.AsSmall,
	}
}

// large reads the large model of the configuration, which must have the labels of the
// station's own. It gives the scores that the rule of that one looks at.
func large(s *config.Station, c *choice) (*choice, error) {
	n, err := readLarge(s)
	if err == nil {
		err = n.mustMatch(c)
	}
	if err != nil {
		return nil, about("cascade.large", err)
	}
	n.least = c.rule.Lowest()
	return n, nil
}

func readLarge(s *config.Station) (*choice, error) {
	as := *s
	as.Model, as.Family, as.Cascade = s.Cascade.Large, s.Cascade.Family, config.Cascade{}
	return chooseConfigured(&as)
}

// mustMatch checks that a large model has the labels of the station's own.
func (c *choice) mustMatch(own *choice) error {
	if c.labelledAs(own) {
		return nil
	}
	return fmt.Errorf("%s: they must be the same; set cascade.large to a model with the labels of %s, or remove cascade", c.unlike(own), own.about.Name)
}

// unlike tells the labels of a large model and of the station's own.
func (c *choice) unlike(own *choice) string {
	return fmt.Sprintf("model %s has the labels %s, the station's model %s has %s", c.about.Name, c.labelNames(), own.fullName(), own.labelNames())
}

// fullName is the model's name with its version.
func (c *choice) fullName() string {
	return strings.TrimSpace(c.about.Name + " " + c.about.Version)
}

// foresee checks what can be known of the large model before the bundle is there that
// the station follows; own is the model that it begins with, nil without one. Where that
// has other labels, a version with those of the large model may be about to be installed:
// it is logged and no mistake.
func (a *assembly) foresee(s *config.Station, own *choice) error {
	set := &s.Cascade
	switch {
	case !set.On():
		return nil
	case set.Remote.URL != "":
		client, err := oip.NewClient(server(set))
		if err == nil {
			client.Close()
		}
		return about("cascade.remote", err)
	}
	n, err := readLarge(s)
	if err == nil && own != nil && !n.labelledAs(own) {
		a.log.Warn("the large model can't look beside the model that the station begins with: parts in doubt get the configured answer until a version with its labels serves; if none will come, give cascade.large and model the same labels, or remove cascade",
			"station", s.ID, "why", n.unlike(own))
	}
	return about("cascade.large", err)
}

// remote are the settings of the large model that another machine has. It has the station's labels;
// without a family of its own it is fed and read as the station's model is.
func remote(s *config.Station, c *choice) (agent.RemoteConfig, error) {
	set := &s.Cascade.Remote
	if !s.PixelsOut { // the configuration's own check has told; nothing leaves without it
		return agent.RemoteConfig{}, errors.New("pictures mustn't leave this device: allow_pixels_out isn't set")
	}
	o := infer.Options{
		Family: s.Cascade.Family, Preset: set.Preset, Roles: c.roles(), Confidence: c.stationSpec().Confidence, NMS: c.spec.NMS,
	}
	if o.Family == "" {
		o.Family, o.Input, o.Activation, o.Pixel, o.MinArea = c.about.Family, c.spec.Input.Over(), c.spec.Activation, c.spec.Pixel, c.spec.MinArea
	}
	for _, l := range c.spec.Labels {
		o.Labels = append(o.Labels, l.Name)
	}
	if len(set.Size) == 2 {
		o.Width, o.Height = set.Size[0], set.Size[1]
	}
	return agent.RemoteConfig{
		Server: server(&s.Cascade), Model: set.Model, Version: set.Version, Timeout: set.Timeout, Options: o,
	}, nil
}

// server is where a remote large model is.
func server(c *config.Cascade) oip.ClientConfig {
	return oip.ClientConfig{URL: c.Remote.URL, TokenFile: c.Remote.Token, CAFile: c.Remote.CA}
}

// band is what the configuration says is in doubt, nil for nothing.
func band(c *config.Cascade) *agent.Band {
	if len(c.Doubt) != 2 {
		return nil
	}
	return &agent.Band{Low: float32(c.Doubt[0]), High: float32(c.Doubt[1])}
}
