package agent

import (
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// followed is a station that follows the parts of a belt, each of which is in doubt.
func followed(t testing.TB, deadline time.Duration, c Cascade) (*running, *Station, Loadout) {
	t.Helper()
	c.Band = &Band{0, 1}
	l := cascade(t, doubting, doubting, "threshold:defect>0.5", c)
	cfg := with("belt", l, drawnCamera(t, drawnBelt(t, 3), CameraConfig{ID: "cam"}))
	cfg.Cascade, cfg.Deadline = l.Cascade, deadline
	r := plant(t, []*infer.Worker{l.Model, l.Cascade.Large}, cfg)
	return r, r.find("belt"), l
}

// since are the inspections told from the n-th on.
func (r *running) since(n int) []*Inspection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Inspection(nil), r.told[min(n, len(r.told)):]...)
}

// inOrder complains of verdicts that were told in another order than the parts were
// decided.
func inOrder(t testing.TB, all []*Inspection) {
	t.Helper()
	for n := 1; n < len(all); n++ {
		if a, b := all[n-1], all[n]; b.Decided.Before(a.Decided) && a.Told.Reason != vision.ReasonNotRecorded { // which waits for nobody
			t.Errorf("part %s was decided %v before part %s, and told after it", b.Part.ID, a.Decided.Sub(b.Decided), a.Part.ID)
		}
	}
}

// TestLineup: a verdict goes out once it and all before it are settled.
func TestLineup(t *testing.T) {
	out := ""
	q := lineup{out: func(i *Inspection) { out += i.Part.ID }}
	verdict := func(id string) *Inspection { return &Inspection{Part: vision.Part{ID: id}} }
	q.pass(verdict("a"))
	b := q.join(verdict("b"))
	q.pass(verdict("c"))
	d := q.join(verdict("d"))
	for n, then := range []string{"a", "a", "abcd", "abcde"} {
		switch n {
		case 1:
			q.settle(d)
		case 2:
			q.settle(b)
		case 3:
			q.pass(verdict("e"))
		}
		if out != then {
			t.Errorf("step %d: %s has gone out, want %s", n, out, then)
		}
	}
}

// TestFollowedInDoubt: the large model looks at the best view of parts that are
// followed, and its evidence decides, in the order in which they came.
func TestFollowedInDoubt(t *testing.T) {
	t.Parallel()
	r, s, _ := followed(t, 0, Cascade{})
	by := func(i *Inspection) bool { return i.Model.Name == "large" }
	r.eventually("verdicts by the large model", func() bool {
		n := 0
		for _, i := range r.since(0) {
			if by(i) {
				n++
			}
		}
		return n >= 6
	})
	all := r.since(0)
	inOrder(t, all)
	for _, i := range all {
		if len(i.Looks) != 2 || i.Looks[0].Model.Name != "first" || i.Looks[1].Why != WhyBand {
			t.Errorf("part %s: %s", i.Part.ID, looks(i))
			continue
		}
		if i.Looks[1].Missed != "" { // before it was measured, or on a busy machine
			if i.Told.Verdict != vision.None || i.Told.Reason != vision.ReasonDoubt {
				t.Errorf("part %s: %s, but %v %s", i.Part.ID, looks(i), i.Told.Verdict, i.Told.Reason)
			}
			continue
		}
		if !by(i) || i.Part.Box.Area() == 0 || i.Looks[1].Took <= 0 || i.Looks[0].Took <= 0 {
			t.Errorf("part %s: %s by %s, box %v", i.Part.ID, looks(i), i.Model.Name, i.Part.Box)
		}
		for _, e := range i.Part.Defects {
			if e.Frames != 1 || e.Score > *i.Looks[1].Score {
				t.Errorf("part %s: evidence %+v isn't of one look", i.Part.ID, e)
			}
		}
	}
	if st := s.budget.stats(); st.Looks[WhyBand] < 6 || st.Mean <= 0 || st.Parts < 6 {
		t.Errorf("%+v", st)
	}
}

