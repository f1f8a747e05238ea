package infer

import (
	"fmt"
	"math"
	"slices"
)

// Check says what of an input can't be filled. Width and Height must be set.
func (in Input) Check() error {
	switch {
	case in.Width < 1 || in.Height < 1 || in.Width > maxSide || in.Height > maxSide:
		return fmt.Errorf("input of %d×%d pixels: 1 to %d a side are possible", in.Width, in.Height, maxSide)
	case !slices.Contains([]Colour{BGR, RGB, Gray}, in.Colour):
		return fmt.Errorf("input's colour %q is unknown: known are bgr, rgb, gray", in.Colour)
	case !slices.Contains([]Resize{Letterbox, Stretch, Crop}, in.Resize):
		return fmt.Errorf("input's resize %q is unknown: known are letterbox, stretch, crop", in.Resize)
	case in.Resize == Letterbox && in.Anchor != Centre && in.Anchor != TopLeft:
		return fmt.Errorf("input's anchor %q is unknown: known are centre, top-left", in.Anchor)
	case !slices.Contains([]Interpolation{"", Linear, Area, Bilinear, Bicubic, Nearest}, in.Interpolation):
		return fmt.Errorf("input's interpolation %q is unknown: known are linear, area, bilinear, bicubic, nearest", in.Interpolation)
	case in.CropShare != 0 && !(in.CropShare > 0 && in.CropShare <= 1):
		return fmt.Errorf("input's crop share %v: must be more than 0 and at most 1", in.CropShare)
	case in.CropShare != 0 && float64(max(in.Width, in.Height))/in.CropShare > maxFrame:
		return fmt.Errorf("input's crop share %v of %d×%d pixels: the picture would be resized to more than %d a side", in.CropShare, in.Width, in.Height, maxFrame)
	case !finite(in.Scale) || in.Scale == 0:
		return fmt.Errorf("input's scale %v: must be a number other than 0", in.Scale)
	}
	for c := range in.Planes() {
		if !finite(in.Mean[c]) || !finite(in.Std[c]) || math.Abs(in.Std[c]) > 0 && !finite(255*in.Scale/in.Std[c]) {
			return fmt.Errorf("input's mean %v and deviation %v of plane %d: must be numbers", in.Mean[c], in.Std[c], c)
		}
	}
	return nil
}

// finite reports whether a value can stand in a tensor of float32.
func finite(v float64) bool { return math.Abs(v) <= math.MaxFloat32 }
