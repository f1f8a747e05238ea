package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFleetsDiskFull: there is no room for results at the fleet. It says so,
// devices keep what they have, and it goes on by itself when there is room,
// even where it was killed meanwhile.
func TestFleetsDiskFull(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(map[bool]string{false: "waits", true: "killed"}[killed], func(t *testing.T) {
			t.Parallel()
			size, rounds := "24m", 1
			if full() {
				size, rounds = "96m", 10
			}
			disk := smallDisk(t, size)
			c := prepareCentral(t, disk)
			c.serve()
			d := newDevice(t, c, "kept")
			d.set.Rate, d.set.Retain = 1000, 256<<10 // what the fleet has said that it has is soon gone here
			d.start()
			d.until("results at the fleet", func(now told) bool { return now.Acked > 500 })
			if c.warns("store_failing") { // and there is a token now for asking
				t.Error("the fleet warns while there is room")
			}
			for range rounds {
				fullOnce(t, c, d, filepath.Join(disk, "ballast"), killed)
			}
			d.audit(c, d.stop())
		})
	}
}

// fullOnce fills the disk below the fleet, and makes room again.
func fullOnce(t *testing.T, c *central, d *device, ballast string, killed bool) {
	t.Helper()
	before := d.now()
	fill(t, ballast)
	eventually(t, "the fleet's warning", func() bool { return c.warns("store_failing") })
	full := d.until("the refusal", func(now told) bool { return now.Refusal != "" && now.Last > now.Acked+1000 })
	if status, _ := c.ask("/healthz"); status != http.StatusOK { // it is no case for a restart
		t.Errorf("while its disk is full the fleet isn't alive: status %d", status)
	}
	if killed {
		c.process.kill()
		c.begin() // it may find that it can't even begin
		eventually(t, "its answer or its end", func() bool { return c.process.over() || addresses.MatchString(c.out.all()) })
		t.Logf("begun on a full disk it ends: %v", c.process.over())
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	switch {
	case !killed:
	case c.process.over(): // as a service manager does
		c.serve()
	default:
		c.reach()
	}
	room := time.Now()
	d.until("all results at the fleet", func(now told) bool { return now.Refusal == "" && now.Acked >= full.Last })
	took := time.Since(room)
	eventually(t, "the warning's end", func() bool { return !c.warns("store_failing") })
	t.Logf("full after %d records, %d waited, all were there %v after there was room again; the device was told: %s",
		before.Acked, full.Last-full.Acked, took.Round(time.Millisecond), full.Refusal)
}
