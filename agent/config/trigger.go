package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Mode says when a station inspects.
type Mode string

// The modes.
const (
	Continuous Mode = "continuous" // it follows the parts that its cameras see
	OnTrigger  Mode = "trigger"    // when it is told to
)

// Trigger says how a station in trigger mode works.
type Trigger struct {
	Dedupe    time.Duration `yaml:"dedupe_window" doc:"For how long a trigger's ID is remembered, 1s to 24h: one that comes again gets its first answer again."`
	Ring      int           `yaml:"ring" doc:"Pictures of each camera that are kept for triggers about a moment that has passed, 2 to 16."`
	Slack     time.Duration `yaml:"line_slack" doc:"Cameras with a hardware trigger (trigger: Line0): how much earlier than the trigger's message their exposure may have been, 0 to 1s. The time between two parts must be longer than it and line_late together."`
	Late      time.Duration `yaml:"line_late" doc:"Cameras with a hardware trigger: how much later than the trigger's message their exposure may be, as the device dates it, 1ms to 10s; where a camera tells no time of its own, the transfer of the picture counts too. An exposure that fits two triggers is given to none: those parts are NONE no_frame."`
	MaxDelay  time.Duration `yaml:"max_delay" doc:"Cameras with a software trigger (trigger: software): how long after the trigger the camera may be told to expose, 1ms to 10s. The part has gone on by speed × this at most; what would be later, since the message was late or an earlier picture is still on its way, is NONE no_frame."`
	Speed     float64       `yaml:"speed_mm_s" doc:"How fast parts move, mm/s. Told, check states how far a part may be from where it was at the trigger: speed × time between two pictures. 0: unknown, or they stand still."`
	Period    time.Duration `yaml:"period" doc:"Time between two pictures of a camera that runs freely and has no rate set, as sightline-agent cameras probe measures it; for the position error. 0: unknown."`
	Tolerance float64       `yaml:"tolerance_mm" doc:"How far it may be at most, mm; more is refused. 0: any."`
	RTSP      bool          `yaml:"allow_rtsp" doc:"Allow cameras over RTSP, whose delay is not known: a part may be past the camera in the picture that a trigger gets."`
}

// Recipe is what a changeover switches. What it leaves out is the station's.
type Recipe struct {
	Name       string                 `yaml:"name" need:"yes" example:"cap-blue" doc:"Its name: letters, digits, dot, dash and underscore, at most 64."`
	Model      string                 `yaml:"model" doc:"As the station's. Empty: the station's, or what its bundle brings."`
	Bundle     string                 `yaml:"bundle" doc:"Name of the signed bundle that this recipe follows, instead of the station's. It is always kept loaded; a new version becomes active with the recipe."`
	Small      string                 `yaml:"small_model" doc:"As the station's."`
	Cascade    Cascade                `yaml:"cascade" doc:"As the station's, as a whole: what it leaves out isn't taken from there."`
	Family     string                 `yaml:"family" doc:"As the station's."`
	Labels     map[string]vision.Role `yaml:"labels" doc:"As the station's."`
	Rule       string                 `yaml:"rule" doc:"As the station's."`
	Confidence float64                `yaml:"confidence" doc:"As the station's. 0: the station's."`
	Decide     string                 `yaml:"decide" doc:"As the station's."`
	Combine    string                 `yaml:"combine" doc:"As the station's."`
	ROI        []int                  `yaml:"roi" example:"[100, 50, 800, 600]" doc:"What of the picture the model sees: x, y, width, height in pixels. Empty: all of it."`
	Exposure   time.Duration          `yaml:"exposure" doc:"Exposure time of the station's V4L2 and industrial cameras, as 5ms, which no other station uses. 0: as it is."`
}

// maxViews is how many cameras may look at one part: records have room for so many.
const maxViews = 16

// defaultTrigger is a station's before its part of a file is read.
func defaultTrigger() Trigger {
	return Trigger{Dedupe: 10 * time.Minute, Ring: 4, Slack: 20 * time.Millisecond, Late: 100 * time.Millisecond, MaxDelay: 50 * time.Millisecond}
}

