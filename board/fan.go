package board

const (
	maxRPM = 100_000
	maxPWM = 255 // full drive
)

// fans are what hardware monitors tell of fans: fanN_input and, of the PWM that
// drives one, pwm1 from 0 to 255 (the kernel's Documentation/hwmon/
// sysfs-interface.rst). A Jetson shows one fan twice: pwmfan drives it, and a
// tachometer tells its speed in rpm.
func (t *tree) fans() []Fan {
	var list []Fan
	add := func(f Fan) {
		if (f.Drive != nil || f.RPM != nil) && len(list) < maxList {
			list = append(list, f)
		}
	}
	for _, dir := range t.numbered(hwmonClass, "hwmon") {
		chip, ok := t.text(dir + "/name")
		if !ok {
			continue
		}
		if chip == "pwmfan" {
			add(Fan{Name: chip, Drive: t.scaled(dir+"/pwm1", 0, maxPWM, 1.0/maxPWM)})
		}
		add(Fan{Name: chip, RPM: t.unsigned(dir+"/rpm", maxRPM)})
		for _, n := range t.channels(dir, "fan") {
			name := chip
			if label, ok := t.text(channel(dir, "fan", n, "label")); ok {
				name += " " + label
			}
			add(Fan{Name: name, RPM: t.unsigned(channel(dir, "fan", n, "input"), maxRPM)})
		}
	}
	return list
}
