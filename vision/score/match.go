package score

import (
	"cmp"
	"slices"

	"github.com/sightline-edge/sightline/vision/coco"
)

// COCO's parameters (cocoeval's Params for "bbox" and "segm").
const (
	iouSteps    = 10  // from 0.50 to 0.95
	recallSteps = 101 // from 0 to 1
	sizes       = 4   // all, small, medium, large
)

// sizeFrom and sizeTo bound an area in square pixels, both included.
var (
	sizeFrom = [sizes]float64{0, 0, 32 * 32, 96 * 96}
	sizeTo   = [sizes]float64{1e10, 32 * 32, 96 * 96, 1e10}
)

// spaced is the i-th of n numbers from low to high, rounded as NumPy's linspace
// rounds them: a match at exactly 0.55 must go the same way.
func spaced(low, high float64, i, n int) float64 {
	if i == n-1 {
		return high
	}
	step := (high - low) / float64(n-1)
	return float64(float64(i)*step) + low
}

// A target is an annotation in one picture.
type target struct {
	id            int64
	box           [4]float64
	mask          region
	area          float64
	crowd, ignore bool
}

// A region is a mask with what is asked of it often.
type region struct {
	coco.RLE
	area       int
	x, y, w, h int
}

func regionOf(r coco.RLE) region {
	x, y, w, h := r.Bounds()
	return region{r, r.Area(), x, y, w, h}
}

// iou is coco.RLE's IoU; regions whose bounds don't meet aren't gone through.
func (r *region) iou(o *region, crowd bool) float64 {
	if r.x >= o.x+o.w || o.x >= r.x+r.w || r.y >= o.y+o.h || o.y >= r.y+r.h {
		return 0
	}
	both := r.Both(o.RLE)
	switch {
	case both == 0:
		return 0
	case crowd:
		return float64(both) / float64(r.area)
	}
	return float64(both) / float64(r.area+o.area-both)
}

// A picture is what one class has in one picture.
type picture struct {
	masks   bool
	targets []target
	found   []*coco.Result // surest first
	areas   []float64      // of found
	iou     []float64      // of found i and target j at i·len(targets)+j
}

// A hit is what became of one detection. Bit t of the masks is about the t-th IoU.
type hit struct {
	score   float64
	rank    int32         // among its picture's
	right   [sizes]uint16 // it found a target
	neither [sizes]uint16 // it found what doesn't count, or nothing and isn't of the size
}

const everyIoU = 1<<iouSteps - 1

// A class gathers hits over the pictures.
type class struct {
	hits   []hit
	counts [sizes]int // targets that count
	truths int
	found  int
}

func (c *class) add(p *picture) {
	p.measure()
	first := len(c.hits)
	for i, r := range p.found {
		h := hit{score: r.Score, rank: int32(i)}
		for a := range sizes {
			if p.areas[i] < sizeFrom[a] || p.areas[i] > sizeTo[a] {
				h.neither[a] = everyIoU
			}
		}
		c.hits = append(c.hits, h)
	}
	for a := range sizes {
		order, counted := p.order(a)
		c.counts[a] += counted
		for t := range iouSteps {
			p.match(c.hits[first:], order, counted, a, t)
		}
	}
	c.truths = c.counts[0]
}

// measure fills areas and IoUs.
func (p *picture) measure() {
	p.areas = make([]float64, len(p.found))
	p.iou = make([]float64, len(p.found)*len(p.targets))
	for i, r := range p.found {
		row := p.iou[i*len(p.targets) : (i+1)*len(p.targets)]
		if !p.masks {
			p.areas[i] = r.Box[2] * r.Box[3]
			for j := range p.targets {
				row[j] = coco.BoxIoU(r.Box, p.targets[j].box, p.targets[j].crowd)
			}
			continue
		}
		m := regionOf(*r.Segmentation)
		p.areas[i] = float64(m.area)
		for j := range p.targets {
			row[j] = m.iou(&p.targets[j].mask, p.targets[j].crowd)
		}
	}
}

// order are the targets' indices, those that count at size a first, and how
// many do.
func (p *picture) order(a int) (order []int, counted int) {
	order = make([]int, 0, len(p.targets))
	counts := func(t *target) bool { return !t.ignore && t.area >= sizeFrom[a] && t.area <= sizeTo[a] }
	for j := range p.targets {
		if counts(&p.targets[j]) {
			order = append(order, j)
		}
	}
	counted = len(order)
	for j := range p.targets {
		if !counts(&p.targets[j]) {
			order = append(order, j)
		}
	}
	return order, counted
}

// match gives each detection, surest first, the target that it overlaps most
// with, at least by the IoU of step t: one that counts and is free if there is
// any, else one that doesn't count; crowds are never used up. Of equal overlaps
// the later target is taken.
func (p *picture) match(hits []hit, order []int, counted, a, t int) {
	if len(order) == 0 {
		return
	}
	taken, bit := make([]bool, len(order)), uint16(1)<<t
	for i := range hits {
		best, at := min(spaced(.5, .95, t, iouSteps), 1-1e-10), -1
		for o, j := range order {
			if taken[o] && !p.targets[j].crowd {
				continue
			}
			if at >= 0 && at < counted && o >= counted {
				break
			}
			if iou := p.iou[i*len(p.targets)+j]; iou >= best {
				best, at = iou, o
			}
		}
		switch {
		case at < 0:
			continue
		case at >= counted:
			hits[i].neither[a] |= bit
		case p.targets[order[at]].id != 0: // pycocotools' mark of no match is the id 0
			hits[i].right[a] |= bit
			hits[i].neither[a] &^= bit
		}
		taken[at] = true
	}
}

// sort puts the surest first; equal ones stay in order.
func (c *class) sort() {
	type key struct {
		score float64
		i     int32
	}
	keys := make([]key, len(c.hits))
	for i := range c.hits {
		keys[i] = key{c.hits[i].score, int32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.score != b.score {
			return cmp.Compare(b.score, a.score)
		}
		return int(a.i) - int(b.i)
	})
	sorted := make([]hit, len(keys))
	for i, k := range keys {
		sorted[i] = c.hits[k.i]
	}
	c.hits = sorted
}
