package agent

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// triggered is a station in trigger mode.
func triggered(t testing.TB, l Loadout, cameras ...*Camera) StationConfig {
	t.Helper()
	if cameras == nil {
		cameras = []*Camera{drawnCamera(t, standing(t), CameraConfig{ID: "cam"})}
	}
	s := with("gate", l, cameras...)
	s.Trigger, s.MaxAge = &TriggerConfig{}, 2*time.Second
	return s
}

// standing is a belt that shows the same good part all the time.
func standing(t testing.TB) still {
	t.Helper()
	sc := drawnBelt(t, 21)
	for n := range 4000 {
		parts := sc.Truth(n)
		for _, p := range parts {
			x, _ := p.Clipped.Center()
			if len(parts) == 1 && len(p.Part.Defects) == 0 && x > 236 && x < 276 {
				f := sc.NewFrame()
				if err := sc.Frame(n, f); err != nil {
					t.Fatal(err)
				}
				return still{sc, f.Pix}
			}
		}
	}
	t.Fatal("no good part comes by alone")
	return still{}
}

// still shows one picture of a scene for ever.
type still struct {
	*scene.Scene
	drawn []byte // its pixels
}

func (s still) Frame(_ int, dst *vision.Frame) error {
	copy(dst.Pix, s.drawn)
	return nil
}

// ready waits until the station takes triggers.
func (r *running) ready() *Station {
	r.t.Helper()
	s := r.find("gate")
	r.eventually("a station that takes triggers", func() bool { ok, _ := s.Ready(); return ok })
	return s
}

func (r *running) trigger(q Trigger) Answer {
	r.t.Helper()
	a, err := r.Trigger("gate", q)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// lapses triggers until what becomes of it at its deadline is on disk by then, which a
// disk that others use, too, may not manage.
func (r *running) lapses(trigger func() Trigger) (a Answer) {
	r.t.Helper()
	for range 5 {
		if a = r.trigger(trigger()); a.Reason != vision.ReasonNotRecorded {
			break
		}
	}
	return a
}

// inspects triggers until every camera gives its picture: a busy machine may lose the one that a
// trigger means, whose part then is rejected.
func (r *running) inspects() (a Answer) {
	r.t.Helper()
	for range 20 {
		if a = r.trigger(Trigger{}); a.Reason != vision.ReasonNoFrame && a.Reason != vision.ReasonViewMissing {
			break
		}
		r.t.Logf("%+v", a)
	}
	return a
}

// result waits for the result of an answer: the line hears first.
func (r *running) result(a Answer) (out *Inspection) {
	r.t.Helper()
	r.eventually("the result of trigger "+a.Trigger, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, i := range r.told {
			if i.Part.Trigger == a.Trigger {
				out = i
			}
		}
		return out != nil
	})
	return out
}

// TestTrigger: a trigger is one inspection with one answer, under its ID, and each
// trigger of a part is another attempt.
func TestTrigger(t *testing.T) {
	l := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l))
	r.ready()
	a := r.trigger(Trigger{ID: "t1", Part: "p"})
	r.eventually("its time, from the trigger on, on the page", func() bool { return r.named("gate").Hour.P50 >= api.MS(a.Latency)*0.7 })
	if a.Verdict != vision.Pass || a.Trigger != "t1" || a.Part != "p" || a.Attempt != 1 || a.Seq == 0 || a.Repeated {
		t.Fatalf("%+v", a)
	}
	again := r.trigger(Trigger{ID: "t1"})
	if !again.Repeated || again.Seq != a.Seq || again.Part != "p" || again.First != a.Latency || a.First != 0 {
		t.Errorf("the same trigger again: %+v", again)
	}
	if c := r.trigger(Trigger{ID: "t1", Part: "q"}); c.Verdict != vision.None || c.Reason != vision.ReasonRepeatedID || c.Trigger != "t1" || c.Part != "q" || c.Repeated {
		t.Errorf("another part's ID: %+v", c)
	}
	if b := r.trigger(Trigger{ID: "t2", Part: "p"}); b.Attempt != 2 || b.Seq == a.Seq {
		t.Errorf("the same part again: %+v", b)
	}
	x, y := r.trigger(Trigger{}), r.trigger(Trigger{})
	if x.Trigger == "" || x.Trigger == y.Trigger {
		t.Errorf("counted by the device: %+v, %+v", x, y)
	}
	r.result(y)
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[uint64]bool{}
	for _, i := range r.told {
		if p := &i.Part; p.Best != 0 && seen[p.Best] || p.Trigger == "" || p.Seen.IsZero() || i.Camera != "cam" {
			t.Errorf("%+v", p)
		}
		seen[i.Part.Best] = true
	}
	if len(r.told) != 5 {
		t.Errorf("%d results of 5 inspections", len(r.told))
	}
}

