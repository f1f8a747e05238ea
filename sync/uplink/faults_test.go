package uplink

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestCuts: the network is cut again and again while records are written and
// drained. None is lost, none twice, all in order.
func TestCuts(t *testing.T) {
	t.Parallel()
	records, cuts := 10_000, 20
	if full() {
		records, cuts = 200_000, 100
	}
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	p := newProxy(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, records/2)
	u := start(t, quick(p.addr, j))
	for i := range cuts {
		fill(t, j, records/2/cuts)
		to := uint64(i+1) * uint64(records) / uint64(cuts+10)
		eventually(t, 2*time.Minute, "the drain goes on", func() bool { return f.watermark(j.Epoch()) >= to && u.Stats().Connected })
		switch how := []string{"rst", "short", "half", "deaf"}[i%4]; how {
		case "half":
			p.cut("half")
			<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond)
			p.cut("rst")
		case "deaf":
			p.set(true)
			p.cut("rst")
			<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond)
			p.set(false)
			p.cut("rst")
		default:
			p.cut(how)
		}
	}
	u.drained(2 * time.Minute)
	f.has(j)
	s := u.Stats()
	if s.Connects < uint64(cuts)/2 {
		t.Errorf("it connected %d times in %d cuts", s.Connects, cuts)
	}
	f.with(func() { t.Logf("%+v; gaps %d, repeated %d", s, f.gaps, f.repeated) })
}

// TestDeadPeers: a connection that passes nothing any more, or a byte a second,
// is given up in time, and the rest goes over the next one.
func TestDeadPeers(t *testing.T) {
	if !full() {
		t.Skip("it takes a minute: set SIGHTLINE_FAULTS=full")
	}
	for _, how := range []string{"half", "drip"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m := newMosquitto(t)
			f := newFleet(t, m.addr)
			p := newProxy(t, m.addr)
			j, _ := openJournal(t, t.TempDir())
			fill(t, j, 100)
			u := start(t, quick(p.addr, j))
			u.drained(patient)
			p.cut(how)
			fill(t, j, 5000)
			began := time.Now()
			eventually(t, 42*time.Second, "the dead connection is found", func() bool { return u.Stats().Connects == 2 })
			t.Logf("found after %s: %s", time.Since(began), u.Stats().LastError)
			u.drained(patient)
			f.has(j)
		})
	}
}

// TestBrokerRestarts: what was in the broker is lost with it.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 6000)
	u := start(t, quick(m.addr, j))
	for i := range uint64(3) {
		eventually(t, patient, "the drain goes on", func() bool { return f.watermark(j.Epoch()) >= i*1000+1 })
		m.restart()
		fill(t, j, 500)
	}
	u.drained(patient)
	f.has(j)
}

// TestFleetSetBack: the fleet comes back from a backup, with less than it had
// acknowledged, or with nothing.
func TestFleetSetBack(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	p := newProxy(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 3000)
	u := start(t, quick(p.addr, j))
	u.drained(patient)
	for _, to := range []uint64{1234, 3000, 0} {
		f.setBack(j.Epoch(), to)
		p.cut("rst")
		eventually(t, patient, "all is sent again after a new connection", func() bool { return f.watermark(j.Epoch()) == 3000 })
	}
	f.setBack(j.Epoch(), 77)
	fill(t, j, 1)
	u.drained(patient)
	f.has(j)
	if s := u.Stats(); s.Retries == 0 || j.Stats().Acknowledged != 3001 {
		t.Errorf("on a connection that stays: %+v", s)
	}
}

// TestLostAcknowledgements: without an answer the device asks where the fleet
// is, so that nothing which arrived is sent twice.
func TestLostAcknowledgements(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	f.silent = func(wire.Kind) bool { return true }
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 300)
	u := start(t, quick(m.addr, j))
	eventually(t, patient, "the greeting is repeated", func() (ok bool) {
		f.with(func() { ok = len(f.hellos) >= 2 && len(f.epochs[j.Epoch()].items) == 0 })
		return ok
	})
	if s := u.Stats(); s.Batches != 0 || s.Located || s.LastError != errMute.Error() {
		t.Errorf("batches went before the fleet said where it is: %+v", s)
	}
	f.with(func() { f.silent = nil })
	u.drained(patient)
	f.with(func() { f.mute = true })
	fill(t, j, 500)
	u.drained(patient)
	f.has(j)
	if s := u.Stats(); s.Retries == 0 || s.Resent != 0 || f.repeated != 0 {
		t.Errorf("%d records came twice: %+v", f.repeated, s)
	}
}

