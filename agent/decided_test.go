package agent

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
)

// TestPictureThatGrewOldBeforeItsDecision: what counts is its age at the moment that
// the record tells.
func TestPictureThatGrewOldBeforeItsDecision(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: 10 * time.Second, MaxAge: time.Second, Trigger: &TriggerConfig{}})
	b.write(t)
	for age, want := range map[time.Duration]vision.Verdict{0: vision.Pass, 2 * time.Second: vision.None} {
		q := &inquiry{station: b.station, arrived: time.Now(), by: time.Now().Add(10 * time.Second), cancel: func() {}, done: make(chan struct{})}
		seen := []glance{{frame: &capture.Frame{Frame: vision.Frame{Captured: time.Now().Add(-age)}}}}
		b.station.conclude(q, b.station.lane, vision.Part{ID: "p"}, vision.Decision{Verdict: vision.Pass, Reason: "ok"}, seen)
		if a := q.wait(); a.Verdict != want || want == vision.None && a.Reason != vision.ReasonStale {
			t.Errorf("a picture of %v ago: %+v", age, a)
		}
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
	if a := r.trigger(Trigger{Deadline: 2 * time.Second}); a.Verdict != vision.None || a.Reason != vision.ReasonLate {
		t.Errorf("%+v", a)
	}
	if n := r.sched.Stats().Grants; n != 0 {
		t.Errorf("%d turns were held for a model that isn't there", n)
	}
}
