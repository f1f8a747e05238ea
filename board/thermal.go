package board

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// What a sensor on silicon can honestly show, in thousandths of a degree
// Celsius. sensorOff is what a Jetson gives for a part that has no power.
const (
	coldest   = -55_000
	hottest   = 150_000
	sensorOff = -256_000
)

const (
	thermalClass = "sys/class/thermal"
	hwmonClass   = "sys/class/hwmon"
)

// zones are the thermal zones (the kernel's Documentation/driver-api/thermal/
// sysfs-api.rst: type names a zone, temp is in thousandths of a degree).
func (t *tree) zones() []Temperature {
	var list []Temperature
	for _, dir := range t.numbered(thermalClass, "thermal_zone") {
		name, ok := t.text(dir + "/type")
		if !ok || fake(name) {
			continue
		}
		if c, ok := t.celsius(dir + "/temp"); ok && len(list) < maxList {
			list = append(list, Temperature{distinct(list, name), c})
		}
	}
	return list
}

// fake reports a zone that measures nothing: on Jetsons PMIC-Die is a constant
// that only carries the PMIC's trip point.
func fake(zone string) bool { return zone == "PMIC-Die" }

// celsius is a temperature in a file that has thousandths of a degree. A
// sensor that is off has none, which is no problem.
func (t *tree) celsius(name string) (float64, bool) {
	n, ok := t.number(name)
	if !ok || n == sensorOff {
		return 0, false
	}
	if n < coldest || n > hottest {
		t.problem(name, "%d thousandths of a degree are not believed", n)
		return 0, false
	}
	return float64(n) / 1000, true
}

// distinct is name, with a number if the list has one of that name.
func distinct(list []Temperature, name string) string {
	count := 1
	for _, e := range list {
		if e.Name == name || strings.HasPrefix(e.Name, name+" #") {
			count++
		}
	}
	if count == 1 {
		return name
	}
	return fmt.Sprintf("%s #%d", name, count)
}

// chips are the temperatures of hardware monitors (the kernel's Documentation/
// hwmon/sysfs-interface.rst: tempN_input in thousandths of a degree,
// tempN_label). Those that only repeat a thermal zone are left out; the kernel
// names them by the zone's type with _ for -.
func (t *tree) chips(zones []Temperature) []Temperature {
	repeated := map[string]bool{}
	for _, z := range zones {
		repeated[strings.ReplaceAll(z.Name, "-", "_")] = true
	}
	var list []Temperature
	for _, dir := range t.numbered(hwmonClass, "hwmon") {
		chip, ok := t.text(dir + "/name")
		if !ok || repeated[chip] {
			continue
		}
		for _, n := range t.channels(dir, "temp") {
			c, ok := t.celsius(channel(dir, "temp", n, "input"))
			if !ok || len(list) == maxList {
				continue
			}
			name := chip
			if label, ok := t.text(channel(dir, "temp", n, "label")); ok {
				name += " " + label
			}
			list = append(list, Temperature{distinct(list, name), c})
		}
	}
	return list
}

// channels are the numbers that a hardware monitor has inputs of a kind for.
func (t *tree) channels(dir, kind string) []int {
	var list []int
	for _, name := range t.names(dir) {
		digits, ok := strings.CutSuffix(strings.TrimPrefix(name, kind), "_input")
		n, err := strconv.Atoi(digits)
		if ok && err == nil && n > 0 && name == path.Base(channel(dir, kind, n, "input")) {
			list = append(list, n)
		}
	}
	return list
}

// channel is the path of one value of a hardware monitor.
func channel(dir, kind string, n int, what string) string {
	return fmt.Sprintf("%s/%s%d_%s", dir, kind, n, what)
}
