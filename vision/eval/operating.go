package eval

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/vision/score"
)

// falseRejects are the shares of good pictures at which recall is told.
var falseRejects = [...]float64{0.001, 0.01, 0.05}

// maxCurve bounds the points of a curve that are told.
const maxCurve = 400

func (r *Run) operating(c *score.Curve) (*Operating, error) {
	o := &Operating{Confidence: c.At(float64(r.cfg.Confidence)), Target: r.cfg.FalseRejects, Curve: thinned(c.Points)}
	var err error
	if o.F1, o.F1At, err = c.F1(); err != nil {
		return nil, err
	}
	for _, rate := range falseRejects {
		at, err := c.LeastEscapes(rate)
		if err != nil {
			return nil, err
		}
		o.At = append(o.At, Recall{rate, at.Found(), at.Threshold})
	}
	suggested, err := c.LeastEscapes(r.cfg.FalseRejects)
	if err != nil {
		return nil, err
	}
	none, err := c.NoEscapes()
	if err != nil {
		return nil, err
	}
	o.Suggested, o.NoEscapes = &suggested, &none
	return o, nil
}

// thinned keeps the ends of a curve and what lies evenly between them.
func thinned(points []score.Point) []score.Point {
	if len(points) <= maxCurve {
		return points
	}
	out := make([]score.Point, maxCurve)
	for i := range out {
		out[i] = points[i*(len(points)-1)/(maxCurve-1)]
	}
	return out
}

// Slices have at least so many pictures on average.
const (
	quantiles  = 4
	leastSlice = 4
	mostKeys   = 40
)

// slices fills in the tables by brightness, size of the defect, and what else the
// file says of pictures.
func (r *Run) slices(out *Report) error {
	n := len(r.pictures)
	if n < quantiles*leastSlice {
		return nil
	}
	byNumber := func(by string, of func(*picture) float64) error {
		values := make([]float64, n)
		for i := range r.pictures {
			values[i] = of(&r.pictures[i])
		}
		parts, err := score.ByQuantiles(values, quantiles)
		if err == nil && len(parts) > 1 {
			out.Slices = append(out.Slices, r.table(by, parts))
		}
		return err
	}
	if err := byNumber("brightness (mean grey level)", func(p *picture) float64 { return p.brightness }); err != nil {
		return err
	}
	if err := byNumber("size of the largest object (√area, px)", func(p *picture) float64 { return p.size }); err != nil {
		return err
	}
	for _, key := range r.keys() {
		parts := score.ByKey(n, func(i int) string { return r.pictures[i].image.Fields[key] })
		if len(parts) > 1 && len(parts) <= mostKeys {
			out.Slices = append(out.Slices, r.table(key, parts))
		}
	}
	return nil
}

// keys are the fields of the file's pictures that part them: words that repeat.
func (r *Run) keys() []string {
	values := map[string]map[string]bool{}
	for _, p := range r.pictures {
		for k, v := range p.image.Fields {
			if values[k] == nil {
				values[k] = map[string]bool{}
			}
			values[k][v] = true
		}
	}
	var out []string
	for k, v := range values {
		if len(v) > 1 && len(v)*2 <= len(r.pictures) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func (r *Run) table(by string, parts []score.Slice) Table {
	t := Table{By: by}
	for _, s := range parts {
		t.Rows = append(t.Rows, r.row(s))
	}
	return t
}

// row measures a slice. What it has too little of stays nil.
func (r *Run) row(s score.Slice) Row {
	row := Row{Name: s.Name, Pictures: len(s.Pictures)}
	if r.cfg.Spec.Family.Boxes() && len(r.category) > 0 {
		masks := r.regions()
		if d, err := score.Detections(r.truth, r.results, score.DetectionConfig{Masks: masks, Images: r.images(s.Pictures)}); err == nil {
			row.AP = figure(d.AP)
		}
	}
	var px score.Pixels
	var scores []float64
	var bad []bool
	escapes, rejects := &score.Share{}, &score.Share{}
	for _, n := range s.Pictures {
		p := &r.pictures[n]
		px.Both, px.Found, px.True, px.None = px.Both+p.pixels.Both, px.Found+p.pixels.Found, px.True+p.pixels.True, px.None+p.pixels.None
		if !p.known {
			continue
		}
		scores, bad = append(scores, p.score), append(bad, p.bad)
		rejected := p.score >= float64(r.cfg.Confidence)
		switch {
		case p.bad:
			if escapes.N++; !rejected {
				escapes.K++
			}
		default:
			if rejects.N++; rejected {
				rejects.K++
			}
		}
	}
	if r.regions() {
		row.MaskIoU = figure(px.IoU())
	}
	if escapes.N == 0 || rejects.N == 0 {
		if rejects.N == 0 && escapes.N == len(r.pictures) {
			return row
		}
	} else if c, err := score.NewCurve(scores, bad); err == nil {
		if a, err := c.AUROC(); err == nil {
			row.ImageAUROC = figure(a)
		}
	}
	row.Escapes, row.FalseRejects = escapes, rejects
	return row
}

func noCategory(r *Run) error {
	var labels, categories []string
	for _, l := range r.cfg.Spec.Labels {
		labels = append(labels, l.Name)
	}
	for _, c := range r.truth.Categories {
		categories = append(categories, c.Name)
	}
	return errors.New("measure the model: none of its labels (" + few(labels) + ") is a category of " + r.truth.Path + " (" + few(categories) +
		"): give it the file's names in the model's order with --labels FILE")
}

func few(names []string) string {
	if len(names) > 8 {
		return strings.Join(names[:8], ", ") + fmt.Sprintf(", … %d in all", len(names))
	}
	return strings.Join(names, ", ")
}
