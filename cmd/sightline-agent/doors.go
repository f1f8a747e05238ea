package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/agent/plc"
)

// newDoors makes the doors of the configuration; each runs beside the agent.
func newDoors(cfg *config.Config, a *agent.Agent, log *slog.Logger) ([]func(context.Context) error, error) {
	var all []func(context.Context) error
	for n := range cfg.PLC {
		d := &cfg.PLC[n]
		open, err := newDoor(d, a.Door(d.Station), log)
		if err != nil {
			return nil, doorFault(cfg, n, err)
		}
		a.AddDoor(agent.Entrance{Protocol: d.Protocol, Station: d.Station, Address: d.Address(), Stats: open.Stats})
		all = append(all, open.Run)
	}
	return all, nil
}

// checkDoors says what is wrong with the doors, without opening one.
func checkDoors(cfg *config.Config, log *slog.Logger) (faults config.Faults) {
	for n := range cfg.PLC {
		if _, err := newDoor(&cfg.PLC[n], nil, log); err != nil {
			faults = append(faults, doorFault(cfg, n, err)...)
		}
	}
	return faults
}

// doorFault places what is wrong with a door.
func doorFault(cfg *config.Config, n int, err error) config.Faults {
	return config.Faults{cfg.Fault(fmt.Sprintf("plc[%d].protocol", n), strings.ReplaceAll(err.Error(), "\n", "; "))}
}

// opening is a door that can be run.
type opening interface {
	Run(ctx context.Context) error
	Stats() plc.Stats
}

func newDoor(d *config.Door, s plc.Station, log *slog.Logger) (opening, error) {
	access := plc.Access{Listen: d.Listen, Peers: d.Peers, Silence: d.Silence}
	log = log.With("station", d.Station)
	switch d.Protocol {
	case "ascii":
		return plc.NewASCII(plc.ASCIIConfig{Access: access, Heartbeat: d.Heartbeat, Push: d.Push}, s, log)
	case "modbus":
		return plc.NewModbus(plc.ModbusConfig{Access: access, Heartbeat: d.Heartbeat}, s, log)
	}
	return plc.NewGPIO(gpioConfig(d), s, log)
}

// gpioConfig is a door of single lines.
func gpioConfig(d *config.Door) plc.GPIOConfig {
	g := &d.GPIO
	wire := func(offset int) *plc.Wire {
		if offset < 0 {
			return nil
		}
		return &plc.Wire{Offset: offset, ActiveLow: slices.Contains(g.ActiveLow, offset)}
	}
	c := plc.GPIOConfig{
		Chip: g.Chip, Debounce: g.Debounce, Ack: wire(g.Ack), Encoder: wire(g.Encoder),
		Ready: wire(g.Ready), Pass: wire(g.Pass), Reject: wire(g.Reject), Gate: wire(g.Gate), Beat: wire(g.Beat),
		Pulse: g.Pulse, Place: plc.GatePlace{Parts: g.Parts, Pulses: g.Pulses, Delay: g.Delay}, Heartbeat: d.Heartbeat,
	}
	if w := wire(g.Trigger); w != nil {
		c.Trigger = *w
	} else {
		c.Trigger.Offset = -1
	}
	return c
}

// exposable checks that a recipe's exposure can be set, and bothers no other station.
func exposable(cfg *config.Config, s *config.Station) error {
	n := slices.IndexFunc(s.Recipes, func(r config.Recipe) bool { return r.Exposure > 0 })
	if n < 0 {
		return nil
	}
	for _, id := range s.Cameras {
		c := cfg.Camera(id)
		if c != nil && !strings.HasPrefix(c.Source, "aravis") && !strings.HasPrefix(c.Source, "/dev/") {
			return about(fmt.Sprintf("recipes[%d].exposure", n), fmt.Errorf("camera %s has no exposure that can be set: only V4L2 and industrial cameras (aravis:…) have", id))
		}
		if bare := slices.IndexFunc(s.Recipes, func(r config.Recipe) bool { return r.Exposure == 0 }); c != nil && c.Exposure == 0 && bare >= 0 {
			return about(fmt.Sprintf("recipes[%d].exposure", bare), fmt.Errorf("is missing: recipe %s changes the exposure of camera %s, and nothing says what to go back to; set it in each recipe, or the camera's own", s.Recipes[n].Name, id))
		}
		for i := range cfg.Stations {
			if o := &cfg.Stations[i]; o.ID != s.ID && slices.Contains(o.Cameras, id) {
				return about(fmt.Sprintf("recipes[%d].exposure", n), fmt.Errorf("station %s looks through camera %s too, whose exposure it would change: give each station its own camera, or leave exposure out", o.ID, id))
			}
		}
	}
	return nil
}

// inRecipe places what is wrong with a recipe at its settings.
func inRecipe(n int, err error) error {
	var known aboutSetting
	if errors.As(err, &known) {
		return about(fmt.Sprintf("recipes[%d].%s", n, known.key), err)
	}
	return err
}

// checkRest looks at what only a running station would find, and tells what is worth
// knowing of it.
func (a *assembly) checkRest(ctx context.Context, out io.Writer, cfg *config.Config, i int, st *agent.StationConfig, book *cookbook) error {
	s := &cfg.Stations[i]
	notes, err := a.bindable(cfg, s)
	for _, n := range notes {
		fmt.Fprintf(out, "station %s: %s\n", s.ID, n)
	}
	if err != nil {
		return fault(cfg, i, "camera", err)
	}
	if book == nil {
		return nil
	}
	if err := exposable(cfg, s); err != nil {
		return fault(cfg, i, "recipes", err)
	}
	for n := range s.Recipes {
		if book.follows(&s.Recipes[n]) { // what comes is checked when it comes
			as := s.As(&s.Recipes[n])
			if err := a.foresee(&as, nil); err != nil {
				return fault(cfg, i, fmt.Sprintf("recipes[%d].cascade", n), inRecipe(n, err))
			}
			continue
		}
		l, err := a.recipe(ctx, s, &s.Recipes[n], st.Track.Mode, cfg.Infer.Threads)
		a.drop(l) // none of its workers was started
		if err != nil {
			return fault(cfg, i, fmt.Sprintf("recipes[%d].model", n), inRecipe(n, err))
		}
	}
	return nil
}
