package optics

import (
	"fmt"
	"math"
)

// matrix is a camera matrix: focal lengths and principal point in pixels.
type matrix struct{ fx, fy, cx, cy float64 }

// scaled is the matrix for pictures resized by x and y, whose outermost edges
// stay the same; pixels are counted from their centres.
func (m matrix) scaled(x, y float64) matrix {
	return matrix{m.fx * x, m.fy * y, (m.cx+0.5)*x - 0.5, (m.cy+0.5)*y - 0.5}
}

// lens tells where in the camera's picture a pixel of the undistorted one is seen.
type lens struct {
	fisheye bool
	camera  matrix      // of the picture that comes
	result  matrix      // of the picture that goes
	d       [12]float64 // k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4, or of a fisheye k1 k2 k3 k4
	reach   float64     // the largest distance from the axis that the model holds for, in focal lengths; infinity for all of the picture
}

// lens fits the calibration to a picture's size.
func (c *Calibration) lens(w, h int) (*lens, error) {
	if w*c.Height != h*c.Width {
		return nil, fmt.Errorf("calibration %s is for pictures of %dx%d, and for others of that shape, but these are %dx%d: calibrate the camera at this size",
			c.path, c.Width, c.Height, w, h)
	}
	x, y := float64(w)/float64(c.Width), float64(h)/float64(c.Height)
	l := &lens{fisheye: c.fisheye, camera: c.camera.scaled(x, y), result: c.result.scaled(x, y), d: c.d}
	far := 0.0
	for _, u := range []float64{0, float64(w - 1)} {
		for _, v := range []float64{0, float64(h - 1)} {
			far = max(far, math.Hypot((u-l.result.cx)/l.result.fx, (v-l.result.cy)/l.result.fy))
		}
	}
	l.reach = l.fold(far)
	if missing := l.missing(w, h); missing > maxMissing {
		return nil, fmt.Errorf("calibration %s: beyond %.0f pixels from the middle its distortion folds the picture over, so that it says nothing of %.0f %% of it: calibrate the camera again, with the board in the corners, too, or with fewer coefficients",
			c.path, l.distorted(l.reach)*l.camera.fx, 100*missing)
	}
	return l, nil
}

// maxMissing is the share of the camera's picture that may lie beyond the fold
// of a calibration; corners often do, where no board has been.
const maxMissing = 0.25

// source gives the place, pixels counted from their centres, in the camera's
// picture. ok is false where the model doesn't hold.
func (l *lens) source(u, v float64) (x, y float64, ok bool) {
	x, y = (u-l.result.cx)/l.result.fx, (v-l.result.cy)/l.result.fy
	xx, yy := x*x, y*y
	rr := xx + yy
	if rr > l.reach*l.reach {
		return 0, 0, false
	}
	d := &l.d
	if l.fisheye {
		if r := math.Sqrt(rr); r > 0 {
			s := l.distorted(r) / r
			x, y = x*s, y*s
		}
	} else {
		s, xy := l.radial(rr), 2*x*y
		x, y = x*s+d[2]*xy+d[3]*(rr+2*xx)+(d[8]+d[9]*rr)*rr, y*s+d[2]*(rr+2*yy)+d[3]*xy+(d[10]+d[11]*rr)*rr
	}
	return x*l.camera.fx + l.camera.cx, y*l.camera.fy + l.camera.cy, true
}

// radial is the factor by which a point moves outwards, of the square of its
// distance from the axis.
func (l *lens) radial(rr float64) float64 {
	d := &l.d
	return (1 + ((d[4]*rr+d[1])*rr+d[0])*rr) / (1 + ((d[7]*rr+d[6])*rr+d[5])*rr)
}

// distorted is the distance from the axis at which a point at the distance r is
// seen, but for what isn't symmetrical.
func (l *lens) distorted(r float64) float64 {
	if !l.fisheye {
		return r * l.radial(r*r)
	}
	t := math.Atan(r)
	tt := t * t
	return t * (1 + (((l.d[3]*tt+l.d[2])*tt+l.d[1])*tt+l.d[0])*tt)
}

// fold finds the distance up to which points farther out are seen farther out,
// infinity if that holds up to far.
func (l *lens) fold(far float64) float64 {
	const steps = 4096
	for n := 1; n <= steps; n++ {
		if low, high := far*float64(n-1)/steps, far*float64(n)/steps; !l.grows(high) {
			for range 40 {
				if mid := (low + high) / 2; l.grows(mid) {
					low = mid
				} else {
					high = mid
				}
			}
			return low
		}
	}
	return math.Inf(1)
}

// grows tells whether distorted has a positive slope at r.
func (l *lens) grows(r float64) bool {
	d := &l.d
	if l.fisheye {
		t := math.Atan(r)
		tt := t * t
		return 1+(((9*d[3]*tt+7*d[2])*tt+5*d[1])*tt+3*d[0])*tt > 0
	}
	rr := r * r
	above, below := 1+((d[4]*rr+d[1])*rr+d[0])*rr, 1+((d[7]*rr+d[6])*rr+d[5])*rr
	slopeAbove, slopeBelow := (3*d[4]*rr+2*d[1])*rr+d[0], (3*d[7]*rr+2*d[6])*rr+d[5]
	return below > 0 && above*below+2*rr*(slopeAbove*below-above*slopeBelow) > 0
}

// missing is the share of the camera's picture that lies beyond the fold.
func (l *lens) missing(w, h int) float64 {
	if math.IsInf(l.reach, 1) {
		return 0
	}
	const grid = 64
	edge, out := l.distorted(l.reach), 0
	for j := range grid {
		for i := range grid {
			x := ((float64(i)+0.5)*float64(w)/grid - l.camera.cx) / l.camera.fx
			y := ((float64(j)+0.5)*float64(h)/grid - l.camera.cy) / l.camera.fy
			if math.Hypot(x, y) > edge {
				out++
			}
		}
	}
	return float64(out) / (grid * grid)
}
