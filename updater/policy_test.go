package updater

import (
	"testing"
	"time"
)

// hours of the day, from and until.
type hours [2]int

func (h hours) Open(at time.Time) bool { return at.Hour() >= h[0] && at.Hour() < h[1] }

func TestWindowPolicy(t *testing.T) {
	in(t, func(t *testing.T, d *device) { // it is midnight in UTC
		d.zone = time.FixedZone("here", 2*3600)
		d.stations[0].Policy = InWindow
		d.stations[0].Window = hours{22, 23}
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		c := d.install("r", "1", one)
		d.until(c, Waiting)
		d.wait("the report", func() bool { return d.last().GetStations()[0].GetReason() == string(WaitsForWindow) })
		for !d.is(c, Probation) && time.Now().Hour() < 21 {
			d.sleep(time.Minute)
		}
		if now := time.Now().UTC(); now.Hour() != 20 || now.Minute() > 1 || !d.is(c, Probation) {
			t.Errorf("it switched at %v", now)
		}
	})
}

// TestClockIsNotSet: at 1970 no window is open, but an operator's OK counts,
// and probation passes.
func TestClockIsNotSet(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.build = time.Now().AddDate(0, 0, 2)
		d.stations[0].Policy = InWindow
		d.stations[0].Window = hours{0, 24}
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		c := d.install("r", "1", one)
		d.sleep(24 * time.Hour)
		if next := d.next(); next.Phase != Waiting || next.Reason != WaitsForWindow || next.Text == "" {
			t.Errorf("status is %+v", next)
		}
		if err := d.u.Approve("one"); err != nil {
			t.Fatal(err)
		}
		d.until(c, Committed)
	})
}

func TestAskAndDownload(t *testing.T) {
	for policy, reason := range map[Policy]Reason{Ask: WaitsForOperator, DownloadOnly: Downloaded} {
		in(t, func(t *testing.T, d *device) {
			d.stations[0].Policy = policy
			one := d.repo.publish(t, "caps", "1", "good")
			d.start()
			c := d.install("r", "1", one)
			d.sleep(time.Hour)
			if next := d.next(); next.Phase != Waiting || next.Reason != reason || !next.Approvable {
				t.Errorf("status is %+v", next)
			}
			if d.plant.workers != 0 {
				t.Error("a second worker waits in memory")
			}
			d.restart()
			if err := d.u.Approve("one"); err != nil {
				t.Error(err)
			}
			d.until(c, Committed)
			if n := d.plant.gates[one]; n != 1 {
				t.Errorf("it was proved %d times", n)
			}
		})
	}
}
