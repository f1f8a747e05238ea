package board

import (
	"fmt"
	"strings"
)

// What a rail of a board can honestly show. Currents go both ways, and small
// ones are noise around 0.
const (
	maxMillivolts = 60_000
	minMilliamps  = -1_000
	maxMilliamps  = 100_000
	milli         = 1e-3
)

// rails are the channels of INA3221 monitors (the kernel's Documentation/hwmon/
// ina3221.rst: inN_label, inN_input in mV, currN_input in mA for N from 1 to 3).
// Channels that the board doesn't use are labelled NC.
func (t *tree) rails() []Rail {
	var list []Rail
	for _, dir := range t.numbered(hwmonClass, "hwmon") {
		if chip, _ := t.text(dir + "/name"); !strings.HasPrefix(chip, "ina3221") {
			continue
		}
		for n := 1; n <= 3 && len(list) < maxList; n++ {
			name, ok := t.text(channel(dir, "in", n, "label"))
			if name == "NC" {
				continue
			}
			if !ok {
				name = fmt.Sprintf("rail %d", n)
			}
			r := Rail{
				Name:  name,
				Volts: t.scaled(channel(dir, "in", n, "input"), 0, maxMillivolts, milli),
				Amps:  t.scaled(channel(dir, "curr", n, "input"), minMilliamps, maxMilliamps, milli),
			}
			if r.Volts == nil && r.Amps == nil {
				continue
			}
			if r.Volts != nil && r.Amps != nil {
				watts := *r.Volts * *r.Amps
				r.Watts = &watts
			}
			list = append(list, r)
		}
	}
	return list
}

// total is the power of the rail that feeds the whole module: VDD_IN on Jetson
// Orin NX, Orin Nano and Xavier NX. Where several rails stand side by side their
// sum isn't all that the board takes, so it isn't told as if it were.
func total(rails []Rail) *float64 {
	for _, r := range rails {
		if r.Name == "VDD_IN" && r.Watts != nil && *r.Watts >= 0 {
			return r.Watts
		}
	}
	return nil
}
