package config

import (
	"fmt"
	"slices"
	"time"
)

// Door is a way for a line's controller to trigger a station and to hear verdicts.
type Door struct {
	Station   string        `yaml:"station" need:"yes" example:"station1" doc:"The station behind it, which has mode: trigger."`
	Protocol  string        `yaml:"protocol" need:"yes" example:"modbus" doc:"ascii (lines of text over TCP), modbus (Modbus TCP) or gpio (lines of a GPIO chip). docs/plc.md tells of each."`
	Listen    string        `yaml:"listen" example:"192.0.2.5:502" doc:"ascii, modbus: address, or name of the interface, and port. It must be one interface's: never all."`
	Peers     []string      `yaml:"peers" example:"[192.0.2.10]" doc:"ascii, modbus: addresses or networks (192.0.2.0/28) that may connect. There is no login: all others are turned away."`
	Heartbeat time.Duration `yaml:"heartbeat" doc:"How often the heartbeat changes while the agent makes progress, 20ms to 10s."`
	Silence   time.Duration `yaml:"silence" doc:"ascii, modbus: how long the controller may say nothing until another peer may take its place. 0: as long as its connection lives."`
	Push      bool          `yaml:"push" doc:"ascii: send a line H at each heartbeat, without being asked."`
	GPIO      GPIO          `yaml:"gpio" doc:"gpio: which lines."`
}

// GPIO says which lines of a chip are what; -1 is none.
type GPIO struct {
	Chip      string        `yaml:"chip" doc:"The chip, as gpiochip0."`
	Trigger   int           `yaml:"trigger" doc:"Input: its edge triggers an inspection."`
	Ack       int           `yaml:"ack" doc:"Input: its edge fetches the result; without it results are pulses."`
	Encoder   int           `yaml:"encoder" doc:"Input: pulses of the belt's encoder, for gate_pulses."`
	Ready     int           `yaml:"ready" doc:"Output: a verdict can be promised."`
	Pass      int           `yaml:"pass" doc:"Output: pulse for each PASS."`
	Reject    int           `yaml:"reject" doc:"Output: pulse for each FAIL and NONE."`
	Gate      int           `yaml:"gate" doc:"Output of the reject gate downstream: active while it may let a part through, so that a line that nobody drives rejects."`
	Beat      int           `yaml:"beat" doc:"Output: the heartbeat."`
	ActiveLow []int         `yaml:"active_low" doc:"Lines that are active at 0."`
	Pulse     time.Duration `yaml:"pulse" doc:"Length of pulses and of the gate's opening."`
	Debounce  time.Duration `yaml:"debounce" doc:"A change of the trigger that doesn't last for so long is none. 0 stands for 1ms, a negative time for no debouncing, which gate_parts refuses."`
	Parts     int           `yaml:"gate_parts" doc:"Where the gate stands: so many triggers behind, for lines whose parts come at least a pulse apart. One of gate_parts, gate_pulses and gate_delay says it."`
	Pulses    int           `yaml:"gate_pulses" doc:"Where the gate stands: so many encoder pulses behind."`
	Delay     time.Duration `yaml:"gate_delay" doc:"Where the gate stands: so long behind, on a belt of constant speed."`
}

// DefaultDoor is a door before its part of a file is read.
func DefaultDoor() Door {
	return Door{
		Heartbeat: 500 * time.Millisecond,
		GPIO:      GPIO{Trigger: -1, Ack: -1, Encoder: -1, Ready: -1, Pass: -1, Reject: -1, Gate: -1, Beat: -1, Pulse: 50 * time.Millisecond, Debounce: time.Millisecond},
	}
}

// Address is where the door is: where it listens, or its chip.
func (d *Door) Address() string {
	if d.Protocol == "gpio" {
		return d.GPIO.Chip
	}
	return d.Listen
}

// doors checks the ways to the line. What an address or a chip is, is known to
// whoever opens it.
func (v *validator) doors() {
	for i := range v.config.PLC {
		d := &v.config.PLC[i]
		key := func(name string) string { return fmt.Sprintf("plc[%d].%s", i, name) }
		n := slices.IndexFunc(v.config.Stations, func(s Station) bool { return s.ID == d.Station })
		switch {
		case d.Station == "":
			v.fault(key("station"), "is missing: the station behind the door")
		case n < 0:
			v.fault(key("station"), "there is no station %s", shown(d.Station))
		case v.config.Stations[n].Mode != OnTrigger:
			v.fault(key("station"), "station %s follows parts by itself: only one with mode: trigger can be triggered", shown(d.Station))
		}
		if !slices.Contains([]string{"ascii", "modbus", "gpio"}, d.Protocol) {
			v.fault(key("protocol"), "must be ascii, modbus or gpio, got %s", shown(d.Protocol))
			continue
		}
		if h := d.Heartbeat; h < 20*time.Millisecond || h > 10*time.Second {
			v.fault(key("heartbeat"), "must be 20ms to 10s, got %v", h)
		}
		if d.Protocol == "gpio" {
			continue
		}
		if d.Listen == "" {
			v.fault(key("listen"), "is missing: address, or name of an interface, and port, as 192.0.2.5:502")
		}
		if len(d.Peers) == 0 {
			v.fault(key("peers"), "is missing: who may connect, as [192.0.2.10]; there is no login")
		}
	}
}
