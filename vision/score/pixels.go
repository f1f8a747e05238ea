package score

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision/coco"
)

// Pixels counts the pixels of all pictures together: found regions against true
// ones, whatever their class. The zero value is ready.
type Pixels struct {
	Both  int64 `json:"both"`  // in a found and in a true region
	Found int64 `json:"found"` // in a found one alone
	True  int64 `json:"true"`  // in a true one alone
	None  int64 `json:"none"`
}

// Add counts one picture: the union of what was found against the union of what
// is there (coco.File's Union).
func (p *Pixels) Add(found, truth coco.RLE) error {
	for _, r := range []coco.RLE{found, truth} {
		if err := r.Check(); err != nil {
			return fmt.Errorf("count pixels: %w", err)
		}
	}
	if found.W != truth.W || found.H != truth.H {
		return fmt.Errorf("count pixels: found are %d×%d, true are %d×%d", found.W, found.H, truth.W, truth.H)
	}
	both, f, t := int64(found.Both(truth)), int64(found.Area()), int64(truth.Area())
	p.Both += both
	p.Found += f - both
	p.True += t - both
	p.None += int64(found.W)*int64(found.H) - f - t + both
	return nil
}

// IoU is the intersection over the union, 0 to 1: `mask_iou`. NaN if no pixel is
// in either.
func (p *Pixels) IoU() float64 { return ratio(p.Both, p.Both+p.Found+p.True) }

// Dice is twice the intersection over both areas, 0 to 1; NaN as IoU.
func (p *Pixels) Dice() float64 { return ratio(2*p.Both, 2*p.Both+p.Found+p.True) }

// Precision is the share of found pixels that are true; NaN if none was found.
func (p *Pixels) Precision() float64 { return ratio(p.Both, p.Both+p.Found) }

// Recall is the share of true pixels that were found; NaN if none is true.
func (p *Pixels) Recall() float64 { return ratio(p.Both, p.Both+p.True) }

func ratio(a, b int64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

// Confusion counts pixels of semantic maps by their true and their found class.
type Confusion struct {
	classes int
	void    int
	counts  []int64 // true·classes + found
}

// NewConfusion is for maps of that many classes, 1 to 256, numbered from 0. Pixels
// whose truth is void (255 by custom; -1 for none) aren't counted.
func NewConfusion(classes, void int) (*Confusion, error) {
	if classes < 1 || classes > 256 {
		return nil, fmt.Errorf("count classes of pixels: %d classes: 1 to 256 can be counted", classes)
	}
	return &Confusion{classes, void, make([]int64, classes*classes)}, nil
}

// Add counts one picture's maps, of the same size. It counts nothing if a class is
// unknown.
func (c *Confusion) Add(found, truth []uint8) error {
	if len(found) != len(truth) {
		return fmt.Errorf("count classes of pixels: %d found and %d true", len(found), len(truth))
	}
	for i, t := range truth {
		if int(t) != c.void && (int(t) >= c.classes || int(found[i]) >= c.classes) {
			return fmt.Errorf("count classes of pixels: pixel %d is of class %d and was found as %d: there are %d", i, t, found[i], c.classes)
		}
	}
	for i, t := range truth {
		if int(t) != c.void {
			c.counts[int(t)*c.classes+int(found[i])]++
		}
	}
	return nil
}

// IoU is one class's pixels in both over those in either, 0 to 1; NaN for a class
// that is nowhere.
func (c *Confusion) IoU(class int) float64 {
	var truth, found int64
	for k := range c.classes {
		truth += c.counts[class*c.classes+k]
		found += c.counts[k*c.classes+class]
	}
	both := c.counts[class*c.classes+class]
	return ratio(both, truth+found-both)
}

// MeanIoU is the mean over the classes that are in the truth or were found; NaN
// for none.
func (c *Confusion) MeanIoU() float64 {
	sum, n := 0.0, 0
	for k := range c.classes {
		if v := c.IoU(k); !math.IsNaN(v) {
			sum += v
			n++
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// Accuracy is the share of pixels whose class was found; NaN for none.
func (c *Confusion) Accuracy() float64 {
	var right, all int64
	for i, n := range c.counts {
		all += n
		if i%(c.classes+1) == 0 {
			right += n
		}
	}
	return ratio(right, all)
}
