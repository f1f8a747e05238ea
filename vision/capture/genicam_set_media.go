//go:build cgo && (media || gocv)

package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// A camera that somebody else controls is asked again for a while: it forgets a
// process that died after its heartbeat, 3 s by default.
const (
	controlWait  = 4 * time.Second
	controlEvery = 100 * time.Millisecond
)

// findGenICam opens the camera of that name, IP address or serial number, or
// the first one by name, and takes control of it.
func findGenICam(name string, stop <-chan struct{}) (*aravisCamera, error) {
	id := name
	if net.ParseIP(name) == nil {
		all := lookAravis()
		slices.SortFunc(all, func(a, b aravisDevice) int { return cmp.Compare(a.id, b.id) })
		if name == "" && len(all) == 0 {
			return nil, errors.New("no industrial camera answers: is it powered, in the same network as one of this machine's addresses, or on the USB with permission to use it (udev rules of libaravis)?")
		}
		if at := slices.IndexFunc(all, func(d aravisDevice) bool {
			return name == "" || slices.Contains([]string{d.id, d.serial, d.physical}, name)
		}); at >= 0 {
			id = all[at].id
		}
	}
	began := time.Now()
	cam, err := openAravis(id)
	if err != nil {
		return nil, fmt.Errorf("no industrial camera %s answers: sightline-capture devices lists those that do (%w)", name, err)
	}
	for !cam.controls() { // the camera is left open at an error: giving back what it denies would take seconds
		if err := cam.takeControl(); err != nil && time.Since(began) > controlWait {
			return nil, fmt.Errorf("another program holds control of camera %s: a camera serves one at a time (%w)", id, err)
		}
		select {
		case <-stop:
			return nil, errGone
		case <-time.After(controlEvery):
		}
	}
	cam.halt()
	return cam, nil
}

