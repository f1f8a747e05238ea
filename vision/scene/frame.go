package scene

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// shadowFall is where a part's shadow lies against the part, and how soft and
// dark it is; reference pixels and the share of light it takes.
const (
	shadowX, shadowY = 7.0, 9.0
	shadowSoft       = 16.0
	shadowDark       = 0.62
)

// fixed gives v in 1/256, rounded.
func fixed(v float64) int { return int(math.Floor(v*256 + 0.5)) }

// Frame draws frame n, n from 0, into dst, which must be BGR24 of the scene's
// size. Any order is allowed; in order it is fastest, as each part is drawn
// once. It sets Seq and Media; the moment of capture is the caller's.
func (s *Scene) Frame(n int, dst *vision.Frame) error {
	if dst.Format != vision.BGR24 || dst.Width != s.cfg.Width || dst.Height != s.cfg.Height || !dst.Valid() {
		return fmt.Errorf("draw frame %d: the picture to draw in must be BGR of %dx%d, got %dx%d",
			n, s.cfg.Width, s.cfg.Height, dst.Width, dst.Height)
	}
	if n < 0 {
		return fmt.Errorf("draw frame %d: frames count from 0", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.seconds(n)
	s.background(dst, t)
	first, last := s.inView(t)
	s.keep(first, last)
	for i := first; i < last; i++ {
		x, y := s.corner(i, t)
		s.shade(dst, x+fixed(shadowX*s.scale), y+fixed(shadowY*s.scale))
	}
	for i := first; i < last; i++ {
		x, y := s.corner(i, t)
		blit(dst, s.sprite(i), x, y)
	}
	for y := range dst.Height {
		row := dst.Pix[y*dst.Stride:][:dst.Width*3]
		s.light.apply(row, y, s.light.gain(t, float64(y)/float64(dst.Height)), n)
	}
	dst.Seq, dst.Media = uint64(n), duration(t)
	return nil
}

func (s *Scene) background(dst *vision.Frame, t float64) {
	length := s.belt.length * 256
	at := -fixed(math.Mod(s.drift.travel(t)*s.scale, float64(s.belt.length)))
	if s.cfg.RightToLeft {
		at = -at
	}
	at = (at%length + length) % length
	for y := range dst.Height {
		s.belt.copyRow(dst.Pix[y*dst.Stride:][:dst.Width*3], y, at)
	}
}

// keep drops the sprites of parts that are out of view.
func (s *Scene) keep(first, last int) {
	for i := range s.sprites {
		if i < first || i >= last {
			delete(s.sprites, i)
		}
	}
}

func (s *Scene) sprite(i int) *sprite {
	sp := s.sprites[i]
	if sp == nil {
		sp = drawSprite(newLook(s.cfg.Seed, i), s.marks(i), s.scale, s.blur())
		s.sprites[i] = sp
	}
	return sp
}

// blur is the way that a part moves during the exposure, in pixels.
func (s *Scene) blur() float64 { return s.drift.speed * exposure * s.scale }

// drawShadow gives a shadow's coverage: the same for all parts.
func drawShadow(scale float64) *sprite {
	radius := Diameter * scale / 2
	soft := shadowSoft * scale
	margin := int(math.Ceil(soft)) + 1
	side := int(math.Ceil(2*radius)) + 2*margin
	sp := &sprite{side: side, margin: margin, pix: make([]pixel, side*side)}
	for y := range side {
		for x := range side {
			dx := float64(x-margin) + 0.5 - radius
			dy := float64(y-margin) + 0.5 - radius
			d := math.Sqrt(dx*dx+dy*dy) - radius
			f := ease(min(max((soft-d)/(2*soft), 0), 1))
			sp.pix[y*side+x] = pixel(256 - fixed(shadowDark*f))
		}
	}
	return sp
}

// shade darkens the picture by a part's shadow, its box at x, y in 1/256 pixels.
func (s *Scene) shade(dst *vision.Frame, x, y int) {
	sp := s.shadow
	left, top := x>>8-sp.margin, y>>8-sp.margin
	x0, x1 := max(0, -left), min(sp.side, dst.Width-left)
	for sy := max(0, -top); sy < min(sp.side, dst.Height-top) && x0 < x1; sy++ {
		src := sp.pix[sy*sp.side+x0 : sy*sp.side+x1]
		out := dst.Pix[(top+sy)*dst.Stride+(left+x0)*3:][:len(src)*3]
		for i, v := range src {
			px := out[i*3 : i*3+3 : i*3+3]
			px[0] = byte(pixel(px[0]) * v >> 8)
			px[1] = byte(pixel(px[1]) * v >> 8)
			px[2] = byte(pixel(px[2]) * v >> 8)
		}
	}
}

// lanes keeps the low byte of each lane.
const lanes = 0x00ff_00ff_00ff_00ff

// blend is a·(256-f) + b·f in every lane, f from 0 to 255.
func blend(a, b pixel, f uint64) pixel {
	return (a*(256-f) + b*f) >> 8 & lanes
}

// blit lays the part over the picture, its box at x, y in 1/256 pixels,
// reading the sprite between its pixels.
func blit(dst *vision.Frame, sp *sprite, x, y int) {
	// The picture's pixel (left+i, top+j) sees the sprite at (i-fx, j-fy).
	fx, fy := uint64(x&255), uint64(y&255)
	left, top := x>>8-sp.margin, y>>8-sp.margin
	x0, x1 := max(1, -left), min(sp.side, dst.Width-left)
	for sy := max(1, -top); sy < min(sp.side, dst.Height-top) && x0 < x1; sy++ {
		above := sp.pix[(sy-1)*sp.side:][:sp.side]
		here := sp.pix[sy*sp.side:][:sp.side]
		out := dst.Pix[(top+sy)*dst.Stride+(left+x0)*3:][:(x1-x0)*3]
		before := blend(here[x0-1], above[x0-1], fy)
		for i := x0; i < x1; i++ {
			now := blend(here[i], above[i], fy)
			p := blend(now, before, fx)
			before = now
			if p>>48 == 0 {
				continue
			}
			rest := 256 - p>>48 - p>>55
			px := out[(i-x0)*3 : (i-x0)*3+3 : (i-x0)*3+3]
			px[0] = byte(p&255 + uint64(px[0])*rest>>8)
			px[1] = byte(p>>16&255 + uint64(px[1])*rest>>8)
			px[2] = byte(p>>32&255 + uint64(px[2])*rest>>8)
		}
	}
}