// schedule checks when a station's pictures are inspected.
func (v *validator) schedule(key func(string) string, s *Station) {
	if s.Bundle != "" {
		v.ineffective(key, s, fmt.Sprintf("the station follows the bundle %s, which brings one model", shown(s.Bundle)), "small_model")
	}
	if !slices.Contains([]string{"critical", "normal", "best_effort"}, s.Criticality) {
		v.fault(key("criticality"), "must be critical, normal or best_effort, got %s", shown(s.Criticality))
	}
	if r := s.MinRate; r < 0 || r > 1000 {
		v.fault(key("min_rate"), "must be 0 to 1000 pictures a second, got %v", r)
	}
	if a := s.MaxAge; a < 10*time.Millisecond || a > time.Minute {
		v.fault(key("max_age"), "must be 10ms to 1m, got %v", a)
	}
	if s.Mode != Continuous && s.Mode != OnTrigger {
		v.fault(key("mode"), "must be continuous or trigger, got %s", shown(string(s.Mode)))
		return
	}
	if s.Mode == Continuous {
		v.ineffective(key, s, "mode is continuous", "trigger")
		return
	}
	v.ineffective(key, s, "mode is trigger", "decide", "combine", "change_gate", "min_rate")
	if n := len(s.Cameras); n > maxViews {
		v.fault(key("cameras"), "at most %d cameras look at one part, got %d", maxViews, n)
	}
	t := &s.Trigger
	if d := t.Dedupe; d < time.Second || d > 24*time.Hour {
		v.fault(key("trigger.dedupe_window"), "must be 1s to 24h, got %v", d)
	}
	if t.Ring < 2 || t.Ring > 16 {
		v.fault(key("trigger.ring"), "must be 2 to 16, got %d", t.Ring)
	}
	if t.Slack < 0 || t.Slack > time.Second {
		v.fault(key("trigger.line_slack"), "must be 0 to 1s, got %v", t.Slack)
	}
	for name, d := range map[string]time.Duration{"line_late": t.Late, "max_delay": t.MaxDelay} {
		if d < time.Millisecond || d > 10*time.Second {
			v.fault(key("trigger."+name), "must be 1ms to 10s, got %v", d)
		}
	}
	if t.Speed < 0 || t.Speed > 1e5 {
		v.fault(key("trigger.speed_mm_s"), "must be 0 to 100000, got %v", t.Speed)
	}
	if t.Period < 0 || t.Period > time.Minute {
		v.fault(key("trigger.period"), "must be 0 to 1m, got %v", t.Period)
	}
	if t.Tolerance < 0 {
		v.fault(key("trigger.tolerance_mm"), "must not be less than 0, got %v", t.Tolerance)
	}
	if t.Tolerance > 0 && t.Speed == 0 {
		v.fault(key("trigger.speed_mm_s"), "is missing: tolerance_mm says how far parts may have moved, which needs their speed")
	}
	if s.Deadline < 5*time.Millisecond {
		v.fault(key("deadline"), "must be 5ms or more in trigger mode, got %v", s.Deadline)
	}
}

// ineffective warns of settings that the station's mode doesn't look at.
func (v *validator) ineffective(key func(string) string, s *Station, why string, names ...string) {
	for _, name := range names {
		if v.set(key(name)) {
			v.warn(key(name), "has no effect: %s", why)
		}
	}
}

// recipes checks what a station can be changed over to.
func (v *validator) recipes(key func(string) string, s *Station) {
	if len(s.Recipes) == 0 {
		for name, set := range map[string]bool{"recipe": s.Recipe != "", "preload": len(s.Preload) > 0} {
			if set {
				v.fault(key(name), "there are no recipes: list them as recipes")
			}
		}
		return
	}
	var names []string
	for i := range s.Recipes {
		r := &s.Recipes[i]
		at := func(name string) string { return fmt.Sprintf("%s[%d].%s", key("recipes"), i, name) }
		switch {
		case r.Name == "":
			v.fault(at("name"), "is missing: a name as cap-blue")
		case !identifier.MatchString(r.Name):
			v.fault(at("name"), "must be letters, digits, dot, dash and underscore, at most 64, got %s", shown(r.Name))
		case slices.Contains(names, r.Name):
			v.fault(at("name"), "%s is also the name of another recipe: give each its own", shown(r.Name))
		}
		names = append(names, r.Name)
		v.recipe(at, s, r)
	}
	if s.Recipe == "" {
		s.Recipe = s.Recipes[0].Name
	} else if !slices.Contains(names, s.Recipe) {
		v.fault(key("recipe"), "there is no recipe %s; there are %s", shown(s.Recipe), strings.Join(names, ", "))
	}
	for _, name := range s.Preload {
		if !slices.Contains(names, name) {
			v.fault(key("preload"), "there is no recipe %s; there are %s", shown(name), strings.Join(names, ", "))
		}
	}
}

