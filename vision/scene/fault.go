package scene

import "math"

// stainTint is how a stain darkens blue, green and red; weighted as the eye
// does it, the sum is 1, so the contrast is what the truth says.
var stainTint = [3]float64{1.30, 1.0, 0.885}

// mark draws one defect at one place, over the brightness and coverage that a
// good part has there.
func (p *painter) mark(m *mark, at point, surface float64, grey, cover *float64, shift *[3]float64) {
	switch m.Kind {
	case Chip:
		p.chip(m, at, grey, cover)
	case Dent:
		*grey += m.Contrast * surface * m.dent(at)
	case Stain:
		v := -m.Contrast * surface * p.stain(m, at)
		for c := range shift {
			shift[c] += v * stainTint[c]
		}
	case Scratch:
		*grey += m.Contrast * surface * p.scratch(m, at)
	case Crack:
		*grey -= m.Contrast * surface * p.stroke(m, at, m.width, 0)
	}
}

// edge is how far the outline of a chip or stain reaches in the direction of
// the place, in its radii.
func (m *mark) edge(at point) float64 {
	a := math.Atan2(at.y-m.at.y, at.x-m.at.x)
	return 1 + edgeWave/3*(math.Sin(2*a+m.wave[0])+math.Sin(3*a+m.wave[1])+math.Sin(5*a+m.wave[2]))
}

func (p *painter) chip(m *mark, at point, grey, cover *float64) {
	d := at.dist(m.at)
	if d > m.size*(1+edgeWave)+p.aa {
		return
	}
	edge := m.size * m.edge(at)
	inside := 1 - p.over(d, edge)
	// The broken edge is a narrow, dull slope before the hole.
	slope := 1 - p.over(d, edge*0.80)
	*grey = mix(*grey, 70+18*math.Sin(9*d/m.size+m.wave[3]), inside)
	*cover *= 1 - slope
}

// dentPeak is the largest value of x·(1-x²)², at x = 1/√5.
const dentPeak = 0.28621670111997307

// dent is a hollow: dark where it falls away from the lamp, bright on the
// slope that faces it.
func (m *mark) dent(at point) float64 {
	x, y := (at.x-m.at.x)/m.size, (at.y-m.at.y)/m.size
	q := x*x + y*y
	if q >= 1 {
		return 0
	}
	return -(x*lampX + y*lampY) * (1 - q) * (1 - q) / dentPeak
}

func (p *painter) stain(m *mark, at point) float64 {
	d := at.dist(m.at)
	if d > m.size*(1+edgeWave) {
		return 0
	}
	f := d / (m.size * m.edge(at))
	// A soft border, a good third of the radius wide, darkest in the middle.
	soft := min(max((1-f)/0.38, 0), 1)
	return soft * soft * (3 - 2*soft)
}

// scratch is bright where the tool ran and has a dark burr beside it.
func (p *painter) scratch(m *mark, at point) float64 {
	bright := p.stroke(m, at, m.width, 0)
	burr := p.stroke(m, at, m.width*0.8, m.width*0.9)
	return bright - 0.45*burr*(1-bright)
}

// stroke is the coverage of a place by the mark's line, 0 to 1, shifted down
// and right by off. Its ends taper.
func (p *painter) stroke(m *mark, at point, width, off float64) float64 {
	best := math.Inf(1)
	at = point{at.x - off*0.7, at.y - off*0.7}
	last := len(m.line) - 1
	end := 1.0
	for i := range last {
		d, u := segment(at, m.line[i], m.line[i+1])
		if d < best {
			best = d
			along := (float64(i) + u) / float64(last)
			end = min(1, 0.35+8*min(along, 1-along))
		}
	}
	half := width * end / 2
	return min(max((half-best)/p.aa+0.5, 0), min(1, width*end/p.aa))
}

// segment is the distance of a place from the line from a to b, and how far
// along the line the nearest point is, 0 to 1.
func segment(at, a, b point) (dist, along float64) {
	dx, dy := b.x-a.x, b.y-a.y
	q := dx*dx + dy*dy
	if q > 0 {
		along = min(max(((at.x-a.x)*dx+(at.y-a.y)*dy)/q, 0), 1)
	}
	return at.dist(point{a.x + along*dx, a.y + along*dy}), along
}
