package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// TestPictureThatGrewOldBeforeItsDecision: what counts is its age at the moment that
// the record tells.
func TestPictureThatGrewOldBeforeItsDecision(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: 10 * time.Second, MaxAge: time.Second, Trigger: &TriggerConfig{}, Cameras: []*Camera{drawnCamera(t, standing(t), CameraConfig{ID: "left"})}})
	b.write(t)
	for age, want := range map[time.Duration]vision.Verdict{0: vision.Pass, 2 * time.Second: vision.None} {
		q := &inquiry{station: b.station, arrived: time.Now(), by: time.Now().Add(10 * time.Second), cancel: func() {}, done: make(chan struct{})}
		part, pass := vision.Part{ID: "p", Seen: time.Now().Add(-age)}, vision.Decision{Verdict: vision.Pass, Reason: "ok"}
		b.station.conclude(q, b.station.lane, part, pass, nil)
		if a := q.wait(); a.Verdict != want || want == vision.None && a.Reason != vision.ReasonStale {
			t.Errorf("a picture of %v ago: %+v", age, a)
		}
		// The same where the large model was still awaited.
		q = &inquiry{station: b.station, arrived: time.Now(), by: time.Now().Add(10 * time.Second), cancel: func() {}, done: make(chan struct{})}
		q.saw(Look{Model: Model{Name: "tiny"}})
		q.setInstead(&outcome{part: part, decision: pass, look: Look{Missed: MissedLate}})
		b.station.concludeLate(q, b.station.lane)
		if a := q.wait(); a.Verdict != want || want == vision.None && a.Reason != vision.ReasonStale {
			t.Errorf("a picture of %v ago, with a large model: %+v", age, a)
		}
	}
}

// TestStationThatCannotBegin: what is switched to it afterwards is told so at once.
func TestStationThatCannotBegin(t *testing.T) {
	b := newBench(t, StationConfig{Exposure: time.Millisecond, Cameras: []*Camera{drawnCamera(t, standing(t), CameraConfig{ID: "left"})}})
	if err := b.station.run(t.Context()); err == nil || !strings.Contains(err.Error(), "set the exposure") {
		t.Fatalf("a drawn camera takes an exposure: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := b.station.change(ctx, Loadout{}); !errors.Is(err, ErrStationEnded) {
		t.Errorf("a switch: %v", err)
	}
}

// TestReasonOfTwoCamerasWithoutAResult: when both gave their picture and the model is
// what isn't there, no camera is blamed; and no turn is held for a model that isn't there.
func TestReasonOfTwoCamerasWithoutAResult(t *testing.T) {
	l := shipped(t, "first", 0.1)
	left, right := drawnCamera(t, standing(t), CameraConfig{ID: "left"}), drawnCamera(t, standing(t), CameraConfig{ID: "right"})
	r := plant(t, nil, triggered(t, l, left, right)) // the worker never runs
	s := r.find("gate")
	r.eventually("pictures of both", func() bool {
		return !s.views[0].shutter.newest().IsZero() && !s.views[1].shutter.newest().IsZero()
	})
	if a := r.lapses(func() Trigger { return Trigger{Deadline: 2 * time.Second} }); a.Verdict != vision.None || a.Reason != vision.ReasonLate {
		t.Errorf("%+v", a)
	}
	if n := r.sched.Stats().Grants; n != 0 {
		t.Errorf("%d turns were held for a model that isn't there", n)
	}
}
