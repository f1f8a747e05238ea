package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestJournalDeleted: the device's journal is gone. The new one's numbers begin
// at 1 again, in an epoch of its own, and nothing of either is lost.
func TestJournalDeleted(t *testing.T) {
	t.Parallel()
	c := newCentral(t, false)
	d := newDevice(t, c, "deleted")
	var before []told
	recipes := []recipe{d.set.Make}
	for n := range 3 {
		d.start()
		d.until("records", func(now told) bool { return now.Acked > 100 })
		before = append(before, d.stop())
		if n < 2 {
			if err := os.Remove(filepath.Join(d.set.Data, journal.FileName)); err != nil {
				t.Fatal(err)
			}
			d.set.Make.Name += "-again"
			recipes = append(recipes, d.set.Make)
		}
	}
	all := c.has(d.id)
	if len(all) != len(before) {
		t.Errorf("the fleet has %d epochs, want %d", len(all), len(before))
	}
	for n, last := range before {
		all[last.Epoch].audit(t, recipes[n], 1, last.Last)
	}
}

// TestJournalRestored: the device's journal is put back from an older copy, in
// which records wait that the fleet has got since. A new epoch begins: all that
// waits in the copy and all that is made from now on comes.
func TestJournalRestored(t *testing.T) {
	t.Parallel()
	c := newCentral(t, false)
	d := newDevice(t, c, "original")
	path := filepath.Join(d.set.Data, journal.FileName)
	d.start()
	acked := d.until("records at the fleet", func(now told) bool { return now.Acked > 100 }).Acked
	c.mqtt.Set(cable.Refused)
	waiting := d.until("records that wait", func(now told) bool { return now.Last > acked+100 })
	d.kill()
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c.mqtt.Set(cable.Whole)
	d.start()
	d.until("more records", func(now told) bool { return now.Acked > waiting.Last+200 })
	original := d.stop()
	d.audit(c, original)

	j, opened, err := func() (*journal.Journal, journal.Opened, error) {
		if err := os.WriteFile(path, copied, 0o640); err != nil {
			return nil, journal.Opened{}, err
		}
		return journal.Open(d.set.Data)
	}()
	if err != nil || opened.Quarantined != "" {
		t.Fatal(err, opened)
	}
	was := j.Stats()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	first := d.set.Make
	d.set.Make = recipe{Name: "restored", Clock: first.Clock}
	d.set.After = time.Millisecond // else it may pass the fleet before it asks, which nobody can tell
	d.start()
	d.until("records in a new epoch", func(now told) bool { return now.NewEpochs == 1 && now.Acked > was.Last+100 })
	restored := d.stop()
	all := c.has(d.id)
	all[original.Epoch].audit(t, first, 1, original.Last)
	h := all[restored.Epoch]
	if len(all) != 2 || h == nil || len(h.holes) != 1 || h.holes[0] != (heldHole{1, was.Acknowledged, verdicts{}, wire.HoleEarlierEpoch}) {
		t.Fatalf("the fleet has %d epochs, of the new one %+v; acknowledged in the copy was %d", len(all), h, was.Acknowledged)
	}
	h.audit(t, recipe{Name: first.Name, Clock: first.Clock, Until: was.Last, Then: &d.set.Make}, 1, restored.Last)
	t.Logf("the copy had %d records, %d of them acknowledged, the original %d", was.Last, was.Acknowledged, original.Last)
}

// TestRetentionLeavesHoles: an outage lasts for longer than the journal has
// room. What is dropped meanwhile is known at the fleet by number and verdict,
// whatever is killed meanwhile.
func TestRetentionLeavesHoles(t *testing.T) {
	t.Parallel()
	outages := 1
	if full() {
		outages = 20
	}
	c := newCentral(t, false)
	d := newDevice(t, c, "retained")
	d.set.Retain, d.set.Rate = 256<<10, 2000
	d.start()
	db := c.database()
	more(t, db, 100)
	for range outages {
		c.mqtt.Set(cable.Refused)
		dropped := d.now().Dropped
		for range 3 { // kills
			dropped += 1 + rand.Uint64N(1500)
			d.until("dropped records", func(now told) bool { return now.Dropped > dropped })
			d.kill()
			d.start()
		}
		c.mqtt.Set(cable.Whole)
		// The holes are under way.
		moment(600 * time.Millisecond)
		c.process.kill()
		c.serve()
		d.kill()
		d.start()
		more(t, db, 100)
	}
	last := d.stop()
	h := c.has(d.id)[last.Epoch]
	d.audit(c, last)
	var missing uint64
	sum := d.set.Make.countRows(h.rows)
	for _, hole := range h.holes {
		missing += hole.last - hole.first + 1
		sum.pass += hole.counts.pass
		sum.fail += hole.counts.fail
		sum.none += hole.counts.none
	}
	want := d.set.Make.count(1, last.Last)
	want.other = 0
	if sum != want {
		t.Errorf("results and holes together are %+v, made were %+v", sum, want)
	}
	if len(h.holes) < outages || missing > last.Dropped {
		t.Errorf("%d holes for %d records; the device dropped %d", len(h.holes), missing, last.Dropped)
	}
	t.Logf("%d records made, %d results at the fleet, %d records in %d holes: %+v; the journal dropped %d that it didn't know to be at the fleet",
		last.Last, len(h.rows), missing, len(h.holes), sum, last.Dropped)
}
