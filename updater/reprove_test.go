package updater

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
)

// TestDoubtThatIsRight: what fails its gate while it serves is left for the last good
// one, and isn't installed by the same command again.
func TestDoubtThatIsRight(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		two := d.repo.publish(t, "caps", "2", "delicate")
		d.start()
		d.until(d.install("r1", "1", one), Committed)
		c := d.install("r2", "2", two)
		d.until(c, Committed)
		d.plant.set(func() { d.plant.fingerprint = "cpu 2" })
		if err := d.u.Doubt("one", two, "golden/2.png differs", nil); err != nil {
			t.Fatal(err)
		}
		d.until(c, RolledBack)
		if d.runs() != one || d.failure() != GoldenGate || d.plant.workers != 0 {
			t.Errorf("runs %q after %q, %d workers are left", d.runs(), d.failure(), d.plant.workers)
		}
		if err := d.u.Doubt("one", two, "late", nil); err != nil { // about what runs no more
			t.Fatal(err)
		}
		d.u.Command(c)
		d.sleep(time.Minute)
		if d.runs() != one {
			t.Errorf("runs %q again", d.runs())
		}
	})
}

// TestDoubtThatIsWrong: all golden pictures come out right, and it serves on.
func TestDoubtThatIsWrong(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		_, two := settled(t, d)
		n := d.plant.gates[two]
		if err := d.u.Doubt("one", two, "golden/2.png differs", nil); err != nil {
			t.Fatal(err)
		}
		d.wait("the gate", func() bool { return d.plant.gatesOf(two) == n+1 })
		d.sleep(time.Minute)
		if d.runs() != two || d.failure() != "" || d.plant.gatesOf(two) != n+1 || d.plant.workers != 0 {
			t.Errorf("runs %q after %q, the gate ran %d times", d.runs(), d.failure(), d.plant.gatesOf(two)-n)
		}
		if err := d.u.Doubt("nowhere", two, "x", nil); err == nil {
			t.Error("a station that isn't there was doubted")
		}
	})
}

// TestDoubtWithNothingToGoBackTo: it serves on, and the next start gates it first.
func TestDoubtWithNothingToGoBackTo(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "delicate")
		d.start()
		d.until(d.install("r1", "1", one), Committed)
		d.plant.set(func() { d.plant.fingerprint, d.plant.busy = "cpu 2", 1 }) // tried again
		d.u.stations[0].rec.Load().Older = place{}
		if err := d.u.Doubt("one", one, "golden/2.png differs", nil); err != nil {
			t.Fatal(err)
		}
		d.wait("the gate", func() bool { return d.u.stations[0].rec.Load().active().Gate == nil })
		if d.runs() != one {
			t.Errorf("runs %q", d.runs())
		}
		d.end()
		d.open()
		c := must(d.plant.Load(t.Context(), "one", d.u.contentPath(one), one))(t)
		if must(d.u.Regate(t.Context(), "one", c))(t) {
			t.Error("the next start serves it ungated")
		}
	})
}

// TestUnmeasuredServes, and is told as that from its gate on: here, in reports and in
// what is signed for the fleet.
func TestUnmeasuredServes(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		proves := func(version, why string) {
			t.Helper()
			d.wait("the proof of "+version, func() bool { return d.u.Reports()[0].GetProof() != nil })
			r, s := d.u.Reports()[0], new(wire.Statement)
			if err := proto.Unmarshal(r.GetProof().GetStatement(), s); err != nil {
				t.Fatal(err)
			}
			if up := r.GetStations()[0]; up.GetUnmeasured() != why || s.GetGate().GetUnmeasured() != why || s.GetGate().GetPictures() != 3 {
				t.Errorf("%s: the fleet is told %v, and signed %v", version, up, s.GetGate())
			}
		}
		one := d.repo.publish(t, "caps", "1", "strange")
		d.start()
		d.until(d.install("r1", "1", one), Committed)
		st := d.u.Status()[0]
		if d.runs() != one || st.Active.Unmeasured != "nobody measured cpu" || st.Next.Unmeasured != st.Active.Unmeasured {
			t.Errorf("runs %q, %+v, %+v", d.runs(), st.Active, st.Next)
		}
		proves("1", "nobody measured cpu")
		two := d.repo.publish(t, "caps", "2", "good")
		d.until(d.install("r2", "2", two), Committed)
		if st := d.u.Status()[0]; st.Active.Unmeasured != "" || st.Next.Unmeasured != "" {
			t.Errorf("a measured one: %+v, %+v", st.Active, st.Next)
		}
		proves("2", "")
	})
}

// TestOneStationUnmeasured: where the bundle is unmeasured on one station, what is
// signed for the device isn't a measured one's, whichever station that is.
func TestOneStationUnmeasured(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.stations = append(d.stations, Station{ID: "two", Bundle: "caps"}, Station{ID: "lids", Bundle: "lids"})
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		c := d.install("r1", "1", one)
		d.until3(c)
		d.wait("the proof", func() bool { return d.u.Reports()[0].GetProof() != nil })
		for i := range 2 {
			r := d.u.stations[i].rec.Load().clone()
			p := r.slot(r.Active)
			was := p.Gate
			g := *was
			g.Unmeasured, p.Gate = "nobody measured cuda", &g
			d.u.stations[i].rec.Store(r)
			if _, gate := d.u.ran(d.u.assignment("caps")); gate == nil || gate.Unmeasured != g.Unmeasured {
				t.Errorf("station %d is unmeasured, the device's gate is %+v", i, gate)
			}
			r = r.clone()
			r.slot(r.Active).Gate = was
			d.u.stations[i].rec.Store(r)
		}
	})
}
