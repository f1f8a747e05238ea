package updater

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// TestDeadlyBundleLoopIsBounded: a bundle that takes the whole program down
// while it is loaded, or when it is activated.
func TestDeadlyBundleLoopIsBounded(t *testing.T) {
	for _, when := range []string{"load", "activate"} {
		t.Run(when, func(t *testing.T) {
			in(t, func(t *testing.T, d *device) {
				dead, gone := false, make(chan struct{})
				d.step = func(string) error {
					if dead {
						return os.ErrClosed // nothing is written after the end
					}
					return nil
				}
				d.plant.die = func(at string) {
					if at == when {
						dead = true
						close(gone)
						<-d.ctx.Done()
					}
				}
				bad := d.repo.publish(t, "caps", "1", "deadly")
				d.start()
				c := d.install("r", "1", bad)
				for n := 1; n <= maxBegun; n++ {
					<-gone
					d.end()
					dead, gone = false, make(chan struct{})
					d.start()
					if d.runs() != "" {
						t.Errorf("runs %q", d.runs())
					}
				}
				d.until(c, Rejected)
				if d.failure() != TooManyTries {
					t.Errorf("refused for %q", d.failure())
				}
			})
		})
	}
}

// TestRestartsDuringProbation: two are forgiven; at the third the bundle
// doesn't run any more.
func TestRestartsDuringProbation(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		_, two := settled(t, d)
		three := d.repo.publish(t, "caps", "3", "good")
		c := d.install("r", "3", three)
		d.until(c, Probation)
		for range maxBoots {
			d.restart()
			if d.runs() != three {
				t.Errorf("runs %q", d.runs())
			}
		}
		d.restart()
		if d.runs() != two || d.failure() != Restarts {
			t.Errorf("runs %q after %q", d.runs(), d.failure())
		}
		d.until(c, RolledBack)
	})
}

func TestDamagedStateFallsBack(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		_, two := settled(t, d)
		d.end()
		base := filepath.Join(d.dir, stateDir, "station-one")
		newest := base + copySuffixes[1-d.u.stations[0].file.older]
		if err := os.WriteFile(newest, []byte("rot"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(d.dir, stateDir, "device.a"), 5); err != nil {
			t.Fatal(err)
		}
		d.start()
		if got := d.runs(); got != two {
			t.Errorf("with one copy damaged runs %q", got)
		}
		d.end()
		for _, suffix := range copySuffixes {
			if err := os.WriteFile(base+suffix, []byte("rot"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // also at another start it isn't the configuration's model
			d.open()
			if _, _, _, ok := d.u.Active("one"); ok {
				t.Error("what ran isn't known, and something is to run")
			}
			if st := d.u.Status()[0]; !st.Active.None || st.Active.Reason != StateLost {
				t.Errorf("status is %+v", st)
			}
		}
		d.run() // the command is still known: the bundle is proved again, and serves
		d.wait("the cure", func() bool { return d.next().Phase == Committed })
		if n := d.plant.gates[two]; d.runs() != two || n != 2 {
			t.Errorf("runs %q, which was proved %d times", d.runs(), n)
		}
	})
}

func TestDamagedBundleFallsBack(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one, two := settled(t, d)
		d.end()
		d.rot(two)
		d.start()
		if d.runs() != one || d.failure() != Lost {
			t.Errorf("runs %q after %q", d.runs(), d.failure())
		}
		d.until(d.install("again", "2", two), Committed) // it is fetched anew
		d.end()
		d.rot(one)
		d.rot(two)
		d.start()
		if _, _, _, ok := d.u.Active("one"); ok || !d.u.Status()[0].Active.None {
			t.Error("both are damaged, and something is to run")
		}
	})
}

// TestDamagedWhileItWaits: what rots between gate and activation is fetched
// and proved again.
func TestDamagedWhileItWaits(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.stations[0].Policy = Ask
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		c := d.install("r", "1", one)
		d.until(c, Waiting)
		d.rot(one)
		if err := d.u.Approve("one"); err != nil {
			t.Fatal(err)
		}
		d.until(c, Committed)
		if n := d.repo.fetched.Load(); n != 2 {
			t.Errorf("it was fetched %d times", n)
		}
	})
}

// TestActiveRotsWhileAnotherWaits: the good one before runs, and what waits is
// still what was proved.
func TestActiveRotsWhileAnotherWaits(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one, two := settled(t, d)
		three := d.repo.publish(t, "caps", "3", "good")
		d.end()
		d.stations[0].Policy = Ask
		d.start()
		c := d.install("r", "3", three)
		d.until(c, Waiting)
		d.end()
		d.rot(two)
		d.start()
		if d.runs() != one {
			t.Errorf("runs %q", d.runs())
		}
		if err := d.u.Approve("one"); err != nil {
			t.Fatal(err)
		}
		d.until(c, Committed)
		if n := d.plant.gates[three]; n != 1 {
			t.Errorf("it was proved %d times", n)
		}
		if r := d.u.stations[0].rec.Load(); d.runs() != three || r.Good.Digest != three || r.Older.Digest != one {
			t.Errorf("runs %q, on record %+v", d.runs(), r)
		}
	})
}

