package scene

import (
	"math"
	"math/rand/v2"

	"github.com/sightline-edge/sightline/vision"
)

// point is a place on a part: its centre is 0,0 and its rim at distance 1.
type point struct{ x, y float64 }

func (p point) dist(q point) float64 {
	dx, dy := p.x-q.x, p.y-q.y
	return math.Sqrt(dx*dx + dy*dy)
}

// mark is a defect with the geometry to draw it. Lengths are in part radii.
type mark struct {
	Defect
	at    point   // middle of a chip, dent or stain
	size  float64 // its radius
	wave  [4]float64
	line  []point // of a scratch or crack
	width float64
}

// newMark makes a defect of that kind on a part turned by rot radians. A faint
// one lies under the visibility floor.
func newMark(r *rand.Rand, kind Kind, rot float64, faint bool) mark {
	m := mark{Defect: Defect{Kind: kind, BelowFloor: faint}}
	u := r.Float64()
	m.Contrast = FloorContrast * (1.05 + 2*u*u)
	if faint {
		m.Contrast = FloorContrast * (0.25 + 0.65*u)
	}
	for i := range m.wave {
		m.wave[i] = between(r, 0, 2*math.Pi)
	}
	switch kind {
	case Chip:
		m.chip(r, faint)
	case Dent, Stain:
		m.spot(r, rot)
	case Scratch, Crack:
		m.stroke(r, rot)
	}
	return m
}

// chip bites into the rim; what shows is the belt. A faint one is small.
func (m *mark) chip(r *rand.Rand, faint bool) {
	m.Contrast = 50 // at least, on the dark side of the rim
	m.size = between(r, 0.16, 0.30)
	if faint {
		m.Contrast = 30
		m.size = between(r, 0.05, 0.075)
	}
	a := between(r, 0, 2*math.Pi)
	m.at = point{math.Cos(a), math.Sin(a)}
	m.Size = m.size
	var b bounds
	for i := range 96 {
		t := 2 * math.Pi * float64(i) / 96
		reach := m.size * (1 + edgeWave)
		p := point{m.at.x + reach*math.Cos(t), m.at.y + reach*math.Sin(t)}
		if d := p.dist(point{}); d > 1 {
			continue
		}
		b.add(p, 0.01)
	}
	// The rim between the two ends of the bite bulges beyond them.
	for i := -8; i <= 8; i++ {
		t := a + float64(i)/8*m.size*(1+edgeWave)*0.98
		b.add(point{math.Cos(t), math.Sin(t)}, 0.01)
	}
	m.Box = b.box()
}

// spot is a round or oval mark on the face.
func (m *mark) spot(r *rand.Rand, rot float64) {
	m.size = between(r, 0.15, 0.26)
	for range 50 {
		a, d := between(r, 0, 2*math.Pi), between(r, 0.45, 0.80-m.size*0.6)
		m.at = point{d * math.Cos(a), d * math.Sin(a)}
		if !nearHole(m.at, rot, m.size*0.8) {
			break
		}
	}
	m.Size = m.size
	var b bounds
	b.add(m.at, m.size*(1+edgeWave))
	m.Box = b.box()
}

// stroke is a line on the face: smooth for a scratch, jagged for a crack.
func (m *mark) stroke(r *rand.Rand, rot float64) {
	m.width = 2 * between(r, 0.017, 0.025)
	for range 50 {
		if m.Kind == Scratch {
			m.line = scratchLine(r)
		} else {
			m.line = crackLine(r)
		}
		if onFace(m.line, rot) {
			break
		}
	}
	var b bounds
	for _, p := range m.line {
		b.add(p, m.width+0.07)
	}
	m.Box = b.box()
	m.Size = m.line[0].dist(m.line[len(m.line)-1]) / 2
}

func scratchLine(r *rand.Rand) []point {
	a, d := between(r, 0, 2*math.Pi), between(r, 0.1, 0.62)
	mid := point{d * math.Cos(a), d * math.Sin(a)}
	dir, half := between(r, 0, 2*math.Pi), between(r, 0.24, 0.5)
	bend := between(r, -0.25, 0.25)
	c, s := math.Cos(dir), math.Sin(dir)
	line := make([]point, 0, 13)
	for i := -6; i <= 6; i++ {
		u := float64(i) / 6
		along, across := half*u, half*bend*(1-u*u)
		line = append(line, point{mid.x + along*c - across*s, mid.y + along*s + across*c})
	}
	return line
}

func crackLine(r *rand.Rand) []point {
	a, d := between(r, 0, 2*math.Pi), between(r, 0.3, 0.8)
	p := point{d * math.Cos(a), d * math.Sin(a)}
	dir := between(r, 0, 2*math.Pi)
	step := between(r, 0.08, 0.12)
	line := []point{p}
	for i := range 6 {
		turn := between(r, 0.25, 0.75)
		if i%2 == 1 {
			turn = -turn
		}
		p = point{p.x + step*math.Cos(dir+turn), p.y + step*math.Sin(dir+turn)}
		line = append(line, p)
	}
	return line
}

// onFace reports whether nearly all of the line lies where it shows: on the
// face or the boss, off the bore and the holes, and is long enough.
func onFace(line []point, rot float64) bool {
	if line[0].dist(line[len(line)-1]) < 2*FloorLine {
		return false
	}
	hidden := 0
	for _, p := range line {
		d := p.dist(point{})
		if d > 0.82 {
			return false
		}
		if d < boreEdge || nearHole(p, rot, 0.02) {
			hidden++
		}
	}
	return hidden <= 1
}

// bounds collects a box in part radii.
type bounds struct {
	x0, y0, x1, y1 float64
	some           bool
}

func (b *bounds) add(p point, reach float64) {
	if !b.some {
		*b = bounds{p.x - reach, p.y - reach, p.x + reach, p.y + reach, true}
		return
	}
	b.x0, b.y0 = min(b.x0, p.x-reach), min(b.y0, p.y-reach)
	b.x1, b.y1 = max(b.x1, p.x+reach), max(b.y1, p.y+reach)
}

// box is the same in part diameters from the corner of the part's box.
func (b *bounds) box() vision.Box {
	return vision.Box{
		X: float32((b.x0 + 1) / 2), Y: float32((b.y0 + 1) / 2),
		W: float32((b.x1 - b.x0) / 2), H: float32((b.y1 - b.y0) / 2),
	}
}
