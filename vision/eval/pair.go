package eval

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/infer"
)

// PairConfig says how a small and a large model are compared as a cascade.
type PairConfig struct {
	Spec  infer.Spec // of the small model; the large one has the same labels
	Large string     // its name
	// Rejects is what the rule makes of a part.
	Rejects func(p vision.Part, width, height int) bool

	// What the band is proposed for. Cost is the share of the large model's time that
	// a part may take on average; 0 asks for the cheapest band with at most so many
	// more escapes and false rejects than the large model alone, of 1.
	Cost                          float64
	MoreEscapes, MoreFalseRejects float64
}

// Pair gathers what two models saw in the same annotated pictures. It is not safe for
// concurrent use.
type Pair struct {
	truth *coco.File
	cfg   PairConfig
	parts bool // parts are marked: each is one unit; else each picture is

	units []unit
	at    map[int64][]int // the picture's units
	small []float64       // what the models took, ms
	large []float64
}

// unit is a part, or a picture, that gets a verdict.
type unit struct {
	image int64
	box   vision.Box // of the part; zero: the whole picture
	bad   bool
	score float64 // the small model's deciding one
	// Whether each model's evidence is rejected; seen says which has looked.
	small, large         bool
	smallSeen, largeSeen bool
}

// NewPair begins a comparison against truth.
func NewPair(truth *coco.File, cfg PairConfig) (*Pair, error) {
	p := &Pair{truth: truth, cfg: cfg, at: map[int64][]int{}}
	for i := range truth.Annotations {
		p.parts = p.parts || p.role(&truth.Annotations[i]) == vision.PartRole
	}
	for i := range truth.Images {
		img := &truth.Images[i]
		for _, u := range p.unitsOf(img) {
			p.at[img.ID] = append(p.at[img.ID], len(p.units))
			p.units = append(p.units, u)
		}
	}
	if len(p.units) == 0 {
		return nil, fmt.Errorf("compare the models: %s has no picture that is good or bad", truth.Path)
	}
	return p, nil
}

// role is what an annotation is to the models.
func (p *Pair) role(a *coco.Annotation) vision.Role {
	if c := p.truth.Category(a.Category); c != nil {
		return p.cfg.Spec.RoleOf(c.Name)
	}
	return vision.Ignored
}

// unitsOf are the picture's marked parts; where none are marked in any, the picture.
func (p *Pair) unitsOf(img *coco.Image) (out []unit) {
	var defects []vision.Box
	all := p.truth.Of(img.ID)
	for _, a := range all {
		if p.role(a) == vision.DefectRole {
			defects = append(defects, boxOf(a))
		}
	}
	if !p.parts {
		bad, known := p.truth.Bad(img.ID)
		if img.State == "" { // another category than a defect's makes no picture bad
			bad = len(defects) > 0 || !p.hasDefects() && len(all) > 0
		}
		if known {
			out = append(out, unit{image: img.ID, bad: bad})
		}
		return out
	}
	for _, a := range all {
		if p.role(a) != vision.PartRole {
			continue
		}
		u := unit{image: img.ID, box: boxOf(a)}
		u.bad = slices.ContainsFunc(defects, func(d vision.Box) bool { return u.box.Contains(d.Center()) })
		out = append(out, u)
	}
	return out
}

// hasDefects tells whether a label of the models is a defect.
func (p *Pair) hasDefects() bool {
	return slices.ContainsFunc(p.cfg.Spec.Labels, func(l infer.Label) bool { return l.Role == vision.DefectRole })
}

func boxOf(a *coco.Annotation) vision.Box {
	b := a.Box
	return vision.Box{X: float32(b[0]), Y: float32(b[1]), W: float32(b[2]), H: float32(b[3])}
}

// Took takes how long a look of a model took, ms. Looks of both are best measured in turn:
// then what else the machine does slows both down alike.
func (p *Pair) Took(large bool, ms float64) {
	if large {
		p.large = append(p.large, ms)
	} else {
		p.small = append(p.small, ms)
	}
}

// Add takes what a model saw in one picture.
func (p *Pair) Add(large bool, l Look) {
	for _, n := range p.at[l.Image.ID] {
		u := &p.units[n]
		part := p.part(u, &l)
		rejects := p.cfg.Rejects(part, l.Frame.Width, l.Frame.Height)
		if large {
			u.large, u.largeSeen = rejects, true
			continue
		}
		u.small, u.smallSeen = rejects, true
		for _, e := range part.Defects {
			u.score = max(u.score, float64(e.Score))
		}
		if l.Score != nil {
			u.score = float64(*l.Score)
		}
	}
}

// part is the unit as a station would have it: the best score of each label.
func (p *Pair) part(u *unit, l *Look) vision.Part {
	whole := vision.Box{W: float32(l.Frame.Width), H: float32(l.Frame.Height)}
	out := vision.Part{ID: l.Image.Name, Label: "part", Score: 1, Box: u.box, Frames: 1}
	if u.box == (vision.Box{}) {
		out.Box = whole
	}
	for _, d := range l.Detections {
		if p.cfg.Spec.RoleOf(d.Label) != vision.DefectRole && p.hasDefects() || !out.Box.Contains(d.Box.Center()) {
			continue
		}
		n := slices.IndexFunc(out.Defects, func(e vision.Evidence) bool { return e.Label == d.Label })
		switch e := (vision.Evidence{Label: d.Label, Score: d.Score, Peak: d.Score, Frames: 1, Box: d.Box}); {
		case n < 0:
			out.Defects = append(out.Defects, e)
		case d.Score > out.Defects[n].Score:
			out.Defects[n] = e
		}
	}
	return out
}

// Report compares the models, and proposes a band.
func (p *Pair) Report() (*Cascade, error) {
	both := slices.DeleteFunc(slices.Clone(p.units), func(u unit) bool { return !u.smallSeen || !u.largeSeen })
	var halves [2][]unit
	for _, u := range both {
		h := half(p.truth.Image(u.image).Name)
		halves[h] = append(halves[h], u)
	}
	for _, h := range halves {
		bad := 0
		for _, u := range h {
			if u.bad {
				bad++
			}
		}
		if bad == 0 || bad == len(h) {
			return nil, errors.New("compare the models: one half of the pictures is to choose the band, the other to check it, and both need good and bad ones: annotate more")
		}
	}
	out := &Cascade{Large: p.cfg.Large, Unit: "pictures", Units: len(both), SmallMS: median(p.small), LargeMS: median(p.large)}
	if p.parts {
		out.Unit = "parts"
	}
	choice, check := newBands(halves[0], out.SmallMS, out.LargeMS), newBands(halves[1], out.SmallMS, out.LargeMS)
	out.Chosen.Pictures, out.Checked.Pictures = len(halves[0]), len(halves[1])
	out.SmallAlone, out.LargeAlone = check.outcome(none), check.alone()
	proposed, asked, err := choice.propose(&p.cfg)
	if err != nil {
		return nil, err
	}
	out.Asked, out.Low, out.High = asked, proposed.low, proposed.high
	out.Chosen.Outcome, out.Checked.Outcome = choice.outcome(proposed), check.outcome(proposed)
	out.Met = check.meets(&p.cfg, out.Checked.Outcome)
	for _, b := range choice.steps() {
		out.Curve = append(out.Curve, Step{Low: b.low, High: b.high, Outcome: check.outcome(b)})
	}
	return out, nil
}

// half parts pictures by their names: neighbours in a film are often on the same side
// of every line, so this parts them whatever their order.
func half(name string) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return int(h>>16) & 1
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[(len(s)-1)/2]
}
