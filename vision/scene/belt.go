package scene

import (
	"math"
	"math/rand/v2"
)

// The belt's texture repeats after beltLen reference pixels and is kept at
// beltPhases positions between two pixels, so that it glides with the parts.
const (
	beltLen    = 1024
	beltPhases = 4
	railShare  = 0.115 // height of each side rail, share of the belt's band
)

// belt is everything under the parts: the moving rubber and the still rails.
type belt struct {
	length   int // of a strip, pixels
	top, end int // rows of the rubber: top ≤ y < end
	strips   [beltPhases][]byte
	rails    []byte // rows outside the rubber, all of the picture's width
}

func newBelt(cfg Config, scale float64) *belt {
	b := &belt{length: int(math.Ceil(beltLen * scale))}
	band := DefaultHeight * scale
	rail := (float64(cfg.Height)-band)/2 + railShare*band
	b.top, b.end = int(rail), cfg.Height-int(rail)
	b.draw(cfg, scale)
	b.drawRails(cfg, scale)
	return b
}

// draw lays the rubber: a weave, a slow mottle, wear along the belt, grains.
func (b *belt) draw(cfg Config, scale float64) {
	r := random(cfg.Seed, streamBelt, 0)
	rows := b.end - b.top
	mottle := newMottle(r)
	wear := make([]float64, rows)
	last := 0.0
	for y := range wear {
		last = 0.93*last + between(r, -0.5, 0.5)
		wear[y] = last
	}
	grey := make([]float64, b.length)
	for i := range b.strips {
		b.strips[i] = make([]byte, rows*b.length*3)
	}
	for y := range rows {
		wy := float64(y) / scale
		for x := range grey {
			wx := float64(x) / float64(b.length) * beltLen
			v := 47 + wear[y] + 3.2*mottle.at(wx, wy) + between(r, -2.4, 2.4)
			v += 1.6 * math.Sin(2*math.Pi*(wx*64/beltLen+wy/16)) * math.Sin(2*math.Pi*(wx*64/beltLen-wy/16))
			grey[x] = v
		}
		edge := min(float64(y), float64(rows-1-y)) / scale
		b.lay(grey, y, min(1, 0.55+edge/28))
	}
}

// lay writes one row of grey at every phase, darkened by the rail's shade.
func (b *belt) lay(grey []float64, y int, shade float64) {
	tint := [3]float64{1.07, 1.0, 0.95}
	for phase := range b.strips {
		f := float64(phase) / beltPhases
		row := b.strips[phase][y*b.length*3 : (y+1)*b.length*3]
		for x := range grey {
			v := mix(grey[x], grey[(x+1)%b.length], f) * shade
			for c, t := range tint {
				row[x*3+c] = byte(lane(v * t))
			}
		}
	}
}

// drawRails draws the still frame of brushed aluminium above and below.
func (b *belt) drawRails(cfg Config, scale float64) {
	r := random(cfg.Seed, streamBelt, 1)
	w := cfg.Width
	b.rails = make([]byte, cfg.Height*w*3)
	for y := range cfg.Height {
		away := b.top - 1 - y // rows from the rubber
		if y >= b.end {
			away = y - b.end
		} else if y >= b.top {
			continue
		}
		base := railGrey(float64(away)/scale, y < b.top) + between(r, -1.2, 1.2)
		streak := 0.0
		for x := range w {
			streak = 0.97*streak + between(r, -0.35, 0.35)
			v := base + streak
			for c, t := range [3]float64{1.06, 1.0, 0.96} {
				b.rails[(y*w+x)*3+c] = byte(lane(v * t))
			}
		}
	}
}

// railGrey is the rail's profile, by the distance from the rubber in
// reference pixels.
func railGrey(away float64, upper bool) float64 {
	switch {
	case away < 2:
		return 22
	case away < 5 && upper:
		return 74
	case away < 5:
		return 112
	case away < 22:
		return 78
	case away < 24:
		return 40
	case away < 26:
		return 86
	}
	return max(50, 66-away/8)
}

// copyRow lays row y of the background at the given travel, in 1/256 pixels.
func (b *belt) copyRow(dst []byte, y, travel int) {
	if y < b.top || y >= b.end {
		copy(dst, b.rails[y*len(dst):])
		return
	}
	step := 256 / beltPhases
	at := travel / step
	phase, x := at%beltPhases, at/beltPhases%b.length
	row := b.strips[phase][(y-b.top)*b.length*3 : (y-b.top+1)*b.length*3]
	for n := copy(dst, row[x*3:]); n < len(dst); {
		n += copy(dst[n:], row)
	}
}

// mottle is a smooth random field that repeats along the belt.
type mottle struct{ knots [16][8]float64 }

func newMottle(r *rand.Rand) *mottle {
	m := &mottle{}
	for i := range m.knots {
		for j := range m.knots[i] {
			m.knots[i][j] = between(r, -1, 1)
		}
	}
	return m
}

func (m *mottle) at(x, y float64) float64 {
	gx, gy := x*16/beltLen, y/64
	i, j := int(gx), int(gy)
	fx, fy := ease(gx-float64(i)), ease(gy-float64(j))
	k := &m.knots
	a := mix(k[i%16][j%8], k[(i+1)%16][j%8], fx)
	b := mix(k[i%16][(j+1)%8], k[(i+1)%16][(j+1)%8], fx)
	return mix(a, b, fy)
}

func ease(f float64) float64 { return f * f * (3 - 2*f) }
