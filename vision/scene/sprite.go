package scene

import (
	"math"
	"math/rand/v2"
)

// Rings of a part, in part radii from its centre.
const (
	boreEdge    = 0.17
	boreChamfer = 0.21
	bossEdge    = 0.40
	bossChamfer = 0.43
	grooveIn    = 0.80
	grooveOut   = 0.82
	faceEdge    = 0.845
	rimEdge     = 0.90
	holeRing    = 0.63  // where the holes' centres are
	holeRadius  = 0.065 // of a hole
	holeSink    = 0.095 // of its countersink
	holes       = 3
	teeth       = 80   // of the knurled rim
	toothDepth  = 0.02 // of the silhouette
	edgeWave    = 0.12 // how far the edge of a chip or stain strays, share of its radius
)

// The lamp is up and to the left; the light that comes back from the other
// side is weaker.
const lampX, lampY = -0.6, -0.8

// pixel holds blue, green, red and coverage in 16-bit lanes from the lowest,
// the colours already multiplied by the coverage. Two of them mix with one
// multiplication each.
type pixel = uint64

func pack(b, g, r, a float64) pixel {
	return lane(b) | lane(g)<<16 | lane(r)<<32 | lane(a)<<48
}

func lane(v float64) pixel { return pixel(min(max(v, 0), 255) + 0.5) }

// sprite is a part drawn once, motion blur included. Its pixel at x, y covers
// x-margin, y-margin of the part's box.
type sprite struct {
	side, margin int
	pix          []pixel
}

// look is what tells one good part from another.
type look struct {
	rot   float64 // radians
	base  float64 // brightness of the metal, grey levels
	tint  [3]float64
	rings [256]float64 // turning marks from centre to rim, grey levels
}

// rotation is how far part i is turned, in radians.
func rotation(seed uint64, i int) float64 {
	return between(random(seed, streamLook, i), 0, 2*math.Pi)
}

func newLook(seed uint64, i int) *look {
	r := random(seed, streamLook, i)
	l := &look{rot: between(r, 0, 2*math.Pi), base: between(r, 138, 156)}
	warm := between(r, -0.02, 0.02)
	l.tint = [3]float64{1.025 - warm, 1, 0.98 + warm}
	l.turn(r)
	return l
}

// turn lays the marks of the lathe: fine ones and a slow swell.
func (l *look) turn(r *rand.Rand) {
	slow, phase := between(r, 9, 16), between(r, 0, 6)
	last := 0.0
	for i := range l.rings {
		last = 0.4*last + between(r, -3.4, 3.4)
		l.rings[i] = last + 2.2*math.Sin(float64(i)/256*2*math.Pi*slow+phase)
	}
}

// ring reads the turning marks at distance d, between two of them.
func (l *look) ring(d float64) float64 {
	at := min(max(d, 0), 1) * 254
	i := int(at)
	f := at - float64(i)
	return l.rings[i]*(1-f) + l.rings[i+1]*f
}

// drawSprite draws a part with its defects. blur is the way it moves during
// the exposure, in pixels.
func drawSprite(l *look, marks []mark, scale, blur float64) *sprite {
	radius := Diameter * scale / 2
	margin := 2 + int(blur)
	side := int(math.Ceil(2*radius)) + 2*margin
	raw := make([][4]float64, side*side)
	p := painter{look: l, marks: marks, aa: 1 / radius}
	for y := range side {
		for x := range side {
			at := point{
				(float64(x-margin)+0.5)/radius - 1,
				(float64(y-margin)+0.5)/radius - 1,
			}
			raw[y*side+x] = p.paint(at)
		}
	}
	return &sprite{side: side, margin: margin, pix: smear(raw, side, blur)}
}

// smear blurs along the rows over the given length and packs the pixels.
func smear(raw [][4]float64, side int, length float64) []pixel {
	length = max(length, 0.01) // what stands still, all but
	half := length / 2
	reach := int(math.Ceil(half + 0.5))
	weights := make([]float64, 2*reach+1)
	for i := range weights {
		lo, hi := float64(i-reach)-0.5, float64(i-reach)+0.5
		weights[i] = max(0, min(hi, half)-max(lo, -half)) / length
	}
	out := make([]pixel, side*side)
	for y := range side {
		row := raw[y*side : (y+1)*side]
		for x := range row {
			var sum [4]float64
			for i, w := range weights {
				at := x + i - reach
				if w == 0 || at < 0 || at >= side {
					continue
				}
				for c := range sum {
					sum[c] += w * row[at][c]
				}
			}
			out[y*side+x] = pack(sum[0], sum[1], sum[2], sum[3])
		}
	}
	return out
}

// painter knows the colour of every place of one part.
type painter struct {
	look  *look
	marks []mark
	aa    float64 // one pixel, in part radii
}

