// Package optics turns the picture that a camera gives into the one that
// stations see: it takes out the lens's distortion by a stored calibration,
// mirrors, rotates, and cuts a rectangle out, in this order. It is plain Go and
// takes one pass over the picture, however much of it is asked for.
package optics

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// Config says what is done to a picture. The zero value leaves it as it is.
type Config struct {
	Rotate      int          // degrees clockwise: 0, 90, 180 or 270
	Mirror      string       // horizontal (left and right change places) or vertical; before the rotation
	ROI         [4]int       // x, y, width, height in pixels of the turned picture; all 0: everything
	Calibration *Calibration // undistorts, before all else
}

// Optics does what its Config says to pictures, all of one size or of many. It
// is not safe for concurrent use.
type Optics struct {
	cfg                Config
	swap, flipX, flipY bool // how a turned pixel's place leads to the camera's, see from

	known known // of the picture seen last
	lens  *lens // for it, nil without a calibration
	roi   rect  // of it
	maps  remap // for it
}

// known is what the work on a picture depends on besides the configuration.
type known struct {
	w, h, stride int
	format       vision.PixelFormat
}

// rect is a rectangle in pixels.
type rect struct{ x, y, w, h int }

// New checks the configuration. It does no work that a picture's size would change.
func New(cfg Config) (*Optics, error) {
	o := &Optics{cfg: cfg}
	switch cfg.Rotate {
	case 0:
	case 90:
		o.swap, o.flipY = true, true
	case 180:
		o.flipX, o.flipY = true, true
	case 270:
		o.swap, o.flipX = true, true
	default:
		return nil, fmt.Errorf("rotate must be 0, 90, 180 or 270, got %d", cfg.Rotate)
	}
	switch cfg.Mirror {
	case "":
	case "horizontal":
		o.flipX = !o.flipX
	case "vertical":
		o.flipY = !o.flipY
	default:
		return nil, fmt.Errorf("mirror must be horizontal or vertical, got %q", cfg.Mirror)
	}
	if r := cfg.ROI; r != [4]int{} && (r[0] < 0 || r[1] < 0 || r[2] <= 0 || r[3] <= 0) {
		return nil, fmt.Errorf("roi must be x, y, width and height in pixels, got %v", r)
	}
	return o, nil
}

// Size is the size of the result for a picture of w×h pixels. It is an error
// when the ROI doesn't lie inside the turned picture, or the calibration was made
// for pictures of another shape.
func (o *Optics) Size(w, h int) (int, int, error) {
	_, r, err := o.fit(w, h)
	return r.w, r.h, err
}

// fit prepares the lens for the picture's size and finds the ROI in it.
func (o *Optics) fit(w, h int) (*lens, rect, error) {
	if w <= 0 || h <= 0 {
		return nil, rect{}, fmt.Errorf("a picture of %dx%d", w, h)
	}
	var l *lens
	if o.cfg.Calibration != nil {
		var err error
		if l, err = o.cfg.Calibration.lens(w, h); err != nil {
			return nil, rect{}, err
		}
	}
	r := rect{0, 0, w, h}
	if o.swap {
		r.w, r.h = h, w
	}
	if roi := o.cfg.ROI; roi != [4]int{} {
		if roi[2] > r.w || roi[0] > r.w-roi[2] || roi[3] > r.h || roi[1] > r.h-roi[3] {
			return nil, rect{}, fmt.Errorf("roi of %dx%d at %d,%d doesn't lie inside the picture of %dx%d%s: choose it anew", roi[2], roi[3], roi[0], roi[1], r.w, r.h, o.turned())
		}
		r = rect{roi[0], roi[1], roi[2], roi[3]}
	}
	return l, r, nil
}

// turned reminds of a rotation that has changed the picture's sides.
func (o *Optics) turned() string {
	if o.swap {
		return fmt.Sprintf(" (rotated by %d°)", o.cfg.Rotate)
	}
	return ""
}

// Apply writes the result for src into dst.Pix, whose memory is the caller's and
// must not be that of src, row by row without gaps. It sets dst's Pix to the part
// that it has used, and its width, height, stride and format; what else a frame
// says is left to the caller. For pictures like the one before it asks for no
// memory. After an error, dst holds nothing of use.
func (o *Optics) Apply(dst, src *vision.Frame) error {
	if !src.Valid() || len(src.Pix) > math.MaxInt32 {
		return fmt.Errorf("turn a frame of %dx%d: its geometry doesn't fit its %d bytes", src.Width, src.Height, len(src.Pix))
	}
	k := known{src.Width, src.Height, src.Stride, src.Format}
	if k != o.known {
		l, r, err := o.fit(src.Width, src.Height)
		if err != nil {
			return err
		}
		o.known, o.lens, o.roi = k, l, r
		if l != nil {
			o.makeMap()
		}
	}
	c := src.Format.Channels()
	need := o.roi.w * o.roi.h * c
	if len(dst.Pix) < need {
		return fmt.Errorf("turn a frame of %dx%d: %d bytes of room, %d are needed", src.Width, src.Height, len(dst.Pix), need)
	}
	dst.Pix = dst.Pix[:need]
	dst.Width, dst.Height, dst.Stride, dst.Format = o.roi.w, o.roi.h, o.roi.w*c, src.Format
	switch {
	case o.lens != nil:
		o.maps.apply(dst, src)
	case o.swap:
		o.transpose(dst, src)
	default:
		o.rows(dst, src)
	}
	return nil
}

// from gives the place in the camera's picture, undistorted, that is seen at x, y
// of the turned one.
func (o *Optics) from(x, y int) (int, int) {
	if o.swap {
		x, y = y, x
	}
	if o.flipX {
		x = o.known.w - 1 - x
	}
	if o.flipY {
		y = o.known.h - 1 - y
	}
	return x, y
}
