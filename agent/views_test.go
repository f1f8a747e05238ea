package agent

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/track"
)

// unread is a live camera that nobody reads.
func unread(t *testing.T, cfg CameraConfig) *Camera {
	t.Helper()
	source, err := capture.New(capture.Config{Source: "http://127.0.0.1:1/" + cfg.ID, SelfExecutable: os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Source = source
	return NewCamera(cfg)
}

// TestCameraAwayDuringASwitch: while a switch is on, the frames of one camera keep
// it from being ended as quiet. Parts of the other, which is away, are decided
// once it is over.
func TestCameraAwayDuringASwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(StationConfig{
			ID: "one", Cameras: []*Camera{unread(t, CameraConfig{ID: "left"}), unread(t, CameraConfig{ID: "right"})}, Log: quiet,
			Track: track.Config{Mode: track.Stream, Roles: map[string]vision.Role{"part": vision.PartRole}},
		}, nil, nil)
		s.lane.eyes[1].tracker.Update(track.Frame{Seq: 1, Width: 100, Height: 100},
			[]vision.Detection{{Label: "part", Score: 0.9, Box: vision.Box{X: 40, Y: 40, W: 20, H: 20}}})
		if len(s.lane.ids()) != 1 {
			t.Fatal("no part is in view")
		}
		o := &overlap{old: s.lane, quiet: time.NewTimer(time.Hour)} // as if the other camera's frames came
		during := func(o *overlap) {
			s.mu.Lock()
			s.next = o
			s.mu.Unlock()
			time.Sleep(2 * s.lane.gap())
			synctest.Wait()
		}
		flights := make(chan *flight)
		landed := make(chan error, 1)
		go func() { landed <- s.land(t.Context(), flights) }()
		during(o)
		if len(s.lane.ids()) != 1 {
			t.Error("the part was decided beside the switch")
		}
		during(nil)
		if n := len(s.lane.ids()); n != 0 {
			t.Errorf("%d parts of a camera that is away wait for its return", n)
		}
		close(flights)
		if err := <-landed; err != nil {
			t.Error(err)
		}
	})
}

// TestFailedFrameOfASwitchHasNoResultToStand: the model that decides fails on a
// frame that the next one sees. Should the switch be given up, nothing older may
// stand for frames that show the same.
func TestFailedFrameOfASwitchHasNoResultToStand(t *testing.T) {
	b := newBelt(t, seeing(t, "first"), track.Stream)
	for range 5 {
		b.step()
	}
	old := b.station.lane
	done := b.change(t.Context(), seeing(t, "second"))
	b.n++
	f := &flight{view: b.station.views[0], frame: &capture.Frame{Frame: b.frame, Pool: b.pool}, done: make(chan struct{})}
	f.frame.Seq, f.frame.Captured = uint64(b.n), time.Now()
	b.station.depart(f, b.flights)
	<-b.flights
	b.look(f)
	if len(f.runs) != 2 || old.eyes[0].last == nil {
		t.Fatalf("%d models see the frame", len(f.runs))
	}
	f.runs[0].err = errors.New("it failed")
	b.station.judge(t.Context(), f)
	if old.eyes[0].last != nil {
		t.Error("the result of an older frame would stand for this one")
	}
	if _, err := done(); err != nil {
		t.Fatal(err)
	}
	b.finish()
}

// TestRecordNamesTheRuleThatDecided: a part that ended before the rule had come
// was decided without it, and its record is made while the rule may come.
func TestRecordNamesTheRuleThatDecided(t *testing.T) {
	l := seeing(t, "first")
	b := newBelt(t, l, track.Pictures)
	b.station.coming, b.station.lane.Rule = make(chan *rules.Rule), nil
	b.station.tell(b.station.lane, vision.Part{ID: "early"}, vision.Decision{Reason: vision.ReasonModelFailed})
	early := <-b.told
	b.station.ruleCame(l.Rule)
	b.station.tell(b.station.lane, vision.Part{ID: "late"}, vision.Decision{Verdict: vision.Pass})
	late := <-b.told
	if early.message(nil).GetRule() != "" || late.message(nil).GetRule() != l.Rule.Name() {
		t.Errorf("decided by rules %q and %q", early.message(nil).GetRule(), late.message(nil).GetRule())
	}
	b.finish()
}

// TestReferenceOfTwoPeople: who gives up takes nobody else's request away, and
// hears what became of their own when it is under way.
func TestReferenceOfTwoPeople(t *testing.T) {
	c := unread(t, CameraConfig{ID: "cam", Keep: func(*vision.Frame) error { return nil }})
	ctx, giveUp := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() { answer <- c.SetReference(ctx) }()
	var first chan error
	for first == nil {
		c.mu.Lock()
		first = c.refer
		c.mu.Unlock()
	}
	second := make(chan error, 1)
	c.mu.Lock()
	c.refer = second // the first is being set, as refresh does
	c.mu.Unlock()
	giveUp()
	select {
	case err := <-answer:
		t.Fatalf("told %v while it was being set", err)
	case <-time.After(20 * time.Millisecond):
	}
	first <- nil
	if err := <-answer; err != nil {
		t.Errorf("it was set: %v", err)
	}
	if c.refer != second {
		t.Error("the other request is gone")
	}
}

// TestReferenceThatIsNone: one that couldn't be read is told.
func TestReferenceThatIsNone(t *testing.T) {
	if c := unread(t, CameraConfig{ID: "cam", Reference: &vision.Frame{}}); c.monitor.ReferenceErr() == nil {
		t.Error("a reference that is no picture is taken")
	}
}
