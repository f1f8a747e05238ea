package config

import (
	"fmt"
	"time"
)

// Cascade is a station's large model, which looks at the parts that are in doubt.
type Cascade struct {
	Large        string    `yaml:"large" example:"drawn-parts-large" doc:"The large model: an ONNX file, a bundle's folder, or the name of one that is shipped, with the same labels as the station's. It runs in a process of its own, which stations share."`
	Family       string    `yaml:"family" doc:"How the large model's output is read, for plain files that don't tell it."`
	Doubt        []float64 `yaml:"doubt" example:"[0.2, 0.7]" doc:"Scores that are in doubt, from the lower to the higher, 0 to 1: a part whose worst defect lies between, both included; of a model that scores the picture, that score. sightline-agent eval --cascade proposes them. Empty: none is."`
	Disagreement bool      `yaml:"disagreement" doc:"A part is in doubt too if its best picture alone would be decided differently than all of them together, or one of its cameras differently than another."`
	Look         Shown     `yaml:"look" doc:"What the large model sees: frame (the whole picture, as the station's model does) or crop (the part with a margin around it, in all its pixels)."`
	BudgetMS     float64   `yaml:"budget_ms" doc:"What the large model may cost, ms a part on average over the newest hundred parts of the station; beyond it, it doesn't look. 0: any."`
	Otherwise    Otherwise `yaml:"otherwise" doc:"What a part in doubt gets while the large model can't look: none (NONE doubt, which rejects) or small (the verdict that stood before). Where the rule asked it is always NONE doubt."`
}

// On tells whether there is a large model.
func (c *Cascade) On() bool { return c.Large != "" }

// Shown says what the large model sees of a part.
type Shown string

// The values of Shown.
const (
	Frame Shown = "frame" // the whole picture
	Crop  Shown = "crop"  // the part with a margin
)

// Otherwise says what a part in doubt gets while the large model can't look.
type Otherwise string

// The values of Otherwise.
const (
	AsNone  Otherwise = "none"  // NONE doubt
	AsSmall Otherwise = "small" // what the station's own model led to
)

func defaultCascade() Cascade { return Cascade{Look: Frame, Otherwise: AsNone} }

// defaultRecipe is a recipe before its part of a file is read.
func defaultRecipe() Recipe { return Recipe{Cascade: defaultCascade()} }

// Budget is BudgetMS as a time.
func (c *Cascade) Budget() time.Duration {
	return time.Duration(c.BudgetMS * float64(time.Millisecond))
}

// cascade checks the large model of a station or a recipe, at that key; unsigned says
// whether it may be a file.
func (v *validator) cascade(key string, c *Cascade, unsigned bool) {
	if !v.set(key) {
		return
	}
	at := func(name string) string { return key + "." + name }
	if c.Large == "" {
		v.fault(at("large"), "is missing: the large model, as an ONNX file, a bundle's folder or the name of a shipped one")
	} else {
		one := Station{Model: c.Large, Unsigned: unsigned}
		v.model(at("large"), &one)
		c.Large = one.Model
	}
	if b := c.Doubt; len(b) > 0 && (len(b) != 2 || !(b[0] >= 0 && b[0] <= b[1] && b[1] <= 1)) {
		v.fault(at("doubt"), "must be two scores, the lower one first, between 0 and 1, as [0.2, 0.7], got %v", b)
	}
	if c.Look != Frame && c.Look != Crop {
		v.fault(at("look"), "must be frame or crop, got %s", shown(string(c.Look)))
	}
	if c.Otherwise != AsNone && c.Otherwise != AsSmall {
		v.fault(at("otherwise"), "must be none or small, got %s", shown(string(c.Otherwise)))
	}
	if b := c.BudgetMS; !(b >= 0 && b <= 1e6) {
		v.fault(at("budget_ms"), "must be 0 to 1000000 ms, got %v", b)
	}
}

// cascades checks those of a station and its recipes.
func (v *validator) cascades(key func(string) string, s *Station) {
	v.cascade(key("cascade"), &s.Cascade, s.Unsigned)
	if s.Bundle != "" {
		v.ineffective(key, s, fmt.Sprintf("the station follows the bundle %s, which brings one model", shown(s.Bundle)), "cascade")
	}
	for i := range s.Recipes {
		r, at := &s.Recipes[i], fmt.Sprintf("%s[%d].cascade", key("recipes"), i)
		v.cascade(at, &r.Cascade, s.Unsigned)
		if as := s.As(r); v.set(at) && as.Bundle != "" {
			v.warn(at, "has no effect: recipe %s follows the bundle %s, which brings one model", shown(r.Name), shown(as.Bundle))
		}
	}
}
