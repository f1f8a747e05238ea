package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/sched"
	"github.com/sightline-edge/sightline/vision/track"
)

// turns is how many models run at once: as configured, else one on an accelerator,
// on the processor as many as have cores of their own.
func turns(c config.Infer, accelerated bool) int {
	if c.Parallel > 0 {
		return c.Parallel
	}
	if accelerated {
		return 1
	}
	return max(1, runtime.NumCPU()/max(c.Threads, 1))
}

// schedule fills in when and in which order a station's pictures are inspected.
func schedule(st *agent.StationConfig, s *config.Station) error {
	var err error
	if st.Class, err = sched.ParseClass(s.Criticality); err != nil {
		return about("criticality", err)
	}
	st.MinRate, st.MaxAge, st.MMPerPixel = s.MinRate, s.MaxAge, s.MMPerPixel
	if s.Mode == config.OnTrigger {
		st.Trigger = &agent.TriggerConfig{Dedupe: s.Trigger.Dedupe, Ring: s.Trigger.Ring, Slack: s.Trigger.Slack, Late: s.Trigger.Late, MaxDelay: s.Trigger.MaxDelay}
	}
	return nil
}

// follows says how parts are followed, by the texts of the configuration.
func follows(t *track.Config, decide, combine string) error {
	var wrong [2]error
	if decide != "" {
		t.Decide, wrong[0] = track.ParseDecide(decide)
	}
	if combine != "" {
		t.Combine, wrong[1] = track.ParseCombine(combine)
	}
	return errors.Join(about("decide", wrong[0]), about("combine", wrong[1]))
}

// runLimit is how long a model may run before it is ended: at a station with triggers
// not much longer than those wait.
func runLimit(s *config.Station) time.Duration {
	if s.Mode != config.OnTrigger {
		return 0
	}
	return min(max(4*s.Deadline, time.Second), 10*time.Second)
}

// bindable checks that a trigger can be bound to a picture of each camera, and says
// how far the part may be from where it was then.
func (a *assembly) bindable(cfg *config.Config, s *config.Station) (notes []string, err error) {
	if s.Mode != config.OnTrigger {
		return nil, nil
	}
	t := &s.Trigger
	for _, id := range s.Cameras {
		c := cfg.Camera(id)
		if c == nil {
			continue // the configuration's own check has told
		}
		switch scheme, _, _ := strings.Cut(c.Source, "://"); {
		case slices.Contains([]string{"rtsp", "rtsps"}, strings.ToLower(scheme)) && !t.RTSP:
			return notes, about("camera", fmt.Errorf("camera %s comes over RTSP, whose delay is not known: a trigger may get the picture of another part. "+
				"Use an industrial camera with trigger: software, or allow it with trigger: {allow_rtsp: true} after measuring", id))
		case capture.Stills(c.Source), c.Watch:
			return notes, about("mode", fmt.Errorf("camera %s is a folder or a picture: each picture is a part already; leave mode out", id))
		case a.cameras[id] != nil && !a.cameras[id].Source().Drops():
			return notes, about("mode", fmt.Errorf("camera %s is a recording that waits for the model: it knows no moment at which a trigger comes; set realtime: true to play it as a camera would", id))
		}
		note, err := positionError(c, t)
		if err != nil {
			return notes, about("trigger", err)
		}
		notes = append(notes, note)
	}
	return notes, nil
}

// positionError says how far a part may be from where it was at its trigger.
func positionError(c *config.Camera, t *config.Trigger) (string, error) {
	what := "camera " + c.ID + ": "
	if c.Trigger != "" && c.Trigger != "software" {
		return fmt.Sprintf("%sthe line makes the exposure, nothing is added; parts must be more than line_slack + line_late = %v apart", what, t.Slack+t.Late), nil
	}
	if c.Trigger == "software" {
		worst := t.Speed * t.MaxDelay.Seconds()
		switch {
		case t.Speed == 0:
			return what + "worst position error: speed × max_delay, plus what the camera takes to expose once it is told; tell the speed as trigger: {speed_mm_s: …} to have it checked", nil
		case t.Tolerance > 0 && worst > t.Tolerance:
			return "", fmt.Errorf("%sa part may be %.1f mm from where it was at its trigger (%v mm/s × max_delay %v), %v are allowed: lower max_delay, let a line of the controller trigger the camera, or slow the belt down", what, worst, t.Speed, t.MaxDelay, t.Tolerance)
		}
		return fmt.Sprintf("%sworst position error %.1f mm (%v mm/s × max_delay %v), plus what the camera takes to expose once it is told", what, worst, t.Speed, t.MaxDelay), nil
	}
	period := t.Period
	if period == 0 && c.Rate > 0 {
		period = time.Duration(float64(time.Second) / c.Rate)
	}
	switch {
	case t.Speed == 0:
		return what + "worst position error: speed × the time between two pictures; tell the speed as trigger: {speed_mm_s: …} to have it checked", nil
	case period == 0 && t.Tolerance > 0:
		return "", fmt.Errorf("%sthe time between two pictures isn't known, so it can't be checked that a part is within %v mm: measure it with sightline-agent cameras probe, and set trigger: {period: …}", what, t.Tolerance)
	case period == 0:
		return what + "worst position error: speed × the time between two pictures, which isn't known: set trigger: {period: …}", nil
	}
	worst := t.Speed * period.Seconds()
	if t.Tolerance > 0 && worst > t.Tolerance {
		return "", fmt.Errorf("%sa part may be %.1f mm from where it was at its trigger (%v mm/s × %v between two pictures), %v are allowed: use a faster camera, one whose exposure the trigger makes (trigger: software or a line), or a slower belt",
			what, worst, t.Speed, period, t.Tolerance)
	}
	return fmt.Sprintf("%sworst position error %.1f mm (%v mm/s × %v between two pictures)", what, worst, t.Speed, period), nil
}
