package vision

import "math"

// Outlines are closed polygons around what was detected, in the frame's pixels,
// with at most so many points in all; nil for an upright box.
func (d *Detection) Outlines(most int) [][][2]int {
	switch {
	case d.Mask != nil:
		return d.Mask.Outlines(most)
	case d.Oriented != nil:
		var out [][2]int
		for _, c := range d.Oriented.Corners() {
			out = append(out, [2]int{int(math.Round(float64(c[0]))), int(math.Round(float64(c[1])))})
		}
		return [][][2]int{out}
	}
	return nil
}
