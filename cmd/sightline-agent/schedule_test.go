package main

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/config"
)

// TestPositionError: what check states, and what it refuses.
func TestPositionError(t *testing.T) {
	const period, slack = 40 * time.Millisecond, 20 * time.Millisecond
	for _, c := range []struct {
		camera  config.Camera
		trigger config.Trigger
		want    string // of the note, or of the error
		refused bool
	}{
		{config.Camera{}, config.Trigger{}, "speed × the time between two pictures; tell the speed", false},
		{config.Camera{}, config.Trigger{Speed: 500}, "which isn't known", false},
		{config.Camera{}, config.Trigger{Speed: 500, Tolerance: 5}, "it can't be checked that a part is within 5 mm", true},
		{config.Camera{Rate: 25}, config.Trigger{Speed: 500}, "worst position error 20.0 mm (500 mm/s × 40ms", false},
		{config.Camera{}, config.Trigger{Speed: 500, Tolerance: 20, Period: period}, "worst position error 20.0 mm", false},
		{config.Camera{}, config.Trigger{Speed: 500, Tolerance: 19, Period: period}, "a part may be 20.0 mm from where it was", true},
		{config.Camera{Trigger: "software"}, config.Trigger{MaxDelay: period}, "speed × max_delay, plus what the camera takes", false},
		{config.Camera{Trigger: "software"}, config.Trigger{MaxDelay: period, Speed: 500, Tolerance: 20}, "worst position error 20.0 mm (500 mm/s × max_delay 40ms)", false},
		{config.Camera{Trigger: "software"}, config.Trigger{MaxDelay: period, Speed: 500, Tolerance: 19}, "lower max_delay", true},
		{config.Camera{Trigger: "Line0"}, config.Trigger{Slack: slack, Late: period, Speed: 500, Tolerance: 1}, "line_slack + line_late = 60ms apart", false},
	} {
		c.camera.ID = "cam"
		got, err := positionError(&c.camera, &c.trigger)
		if err != nil {
			got = err.Error()
		}
		if (err != nil) != c.refused || !strings.Contains(got, c.want) || !strings.HasPrefix(got, "camera cam: ") {
			t.Errorf("%+v\n got %s (refused: %v)\nwant %s", c.trigger, got, err != nil, c.want)
		}
	}
}

// TestTurns: one on an accelerator, on the processor one for each core that a model's threads leave.
func TestTurns(t *testing.T) {
	cores := runtime.NumCPU()
	for _, c := range []struct {
		infer       config.Infer
		accelerated bool
		want        int
	}{
		{config.Infer{}, true, 1},
		{config.Infer{}, false, cores},
		{config.Infer{Threads: cores}, false, 1},
		{config.Infer{Threads: 2 * cores}, false, 1},
		{config.Infer{Parallel: 3}, true, 3},
	} {
		if got := turns(c.infer, c.accelerated); got != c.want {
			t.Errorf("%+v, accelerated %v: %d, want %d", c.infer, c.accelerated, got, c.want)
		}
	}
}
