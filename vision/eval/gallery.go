package eval

import (
	"bytes"
	"cmp"
	"fmt"
	"image/jpeg"
	"slices"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/paint"
)

// Shown is one of the worst pictures.
type Shown struct {
	Name  string  `json:"image"`
	State string  `json:"state"` // bad, good, uncertain
	Why   string  `json:"why"`
	Score float64 `json:"score"`
	Wrong float64 `json:"wrong"` // how wrong, 0 to 1
	jpeg  []byte  // what is true in dashed green, what was found in amber
}

// gallery keeps the worst pictures.
type gallery struct {
	most int
	all  []Shown // at most most
}

// shownSide bounds a shown picture, pixels.
const shownSide = 480

// keeps reports whether a picture that is so wrong would be kept.
func (g *gallery) keeps(wrong float64) bool {
	return g.most > 0 && wrong > 0 && (len(g.all) < g.most || wrong > g.all[len(g.all)-1].Wrong)
}

func (g *gallery) add(s Shown) {
	at, _ := slices.BinarySearchFunc(g.all, s, func(a, b Shown) int { return cmp.Or(cmp.Compare(b.Wrong, a.Wrong), cmp.Compare(a.Name, b.Name)) })
	g.all = slices.Insert(g.all, at, s)
	g.all = g.all[:min(len(g.all), g.most)]
}

func (g *gallery) shown() []Shown { return g.all }

// show keeps the picture if it is among the worst.
func (r *Run) show(l *Look, p *picture) error {
	wrong, why := r.wrong(l, p)
	if !r.worst.keeps(wrong) {
		return nil
	}
	s := Shown{Name: l.Image.Name, State: "uncertain", Why: why, Score: p.score, Wrong: wrong}
	if p.known {
		s.State = map[bool]string{true: "bad", false: "good"}[p.bad]
	}
	c := paint.Frame(l.Frame, shownSide)
	c.Dashed = true
	for _, a := range r.truth.Of(l.Image.ID) {
		d, err := r.marked(a)
		if err != nil {
			return err
		}
		c.Detection(d, paint.Green)
	}
	c.Dashed = false
	for i := len(l.Detections) - 1; i >= 0; i-- {
		if d := &l.Detections[i]; d.Score >= r.cfg.Confidence {
			c.Detection(d, paint.Amber)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, c.Image, &jpeg.Options{Quality: 80}); err != nil {
		return fmt.Errorf("draw %s: %w", l.Image.Name, err)
	}
	s.jpeg = b.Bytes()
	r.worst.add(s)
	return nil
}

// marked is an annotation as it is drawn.
func (r *Run) marked(a *coco.Annotation) (*vision.Detection, error) {
	d := &vision.Detection{Label: r.truth.Category(a.Category).Name, Score: 1,
		Box: vision.Box{X: float32(a.Box[0]), Y: float32(a.Box[1]), W: float32(a.Box[2]), H: float32(a.Box[3])}}
	if !a.HasMask() {
		return d, nil
	}
	rle, err := r.truth.Mask(a)
	if err != nil {
		return nil, err
	}
	d.Mask = rle.Mask()
	return d, nil
}

// wrong says how wrong the answer is, 0 to 1, and why: of a bad picture how low
// its score is, of a good one how high, of regions how little they agree, of boxes
// what share of those that should or do count agrees with nothing.
func (r *Run) wrong(l *Look, p *picture) (float64, string) {
	conf := float64(r.cfg.Confidence)
	scored := l.Score != nil || !r.cfg.Spec.Family.Boxes()
	switch {
	case scored && p.known && p.bad && p.score < conf:
		return 1 - p.score/2, fmt.Sprintf("escapes: bad, and scores %.3f", p.score)
	case scored && p.known && !p.bad && p.score >= conf:
		return 0.5 + p.score/2, fmt.Sprintf("false reject: good, and scores %.3f", p.score)
	case r.regions() && p.pixels.True+p.pixels.Both > 0:
		return (1 - p.pixels.IoU()) / 2, fmt.Sprintf("IoU of the regions %.2f", p.pixels.IoU())
	case scored:
		return 0, ""
	}
	missed, extra := r.mismatch(l)
	if n := missed + extra; n > 0 {
		all := float64(p.truth + len(l.Detections))
		return float64(n) / max(all, 1), fmt.Sprintf("%d missed, %d that aren't there", missed, extra)
	}
	return 0, ""
}

// mismatch pairs boxes of one label at an IoU of half or more, the surest first,
// and counts what is left on both sides.
func (r *Run) mismatch(l *Look) (missed, extra int) {
	truths := slices.DeleteFunc(slices.Clone(r.truth.Of(l.Image.ID)), func(a *coco.Annotation) bool { return a.Crowd })
	used := make([]bool, len(truths))
	for i := range l.Detections {
		d := &l.Detections[i]
		c := r.category[d.Label]
		if c == nil || d.Score < r.cfg.Confidence {
			continue
		}
		best, at := 0.5, -1
		box := [4]float64{float64(d.Box.X), float64(d.Box.Y), float64(d.Box.W), float64(d.Box.H)}
		for n, a := range truths {
			if v := coco.BoxIoU(box, a.Box, false); !used[n] && a.Category == c.ID && v >= best {
				best, at = v, n
			}
		}
		if at < 0 {
			extra++
		} else {
			used[at] = true
		}
	}
	for _, u := range used {
		if !u {
			missed++
		}
	}
	return missed, extra
}
