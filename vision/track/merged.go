package track

import (
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// Where parts touch, a model may see them as one for some frames.
const (
	mergedIn   = 0.8  // share of each part's expected box that the one box covers
	mergedFull = 0.75 // share of the one box that the parts fill
	mergedOver = 1.4  // its area to that of each of them
)

// unmerge replaces a box that covers several known parts by one box for each of
// them: where it is expected, all moved by what the one box lies off. So each
// part is followed on and has its own defects.
func (t *Tracker) unmerge(f Frame, parts []vision.Detection) []vision.Detection {
	if len(t.tracks) < 2 {
		return parts
	}
	for i := 0; i < len(parts); i++ {
		d := parts[i]
		in, boxes := t.covered(f, d.Box)
		if len(in) < 2 {
			continue
		}
		s := step(around(boxes), d.Box)
		var each []vision.Detection
		for n, tr := range in {
			b := boxes[n]
			b.X, b.Y = b.X+s.x, b.Y+s.y
			each = append(each, vision.Detection{Label: tr.label(), Score: d.Score, Box: b})
		}
		parts = slices.Replace(parts, i, i+1, each...)
		i += len(each) - 1
	}
	return parts
}

// covered gives the parts that together make up a box, and where in the picture
// each of them is expected.
func (t *Tracker) covered(f Frame, b vision.Box) (in []*track, boxes []vision.Box) {
	fills, area := float32(0), b.Area()
	for _, tr := range t.tracks {
		if area < mergedOver*tr.w*tr.h || tr.moves() < t.cfg.Confirm || !tr.fresh() {
			continue
		}
		own := tr.box().Intersect(vision.Box{W: float32(f.Width), H: float32(f.Height)})
		if i := own.Intersect(b).Area(); i > 0 && i >= mergedIn*own.Area() {
			if slices.ContainsFunc(boxes, func(o vision.Box) bool { return sameThing(o, own) }) {
				return nil, nil
			}
			in, boxes, fills = append(in, tr), append(boxes, own), fills+i
		}
	}
	if fills < mergedFull*area {
		return nil, nil
	}
	return in, boxes
}

// around is the smallest box that holds all.
func around(boxes []vision.Box) vision.Box {
	x0, y0, x1, y1 := boxes[0].X, boxes[0].Y, boxes[0].X, boxes[0].Y
	for _, b := range boxes {
		x0, y0, x1, y1 = min(x0, b.X), min(y0, b.Y), max(x1, b.X+b.W), max(y1, b.Y+b.H)
	}
	return vision.Box{X: x0, Y: y0, W: x1 - x0, H: y1 - y0}
}
