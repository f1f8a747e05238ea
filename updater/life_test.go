package updater

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// settled has a device with two good bundles, the second of which runs.
func settled(t *testing.T, d *device) (one, two string) {
	t.Helper()
	one = d.repo.publish(t, "caps", "1", "good")
	two = d.repo.publish(t, "caps", "2", "good")
	d.start()
	d.until(d.install("s1", "1", one), Committed)
	d.until(d.install("s2", "2", two), Committed)
	return one, two
}

// rot changes one byte of a bundle on disk.
func (d *device) rot(digest string) {
	d.t.Helper()
	file := filepath.Join(d.dir, contentDir, digest, "noise.bin")
	b := must(os.ReadFile(file))(d.t)
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func TestBadBundlesGoBack(t *testing.T) {
	for behaviour, reason := range map[string]Reason{"slow": Slow, "crash": Crashes, "blind": NoneRate, "hot": Hot} {
		t.Run(behaviour, func(t *testing.T) {
			in(t, func(t *testing.T, d *device) {
				_, two := settled(t, d)
				bad := d.repo.publish(t, "caps", "3", behaviour)
				d.until(d.install("bad", "3", bad), RolledBack)
				if d.runs() != two || d.failure() != reason {
					t.Errorf("runs %q after %q", d.runs(), d.failure())
				}
				if d.wait("the report", func() bool { return d.last().GetStations()[0].GetPhase() == wire.Phase_PHASE_ROLLED_BACK }); d.last().GetProof() != nil {
					t.Error("what was rolled back is proved")
				}
				if slices.Contains(d.contents(), bad) {
					t.Error("it is on disk still")
				}
			})
		})
	}
}

// TestFirstBundleGoesBack: to what the configuration names.
func TestFirstBundleGoesBack(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		bad := d.repo.publish(t, "caps", "1", "crash")
		d.start()
		d.until(d.install("r", "1", bad), RolledBack)
		if d.runs() != "" || !d.u.Status()[0].Active.Factory {
			t.Errorf("runs %q", d.runs())
		}
	})
}

// TestBadBundleLoopIsBounded: a bundle that failed isn't tried again under the
// same command, however often that comes, nor after a restart; and not without
// end under others.
func TestBadBundleLoopIsBounded(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		bad := d.repo.publish(t, "caps", "1", "wrong")
		d.start()
		c := order(wire.Command_ACT_INSTALL, "r0", "1", bad)
		d.refusedFor(c, GoldenGate)
		for range 3 {
			d.u.Command(c)
			d.sleep(10 * time.Minute)
			d.restart()
		}
		if n := d.plant.gates[bad]; n != 1 {
			t.Errorf("it was tried %d times", n)
		}
		for i, rollout := range []string{"r1", "r2", "r3", "r4", "r5", "r6"} {
			d.until(d.install(rollout, "1", bad), Rejected)
			if n, want := d.plant.gates[bad], min(i+2, maxFailed); n != want {
				t.Errorf("after %s it was tried %d times, want %d", rollout, n, want)
			}
		}
		if r := d.u.stations[0].rec.Load(); r.Reason != TooManyTries || r.Tries[bad].Failed != maxFailed {
			t.Errorf("on record is %s, %+v", r.Reason, r.Tries)
		}
	})
}

// TestCommandDoesNotWaitForABackOff: what was tried in vain for long doesn't
// hold up the next command.
func TestCommandDoesNotWaitForABackOff(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		_, two := settled(t, d)
		three := d.repo.publish(t, "caps", "3", "slow")
		var full atomic.Bool
		d.end()
		d.step = func(p string) error {
			if full.Load() && strings.Contains(p, "station") {
				return os.ErrClosed
			}
			return nil
		}
		d.start()
		full.Store(true)
		d.install("r", "3", three)
		d.sleep(2 * time.Hour)
		full.Store(false)
		start := time.Now()
		c := order(wire.Command_ACT_ROLLBACK, "back", "2", two)
		d.u.Command(c)
		d.until(c, RolledBack)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestFleetAway(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		d.repo.away.Store(true)
		d.start()
		c := d.install("r", "1", one)
		d.wait("the reason", func() bool { return d.next().Reason == FleetUnreachable })
		d.sleep(2 * time.Hour)
		if !d.is(c, Assigned) {
			t.Error("it isn't assigned any more")
		}
		d.repo.away.Store(false)
		d.u.Greeted()
		start := time.Now()
		d.until(c, Committed)
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("it took %v after the fleet came back", took)
		}
		if r := d.next().Reason; r != "" {
			t.Errorf("reason is still %q", r)
		}
	})
}

