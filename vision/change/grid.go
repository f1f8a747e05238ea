package change

import (
	"encoding/binary"

	"github.com/sightline-edge/sightline/vision"
)

// A cell is 4 pixels wide and two of the sampled rows high; 4 × 4 cells are a
// tile, 4 × 4 tiles an area. A cell's brightness is the mean of its 8 pixels in
// 1/64 grey level, so that it fits 16 bits with room for a sign; the four cells
// of a tile's row lie in one word, the left one lowest.
const (
	tileCells = 4
	areaTiles = 4
	tileWidth = 16 // pixels

	cellLevel = 64                                // one grey level, in a cell
	tileLevel = cellLevel * tileCells * tileCells // in the sum of a tile's cells
	areaLevel = tileLevel * areaTiles * areaTiles // in that of an area
	tintLevel = 128 * (tintB + tintG + tintR)     // in a tile's tint
)

// Lanes of 16 bits.
const (
	evenBytes = 0x00ff_00ff_00ff_00ff
	signs     = 0x8000_8000_8000_8000
	middle    = 0x4000_4000_4000_4000
	ones      = 0x0001_0001_0001_0001
)

// geometry says where the cells of a picture lie. Pictures that aren't a whole
// number of tiles are covered by cells that overlap the last ones.
type geometry struct {
	width, height int
	format        vision.PixelFormat
	step          int // rows from one sampled row to the next
	cols, rows    int // tiles
}

// newGeometry gives rows of large pictures a wider spacing: what is as small
// there as a sampled row is thick is smaller than any model looks.
func newGeometry(f *vision.Frame) geometry {
	g := geometry{width: f.Width, height: f.Height, format: f.Format, step: 2}
	for size := f.Width * f.Height; size > 1<<20 && g.step < 4; size /= 3 {
		g.step++
	}
	g.cols = (f.Width + tileWidth - 1) / tileWidth
	g.rows = (f.Height + 2*g.step*tileCells - 1) / (2 * g.step * tileCells)
	return g
}

// fits reports whether the gate can look at such a picture at all.
func (g *geometry) fits() bool { return g.width >= tileWidth && g.height > g.step }

// grid is a picture reduced to cells.
type grid struct {
	cells []uint64 // of each row of cells one word a tile
	sums  []int32  // of each tile's cells
	tint  []int32  // of each tile: its colours weighted otherwise than in the cells
}

func newGrid(g geometry) grid {
	tiles := g.cols * g.rows
	return grid{cells: make([]uint64, tiles*tileCells), sums: make([]int32, tiles), tint: make([]int32, tiles)}
}

// read reduces a frame.
func (p *grid) read(g *geometry, f *vision.Frame) {
	clear(p.sums)
	clear(p.tint)
	bytes := f.Width * f.Format.Channels()
	for r := range g.rows * tileCells {
		y := min(r*2*g.step, g.height-1-g.step)
		upper := f.Pix[y*f.Stride:][:bytes]
		lower := f.Pix[(y+g.step)*f.Stride:][:bytes]
		cells := p.cells[r*g.cols:][:g.cols]
		at := r / tileCells * g.cols
		if f.Format == vision.Gray8 {
			readGray(cells, upper, lower)
		} else {
			readBGR(cells, p.tint[at:][:g.cols], upper, lower)
		}
		for x, w := range cells {
			p.sums[at+x] += int32(w * ones >> 48)
		}
	}
}

// readGray reduces two rows to one of cells; grey has no tint.
func readGray(cells []uint64, upper, lower []byte) {
	const left, right = 8<<48 | 8<<32, 8<<16 | 8 // weigh as much as the colours of a pixel
	last := len(upper) - tileWidth
	for i := range cells {
		x := min(i*tileWidth, last)
		a, b := upper[x:x+16:x+16], lower[x:x+16:x+16]
		w := uint64(0)
		for h := 0; h < 16; h += 8 {
			u, l := binary.LittleEndian.Uint64(a[h:]), binary.LittleEndian.Uint64(b[h:])
			s := u&evenBytes + u>>8&evenBytes + l&evenBytes + l>>8&evenBytes
			w = w>>32 | (s*left>>48)<<32 | (s*right>>48)<<48
		}
		cells[i] = w
	}
}

