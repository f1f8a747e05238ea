package change

import (
	"math/rand/v2"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// reduced is grid.read, pixel by pixel.
func reduced(g geometry, f *vision.Frame) grid {
	p := newGrid(g)
	for y := range g.rows * tileCells {
		for x := range g.cols * tileCells {
			left := min(x/tileCells*tileWidth, g.width-tileWidth) + x%tileCells*4
			top := min(y*2*g.step, g.height-1-g.step)
			sum, tint := 0, 0
			for i := range 8 {
				at := f.Pix[(top+i/4*g.step)*f.Stride+(left+i%4)*f.Format.Channels():]
				if f.Format == vision.Gray8 {
					sum += 8 * int(at[0])
					continue
				}
				sum += cellB*int(at[0]) + cellG*int(at[1]) + cellR*int(at[2])
				tint += tintB*int(at[0]) + tintG*int(at[1]) + tintR*int(at[2])
			}
			p.cells[y*g.cols+x/tileCells] |= uint64(sum) << (16 * (x % tileCells))
			tile := y/tileCells*g.cols + x/tileCells
			p.sums[tile] += int32(sum)
			p.tint[tile] += int32(tint)
		}
	}
	return p
}

func randomFrame(format vision.PixelFormat, w, h int) *vision.Frame {
	c := format.Channels()
	f := &vision.Frame{Width: w, Height: h, Stride: w*c + 7, Format: format}
	f.Pix = make([]byte, f.Stride*h)
	for i := range f.Pix {
		f.Pix[i] = byte(rand.Uint32() | rand.Uint32()) // bright, so that lanes overflow if they can
	}
	return f
}

// Words at a time give what single pixels give, for every size.
func TestGridIsExact(t *testing.T) {
	for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
		for _, size := range [][2]int{{16, 3}, {17, 16}, {64, 48}, {99, 41}, {1300, 900}} {
			f := randomFrame(format, size[0], size[1])
			g := newGeometry(f)
			got, want := newGrid(g), reduced(g, f)
			got.read(&g, f)
			for i := range want.cells {
				if got.cells[i] != want.cells[i] {
					t.Fatalf("format %d, %v: word %d is %x, want %x", format, size, i, got.cells[i], want.cells[i])
				}
			}
			for i := range want.sums {
				if got.sums[i] != want.sums[i] || got.tint[i] != want.tint[i] {
					t.Fatalf("format %d, %v: tile %d is %d, %d, want %d, %d", format, size, i, got.sums[i], got.tint[i], want.sums[i], want.tint[i])
				}
			}
		}
	}
}

// The extremes of a tile, and whether a cell is off by more than a limit, agree
// with those of its cells one by one.
func TestCompareIsExact(t *testing.T) {
	for range 300 {
		a, b := randomFrame(vision.BGR24, 16, 16), randomFrame(vision.BGR24, 16, 16)
		g := newGeometry(a)
		p, q := newGrid(g), newGrid(g)
		p.read(&g, a)
		q.read(&g, b)
		low, high := 1<<20, -1<<20
		for i := range p.cells {
			for k := range tileCells {
				d := int(p.cells[i]>>(16*k)&0xffff) - int(q.cells[i]>>(16*k)&0xffff)
				low, high = min(low, d), max(high, d)
			}
		}
		if l, h := extremes(p.cells, q.cells, 1); l != low || h != high {
			t.Fatalf("extremes are %d and %d, want %d and %d", l, h, low, high)
		}
		mean := int(p.sums[0]-q.sums[0]) >> 4
		off := max(high-mean, mean-low)
		c := newComparer(g)
		if !c.structure(&p, &q, off-1) || c.structure(&p, &q, off) {
			t.Fatalf("a cell that is off by %d isn't told from one that may be", off)
		}
	}
}