func TestTwoStationsShare(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.stations = append(d.stations, Station{ID: "two", Bundle: "caps"}, Station{ID: "lids", Bundle: "lids"})
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		d.until3(d.install("r", "1", one))
		if f, l, g := d.repo.fetched.Load(), d.plant.loads[one], d.plant.gates[one]; f != 1 || l != 2 || g != 1 {
			t.Errorf("fetched %d times, loaded %d, gated %d", f, l, g)
		}
		if st := d.u.Status()[2]; st.Next != nil || !st.Active.Factory {
			t.Errorf("the station of another bundle is %+v", st)
		}
	})
}

// until3 waits until the first two of three stations have committed.
func (d *device) until3(c *wire.Command) {
	d.t.Helper()
	d.wait("both", func() bool {
		return !slices.ContainsFunc(d.u.stations[:2], func(s *station) bool {
			r := s.rec.Load()
			return r.Phase != Committed || r.Job.Digest != hexOf(c)
		})
	})
}

func TestCommandedBack(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one, two := settled(t, d)
		c := order(wire.Command_ACT_ROLLBACK, "back", "2", two)
		d.u.Command(c)
		d.until(c, RolledBack)
		if d.runs() != one {
			t.Errorf("runs %q", d.runs())
		}
		again := order(wire.Command_ACT_ROLLBACK, "back again", "2", two)
		d.u.Command(again)
		d.wait("an answer", func() bool { return slices.Equal(d.last().GetNonce(), again.GetNonce()) })
		if s := d.last().GetStations()[0]; s.GetPhase() != wire.Phase_PHASE_ROLLED_BACK || hex.EncodeToString(s.GetActive()) != one {
			t.Errorf("told is %v", s)
		}
		first := order(wire.Command_ACT_ROLLBACK, "back from the first", "1", one)
		d.u.Command(first)
		d.wait("an answer", func() bool { return d.last().GetStations()[0].GetReason() == string(NoGoodLeft) })
		if d.runs() != one {
			t.Errorf("runs %q", d.runs())
		}
	})
}

func TestCancelledWhileFetched(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		_, two := settled(t, d)
		three := d.repo.publish(t, "caps", "3", "good")
		d.repo.hold = make(chan struct{})
		d.until(d.install("r", "3", three), Transfer)
		c := order(wire.Command_ACT_CANCEL, "r", "3", three)
		d.u.Command(c)
		d.until(c, Cancelled)
		d.sleep(time.Hour)
		if d.runs() != two || slices.Contains(d.contents(), three) {
			t.Errorf("runs %q, on disk %v", d.runs(), d.contents())
		}
		if left := must(os.ReadDir(filepath.Join(d.dir, transferDir)))(t); len(left) > 0 {
			t.Errorf("left in %s: %v", transferDir, left)
		}
	})
}

// TestNewerCommandReplacesATransfer: the newest wins, at once.
func TestNewerCommandReplacesATransfer(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		settled(t, d)
		three := d.repo.publish(t, "caps", "3", "good")
		four := d.repo.publish(t, "caps", "4", "good")
		d.repo.hold = make(chan struct{})
		d.until(d.install("r3", "3", three), Transfer)
		c := d.install("r4", "4", four)
		d.until(c, Transfer)
		close(d.repo.hold)
		d.until(c, Committed)
		if d.runs() != four {
			t.Errorf("runs %q", d.runs())
		}
	})
}

// TestIdleStation: without parts it is neither failed nor committed, until
// another bundle comes.
func TestIdleStation(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		_, two := settled(t, d)
		three := d.repo.publish(t, "caps", "3", "good")
		four := d.repo.publish(t, "caps", "4", "good")
		d.plant.set(func() { d.plant.idle = true })
		c := d.install("r3", "3", three)
		d.sleep(3 * time.Hour)
		if next := d.next(); next.Phase != Probation || next.Reason != Idle || d.runs() != three {
			t.Errorf("status is %+v", next)
		}
		c4 := d.install("r4", "4", four)
		d.wait("both to be told", func() bool { return d.is(c4, Probation) })
		if d.failure() != Superseded || d.u.stations[0].rec.Load().Good.Digest != two {
			t.Errorf("failure is %q", d.failure())
		}
		if n := d.u.stations[0].rec.Load().Tries[three].Failed; n != 0 {
			t.Errorf("it counts as failed %d times", n)
		}
		_ = c
	})
}

// TestProbationIsNotCutShort: another bundle waits, and says why.
func TestProbationIsNotCutShort(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		_, _ = settled(t, d)
		three := d.repo.publish(t, "caps", "3", "good")
		four := d.repo.publish(t, "caps", "4", "good")
		d.until(d.install("r3", "3", three), Probation)
		c := d.install("r4", "4", four)
		d.wait("the reason", func() bool { return d.last().GetStations()[0].GetReason() == string(OnProbation) })
		d.until(c, Committed)
		if got := d.u.stations[0].rec.Load().Older.Digest; got != three {
			t.Errorf("before it was %q: 3 wasn't committed", got)
		}
	})
}

