package track

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sightline-edge/sightline/vision"
)

// At says where or when a part is decided.
type At uint8

// The decision points. A part that never comes to its point is decided at its end.
const (
	AtEnd    At = iota // when it left the picture, or was hidden for longer than Hold
	AtLine             // when its centre has crossed Decide.Line, from either side
	AtZone             // when its centre has left Decide.Zone; only what was seen in the zone counts
	AtFrames           // when Decide.Frames frames have shown it
)

// Decide is the decision point of a source's parts: there Update gives the part
// with what was seen of it until then. It is followed on, so that it is never a
// new one, and never given again. It holds for Stream only.
type Decide struct {
	At     At
	Line   Line
	Zone   vision.Box // in fractions of the picture's width and height
	Frames int        // less than Config.Confirm counts as that
}

// Line goes through two points, in fractions of the picture's width and height,
// and on beyond them: no part passes beside it.
type Line struct{ X0, Y0, X1, Y1 float32 }

// maxFrames is the most that a decision or a combination may ask for: half a
// minute at 30 frames a second.
const maxFrames = 1000

// ParseDecide reads a decision point as it stands in a config:
//
//	end                    at the part's end, as without a text
//	x=0.5                  at a line from top to bottom; y=0.7 from left to right
//	line 0.4,0 0.6,1       at a line through two points
//	zone 0.2,0.1 0.6,0.8   on leaving a box: its top left corner, its width and height
//	frames 12              after so many frames
//
// All places are fractions of the picture's width and height.
func ParseDecide(text string) (Decide, error) {
	d, err := parseDecide(strings.Fields(text))
	if err == nil {
		err = d.Validate()
	}
	if err != nil {
		return Decide{}, fmt.Errorf("decide %q: %w", text, err)
	}
	return d, nil
}

func parseDecide(words []string) (d Decide, err error) {
	if len(words) == 2 && words[0] == "line" && strings.Contains(words[1], "=") {
		words = words[1:]
	}
	switch {
	case len(words) == 0 || len(words) == 1 && words[0] == "end":
		return Decide{}, nil
	case len(words) == 1 && strings.HasPrefix(words[0], "x="):
		x, err := fraction(words[0][2:])
		return Decide{At: AtLine, Line: Line{x, 0, x, 1}}, err
	case len(words) == 1 && strings.HasPrefix(words[0], "y="):
		y, err := fraction(words[0][2:])
		return Decide{At: AtLine, Line: Line{0, y, 1, y}}, err
	case len(words) == 3 && words[0] == "line":
		n, err := fractions(words[1:])
		return Decide{At: AtLine, Line: Line{n[0], n[1], n[2], n[3]}}, err
	case len(words) == 3 && words[0] == "zone":
		n, err := fractions(words[1:])
		return Decide{At: AtZone, Zone: vision.Box{X: n[0], Y: n[1], W: n[2], H: n[3]}}, err
	case len(words) == 2 && words[0] == "frames":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return d, fmt.Errorf("%q is no whole number; write it as in: frames 12", words[1])
		}
		return Decide{At: AtFrames, Frames: n}, nil
	}
	switch words[0] {
	case "line":
		return d, fmt.Errorf("a line has two points, as in: line 0.5,0 0.5,1 (or in short: x=0.5)")
	case "zone":
		return d, fmt.Errorf("a zone has a corner and a size, as in: zone 0.2,0.1 0.6,0.8")
	case "frames":
		return d, fmt.Errorf("frames has one number, as in: frames 12")
	}
	return d, fmt.Errorf("must be one of: end, x=0.5, y=0.5, line 0.5,0 0.5,1, zone 0.2,0.1 0.6,0.8, frames 12")
}

// fractions reads two pairs "0.2,0.1".
func fractions(pairs []string) (n [4]float32, err error) {
	for i, pair := range pairs {
		x, y, two := strings.Cut(pair, ",")
		if !two {
			return n, fmt.Errorf("%q must be two numbers with a comma and no space between them, as in 0.2,0.1", pair)
		}
		if n[2*i], err = fraction(x); err != nil {
			return n, err
		}
		if n[2*i+1], err = fraction(y); err != nil {
			return n, err
		}
	}
	return n, nil
}

func fraction(text string) (float32, error) {
	n, err := strconv.ParseFloat(text, 32)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no number", text)
	case !(n >= 0 && n <= 1):
		return 0, fmt.Errorf("%s must be 0 to 1, a share of the picture's width or height, not pixels", text)
	}
	return float32(n) + 0, nil // -0 is 0
}

// Validate tells what is wrong with a decision point.
func (d Decide) Validate() error {
	switch d.At {
	case AtEnd:
		return nil
	case AtLine:
		return d.Line.validate()
	case AtZone:
		return validateZone(d.Zone)
	case AtFrames:
		if d.Frames < 1 || d.Frames > maxFrames {
			return fmt.Errorf("frames must be 1 to %d, got %d", maxFrames, d.Frames)
		}
		return nil
	}
	return fmt.Errorf("there is no decision point %d", d.At)
}

func (l Line) validate() error {
	for _, n := range []float32{l.X0, l.Y0, l.X1, l.Y1} {
		if !(n >= 0 && n <= 1) {
			return fmt.Errorf("the line's points must lie in the picture, 0 to 1, got %v", n)
		}
	}
	if math.Hypot(float64(l.X1-l.X0), float64(l.Y1-l.Y0)) < 0.01 {
		return fmt.Errorf("the line's two points are the same, or nearly")
	}
	for _, side := range [][2]float32{{l.X0, l.X1}, {l.Y0, l.Y1}} {
		if side[0] == side[1] && (side[0] == 0 || side[0] == 1) {
			return fmt.Errorf("the line lies on the picture's border, which no part's centre crosses; move it inwards, or write: end")
		}
	}
	return nil
}

func validateZone(z vision.Box) error {
	const slack = 1e-4 // 0.2 and 0.8 are a little more than 1
	for _, n := range []float32{z.X, z.Y, z.W, z.H} {
		if !(n >= 0 && n <= 1) {
			return fmt.Errorf("the zone must lie in the picture, 0 to 1, got %v", n)
		}
	}
	switch {
	case z.W < 0.01 || z.H < 0.01:
		return fmt.Errorf("the zone's width and height must be at least 0.01, got %v,%v", z.W, z.H)
	case z.X+z.W > 1+slack || z.Y+z.H > 1+slack:
		return fmt.Errorf("the zone goes beyond the picture: the second pair is its width and height, at most %v,%v from %v,%v", 1-z.X, 1-z.Y, z.X, z.Y)
	case z.W == 1 && z.H == 1:
		return fmt.Errorf("the zone is the whole picture, which no part's centre leaves; write: end")
	}
	return nil
}

// String gives the text that ParseDecide reads.
func (d Decide) String() string {
	switch d.At {
	case AtLine:
		switch l := d.Line; {
		case l.X0 == l.X1 && l.Y0 == 0 && l.Y1 == 1:
			return fmt.Sprintf("x=%v", l.X0)
		case l.Y0 == l.Y1 && l.X0 == 0 && l.X1 == 1:
			return fmt.Sprintf("y=%v", l.Y0)
		default:
			return fmt.Sprintf("line %v,%v %v,%v", l.X0, l.Y0, l.X1, l.Y1)
		}
	case AtZone:
		return fmt.Sprintf("zone %v,%v %v,%v", d.Zone.X, d.Zone.Y, d.Zone.W, d.Zone.H)
	case AtFrames:
		return fmt.Sprintf("frames %d", d.Frames)
	}
	return "end"
}