func TestDriverChanged(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		two := d.repo.publish(t, "caps", "2", "delicate")
		d.start()
		d.until(d.install("r1", "1", one), Committed)
		d.until(d.install("r2", "2", two), Committed)
		d.end()
		d.plant.fingerprint = "cpu 2"
		d.open()
		regate := func() bool {
			dir, digest, _, _ := d.u.Active("one")
			c := must(d.plant.Load(t.Context(), "one", dir, digest))(t)
			ok := must(d.u.Regate(t.Context(), "one", c))(t)
			return ok && c.Close() == nil
		}
		if regate() {
			t.Error("a bundle that fails on the new driver serves")
		}
		if _, digest, _, ok := d.u.Active("one"); digest != one || !ok || d.failure() != GoldenGate {
			t.Errorf("%q is active after %q", digest, d.failure())
		}
		n := d.plant.gates[one]
		if !regate() || d.plant.gates[one] != n+1 || !regate() || d.plant.gates[one] != n+1 {
			t.Error("the one before is to be proved once, and to serve")
		}
	})
}

func TestStationFollowsAnotherBundle(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		settled(t, d)
		lids := d.repo.publish(t, "lids", "1", "good")
		d.end()
		d.stations[0].Bundle = "lids"
		d.start()
		if d.runs() != "" {
			t.Errorf("runs %q, which is of another bundle", d.runs())
		}
		c := order(wire.Command_ACT_INSTALL, "r", "1", lids)
		c.Bundle, c.Target = "lids", bundle.TargetPath("lids", "1")
		d.u.Command(c)
		d.until(c, Committed)
	})
}

// TestStationThatIsNotConfiguredNow: its bundles stay, for the configuration
// may be a mistake.
func TestStationThatIsNotConfiguredNow(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one, two := settled(t, d)
		d.end()
		mine := d.stations
		d.stations = nil
		d.start().end()
		if diff := cmp.Diff(sorted(one, two), d.contents()); diff != "" {
			t.Error(diff)
		}
		d.stations = mine
		if d.start(); d.runs() != two {
			t.Errorf("runs %q", d.runs())
		}
	})
}

// TestDeadlyBundleOnAFullDisk: what can't be counted isn't begun.
func TestDeadlyBundleOnAFullDisk(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		var full atomic.Bool
		d.step = func(string) error {
			if full.Load() {
				return syscall.ENOSPC
			}
			return nil
		}
		d.stations[0].Policy = Ask
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		c := d.install("r", "1", one)
		d.until(c, Waiting)
		d.u.heavy <- struct{}{} // as if another station's bundle were loaded now
		if err := d.u.Approve("one"); err != nil {
			t.Fatal(err)
		}
		full.Store(true)
		<-d.u.heavy
		d.sleep(time.Hour)
		if next := d.next(); d.plant.loads[one] != 1 || next.Phase != Waiting || next.Reason != NoSpace {
			t.Errorf("loaded %d times, status %+v", d.plant.loads[one], next)
		}
		full.Store(false)
		d.until(c, Committed)
	})
}

// TestLostCommandsDoNotTryAgain: the device forgot which commands it had seen,
// but not what became of the bundle.
func TestLostCommandsDoNotTryAgain(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		bad := d.repo.publish(t, "caps", "1", "wrong")
		d.start()
		c := d.install("r1", "1", bad)
		d.until(c, Rejected)
		two := d.repo.publish(t, "caps", "2", "good")
		d.until(d.install("r2", "2", two), Committed)
		d.end()
		for _, suffix := range copySuffixes {
			if err := os.WriteFile(filepath.Join(d.dir, stateDir, "device"+suffix), []byte("rot"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		d.start()
		d.u.Command(c)
		d.until(c, Rejected)
		if n := d.plant.gates[bad]; n != 1 || d.runs() != two {
			t.Errorf("it was tried %d times, and %q runs", n, d.runs())
		}
	})
}

// TestActiveCanNotBeLoaded: the good one before runs if that can be, and else
// nothing changes, for the machine is at fault.
func TestActiveCanNotBeLoaded(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one, two := settled(t, d)
		d.end()
		d.open()
		d.plant.busy = 100
		if d.u.Unusable(t.Context(), "one", &Refused{"no runtime"}) {
			t.Error("the one before can't be loaded either, and is to run")
		}
		if _, digest, _, ok := d.u.Active("one"); digest != two || !ok {
			t.Errorf("%q is active", digest)
		}
		d.plant.busy = 0
		if !d.u.Unusable(t.Context(), "one", &Refused{"no such operator"}) {
			t.Error("nothing is left")
		}
		if _, digest, _, ok := d.u.Active("one"); digest != one || !ok || d.failure() != BadModel || d.plant.workers != 0 {
			t.Errorf("%q is active after %q, with %d workers", digest, d.failure(), d.plant.workers)
		}
	})
}