func TestBusyPlant(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		d.plant.busy = maxBegun - 1
		d.start()
		d.until(d.install("r", "1", one), Committed)
		two := d.repo.publish(t, "caps", "2", "good")
		d.plant.set(func() { d.plant.busy = 100 })
		c := d.install("r2", "2", two)
		d.until(c, Rejected)
		if f := d.u.Status()[0].Failure; f.Reason != TooManyTries || !strings.Contains(f.Text, "no memory") {
			t.Errorf("failure is %+v", f)
		}
	})
}

func TestBadModel(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "bad")
		d.start()
		d.refusedFor(order(wire.Command_ACT_INSTALL, "r", "1", one), BadModel)
	})
}

// TestUnlikeModel: a version that doesn't go with the station's configuration isn't
// loaded; what served before is gone back to all the same.
func TestUnlikeModel(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.start()
		one := d.repo.publish(t, "caps", "1", "good")
		d.until(d.install("r1", "1", one), Committed)
		two := d.repo.publish(t, "caps", "2", "crash")
		c := d.install("r2", "2", two)
		d.until(c, Probation)
		d.plant.set(func() { d.plant.unlike = true })
		d.until(c, RolledBack)
		if d.runs() != one {
			t.Error("it didn't go back to the first")
		}
		three := d.repo.publish(t, "caps", "3", "good")
		d.refusedFor(order(wire.Command_ACT_INSTALL, "r3", "3", three), BadModel)
		if n := d.plant.loads[three]; n > 0 {
			t.Errorf("it was loaded %d times", n)
		}
		if text := d.u.Status()[0].Failure.Text; text != "its labels are others" {
			t.Errorf("the station says %q", text)
		}
	})
}

func TestRefusedPicturesAreBounded(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.start()
		for _, v := range []string{"1", "2", "3"} {
			bad := d.repo.publish(t, "caps", v, "wrong")
			d.until(d.install("r"+v, v, bad), Rejected)
			if n := len(d.u.Status()[0].Failure.Pictures); n != maxPictures {
				t.Errorf("%d pictures", n)
			}
		}
		if n := len(must(os.ReadDir(filepath.Join(d.dir, refusedDir)))(t)); n != keepRefused {
			t.Errorf("pictures of %d bundles are kept", n)
		}
	})
}

// TestDiskFailsDuringProbation: that it serves can't be written down, and it
// misbehaves. It is watched all the same.
func TestDiskFailsDuringProbation(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		two := d.repo.publish(t, "caps", "2", "slow")
		serves := func() (digest string) {
			d.plant.set(func() { digest = d.plant.serves["one"].digest })
			return digest
		}
		d.step = func(p string) error {
			if strings.HasPrefix(p, "before write station") && serves() == two {
				return syscall.EIO
			}
			return nil
		}
		d.start()
		d.until(d.install("r1", "1", one), Committed)
		c := d.install("r2", "2", two)
		d.wait("the switch", func() bool { return serves() == two })
		began := time.Now()
		d.wait("what ran before", func() bool { return serves() == one })
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it misbehaved for %v", took)
		}
		d.until(c, RolledBack)
		d.restart()
		if d.runs() != one {
			t.Errorf("runs %q", d.runs())
		}
	})
}

// TestLocalTwiceAtOnce: a person who clicks twice.
func TestLocalTwiceAtOnce(t *testing.T) {
	for range 10 {
		in(t, func(t *testing.T, d *device) {
			want := d.repo.publish(t, "caps", "1", "good")
			d.start()
			twice := make(chan error, 2)
			for range cap(twice) {
				go func() { twice <- d.u.Local(t.Context(), d.repo.dir) }()
			}
			if err := errors.Join(<-twice, <-twice); err != nil {
				t.Error(err)
			}
			d.wait("it", func() bool { return d.next().Phase == Committed })
			if d.runs() != want {
				t.Errorf("runs %q", d.runs())
			}
		})
	}
}

func TestLocal(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.repo.publish(t, "caps", "1.9.0", "good")
		want := d.repo.publish(t, "caps", "1.10.0", "good")
		d.stations[0].Policy = Ask
		d.repo.away.Store(true)
		d.start()
		if err := d.u.Local(t.Context(), t.TempDir()); err == nil {
			t.Error("an empty folder updates")
		}
		if err := d.u.Local(t.Context(), d.repo.dir); err != nil {
			t.Fatal(err)
		}
		d.wait("the operator", func() bool {
			next := d.next()
			return next.Approvable && next.Version == "1.10.0" && next.Reason == WaitsForOperator
		})
		d.restart()
		if err := d.u.Approve("one"); err != nil {
			t.Fatal(err)
		}
		d.wait("it", func() bool { return d.next().Phase == Committed })
		if d.runs() != want {
			t.Errorf("runs %q", d.runs())
		}
		if err := d.u.Approve("one"); err == nil {
			t.Error("nothing waits, and it can be approved")
		}
	})
}
