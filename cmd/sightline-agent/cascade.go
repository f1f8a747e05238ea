package main

import (
	"errors"
	"fmt"
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
	out := &agent.Cascade{
		Band: band(set), Disagreement: set.Disagreement, Crop: set.Look == config.Crop, Budget: set.Budget(), Small: set.Otherwise == config.AsSmall,
	}
	if set.Remote.URL != "" {
		cfg, err := remote(s, c)
		if err == nil {
			out.Remote, err = a.remotes.hire(cfg)
		}
		return out, about("cascade.remote", err)
	}
	as := *s
	as.Model, as.Family, as.Cascade = set.Large, set.Family, config.Cascade{}
	n, err := chooseConfigured(&as)
	if err != nil {
		return nil, about("cascade.large", err)
	}
	if got, want := n.labelNames(), c.labelNames(); got != want {
		return nil, about("cascade.large", fmt.Errorf("model %s has the labels %s, the station's model has %s: they must be the same", n.about.Name, got, want))
	}
	out.Large, out.About = a.hire(n, threads, limit), n.about
	return out, nil
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
		Server: oip.ClientConfig{URL: set.URL, TokenFile: set.Token, CAFile: set.CA}, Model: set.Model, Version: set.Version, Timeout: set.Timeout, Options: o,
	}, nil
}

// band is what the configuration says is in doubt, nil for nothing.
func band(c *config.Cascade) *agent.Band {
	if len(c.Doubt) != 2 {
		return nil
	}
	return &agent.Band{Low: float32(c.Doubt[0]), High: float32(c.Doubt[1])}
}