// TestTriggerIsBoundToItsFrame: each gets the first picture of its moment or later.
func TestTriggerIsBoundToItsFrame(t *testing.T) {
	l := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l))
	s := r.ready()
	for range 10 {
		at := time.Now()
		got := r.result(r.trigger(Trigger{})).Part.BestSeen
		if late := got.Sub(at); late < 0 || late > 250*time.Millisecond {
			t.Errorf("the picture is %v from the trigger; 15 come a second", late)
		}
	}
	newer := func() time.Time {
		before := s.views[0].shutter.newest()
		r.eventually("a newer picture", func() bool { return s.views[0].shutter.newest().After(before) })
		return s.views[0].shutter.newest()
	}
	var past time.Time
	r.eventually("a verdict on a moment ago", func() bool { // not on a picture right after a standstill of a busy machine
		past = newer()
		newer()
		return r.trigger(Trigger{At: past}).Reason == "ok"
	})
	if a := r.trigger(Trigger{At: past}); a.Verdict != vision.None || a.Reason != vision.ReasonOverrun {
		t.Errorf("two parts in one picture: %+v", a)
	}
	if a := r.trigger(Trigger{At: past.Add(-time.Minute)}); a.Verdict != vision.None || a.Reason != vision.ReasonNoFrame {
		t.Errorf("of a minute ago: %+v", a)
	}
	var began time.Time
	a := r.lapses(func() Trigger {
		began = time.Now()
		return Trigger{At: began.Add(time.Hour), Deadline: 2 * time.Second}
	})
	if took := time.Since(began); a.Verdict != vision.None || a.Reason != vision.ReasonNoFrame || took > 5*time.Second {
		t.Errorf("of the future: %+v after %v", a, took)
	}
}

// TestTriggerErrors: what can't be asked is told as such, and begins nothing.
func TestTriggerErrors(t *testing.T) {
	l := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l), with("belt", l, drawnCamera(t, drawnBelt(t, 3), CameraConfig{ID: "other"})))
	r.ready()
	long := fmt.Sprintf("%065d", 1)
	for _, c := range []struct {
		station string
		t       Trigger
		want    error
	}{
		{"nowhere", Trigger{}, ErrNoStation}, {"belt", Trigger{}, ErrNoTrigger}, {"gate", Trigger{ID: long}, ErrBadTrigger},
		{"gate", Trigger{Part: "a\nb"}, ErrBadTrigger}, {"gate", Trigger{Deadline: -1}, ErrBadTrigger}, {"gate", Trigger{Deadline: time.Hour}, ErrBadTrigger},
	} {
		if _, err := r.Trigger(c.station, c.t); !errors.Is(err, c.want) {
			t.Errorf("%s %+v: %v", c.station, c.t, err)
		}
		if k := (known{}); !errors.As(asAPI(c.want), &k) {
			t.Errorf("the interface can't tell %v apart", c.want)
		}
	}
	if n := r.named("gate").Counts.Total(); n != 0 {
		t.Errorf("%d results", n)
	}
}

// TestTriggersTooFast: what can't be inspected is told at once, and each has one answer.
func TestTriggersTooFast(t *testing.T) {
	l := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l))
	r.ready()
	const n = 40
	var wg sync.WaitGroup
	answers := make([]Answer, n)
	for i := range n {
		wg.Go(func() { answers[i] = r.trigger(Trigger{ID: fmt.Sprint(i)}) })
	}
	wg.Wait()
	passed := 0
	for _, a := range answers {
		switch {
		case a.Verdict == vision.Pass:
			passed++
		case a.Reason != vision.ReasonOverrun:
			t.Errorf("%+v", a)
		}
	}
	if passed < 1 || passed > maxPending {
		t.Errorf("%d passed of %d at once", passed, n)
	}
	r.eventually("all results", func() bool { return r.named("gate").Counts.Total() == n })
}

