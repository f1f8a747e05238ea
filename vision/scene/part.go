package scene

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Kind names what is wrong with a part. It is the model's label as well.
type Kind string

// The kinds of defect, from gross to barely visible.
const (
	Chip    Kind = "chip"    // a piece of the rim is missing
	Dent    Kind = "dent"    // a hollow in the face
	Stain   Kind = "stain"   // a dark, brownish spot
	Scratch Kind = "scratch" // a bright, smooth line with a dark side
	Crack   Kind = "crack"   // a dark, jagged hairline
)

// Kinds gives all kinds, from gross to barely visible.
func Kinds() []Kind { return []Kind{Chip, Dent, Stain, Scratch, Crack} }

// The visibility floor: a defect below any of these is drawn, but its truth
// says BelowFloor, and nobody is blamed for passing such a part.
const (
	FloorContrast  = 28.0  // grey levels of 255 at full light, before motion blur
	FloorSpot      = 0.13  // diameter of chips, dents and stains, in part diameters
	FloorLine      = 0.20  // end-to-end length of scratches and cracks, in part diameters
	FloorLineWidth = 0.016 // width of scratches and cracks, in part diameters
)

// Defect is one fault of a part.
type Defect struct {
	Kind       Kind       `json:"kind"`
	Box        vision.Box `json:"-"`           // in part diameters, 0,0 at the top left corner of the part's box
	Contrast   float64    `json:"contrast"`    // strongest change of brightness, grey levels of 255 at full light
	Size       float64    `json:"size"`        // diameter, or length from end to end, in part diameters
	BelowFloor bool       `json:"below_floor"` // too faint or too small to be counted on
}

// Part is one physical part with the truth about it.
type Part struct {
	Index   int           // counts from 0 in the order of the belt
	ID      string        // "part-000017"
	Entered time.Duration // first moment in view, before 0 for parts in view at the start
	Left    time.Duration // moment from which nothing of it is in view
	Defects []Defect      // empty for a good part
}

// Bad reports whether the part has a defect that the floor doesn't excuse.
func (p *Part) Bad() bool {
	for _, d := range p.Defects {
		if !d.BelowFloor {
			return true
		}
	}
	return false
}

// BelowFloor reports whether the part has defects, all of them under the floor.
func (p *Part) BelowFloor() bool { return len(p.Defects) > 0 && !p.Bad() }

// DefectTruth is a defect as it lies in one frame.
type DefectTruth struct {
	Defect
	Box     vision.Box // pixels, may reach beyond the picture
	Clipped vision.Box // the same within the picture; zero if none of it shows
}

// PartTruth is a part as it lies in one frame.
type PartTruth struct {
	Part    Part
	Box     vision.Box // pixels, may reach beyond the picture
	Clipped vision.Box // the same within the picture
	Visible float64    // the clipped box's share of the box, more than 0, at most 1
	Defects []DefectTruth
}

// Part gives part i with its truth, i from 0.
func (s *Scene) Part(i int) Part {
	at := place(s.cfg.Seed, i)
	p := Part{
		Index: i, ID: fmt.Sprintf("part-%06d", i),
		Entered: duration(s.entered(at)), Left: duration(s.left(at)),
	}
	for _, m := range s.marks(i) {
		p.Defects = append(p.Defects, m.Defect)
	}
	return p
}

// Parts gives the parts with index from ≤ i < to.
func (s *Scene) Parts(from, to int) []Part {
	var out []Part
	for i := from; i < to; i++ {
		out = append(out, s.Part(i))
	}
	return out
}

// corner is where the top left corner of the part's box lies at t seconds, in
// 1/256 pixels: the grid that frames are drawn on.
func (s *Scene) corner(i int, t float64) (x, y int) {
	lead := s.leading(place(s.cfg.Seed, i), s.drift.travel(t))
	left := lead - Diameter
	if s.cfg.RightToLeft {
		left = s.width - lead
	}
	r := random(s.cfg.Seed, streamPart, i)
	height := float64(s.cfg.Height) / s.scale
	top := (height-Diameter)/2 + between(r, -20, 20)
	dx, dy := s.drift.vibration(t)
	return fixed((left + dx) * s.scale), fixed((top + dy) * s.scale)
}

// Truth gives every part of which some shows in frame n, in the order of the belt.
func (s *Scene) Truth(n int) []PartTruth {
	t := s.seconds(n)
	first, last := s.inView(t)
	picture := vision.Box{W: float32(s.cfg.Width), H: float32(s.cfg.Height)}
	side := float32(Diameter * s.scale)
	var out []PartTruth
	for i := first; i < last; i++ {
		x, y := s.corner(i, t)
		box := vision.Box{X: float32(x) / 256, Y: float32(y) / 256, W: side, H: side}
		clipped, visible := clip(box, picture)
		if visible == 0 {
			continue
		}
		p := PartTruth{Part: s.Part(i), Box: box, Clipped: clipped, Visible: visible}
		for _, d := range p.Part.Defects {
			db := vision.Box{
				X: box.X + d.Box.X*side, Y: box.Y + d.Box.Y*side, W: d.Box.W * side, H: d.Box.H * side,
			}
			seen, _ := clip(db, picture)
			p.Defects = append(p.Defects, DefectTruth{Defect: d, Box: db, Clipped: seen})
		}
		out = append(out, p)
	}
	return out
}

// clip gives what the picture shows of a box, and its share: exactly 1 for a
// box that lies in it, whatever rounding does to the corners.
func clip(b, picture vision.Box) (seen vision.Box, share float64) {
	if b.X >= 0 && b.Y >= 0 && b.X+b.W <= picture.W && b.Y+b.H <= picture.H {
		return b, 1
	}
	seen = b.Intersect(picture)
	return seen, min(float64(seen.Area())/float64(b.Area()), 1)
}

// marks gives the defects of part i with the geometry to draw them.
func (s *Scene) marks(i int) []mark {
	r := random(s.cfg.Seed, streamDefect, i)
	if r.Float64() >= s.cfg.DefectRate {
		return nil
	}
	faint := r.Float64() < underFloor
	two := !faint && r.Float64() < secondFault
	rot := rotation(s.cfg.Seed, i)
	out := []mark{newMark(r, kindOf(r), rot, faint)}
	if two {
		for range 20 {
			m := newMark(r, kindOf(r), rot, false)
			if m.Box.Intersect(out[0].Box).Area() == 0 {
				return append(out, m)
			}
		}
	}
	return out
}

func kindOf(r *rand.Rand) Kind {
	all := Kinds()
	return all[r.IntN(len(all))]
}