// TestLostBatches: a broker may take a batch and lose it.
func TestLostBatches(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	n := 0
	f.silent = func(k wire.Kind) bool { n++; return k == wire.KindEvents && n%20 == 0 }
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 3000)
	u := start(t, quick(m.addr, j))
	u.drained(time.Minute)
	f.has(j)
	if s := u.Stats(); f.gaps == 0 || s.Retries == 0 {
		t.Errorf("nothing was lost: %+v", s)
	}
}

// TestNewJournal: another file, another epoch; the fleet keeps both.
func TestNewJournal(t *testing.T) {
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	for range 2 {
		j, stop := openJournal(t, t.TempDir())
		fill(t, j, 500)
		u := start(t, quick(m.addr, j))
		u.drained(patient)
		u.stop()
		f.has(j)
		stop()
	}
	if len(f.epochs) != 2 {
		t.Errorf("the fleet knows %d epochs", len(f.epochs))
	}
}

// TestJournalFromABackup: the fleet knows more than the journal. Numbers would
// be given twice, so a new epoch begins, and all that is new arrives under it,
// also if the journal has grown past the fleet by the time it hears of that.
func TestJournalFromABackup(t *testing.T) {
	for _, grown := range []int{20, 100} {
		t.Run(fmt.Sprint(grown), func(t *testing.T) { fromABackup(t, grown) })
	}
}

func fromABackup(t *testing.T, grown int) {
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	dir := t.TempDir()
	j, stop := openJournal(t, dir)
	fill(t, j, 100)
	u := start(t, quick(m.addr, j))
	u.drained(patient)
	u.stop()
	stop()
	backup, err := os.ReadFile(filepath.Join(dir, journal.FileName))
	if err != nil {
		t.Fatal(err)
	}
	j, stop = openJournal(t, dir)
	fill(t, j, 50)
	u = start(t, quick(m.addr, j))
	u.drained(patient)
	u.stop()
	stop()

	if err := os.WriteFile(filepath.Join(dir, journal.FileName), backup, 0o600); err != nil {
		t.Fatal(err)
	}
	j, _ = openJournal(t, dir)
	old := j.Epoch()
	fill(t, j, grown)
	u = start(t, quick(m.addr, j))
	eventually(t, patient, "a new epoch", func() bool { return u.Stats().NewEpochs == 1 })
	u.drained(patient)
	if j.Epoch() == old {
		t.Fatal("the epoch is the old one")
	}
	fill(t, j, 20)
	u.drained(patient)
	f.has(j)
	if w := f.watermark(old); w != 150 {
		t.Errorf("the old epoch ends at %d", w)
	}
	e := f.epochs[j.Epoch()]
	if len(e.items) != 1+grown+20 || e.items[0].Last != 100 {
		t.Errorf("under the new epoch: %s, the first item to %d", e, e.items[0].Last)
	}
	if s := u.Stats(); s.NewEpochs != 1 {
		t.Errorf("%+v", s)
	}
}

// TestHoles: what retention dropped while the device was away arrives as
// holes, and the watermark passes them.
func TestHoles(t *testing.T) {
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	j, _, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j.Retain(1 << 20)
	runJournal(t, j)
	fill(t, j, 8000)
	if j.Stats().Dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	u := start(t, quick(m.addr, j))
	u.drained(patient)
	f.has(j)
	var counted, holes uint64
	for _, it := range f.epochs[j.Epoch()].items {
		r, err := wire.Decode(it.Body)
		if err != nil {
			t.Fatal(err)
		}
		if h := r.GetHole(); h != nil {
			holes++
			counted += h.GetPass() + h.GetFail() + h.GetNone() + h.GetOther()
		}
	}
	if holes == 0 || counted != j.Stats().Dropped {
		t.Errorf("%d holes of %d records, %d were dropped", holes, counted, j.Stats().Dropped)
	}
}

// TestNothingIsLeftBehind: old connections' goroutines end.
func TestNothingIsLeftBehind(t *testing.T) {
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	p := newProxy(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 10)
	before := runtime.NumGoroutine()
	cfg := quick(p.addr, j)
	cfg.Spread = 2 * time.Millisecond
	u := start(t, cfg)
	u.drained(patient)
	one := runtime.NumGoroutine()
	for i := range 100 {
		made := u.Stats().Connects
		p.cut([]string{"rst", "end"}[i%2])
		fill(t, j, 10)
		eventually(t, patient, "it connects again", func() bool { return u.Stats().Connects > made })
	}
	u.drained(patient)
	eventually(t, patient, "no more goroutines than with the first connection", func() bool { return runtime.NumGoroutine() <= one })
	u.stop()
	eventually(t, patient, "no goroutines of the uplink", func() bool { return runtime.NumGoroutine() <= before })
	f.has(j)
}
