package vision

import "math"

// OrientedBox is a rectangle that is turned: its centre and sides in the
// frame's pixels, and the angle in radians by which its side W is turned from
// the picture's x axis towards its y axis (Ultralytics' xywhr).
type OrientedBox struct {
	X, Y, W, H float32
	Angle      float32
}

// Corners are the four corners in order, clockwise on the screen if the sides
// are positive.
func (o OrientedBox) Corners() [4][2]float32 {
	sin, cos := math.Sincos(float64(o.Angle))
	ux, uy := float32(cos)*o.W/2, float32(sin)*o.W/2
	vx, vy := -float32(sin)*o.H/2, float32(cos)*o.H/2
	return [4][2]float32{
		{o.X - ux - vx, o.Y - uy - vy}, {o.X + ux - vx, o.Y + uy - vy},
		{o.X + ux + vx, o.Y + uy + vy}, {o.X - ux + vx, o.Y - uy + vy},
	}
}

// Bounds is the smallest upright box around it.
func (o OrientedBox) Bounds() Box {
	c := o.Corners()
	x0, y0, x1, y1 := c[0][0], c[0][1], c[0][0], c[0][1]
	for _, p := range c[1:] {
		x0, y0, x1, y1 = min(x0, p[0]), min(y0, p[1]), max(x1, p[0]), max(y1, p[1])
	}
	return Box{x0, y0, x1 - x0, y1 - y0}
}

// Mask is a region's pixels in its frame. Runs go through the rectangle X, Y,
// W, H row by row: a number of pixels outside of the region, a number inside,
// outside, and so on; what they leave of the rectangle is outside.
type Mask struct {
	X, Y, W, H int // in the frame's pixels
	Runs       []uint32
}

// Area is the number of pixels inside.
func (m *Mask) Area() int {
	n := 0
	for i := 1; i < len(m.Runs); i += 2 {
		n += int(m.Runs[i])
	}
	return n
}

// Spans calls f for each stretch of pixels inside: row y, from x0 up to x1, in
// the frame's pixels and row by row. Runs that leave the rectangle end there.
func (m *Mask) Spans(f func(y, x0, x1 int)) {
	at, end := 0, m.W*m.H
	for i, run := range m.Runs {
		next := min(at+int(run), end)
		for i%2 == 1 && at < next { // a run may go over several rows
			y := at / m.W
			stop := min(next, (y+1)*m.W)
			f(m.Y+y, m.X+at-y*m.W, m.X+stop-y*m.W)
			at = stop
		}
		at = next
	}
}

// Contains reports whether the pixel lies inside.
func (m *Mask) Contains(x, y int) bool {
	if x < m.X || y < m.Y || x >= m.X+m.W || y >= m.Y+m.H {
		return false
	}
	left := uint32((y-m.Y)*m.W + x - m.X)
	for i, run := range m.Runs {
		if left < run {
			return i%2 == 1
		}
		left -= run
	}
	return false
}

// MaskOf makes the mask of the pixels of a w×h picture for which inside is
// true, row by row; nil without any. Its rectangle is the smallest.
func MaskOf(inside []bool, w, h int) *Mask {
	x0, y0, x1, y1 := w, h, 0, 0
	for y := range h {
		for x, in := range inside[y*w : (y+1)*w] {
			if in {
				x0, x1, y0, y1 = min(x0, x), max(x1, x+1), min(y0, y), max(y1, y+1)
			}
		}
	}
	if x1 <= x0 {
		return nil
	}
	m := &Mask{X: x0, Y: y0, W: x1 - x0, H: y1 - y0}
	now, run := false, uint32(0)
	for y := y0; y < y1; y++ {
		for _, in := range inside[y*w+x0 : y*w+x1] {
			if in != now {
				m.Runs = append(m.Runs, run)
				now, run = in, 0
			}
			run++
		}
	}
	if now {
		m.Runs = append(m.Runs, run)
	}
	return m
}