// TestTriggerOfTwoCameras: the rule sees what both show; without one there is no verdict.
func TestTriggerOfTwoCameras(t *testing.T) {
	l := shipped(t, "first", 0.1)
	left := drawnCamera(t, standing(t), CameraConfig{ID: "left"})
	right, gate := gatedCamera(t, standing(t), CameraConfig{ID: "right"})
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l, left, right))
	r.ready()
	if a := r.inspects(); a.Verdict != vision.Pass || len(a.Inspected) != 2 || a.Inspected[1].Camera != "right" || a.Inspected[1].Width == 0 {
		t.Fatalf("%+v", a)
	}
	if err := gate.Set(ipcam.Freeze); err != nil {
		t.Fatal(err)
	}
	if a := r.lapses(func() Trigger { return Trigger{Deadline: 3 * time.Second} }); a.Verdict != vision.None || a.Reason != vision.ReasonViewMissing {
		t.Errorf("one camera gives nothing: %+v", a)
	}
}

// TestTriggerWithoutAPart: an empty picture is no good part.
func TestTriggerWithoutAPart(t *testing.T) {
	l := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l, drawnCamera(t, empty{standing(t)}, CameraConfig{ID: "cam"})))
	r.ready()
	if a := r.inspects(); a.Verdict != vision.None || a.Reason != vision.ReasonNoPart {
		t.Errorf("%+v", a)
	}
}

// empty is a belt without parts.
type empty struct{ still }

func (e empty) Frame(_ int, dst *vision.Frame) error {
	for n := range dst.Pix {
		dst.Pix[n] = 128
	}
	return nil
}

// TestTriggersWhenTheAgentEnds: those that were taken are answered soon, however long
// they could wait, and then none is taken any more.
func TestTriggersWhenTheAgentEnds(t *testing.T) {
	l := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l))
	s := r.ready()
	answer := make(chan Answer, 1)
	go func() { answer <- r.trigger(Trigger{At: time.Now().Add(time.Hour), Deadline: time.Minute}) }()
	r.eventually("a trigger that waits", func() bool { return len(s.ledger.waiting()) == 1 })
	began := time.Now()
	s.Stop()
	if a := <-answer; a.Verdict != vision.None || a.Reason != vision.ReasonStopped || time.Since(began) > 10*time.Second {
		t.Errorf("%+v after %v", a, time.Since(began))
	}
	r.eventually("the station's end", func() bool { return r.named("gate").State == api.Ended })
	if a := r.trigger(Trigger{}); a.Verdict != vision.None || a.Reason != vision.ReasonStopped {
		t.Errorf("after its end: %+v", a)
	}
}

// TestRepeatedTriggerHasItsOwnDeadline: asked again while the first still waits, the
// second doesn't wait for longer than it said, and lets later ones pass at once.
func TestRepeatedTriggerHasItsOwnDeadline(t *testing.T) {
	l := shipped(t, "first", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, triggered(t, l))
	s := r.ready()
	first := make(chan Answer, 1)
	go func() {
		first <- r.trigger(Trigger{ID: "t", At: time.Now().Add(time.Hour), Deadline: 3 * time.Second})
	}()
	r.eventually("a trigger that waits", func() bool { return len(s.ledger.waiting()) == 1 })
	taken := make(chan struct{})
	a := r.trigger(Trigger{ID: "t", Deadline: 50 * time.Millisecond, Taken: func() { close(taken) }})
	<-taken
	if a.Verdict != vision.None || a.Reason != vision.ReasonLate || !a.Repeated || len(first) > 0 {
		t.Errorf("%+v", a)
	}
	// A busy disk may not have it in time, which is told as such.
	if a := <-first; a.Latency < 2*time.Second || a.Reason != vision.ReasonNoFrame && a.Reason != vision.ReasonNotRecorded {
		t.Errorf("the first: %+v", a)
	}
}