// over is 1 where d is beyond the edge, 0 before it, with an edge of one pixel.
func (p *painter) over(d, edge float64) float64 {
	return min(max((d-edge)/p.aa+0.5, 0), 1)
}

func mix(a, b, f float64) float64 { return a + (b-a)*f }

// paint gives blue, green, red (multiplied by the coverage) and the coverage,
// each 0 to 255.
func (p *painter) paint(at point) [4]float64 {
	d := at.dist(point{})
	if d > 1+p.aa {
		return [4]float64{}
	}
	toLamp, across := 0.0, 0.0
	if d > 1e-6 {
		toLamp = (at.x*lampX + at.y*lampY) / d
		across = (at.x*lampY - at.y*lampX) / d
	}
	grey, surface := p.body(at, d, toLamp, across)
	cover := 1.0
	if d > rimEdge-0.03 {
		var rim float64
		rim, cover = p.rim(at, d, toLamp)
		grey = mix(grey, rim, p.over(d, rimEdge))
		surface *= 1 - p.over(d, rimEdge)
	}
	var shift [3]float64
	for i := range p.marks {
		p.mark(&p.marks[i], at, surface, &grey, &cover, &shift)
	}
	a := min(max(cover, 0), 1)
	t := &p.look.tint
	return [4]float64{
		clampGrey(grey*t[0]+shift[0]) * a, clampGrey(grey*t[1]+shift[1]) * a,
		clampGrey(grey*t[2]+shift[2]) * a, 255 * a,
	}
}

func clampGrey(v float64) float64 { return min(max(v, 0), 255) }

// body is the brightness inside the rim, and how much of the place is
// surface that can carry a mark rather than a hole.
func (p *painter) body(at point, d, toLamp, across float64) (grey, surface float64) {
	l := p.look
	// A turned surface shines where its grooves lie across the light.
	shine := toLamp * toLamp
	shine *= shine
	side := across * across
	side *= side * side
	face := l.base - 14 + 38*shine + 12*side + 6*toLamp + l.ring(d)

	grey = 26 - 22*toLamp // inside the bore the far wall is lit
	grey = mix(grey, l.base+6-62*toLamp, p.over(d, boreEdge))
	grey = mix(grey, face+14, p.over(d, boreChamfer))
	grey = mix(grey, l.base-4+66*toLamp, p.over(d, bossEdge))
	grey = mix(grey, face, p.over(d, bossChamfer))
	grey = mix(grey, l.base-64-20*toLamp, p.over(d, grooveIn))
	grey = mix(grey, face+6, p.over(d, grooveOut))
	grey = mix(grey, l.base+4+64*toLamp, p.over(d, faceEdge))
	surface = p.over(d, boreEdge)

	if d > holeRing-holeSink-p.aa && d < holeRing+holeSink+p.aa {
		c, e := nearestHole(at, l.rot)
		lit := 0.0
		if e > 1e-6 {
			lit = ((at.x-c.x)*lampX + (at.y-c.y)*lampY) / e
		}
		grey = mix(l.base+8-58*lit, grey, p.over(e, holeSink))
		grey = mix(24-16*lit, grey, p.over(e, holeRadius))
		surface *= p.over(e, holeRadius)
	}
	return grey, surface
}

// rim is the knurled edge: brightness and coverage.
func (p *painter) rim(at point, d, toLamp float64) (grey, cover float64) {
	turn := math.Atan2(at.y, at.x) - p.look.rot
	tooth := math.Cos(turn * teeth)
	// Where a tooth is narrower than some pixels, it fades rather than flickers.
	wide := 2 * math.Pi / teeth / p.aa
	tooth *= min(max((wide-2)/2, 0), 1)
	lean := math.Sin(turn*teeth) * min(max((wide-2)/2, 0), 1)
	down := (d - rimEdge) / (1 - rimEdge)
	grey = p.look.base - 26 + 44*toLamp + 26*tooth - 14*lean*toLamp - 46*down*down
	cover = 1 - p.over(d, 1-toothDepth/2-p.aa/2+toothDepth/2*tooth)
	return grey, cover
}

func nearestHole(at point, rot float64) (c point, dist float64) {
	dist = math.Inf(1)
	for i := range holes {
		a := rot + 2*math.Pi*float64(i)/holes
		h := point{holeRing * math.Cos(a), holeRing * math.Sin(a)}
		if e := at.dist(h); e < dist {
			c, dist = h, e
		}
	}
	return c, dist
}

// nearHole reports whether a hole's countersink is within reach of the place.
func nearHole(at point, rot, reach float64) bool {
	_, d := nearestHole(at, rot)
	return d < holeSink+reach
}
