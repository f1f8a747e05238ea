package quality

import "github.com/sightline-edge/sightline/vision"

// The grid of pixels that are read of every frame, and the tiles that they
// are summed in. Rows and columns are spread evenly over the picture.
const (
	gridRows = 48
	gridCols = 64
	samples  = gridRows * gridCols
	tileRows = 8 // bands of tiles, top to bottom
	tileCols = 8
	perTile  = samples / (tileRows * tileCols)
)

// grid is the brightness of the sampled pixels, of this frame and the last.
type grid struct {
	step     [gridCols]int // byte of each pixel in its row
	buf      [2][samples]byte
	cur      int
	tile     [tileRows * tileCols]int // sums of this frame
	diff     float64                  // mean difference to the last frame, levels
	unlike   int                      // samples that differ by more than likeness
	channels int
	width    int // bytes in a row
}

// likeness is by how many levels a sample may change in a still scene that is
// compressed anew.
const likeness = 14

func (g *grid) begin(f *vision.Frame) {
	*g = grid{channels: f.Format.Channels(), width: f.Width * f.Format.Channels()}
	for c := range g.step {
		g.step[c] = (2*c + 1) * f.Width / (2 * gridCols) * g.channels
	}
}

func (g *grid) swap() { g.cur ^= 1 }

// now is the sampled brightness of the frame at hand.
func (g *grid) now() *[samples]byte { return &g.buf[g.cur] }

// row is the y of a sampled row.
func (g *grid) row(r, height int) int { return (2*r + 1) * height / (2 * gridRows) }

// take reads the frame's samples and compares them with those before.
func (g *grid) take(f *vision.Frame) {
	now, last := &g.buf[g.cur], &g.buf[g.cur^1]
	clear(g.tile[:])
	sum, unlike := 0, 0
	for r := range gridRows {
		line := f.Pix[g.row(r, f.Height)*f.Stride:][:g.width]
		out := now[r*gridCols:][:gridCols]
		if g.channels == 3 {
			for c, at := range g.step {
				p := line[at : at+3 : at+3]
				out[c] = max(p[0], p[1], p[2])
			}
		} else {
			for c, at := range g.step {
				out[c] = line[at]
			}
		}
		before := last[r*gridCols:][:gridCols]
		tile := g.tile[r*tileRows/gridRows*tileCols:][:tileCols]
		for c, v := range out {
			d := int(v) - int(before[c])
			if d < 0 {
				d = -d
			}
			sum += d
			unlike += (likeness - d) >> 31 & 1
			tile[c/(gridCols/tileCols)] += int(v)
		}
	}
	g.diff, g.unlike = float64(sum)/samples, unlike
}

// value is a pixel's brightness, p its first byte.
func value(p []byte, channels int) byte {
	if channels == 3 {
		return max(p[0], p[1], p[2])
	}
	return p[0]
}