// TestFollowedInVain: while the large model is frozen parts are followed on, each gets
// the configured answer by its deadline, and none overtakes another.
func TestFollowedInVain(t *testing.T) {
	const deadline = 1500 * time.Millisecond
	r, s, _ := followed(t, deadline, Cascade{Small: true})
	r.eventually("verdicts by the large model", func() bool { return r.judged("belt", "large") > 1 })
	if err := syscall.Kill(pidOf(t, "large"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pidOf(t, "large"), syscall.SIGCONT)
	before, inferred := len(r.since(0)), s.Figures().Inferred
	r.eventually("parts that the large model is too late for", func() bool { return s.budget.stats().Missed[MissedLate] >= 4 })
	if n := s.Figures().Inferred - inferred; n < 10 {
		t.Errorf("%d pictures were inspected meanwhile", n)
	}
	all := r.since(before)
	inOrder(t, r.since(0))
	for _, i := range all {
		if last := i.Looks[1]; last.Missed == MissedLate && i.Decision.Reason == vision.ReasonDoubt {
			t.Errorf("part %s: %v %s, looked: %s", i.Part.ID, i.Told.Verdict, i.Told.Reason, looks(i))
		}
	}
}

// TestSwitchWithPartsInDoubt: a station that is switched while parts wait for the large
// model tells them by their own lane, and then needs its workers no more.
func TestSwitchWithPartsInDoubt(t *testing.T) {
	r, _, l := followed(t, 3*time.Second, Cascade{Small: true})
	r.eventually("verdicts by the large model", func() bool { return r.judged("belt", "large") > 1 })
	pid := pidOf(t, "large")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	bare := l
	bare.Cascade = nil
	bare.About.Name = "bare"
	if !r.find("belt").uses(l.Cascade.Large) {
		t.Error("the station doesn't use its large model")
	}
	if _, err := r.Switch(t.Context(), "belt", bare); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan bool, 1)
	go func() { stopped <- r.StopWorker(l.Cascade.Large) }()
	if !<-stopped {
		t.Error("the large model is still in use")
	}
	r.eventually("verdicts without it", func() bool { return r.judged("belt", "bare") > 2 })
	all := r.since(0)
	inOrder(t, all)
	for n, i := range all {
		if (i.Model.Name == "bare") != (i.Looks == nil) {
			t.Errorf("verdict %d by %s: %s", n, i.Model.Name, looks(i))
		}
	}
}

// TestPicturesForTheLargeModel: what is kept of open parts goes with them.
func TestPicturesForTheLargeModel(t *testing.T) {
	l := seeing(t, "first")
	b := newBelt(t, l, track.Stream)
	s := b.station
	s.lane.Cascade = &Cascade{Large: eye.worker, About: Model{Name: "large", Digest: "digest of large"}}
	s.looking = t.Context()
	most := 0
	for b.n < 150 {
		b.step()
		most = max(most, len(s.lane.exhibits))
		for id, e := range s.lane.exhibits {
			if _, open := s.lane.confirmed(id); !open {
				t.Errorf("picture %d: part %s has gone, and a view of it is kept", b.n, id)
			}
			if e.frame.Width != b.frame.Width || e.box.Area() == 0 || e.seq == 0 {
				t.Errorf("%+v", e)
			}
		}
	}
	if most < 2 {
		t.Errorf("at most %d views were kept at once", most)
	}
	album := s.lane.eyes[0].album
	b.finish()
	s.asking.Wait()
	if n := len(album.free); n != keptExhibits || !album.closed {
		t.Errorf("%d of %d slots are back, closed: %v", n, keptExhibits, album.closed)
	}
}

// TestNoPicturesForWhatCannotLook: where no large model can look no pictures are kept for
// it, and parts in doubt get the configured answer for that reason.
func TestNoPicturesForWhatCannotLook(t *testing.T) {
	l := seeing(t, "first")
	b := newBelt(t, l, track.Stream)
	s := b.station
	s.lane.Cascade = &Cascade{Unfit: "its labels are others", About: Model{Name: "large"}, Band: &Band{High: 1}}
	s.looking = t.Context()
	kept := 0
	for b.n < 150 {
		b.step()
		kept = max(kept, len(s.lane.exhibits))
		if s.lane.eyes[0].album != nil {
			t.Fatalf("picture %d: there is memory for pictures", b.n)
		}
	}
	s.decideAll(t.Context())
	s.lane.asked.Wait()
	b.finish()
	s.asking.Wait()
	if missed := s.budget.stats().Missed; kept == 0 || missed[MissedDown] == 0 || len(missed) != 1 {
		t.Errorf("of %d parts at once what the first model said is kept; looks missed: %v", kept, missed)
	}
}

// TestPicturesInDoubt: of pictures that are a part each the large model's evidence counts
// wherever it lies, and none is left waiting at the end.
func TestPicturesInDoubt(t *testing.T) {
	l := seeing(t, "first")
	b := newBelt(t, l, track.Pictures)
	s := b.station
	far := shipped(t, "large", doubting)
	works(t, far.Model)
	s.lane.Cascade = &Cascade{Large: far.Model, About: Model{Name: "large", Digest: "digest of large"}, Band: &Band{0, 1}}
	s.looking = t.Context()
	s.practise(t.Context(), s.lane)
	const pictures = 40
	for b.n < pictures {
		if err := b.scene.Frame(b.n, &b.frame); err != nil {
			t.Fatal(err)
		}
		b.step()
	}
	s.lane.asked.Wait()
	all := b.finish()
	s.asking.Wait()
	by := 0
	for _, i := range all {
		last := i.Looks[len(i.Looks)-1]
		switch {
		case last.Missed == MissedPart:
			t.Errorf("picture %d: %s", i.Part.Best, looks(i))
		case last.Missed == "":
			by++
			if first := i.Looks[0]; *first.Score-*last.Score > 0.01 || *last.Score-*first.Score > 0.01 { // it is the same model
				t.Errorf("picture %d: %s", i.Part.Best, looks(i))
			}
		}
	}
	if len(all) != pictures || by < pictures*3/4 {
		t.Errorf("%d verdicts, %d of them by the large model", len(all), by)
	}
	inOrder(t, all)
}
