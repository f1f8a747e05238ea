package infer

import "math"

// grid is one level of boxes that are laid over the picture: at each of its
// cells lie those of cell, moved there.
type grid struct {
	w, h         int
	stepX, stepY float32 // pixels from one cell to the next
	cell         []corners
}

// pyramid is torchvision's for RetinaNet: five levels, each half as fine as the one
// before it, sides of 32 to 512 pixels times 1, 2^⅓ and 2^⅔ in whole pixels, and
// heights of ½, 1 and 2 times the width. Corners are rounded, halves to even.
func pyramid(in Input) []grid {
	var levels []grid
	w, h := (in.Width+7)/8, (in.Height+7)/8
	for side := 32.0; side <= 512; side *= 2 {
		g := grid{w: w, h: h, stepX: float32(in.Width / w), stepY: float32(in.Height / h)}
		for _, ratio := range [...]float64{0.5, 1, 2} {
			for third := range 3 {
				scale := float32(math.Floor(side * math.Exp2(float64(third)/3)))
				high := float32(math.Sqrt(ratio))
				wide := 1 / high
				x, y := roundEven(wide*scale/2), roundEven(high*scale/2)
				g.cell = append(g.cell, corners{-x, -y, x, y})
			}
		}
		levels = append(levels, g)
		w, h = (w+1)/2, (h+1)/2
	}
	return levels
}

func roundEven(v float32) float32 { return float32(math.RoundToEven(float64(v))) }

// ssd300Levels are the cells a side of SSD300's levels, their steps in pixels of a
// picture of 300, and how much longer than high their boxes are besides 1.
var ssd300Levels = []struct {
	cells  int
	step   float64
	ratios []float64
}{
	{38, 8, []float64{2}},
	{19, 16, []float64{2, 3}},
	{10, 32, []float64{2, 3}},
	{5, 64, []float64{2, 3}},
	{3, 100, []float64{2}},
	{1, 300, []float64{2}},
}

// ssd300Scales are the boxes' sides as shares of the picture, one for each level
// and one more.
var ssd300Scales = []float64{0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05}

// ssd300Sizes are width and height of a level's boxes, as shares of at most 1.
func ssd300Sizes(level int) [][2]float32 {
	s := ssd300Scales[level]
	next := math.Sqrt(s * ssd300Scales[level+1])
	sizes := [][2]float64{{s, s}, {next, next}}
	for _, r := range ssd300Levels[level].ratios {
		w, h := s*math.Sqrt(r), s/math.Sqrt(r)
		sizes = append(sizes, [2]float64{w, h}, [2]float64{h, w})
	}
	var out [][2]float32
	for _, z := range sizes {
		out = append(out, [2]float32{min(float32(z[0]), 1), min(float32(z[1]), 1)})
	}
	return out
}

// anchorsOf lists a family's boxes in the order of its outputs, in the tensor's
// pixels.
func anchorsOf(f Family, in Input) []corners {
	var all []corners
	if f == SSD300 {
		w, h := float32(in.Width), float32(in.Height)
		for level, g := range ssd300Levels {
			sizes := ssd300Sizes(level)
			for cell := range g.cells * g.cells {
				x := float32((float64(cell%g.cells) + 0.5) / (float64(in.Width) / g.step))
				y := float32((float64(cell/g.cells) + 0.5) / (float64(in.Height) / g.step))
				for _, z := range sizes {
					all = append(all, corners{(x - z[0]/2) * w, (y - z[1]/2) * h, (x + z[0]/2) * w, (y + z[1]/2) * h})
				}
			}
		}
		return all
	}
	for _, g := range pyramid(in) {
		for cell := range g.w * g.h {
			x, y := float32(cell%g.w)*g.stepX, float32(cell/g.w)*g.stepY
			for _, c := range g.cell {
				all = append(all, corners{c.x0 + x, c.y0 + y, c.x1 + x, c.y1 + y})
			}
		}
	}
	return all
}

// anchorCount is how many boxes a family lays over the picture.
func anchorCount(f Family, in Input) int {
	n := 0
	if f == SSD300 {
		for level, g := range ssd300Levels {
			n += g.cells * g.cells * len(ssd300Sizes(level))
		}
		return n
	}
	for _, g := range pyramid(in) {
		n += g.w * g.h * len(g.cell)
	}
	return n
}

// maxGrowth is the logarithm of how often larger than its anchor a box may be.
var maxGrowth = float32(math.Log(1000.0 / 16))

// fromAnchors gives boxes of rows that move and stretch an anchor, each value
// divided by its weight (torchvision's BoxCoder). They end at the picture's edges
// before NMS.
func (d *Decoder) fromAnchors(deltas []float32, weights [4]float32) func(int32) corners {
	if d.anchors == nil {
		d.anchors = anchorsOf(d.spec.Family, d.spec.Input)
	}
	w, h := float32(d.spec.Input.Width), float32(d.spec.Input.Height)
	return func(place int32) corners {
		a, r := d.anchors[place], deltas[4*int(place):]
		aw, ah := a.x1-a.x0, a.y1-a.y0
		cx, cy := r[0]/weights[0]*aw+a.x0+aw/2, r[1]/weights[1]*ah+a.y0+ah/2
		b := centred(cx, cy, exp32(min(r[2]/weights[2], maxGrowth))*aw, exp32(min(r[3]/weights[3], maxGrowth))*ah)
		if !b.finite() {
			return b
		}
		return corners{inside(b.x0, w), inside(b.y0, h), inside(b.x1, w), inside(b.y1, h)}
	}
}

func inside(v, most float32) float32 { return min(max(v, 0), most) }
