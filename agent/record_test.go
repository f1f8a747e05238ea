package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/sync/wire/rest"
	"github.com/sightline-edge/sightline/vision"
)

// bench is a recorder over a real journal whose writer runs only when the
// test says so: until then the disk takes nothing.
type bench struct {
	*recorder
	journal *journal.Journal
	told    chan *Inspection
	kept    chan *Inspection // on disk
	station *Station
	ended   chan error
}

func newBench(t *testing.T, cfg StationConfig) *bench {
	t.Helper()
	j, _, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{journal: j, told: make(chan *Inspection, 100), kept: make(chan *Inspection, 100), ended: make(chan error, 3)}
	b.recorder = newRecorder(j, slog.New(slog.DiscardHandler), func(i *Inspection) { b.told <- i }, func(i *Inspection) { b.kept <- i })
	cfg.ID, cfg.Log = "bench", slog.New(slog.DiscardHandler)
	b.station = newStation(cfg, b.recorder, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { b.ended <- b.run() }()
	go func() { b.ended <- b.runLate(ctx) }()
	t.Cleanup(func() {
		b.close()
		cancel()
		if err := errors.Join(<-b.ended, <-b.ended, j.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// write starts the journal's writer until the test ends.
func (b *bench) write(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.journal.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (b *bench) pass(id string) {
	b.decided(&Inspection{
		Part: vision.Part{ID: id, Label: "part"}, station: b.station, Decided: time.Now(),
		Decision: vision.Decision{Verdict: vision.Pass, Reason: "ok"}, Told: vision.Decision{Verdict: vision.Pass, Reason: "ok"},
	})
}

// rows waits until the journal has n results and gives what it says was told.
func (b *bench) rows(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		got = nil
		rows, _, err := b.journal.Query(0, 100, func(uint64, []byte) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			r, ok := fromRow(row)
			if !ok {
				t.Fatalf("row %d is no result", row.Seq)
			}
			a := r.Answer()
			got = append(got, fmt.Sprintf("%s %v %v %s", r.ID, r.Verdict, a.Verdict, a.Reason))
		}
		if cmp.Equal(want, got) && b.Stats().Owed == 0 {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Errorf("the journal has (-want +got):\n%s", cmp.Diff(want, got))
}

func TestToldWhenOnDiskInOrder(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: 10 * time.Second})
	b.write(t)
	for i := range 50 {
		b.pass(fmt.Sprint(i))
	}
	for i := range 50 {
		if i == 0 {
			if got := <-b.kept; got.Part.ID != "0" {
				t.Fatalf("%s is on disk first", got.Part.ID)
			}
		}
		if got := <-b.told; got.Part.ID != fmt.Sprint(i) || got.Told.Verdict != vision.Pass || got.Seq != uint64(i+1) {
			t.Fatalf("told %s %v with sequence %d, want %d PASS with %d", got.Part.ID, got.Told, got.Seq, i, i+1)
		}
	}
}

func TestSlowDiskIsNotRecordedByTheDeadlineAndAmendedLater(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: 30 * time.Millisecond})
	before := time.Now()
	b.pass("a")
	got := <-b.told
	if took := time.Since(before); took < 30*time.Millisecond {
		t.Errorf("told after %v, before the deadline", took)
	}
	if want := (vision.Decision{Reason: vision.ReasonNotRecorded}); !cmp.Equal(want, got.Told) || got.Seq != 0 {
		t.Errorf("told %+v with sequence %d, want %+v", got.Told, got.Seq, want)
	}
	if len(b.kept) != 0 {
		t.Error("what isn't on disk counts as kept: its picture would be deleted")
	}
	b.write(t)
	b.rows(t, "a PASS NONE not_recorded")
	if got := <-b.kept; got.Part.ID != "a" {
		t.Errorf("%s is on disk", got.Part.ID)
	}
}

func TestUnrecordedMayBeAllowed(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: time.Millisecond, Allow: true})
	b.pass("a")
	if got := <-b.told; got.Told.Verdict != vision.Pass || b.Stats().Late != 1 {
		t.Errorf("told %+v, %+v", got.Told, b.Stats())
	}
	b.write(t)
	b.rows(t, "a PASS PASS ok")
}

func TestRefusedRecordIsToldAtOnceAndOwed(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: time.Hour})
	stop, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.journal.Run(stop); err != nil { // from now on it refuses
		t.Fatal(err)
	}
	b.pass("a")
	if got := <-b.told; got.Told.Reason != vision.ReasonNotRecorded {
		t.Errorf("told %+v", got.Told)
	}
	if s := b.Stats(); s.Late != 1 || s.LastErr == "" || len(b.kept) != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestResultKeepsWhatWasDecidedAndTold(t *testing.T) {
	i := &Inspection{
		Part:     vision.Part{ID: "x", Label: "cap", Name: "a.jpg", Defects: []vision.Evidence{{Label: "dent", Score: 0.5, Frames: 3}}},
		Decision: vision.Decision{Verdict: vision.Fail, Reason: "dent", Measurements: []vision.Measurement{{Name: "dent", Value: 0.5, Limit: 0.4}}},
		Told:     vision.Decision{Reason: vision.ReasonNotRecorded}, Decided: time.Unix(5, 0), Seq: 7, station: &Station{},
	}
	live := result(i)
	rec, err := wire.Decode(i.record(&i.Told))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(live, rest.FromWire(7, rec.GetResult())); d != "" {
		t.Errorf("a live result and its record differ:\n%s", d)
	}
}
