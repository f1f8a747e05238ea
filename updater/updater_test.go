package updater

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
)

func TestBundleGoesAllTheWay(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1.0.0", "good")
		d.start()
		if got := d.runs(); got != "" {
			t.Errorf("before any bundle runs %q", got)
		}
		c := d.install("r1", "1.0.0", one)
		d.until(c, Committed)
		if got := d.runs(); got != one {
			t.Errorf("runs %q", got)
		}
		two := d.repo.publish(t, "caps", "1.1.0", "good")
		d.until(d.install("r2", "1.1.0", two), Committed)
		three := d.repo.publish(t, "caps", "1.2.0", "good")
		d.until(d.install("r3", "1.2.0", three), Committed)
		d.wait("a proof, also of what came while it was on probation", func() bool {
			r := d.last()
			return r.GetProof() != nil && r.GetStations()[0].GetPhase() == wire.Phase_PHASE_COMMITTED
		})
		if d := cmp.Diff(sorted(two, three), d.contents()); d != "" {
			t.Errorf("on disk: %s", d)
		}
		r := d.last()
		if s := r.GetStations()[0]; s.GetPhase() != wire.Phase_PHASE_COMMITTED || s.GetActiveVersion() != "1.2.0" {
			t.Errorf("reported is %v", s)
		}
		d.restart()
		d.sleep(time.Minute)
		if got := d.runs(); got != three {
			t.Errorf("after a restart runs %q", got)
		}
		if d.plant.workers != 0 {
			t.Errorf("%d workers weren't given back", d.plant.workers)
		}
	})
}
