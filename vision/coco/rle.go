package coco

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// RLE is a region of a picture as COCO's run lengths: numbers of pixels outside,
// inside, outside, … through the whole picture column by column, top to bottom.
// They add up to W·H.
type RLE struct {
	W, H   int // pixels of the picture
	Counts []uint32
}

// Empty is the region without a pixel.
func Empty(w, h int) RLE { return RLE{w, h, []uint32{uint32(w * h)}} }

// Check says what makes the runs no region of their picture.
func (r RLE) Check() error {
	if err := checkSize(r.W, r.H); err != nil {
		return err
	}
	sum := uint64(0)
	for _, c := range r.Counts {
		sum += uint64(c)
	}
	if want := uint64(r.W) * uint64(r.H); sum != want {
		return fmt.Errorf("run lengths cover %d pixels, the picture of %d×%d has %d", sum, r.W, r.H, want)
	}
	return nil
}

// Area is the number of pixels inside.
func (r RLE) Area() int {
	n := 0
	for i := 1; i < len(r.Counts); i += 2 {
		n += int(r.Counts[i])
	}
	return n
}

// Bounds is the smallest rectangle around the pixels inside, zeros without any
// (pycocotools' toBbox).
func (r RLE) Bounds() (x, y, w, h int) {
	x0, y0, x1, y1 := r.W, r.H, 0, 0
	r.inside(func(from, to int) { // pixels from, up to to
		first, last := from/r.H, (to-1)/r.H
		top, bottom := from%r.H, (to-1)%r.H
		if first != last {
			top, bottom = 0, r.H-1
		}
		x0, x1, y0, y1 = min(x0, first), max(x1, last+1), min(y0, top), max(y1, bottom+1)
	})
	if x1 <= x0 {
		return 0, 0, 0, 0
	}
	return x0, y0, x1 - x0, y1 - y0
}

// inside calls f for each stretch of pixels inside, counted column by column.
func (r RLE) inside(f func(from, to int)) {
	at := 0
	for i, c := range r.Counts {
		if i%2 == 1 && c > 0 {
			f(at, at+int(c))
		}
		at += int(c)
	}
}

// Both counts the pixels that lie in both regions. Pictures of different sizes
// have none in common.
func (r RLE) Both(o RLE) int {
	if r.W != o.W || r.H != o.H {
		return 0
	}
	n := 0
	r.meet(o, func(a, b bool, run uint32) {
		if a && b {
			n += int(run)
		}
	})
	return n
}

// IoU is the intersection over the union, 0 to 1; 0 for two empty regions. If o
// is a crowd it is the intersection over r alone: what a group hides isn't held
// against a detection inside of it (pycocotools' iou with iscrowd).
func (r RLE) IoU(o RLE, crowd bool) float64 {
	both := r.Both(o)
	if both == 0 {
		return 0
	}
	if crowd {
		return float64(both) / float64(r.Area())
	}
	return float64(both) / float64(r.Area()+o.Area()-both)
}

// Union is the region of the pixels that lie in either; an error for pictures
// of different sizes.
func (r RLE) Union(o RLE) (RLE, error) {
	if r.W != o.W || r.H != o.H {
		return RLE{}, fmt.Errorf("join masks of %d×%d and %d×%d pixels", r.W, r.H, o.W, o.H)
	}
	return r.union(o), nil
}

func (r RLE) union(o RLE) RLE {
	out := RLE{W: r.W, H: r.H}
	now, run := false, uint32(0)
	r.meet(o, func(a, b bool, n uint32) {
		if in := a || b; in != now {
			out.Counts = append(out.Counts, run)
			now, run = in, 0
		}
		run += n
	})
	out.Counts = append(out.Counts, run)
	return out
}

// meet goes through both regions' runs at once: f hears for how many pixels on
// end it is so that a tells of r, b of o.
func (r RLE) meet(o RLE, f func(a, b bool, run uint32)) {
	i, j := 0, 0
	var left, right uint32
	if len(r.Counts) > 0 && len(o.Counts) > 0 {
		left, right = r.Counts[0], o.Counts[0]
	}
	for i < len(r.Counts) && j < len(o.Counts) {
		n := min(left, right)
		if n > 0 {
			f(i%2 == 1, j%2 == 1, n)
		}
		if left -= n; left == 0 {
			if i++; i < len(r.Counts) {
				left = r.Counts[i]
			}
		}
		if right -= n; right == 0 {
			if j++; j < len(o.Counts) {
				right = o.Counts[j]
			}
		}
	}
}

