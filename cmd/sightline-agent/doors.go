package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

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
			return nil, config.Faults{cfg.Fault(fmt.Sprintf("plc[%d].protocol", n), err.Error())}
		}
		a.AddDoor(agent.Entrance{Protocol: d.Protocol, Station: d.Station, Address: d.Address(), Stats: open.Stats})
		all = append(all, open.Run)
	}
	return all, nil
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
	notes, err := bindable(cfg, s)
	for _, n := range notes {
		fmt.Fprintf(out, "station %s: %s\n", s.ID, n)
	}
	if err != nil {
		return fault(cfg, i, "camera", err)
	}
	if book == nil || s.Bundle != "" {
		return nil
	}
	for n := range s.Recipes {
		if _, err := a.recipe(ctx, s, &s.Recipes[n], st.Track.Mode, cfg.Infer.Threads); err != nil {
			return fault(cfg, i, fmt.Sprintf("recipes[%d].model", n), inRecipe(n, err))
		}
	}
	return nil
}
