package quality

import (
	"cmp"
	"math"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// reference is what is kept of the picture to compare with.
type reference struct {
	frame     *vision.Frame // a copy without gaps
	tones     tones
	edges     []refEdge
	ratios    []float32 // scratch: one for each edge
	perTick   float64   // edges that a tick would find in it
	steep     float64   // of its sharpest tenth
	landmarks []landmark
}

// refEdge is a sharp edge of the reference.
type refEdge struct {
	x, y     int // its middle, at least reach from the border along its direction
	down     bool
	contrast float64 // levels, with its sign
	steep    float64
}

func newReference(f *vision.Frame) (*reference, error) {
	if err := usable(f); err != nil {
		return nil, err
	}
	own := *f
	own.Stride = f.Width * f.Format.Channels()
	own.Pix = make([]byte, own.Stride*f.Height)
	for y := range f.Height {
		copy(own.Pix[y*own.Stride:][:own.Stride], f.Pix[y*f.Stride:])
	}
	r := &reference{frame: &own}
	var g grid
	g.begin(&own)
	g.take(&own)
	r.tones = tonesOf(g.now())
	r.findEdges()
	r.ratios = make([]float32, 0, len(r.edges))
	var c cells
	c.begin(own.Width, own.Height)
	c.take(&own)
	r.landmarks = findLandmarks(&c)
	return r, nil
}

// findEdges takes the sharpest edges of every tile, in both directions.
func (r *reference) findEdges() {
	var s sharp
	s.begin(r.frame)
	f := r.frame
	var all edges
	for _, down := range []bool{false, true} {
		var tiles [tileRows * tileCols][]refEdge
		lines := f.Height
		if down {
			lines = f.Width
		}
		for at := range lines {
			s.edgesOf(s.read(f, at, down), func(along int, c, steep float64) {
				e := refEdge{x: along, y: at, contrast: c, steep: steep}
				if down {
					e.x, e.y, e.down = at, along, true
				}
				t := e.y*tileRows/f.Height*tileCols + e.x*tileCols/f.Width
				tiles[t] = append(tiles[t], e)
				all.add(steep)
			})
		}
		for _, t := range tiles {
			r.edges = append(r.edges, pick(t)...)
		}
	}
	r.perTick = float64(all.n) * linesTick * 2 / float64(f.Height+f.Width)
	r.steep = all.steepness()
}

// pick takes the sharpest edges of a tile that don't lie side by side.
func pick(tile []refEdge) []refEdge {
	slices.SortFunc(tile, func(a, b refEdge) int {
		return cmp.Compare(b.steep*math.Sqrt(math.Abs(b.contrast)), a.steep*math.Sqrt(math.Abs(a.contrast)))
	})
	var out []refEdge
	for _, e := range tile {
		near := slices.ContainsFunc(out, func(o refEdge) bool {
			return max(e.x-o.x, o.x-e.x, e.y-o.y, o.y-e.y) < reach
		})
		if !near {
			out = append(out, e)
		}
		if len(out) == perRefTile {
			break
		}
	}
	return out
}