// Weights of blue, green and red. In the cells they are near to how bright the
// eye sees them; in the tint a change of colour shows that leaves those alone.
const (
	cellB, cellG, cellR = 1, 4, 3
	tintB, tintG, tintR = 4, 1, 2
)

// Eight pixels are three words. Each is split into the lanes of its even and of
// its odd bytes; a product with these puts their weighted sum in the top lane.
const (
	y0e = cellB<<48 | cellR<<32 | cellG<<16 | cellB // B0 R0 G1 B2
	y0o = cellG<<48 | cellB<<32 | cellR<<16 | cellG // G0 B1 R1 G2
	y1a = cellR<<48 | cellG<<32                     // R2 G3, of the left cell
	y1b = cellB<<48 | cellR<<32                     // B3 R3
	y1c = cellB<<16 | cellR                         // B4 R4, of the right cell
	y1d = cellG<<16 | cellB                         // G4 B5
	y2e = cellG<<48 | cellB<<32 | cellR<<16 | cellG // G5 B6 R6 G7
	y2o = cellR<<48 | cellG<<32 | cellB<<16 | cellR // R5 G6 B7 R7

	t0e = tintB<<48 | tintR<<32 | tintG<<16 | tintB
	t0o = tintG<<48 | tintB<<32 | tintR<<16 | tintG
	t1e = tintR<<48 | tintG<<32 | tintB<<16 | tintR
	t1o = tintB<<48 | tintR<<32 | tintG<<16 | tintB
	t2e = tintG<<48 | tintB<<32 | tintR<<16 | tintG
	t2o = tintR<<48 | tintG<<32 | tintB<<16 | tintR
)

// readBGR reduces two rows to one of cells, and adds them to the tiles' tint.
func readBGR(cells []uint64, tint []int32, upper, lower []byte) {
	last := len(upper) - 3*tileWidth
	tint = tint[:len(cells)]
	for i := range cells {
		x := min(i*3*tileWidth, last)
		a, b := (*[48]byte)(upper[x:]), (*[48]byte)(lower[x:])
		w0, t0 := eight((*[24]byte)(a[:24]), (*[24]byte)(b[:24]))
		w1, t1 := eight((*[24]byte)(a[24:]), (*[24]byte)(b[24:]))
		cells[i] = w0 | w1<<32
		tint[i] += int32(t0 + t1)
	}
}

// eight reduces eight pixels of two rows to two cells and their tint.
func eight(a, b *[24]byte) (cells, tint uint64) {
	u, l := binary.LittleEndian.Uint64(a[:8]), binary.LittleEndian.Uint64(b[:8])
	e, o := u&evenBytes+l&evenBytes, u>>8&evenBytes+l>>8&evenBytes
	left := e*y0e + o*y0o
	tint = e*t0e + o*t0o
	u, l = binary.LittleEndian.Uint64(a[8:16]), binary.LittleEndian.Uint64(b[8:16])
	e, o = u&evenBytes+l&evenBytes, u>>8&evenBytes+l>>8&evenBytes
	left += e*y1a + o*y1b
	right := e*y1c + o*y1d
	tint += e*t1e + o*t1o
	u, l = binary.LittleEndian.Uint64(a[16:]), binary.LittleEndian.Uint64(b[16:])
	e, o = u&evenBytes+l&evenBytes, u>>8&evenBytes+l>>8&evenBytes
	right += e*y2e + o*y2o
	tint += e*t2e + o*t2o
	return left>>48 | right>>48<<16, tint >> 48
}