// setUp sets what the options ask for. The rest stays as the camera is set, but
// it runs freely without a trigger.
func (a *aravisCamera) setUp(o Options) error {
	a.clearTriggers()
	if err := a.setFormat(o.Format); err != nil {
		return err
	}
	if o.Width > 0 {
		if err := a.setRegion(o.Width, o.Height); err != nil {
			return err
		}
	}
	if o.Exposure > 0 {
		if err := a.setExposure(o.Exposure); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		name, feature, unit string
		q                   quantity
		value               float64
	}{
		{"gain", "Gain", "", gainOf, o.Gain},
		{"rate", "AcquisitionFrameRate", "/s", rateOf, o.Rate},
	} {
		if s.value == 0 {
			continue
		}
		if err := a.setQuantity(s.q, s.value, s.feature, s.unit); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if o.Trigger != "" {
		return a.trigger(o.Trigger)
	}
	return nil
}

func (a *aravisCamera) setFormat(name string) error {
	if name == "" {
		return nil // what it is set to is looked at with the first picture
	}
	offered, err := a.entries("PixelFormat")
	if err != nil {
		return fmt.Errorf("format %s: %w", name, err)
	}
	at := slices.IndexFunc(offered, func(n string) bool { return strings.EqualFold(n, name) })
	switch {
	case formatNamed(name) == nil:
		return fmt.Errorf("format %s isn't read here; of what is, the camera offers %s", name, readable(offered))
	case at < 0:
		return fmt.Errorf("format %s: the camera hasn't got it; it offers %s", name, readable(offered))
	}
	if err := a.setText("PixelFormat", offered[at]); err != nil {
		return fmt.Errorf("format %s: %w", name, err)
	}
	return nil
}

// formatOf is nil for a format that isn't read here.
func formatOf(code uint32) *pixelFormat {
	for i := range pixelFormats {
		if pixelFormats[i].code == code {
			return &pixelFormats[i]
		}
	}
	return nil
}

// format is the one that the camera is set to.
func (a *aravisCamera) format() (*pixelFormat, error) {
	code, err := a.integer("PixelFormat")
	if err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	if f := formatOf(uint32(code)); f != nil {
		return f, nil
	}
	offered, err := a.entries("PixelFormat")
	if err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	return nil, fmt.Errorf("the camera is set to a pixel format (PFNC %#08x) that isn't read here: set format to one of %s", code, readable(offered))
}

// setRegion takes the middle of the sensor.
func (a *aravisCamera) setRegion(w, h int) error {
	for _, f := range []string{"OffsetX", "OffsetY"} { // else they bound the size
		if a.has(f) {
			if err := a.setInteger(f, 0); err != nil {
				return fmt.Errorf("size: %s: %w", f, err)
			}
		}
	}
	wide, err := a.sideBounds("Width")
	if err != nil {
		return err
	}
	high, err := a.sideBounds("Height")
	if err != nil {
		return err
	}
	if !wide.takes(int64(w)) || !high.takes(int64(h)) {
		return fmt.Errorf("size %dx%d: the sensor has %dx%d pixels (width in steps of %d from %d, height of %d from %d)",
			w, h, wide.most, high.most, wide.step, wide.least, high.step, high.least)
	}
	for _, s := range []struct {
		size, offset string
		value        int
		most         int64
	}{{"Width", "OffsetX", w, wide.most}, {"Height", "OffsetY", h, high.most}} {
		if err := a.setInteger(s.size, int64(s.value)); err != nil {
			return fmt.Errorf("size %dx%d: %s: %w", w, h, s.size, err)
		}
		if !a.has(s.offset) {
			continue
		}
		at := (s.most - int64(s.value)) / 2
		if _, _, step, err := a.integerBounds(s.offset); err == nil {
			at -= at % step
		}
		if err := a.setInteger(s.offset, at); err != nil {
			return fmt.Errorf("size %dx%d: %s: %w", w, h, s.offset, err)
		}
	}
	return nil
}

// side is what a camera's width or height may be, pixels.
type side struct{ least, most, step int64 }

func (s side) takes(v int64) bool {
	return v >= s.least && v <= s.most && (v-s.least)%s.step == 0
}

func (a *aravisCamera) sideBounds(feature string) (s side, err error) {
	if s.least, s.most, s.step, err = a.integerBounds(feature); err != nil {
		return s, fmt.Errorf("size: %s: %w", feature, err)
	}
	return s, nil
}

func (a *aravisCamera) setExposure(d time.Duration) error {
	us := float64(d) / float64(time.Microsecond)
	if err := a.setQuantity(exposureOf, us, "ExposureTime", " µs"); err != nil {
		return fmt.Errorf("exposure: %w", err)
	}
	return nil
}

// setQuantity sets one of the numbers, and says so when the camera rounds it.
func (a *aravisCamera) setQuantity(q quantity, v float64, feature, unit string) error {
	if !a.can(q) {
		return fmt.Errorf("the camera has no feature %s", feature)
	}
	least, most, err := a.bounds(q)
	if err == nil && least < most && (v < least || v > most) {
		return fmt.Errorf("%.6g%s is out of the camera's range, %.6g to %.6g%s as it is set", v, unit, least, most, unit)
	}
	if err := a.set(q, v); err != nil {
		return err
	}
	got, err := a.get(q)
	if err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if math.Abs(got-v) > 1e-3*v {
		fmt.Fprintf(os.Stderr, "the camera takes %s %.6g%s for %.6g%s\n", feature, got, unit, v, unit) // the agent logs it
	}
	return nil
}

// trigger makes the camera wait for the software or a line.
func (a *aravisCamera) trigger(source string) error {
	offered, err := a.entries("TriggerSource")
	if err != nil {
		return fmt.Errorf("trigger %s: the camera has no feature TriggerSource (%w)", source, err)
	}
	at := slices.IndexFunc(offered, func(n string) bool { return strings.EqualFold(n, source) })
	if at < 0 {
		return fmt.Errorf("trigger %s: the camera hasn't got it; its TriggerSource offers %s", source, strings.Join(offered, ", "))
	}
	if strings.EqualFold(source, "software") && !a.canFire() {
		return errors.New("trigger software: the camera has no feature TriggerSoftware")
	}
	if err := a.setTrigger(offered[at]); err != nil {
		return fmt.Errorf("trigger %s: %w", source, err)
	}
	return nil
}

// FindGenICam lists the GigE Vision and USB3 Vision cameras that answer. It
// takes control of none.
func FindGenICam(ctx context.Context) ([]Device, error) {
	if err := loadAravis(); err != nil {
		return nil, err
	}
	return bounded(ctx, func() []Device {
		all := []Device{}
		for _, d := range lookAravis() {
			one := Device{Source: "aravis:" + d.id, Name: strings.TrimSpace(d.vendor + " " + d.model), Driver: d.protocol, Bus: d.address, Serial: d.serial}
			if d.protocol == "GigEVision" {
				if held, err := controlled(d.address); err == nil && held {
					one.Problem = "used by another program"
				}
			}
			all = append(all, one)
		}
		slices.SortFunc(all, func(a, b Device) int { return cmp.Compare(a.Source, b.Source) })
		return all
	})
}
