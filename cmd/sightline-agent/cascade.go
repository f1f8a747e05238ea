package main

import (
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
)

// cascade makes what a station's section cascade says, nil without one. The large model
// must have the labels of the station's own.
func (a *assembly) cascade(s *config.Station, c *choice, threads int, limit time.Duration) (*agent.Cascade, error) {
	set := &s.Cascade
	if !set.On() {
		return nil, nil
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
	return &agent.Cascade{
		Large: a.hire(n, threads, limit), About: n.about, Band: band(set), Disagreement: set.Disagreement,
		Crop: set.Look == config.Crop, Budget: set.Budget(), Small: set.Otherwise == config.AsSmall,
	}, nil
}

// band is what the configuration says is in doubt, nil for nothing.
func band(c *config.Cascade) *agent.Band {
	if len(c.Doubt) != 2 {
		return nil
	}
	return &agent.Band{Low: float32(c.Doubt[0]), High: float32(c.Doubt[1])}
}
