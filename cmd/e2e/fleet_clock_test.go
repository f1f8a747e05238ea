package e2e

import (
	"strings"
	"testing"
	"time"
)

const year = 365 * 24 * time.Hour

// TestDevicesClocks: devices whose clocks stand in 1970 or are ten years off on
// either side send as others do; the fleet has their times as they told them,
// in the order of the records.
func TestDevicesClocks(t *testing.T) {
	t.Parallel()
	c := newCentral(t, false)
	var all []*device
	for name, ahead := range map[string]time.Duration{"behind": -10 * year, "ahead": 10 * year, "without": time.Until(time.Unix(1, 0))} {
		d := newDevice(t, c, name)
		d.ahead, d.set.Make.Clock = ahead, time.Now().Add(ahead).UnixNano()
		d.start()
		all = append(all, d)
	}
	for _, d := range all {
		d.until("results at the fleet", func(now told) bool { return now.Acked > 50 })
		if p := c.presence(d.id); p != "online" {
			t.Errorf("%s: the fleet shows it as %q", d.set.Make.Name, p)
		}
		now := d.stop()
		d.audit(c, now)
		if now.Expired || now.Connects != 1 {
			t.Errorf("%s: %+v", d.set.Make.Name, now)
		}
	}
}

// TestAgentsClock: a real agent with a clock that stands in 1970.
func TestAgentsClock(t *testing.T) {
	t.Parallel()
	c := newCentral(t, false)
	e := enrolStation(t, c)
	e.process = launch(t, &output{}, time.Until(time.Unix(1, 0)), nil, e.agent, "run", "--config", e.config)
	db := c.database()
	eventually(t, "results at the fleet", func() bool { return stored(t, db, e.id) > 20 })
	eventually(t, "the agent's warning", func() bool { return warned(e.address, "clock_implausible") })
	e.audit(c)
}

// TestFleetsClock: the fleet's clock jumps while devices that are enrolled make
// results. None is lost. Where certificates have ended by the new time, devices
// get new ones by themselves as long as that may be, and say so beyond.
func TestFleetsClock(t *testing.T) {
	for _, k := range []struct {
		name         string
		first, then  time.Duration
		renewed      bool
		refused      bool
		clockWarning bool
	}{
		{name: "it began ten years ahead, and is set right", first: 10 * year, clockWarning: true},
		{name: "it falls back by ten years", then: -10 * year, clockWarning: true},
		{name: "it jumps ahead by two months", then: 60 * 24 * time.Hour, renewed: true},
		{name: "it jumps ahead by ten years", then: 10 * year, refused: true},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			c := prepareCentral(t, t.TempDir())
			c.ahead = k.first
			c.serve()
			d := newDevice(t, c, "device")
			d.start()
			d.until("results at the fleet", func(now told) bool { return now.Acked > 50 })
			c.process.finish() // so that it keeps the newest time that it saw
			c.ahead = k.then
			c.serve()
			if k.refused {
				testRefusedByClock(t, c, d)
				return
			}
			made := d.now().Last
			now := d.until("results at the fleet again", func(now told) bool { return now.Acked > made+50 })
			if k.renewed && now.Renewed == 0 {
				t.Error("it goes on without a new certificate")
			}
			late := newDevice(t, c, "late")
			late.start()
			late.until("results at the fleet", func(now told) bool { return now.Acked > 50 })
			if k.clockWarning {
				eventually(t, "the fleet's warning", func() bool { return c.warns("clock_behind") })
			}
			for _, d := range []*device{d, late} {
				d.audit(c, d.stop())
			}
		})
	}
}

// testRefusedByClock wants a device to keep what it has and to say what a
// person must do, and the fleet to take everything once that is done.
func testRefusedByClock(t *testing.T, c *central, d *device) {
	t.Helper()
	now := d.until("what to do, in words", func(now told) bool { return strings.Contains(now.Error, "enrol the device anew") })
	if p := c.presence(d.id); p == "online" {
		t.Errorf("the fleet shows it as %q", p)
	}
	d.until("more results there", func(later told) bool { return later.Last > now.Last+100 })
	t.Logf("the device says: %s", now.Error)
	d.process.finish()
	d.anew(c)
	d.start()
	d.audit(c, d.stop())
}
