// Package vision holds the domain's nouns: frames, detections, parts and
// verdicts. It imports only the standard library, and every other package of
// the device's picture path speaks in these types.
package vision

import "time"

// PixelFormat says how the bytes of a Frame are laid out. The zero value is
// invalid, so a frame that nobody described is never judged.
type PixelFormat uint8

// The pixel formats that cameras deliver and models read.
const (
	_     PixelFormat = iota
	BGR24             // interleaved, 3 bytes a pixel, blue first, as OpenCV has it
	Gray8             // 1 byte a pixel
)

// Channels is the number of bytes a pixel takes, 0 for an invalid format.
func (f PixelFormat) Channels() int {
	switch f {
	case BGR24:
		return 3
	case Gray8:
		return 1
	}
	return 0
}

// Timing says how well a frame's time of capture is known.
type Timing uint8

// The ways in which a frame's time is known, from the coarsest to the finest.
const (
	_       Timing = iota
	Read           // when it was read, transport and decoding included
	Arrived        // when its first byte came, without decoding
	Stamped        // by the camera's own clock, laid over ours by the fastest arrivals
	Synced         // by the camera's own clock, which goes with ours (RTCP, IEEE 1588)
)

func (t Timing) String() string {
	switch t {
	case Read:
		return "read"
	case Arrived:
		return "arrived"
	case Stamped:
		return "stamped"
	case Synced:
		return "synced"
	}
	return ""
}

// Frame is one picture as it lies in memory. Pix belongs to the slot that the
// frame came in and is valid only until the frame is released.
type Frame struct {
	Pix    []byte
	Width  int // pixels
	Height int // pixels
	Stride int // bytes from one row to the next
	Offset int // of Pix in the slot that holds it, bytes; more than 0 for a cut of a frame
	Format PixelFormat

	Seq      uint64    // counts the frames that the camera gave, from 1, those dropped included
	Captured time.Time // when the picture was taken, as well as Timing says; monotonic
	Timing   Timing
	Media    time.Duration // position in a recording; 0 for live cameras
	Name     string        // file name of a picture from a folder, else empty
}

// Valid reports whether the geometry fits the bytes.
func (f *Frame) Valid() bool {
	c := f.Format.Channels()
	if c == 0 || f.Width <= 0 || f.Height <= 0 || f.Stride < f.Width*c {
		return false
	}
	return len(f.Pix) >= f.Stride*(f.Height-1)+f.Width*c
}

// Cut is the part of the frame that lies in x, y, w, h, in pixels, over the same
// memory; what lies outside of the frame is left out. Without anything inside, and
// of a frame that isn't valid, it isn't valid.
func (f *Frame) Cut(x, y, w, h int) Frame {
	x, w = clip(x, w, f.Width)
	y, h = clip(y, h, f.Height)
	if w <= 0 || h <= 0 || !f.Valid() {
		return Frame{}
	}
	out, skip := *f, y*f.Stride+x*f.Format.Channels()
	out.Pix, out.Offset, out.Width, out.Height = f.Pix[skip:], f.Offset+skip, w, h
	return out
}

// clip is the part of n from at on that lies in 0 to size; none if n isn't more than 0.
func clip(at, n, size int) (from, left int) {
	if at < 0 && n > 0 { // their sum can't overflow
		at, n = 0, n+at
	}
	return at, min(n, size-max(at, 0))
}

// Box is an axis-aligned rectangle in the frame's pixels: the top left corner
// and the size, the origin at the picture's top left corner (COCO's
// x, y, width, height).
type Box struct {
	X, Y, W, H float32
}

// Center is the middle of the box.
func (b Box) Center() (x, y float32) { return b.X + b.W/2, b.Y + b.H/2 }

// Area in square pixels; 0 for an empty or inverted box.
func (b Box) Area() float32 { return max(b.W, 0) * max(b.H, 0) }

// Contains reports whether the point lies in the box.
func (b Box) Contains(x, y float32) bool {
	return x >= b.X && y >= b.Y && x < b.X+b.W && y < b.Y+b.H
}

// Intersect is the common rectangle of both boxes, the zero Box if there is none.
func (b Box) Intersect(o Box) Box {
	x0, y0 := max(b.X, o.X), max(b.Y, o.Y)
	x1, y1 := min(b.X+b.W, o.X+o.W), min(b.Y+b.H, o.Y+o.H)
	if x1 <= x0 || y1 <= y0 {
		return Box{}
	}
	return Box{x0, y0, x1 - x0, y1 - y0}
}

// IoU is the intersection's area over the union's, 0 to 1 (PASCAL VOC).
func (b Box) IoU(o Box) float32 {
	i := b.Intersect(o).Area()
	if i == 0 {
		return 0
	}
	return i / (b.Area() + o.Area() - i)
}

// Detection is one thing that a model saw in one frame.
type Detection struct {
	Label string
	Class int     // index into the model's labels
	Score float32 // 0 to 1, as the model's reference decoder gives it
	Box   Box     // in the frame's pixels

	Oriented *OrientedBox // of a model that gives turned boxes, whose bounds Box is; else nil
	Mask     *Mask        // of a model that gives regions; else nil
}

// Role says what a label means to an inspection. The zero value is Ignored:
// a label that nobody gave a role can neither make a part nor reject one.
type Role uint8

// The roles of a label.
const (
	Ignored    Role = iota
	PartRole        // the thing that gets a verdict
	DefectRole      // a fault; it belongs to the part whose box holds its centre
)

// ParseRole reads "part", "defect" or "ignored".
func ParseRole(s string) (Role, bool) {
	switch s {
	case "part":
		return PartRole, true
	case "defect":
		return DefectRole, true
	case "ignored":
		return Ignored, true
	}
	return Ignored, false
}

func (r Role) String() string {
	switch r {
	case PartRole:
		return "part"
	case DefectRole:
		return "defect"
	}
	return "ignored"
}