func (v *validator) recipe(at func(string) string, s *Station, r *Recipe) {
	if r.Model != "" {
		one := Station{Model: r.Model, Unsigned: s.Unsigned}
		v.model(at("model"), &one)
		r.Model = one.Model
	}
	if r.Model != "" && r.Bundle == "" && s.Bundle != "" {
		v.fault(at("model"), "station %s follows the bundle %s, whose model its recipes use: leave model out, or give the recipe a bundle of its own", shown(s.ID), shown(s.Bundle))
	}
	if r.Bundle != "" && !identifier.MatchString(r.Bundle) {
		v.fault(at("bundle"), "must be letters, digits, dot, dash and underscore, at most 64, got %s", shown(r.Bundle))
	}
	if r.Model == "" && r.Bundle == "" && s.Model == "" && s.Bundle == "" {
		v.fault(at("model"), "is missing: neither the recipe nor its station names a model or a bundle")
	}
	if r.Small != "" {
		one := Station{Model: r.Small, Unsigned: s.Unsigned}
		v.model(at("small_model"), &one)
		r.Small = one.Model
		if as := s.As(r); as.Bundle != "" {
			v.warn(at("small_model"), "has no effect: recipe %s follows the bundle %s, which brings one model", shown(r.Name), shown(as.Bundle))
		}
	}
	v.rule(at("rule"), &r.Rule)
	if c := r.Confidence; v.set(at("confidence")) && !(c > 0 && c < 1) {
		v.fault(at("confidence"), "must be more than 0 and less than 1, got %v", c)
	}
	if n := len(r.ROI); n != 0 && (n != 4 || r.ROI[0] < 0 || r.ROI[1] < 0 || r.ROI[2] <= 0 || r.ROI[3] <= 0) {
		v.fault(at("roi"), "must be four numbers, x, y, width and height, got %v", r.ROI)
	}
	if e := r.Exposure; e < 0 || e > time.Minute {
		v.fault(at("exposure"), "must be at most 1m, got %v", e)
	}
}

// Own tells whether a recipe follows a bundle of its own.
func (r *Recipe) Own() bool { return r.Bundle != "" }

// Apart tells whether a recipe has a model or bundle of its own.
func (r *Recipe) Apart() bool { return r.Own() || r.Model != "" }

// Follows tells whether the station follows a bundle, with whatever recipe.
func (s *Station) Follows() bool {
	return s.Bundle != "" || slices.ContainsFunc(s.Recipes, func(r Recipe) bool { return r.Own() })
}

// As is the station as it is with a recipe.
func (s *Station) As(r *Recipe) Station {
	out := *s
	if r.Apart() { // another model is another family, with other labels
		out.Model, out.Bundle, out.Family, out.Labels, out.Rule, out.Small = r.Model, r.Bundle, "", nil, "", ""
		out.Cascade = defaultCascade()
	}
	if r.Cascade.On() {
		out.Cascade = r.Cascade
	}
	for to, from := range map[*string]string{&out.Family: r.Family, &out.Rule: r.Rule, &out.Small: r.Small, &out.Decide: r.Decide, &out.Combine: r.Combine} {
		if from != "" {
			*to = from
		}
	}
	if r.Labels != nil {
		out.Labels = r.Labels
	}
	if r.Confidence > 0 {
		out.Confidence = r.Confidence
	}
	return out
}
