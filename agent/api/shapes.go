package api

import (
	"fmt"
	"strings"
)

// shapesView is what is drawn over a part's picture.
type shapesView struct {
	ViewBox string
	Points  []string // of a polygon each
}

// viewShapes are the outlines of what the picture shows; nil without any.
func viewShapes(r *Result) *shapesView {
	b := r.PictureBox
	if b == nil {
		return nil
	}
	v := &shapesView{ViewBox: fmt.Sprintf("%g %g %g %g", b[0], b[1], b[2], b[3])}
	for _, e := range r.Evidence {
		for _, o := range e.Outlines {
			if e.Camera != r.PictureCamera {
				continue
			}
			var points strings.Builder
			for _, p := range o {
				fmt.Fprintf(&points, "%d,%d ", p[0], p[1])
			}
			v.Points = append(v.Points, points.String())
		}
	}
	if v.Points == nil {
		return nil
	}
	return v
}