// FromMask is a mask's region of a w×h picture. What lies outside of the
// picture is left out.
func FromMask(m *vision.Mask, w, h int) (RLE, error) {
	if err := checkSize(w, h); err != nil {
		return RLE{}, err
	}
	if m == nil || m.W <= 0 || m.H <= 0 {
		return Empty(w, h), nil
	}
	if m.W > MaxSide || m.H > MaxSide || int64(m.W)*int64(m.H) > MaxPixels || m.X < -MaxSide || m.Y < -MaxSide || m.X > MaxSide || m.Y > MaxSide {
		return RLE{}, fmt.Errorf("a mask of %d×%d pixels at %d, %d: sides are 1 to %d", m.W, m.H, m.X, m.Y, MaxSide)
	}
	x0, x1, y0, y1 := max(m.X, 0), min(m.X+m.W, w), max(m.Y, 0), min(m.Y+m.H, h)
	if x1 <= x0 || y1 <= y0 {
		return Empty(w, h), nil
	}
	part, tall := make([]bool, (x1-x0)*(y1-y0)), y1-y0 // column by column
	m.Spans(func(y, from, to int) {
		if y < y0 || y >= y1 {
			return
		}
		for x := max(from, x0); x < min(to, x1); x++ {
			part[(x-x0)*tall+y-y0] = true
		}
	})
	return columns(part, tall, x0, y0, w, h), nil
}

// FromMasks is the union of masks in a w×h picture: what a model found there, of
// whatever class.
func FromMasks(masks []*vision.Mask, w, h int) (RLE, error) {
	if err := checkSize(w, h); err != nil {
		return RLE{}, err
	}
	all := Empty(w, h)
	for _, m := range masks {
		one, err := FromMask(m, w, h)
		if err != nil {
			return RLE{}, err
		}
		all = all.union(one)
	}
	return all, nil
}

// columns makes the runs of a part of a picture, given column by column.
func columns(part []bool, tall, x0, y0, w, h int) RLE {
	r := RLE{W: w, H: h}
	now, since := false, 0
	turn := func(at int, in bool) {
		if in != now {
			r.Counts = append(r.Counts, uint32(at-since))
			now, since = in, at
		}
	}
	for i := 0; i < len(part); i += tall {
		at := (x0+i/tall)*h + y0
		for y, in := range part[i : i+tall] {
			turn(at+y, in)
		}
		if tall < h {
			turn(at+tall, false)
		}
	}
	if end := (x0 + len(part)/tall) * h; end < w*h {
		turn(end, false)
	}
	if since < w*h {
		r.Counts = append(r.Counts, uint32(w*h-since))
	}
	return r
}

// FromPixels is the region of the pixels of a w×h picture, row by row, for which
// inside is true.
func FromPixels(inside []bool, w, h int) (RLE, error) {
	if err := checkSize(w, h); err != nil {
		return RLE{}, err
	}
	if len(inside) != w*h {
		return RLE{}, fmt.Errorf("%d pixels for a picture of %d×%d", len(inside), w, h)
	}
	part := make([]bool, w*h)
	for y := range h {
		for x := range w {
			part[x*h+y] = inside[y*w+x]
		}
	}
	return columns(part, h, 0, 0, w, h), nil
}

// Mask is the region as the device has it; nil without a pixel inside.
func (r RLE) Mask() *vision.Mask {
	x0, y0, w, h := r.Bounds()
	if w == 0 {
		return nil
	}
	part := make([]bool, w*h) // row by row
	r.inside(func(from, to int) {
		for ; from < to; from++ {
			part[(from%r.H-y0)*w+from/r.H-x0] = true
		}
	})
	m := vision.MaskOf(part, w, h)
	m.X, m.Y = x0, y0
	return m
}

// Pixels is the region row by row, W·H of them.
func (r RLE) Pixels() []bool {
	out := make([]bool, r.W*r.H)
	r.inside(func(from, to int) {
		for ; from < min(to, len(out)); from++ {
			out[from%r.H*r.W+from/r.H] = true
		}
	})
	return out
}

// BoxIoU is the IoU of two boxes x, y, w, h in pixels, 0 to 1; over a's area alone
// if b is a crowd; 0 for boxes that don't meet (pycocotools' iou). Products are
// rounded on their own, so that every processor gives the same number.
func BoxIoU(a, b [4]float64, crowd bool) float64 {
	w := math.Min(a[0]+a[2], b[0]+b[2]) - math.Max(a[0], b[0])
	h := math.Min(a[1]+a[3], b[1]+b[3]) - math.Max(a[1], b[1])
	if !(w > 0) || !(h > 0) {
		return 0
	}
	both, area := float64(w*h), float64(a[2]*a[3])
	if crowd {
		return both / area
	}
	return both / (float64(area+float64(b[2]*b[3])) - both)
}
