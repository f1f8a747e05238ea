// Package scene draws machined parts on a moving belt, with the truth about
// each of them. The same Config gives the same bytes on every machine, any
// frame can be drawn at any time, and nothing grows with the hours: parts are
// made from the seed and their number when they are needed.
//
// Lengths in the world are in reference pixels: those of a picture of 768×432,
// in which a part is 168 pixels across. Another size shows the same world
// scaled to fit; another rate shows it at other moments.
package scene

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Defaults of Config, and what the world is measured in.
const (
	DefaultWidth      = 768
	DefaultHeight     = 432
	DefaultRate       = 25.0 // frames a second
	DefaultDefectRate = 0.12 // share of parts that are bad

	Diameter    = 168.0 // of a part, in reference pixels
	BeltSpeed   = 224.0 // mean, in reference pixels a second at Speed 1
	MaxSide     = 4096  // longest side of a picture, pixels
	minScale    = 0.2   // smallest picture, against the reference
	maxSpeed    = 4.0   // a part must stay in view long enough to be seen
	exposure    = 0.004 // seconds; the length of the motion blur
	firstLeads  = 0.60  // where part 0's leading edge is at time 0, share of the width
	underFloor  = 0.06  // share of bad parts whose defect lies under the floor
	secondFault = 0.10  // share of bad parts with two defects
)

// Config says what to draw. The zero value is a useful scene.
type Config struct {
	Width, Height int     // pixels; both 0 mean 768×432
	Rate          float64 // frames a second; 0 means 25
	Seed          uint64  // every number is a seed of its own, 0 too
	Speed         float64 // of the belt, 1 is 224 reference pixels a second; 0 means 1
	DefectRate    float64 // share of bad parts, 0 to 1; 0 means 0.12, negative none
	RightToLeft   bool    // the belt runs from right to left
}

func (c Config) withDefaults() Config {
	if c.Width == 0 && c.Height == 0 {
		c.Width, c.Height = DefaultWidth, DefaultHeight
	}
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	if c.DefectRate == 0 {
		c.DefectRate = DefaultDefectRate
	}
	c.DefectRate = max(c.DefectRate, 0)
	return c
}

func (c Config) scale() float64 {
	return min(float64(c.Width)/DefaultWidth, float64(c.Height)/DefaultHeight)
}

func (c Config) validate() error {
	switch {
	case c.Width <= 0 || c.Height <= 0:
		return fmt.Errorf("size %dx%d: both sides must be more than 0", c.Width, c.Height)
	case c.Width > MaxSide || c.Height > MaxSide:
		return fmt.Errorf("size %dx%d: at most %d pixels a side", c.Width, c.Height, MaxSide)
	case c.scale() < minScale:
		return fmt.Errorf("size %dx%d: too small to show a defect, at least %.0fx%.0f",
			c.Width, c.Height, math.Ceil(DefaultWidth*minScale), math.Ceil(DefaultHeight*minScale))
	case !(c.Rate >= 0.1 && c.Rate <= 1000):
		return fmt.Errorf("rate %v frames/s: must be 0.1 to 1000", c.Rate)
	case !(c.Speed >= 0.05 && c.Speed <= maxSpeed):
		return fmt.Errorf("speed %v: must be 0.05 to %v times the belt's own", c.Speed, maxSpeed)
	case !(c.DefectRate <= 1):
		return fmt.Errorf("defect rate %v: must be at most 1", c.DefectRate)
	}
	return nil
}

// Scene is one belt. Truth, Part, Parts and LeftBy may be called from any
// goroutine while another one draws; Frame draws one picture at a time.
type Scene struct {
	cfg   Config
	scale float64 // pixels for one reference pixel
	width float64 // of the picture, reference pixels
	belt  *belt
	light *light
	drift drift

	mu      sync.Mutex      // protects what follows: one picture is drawn at a time
	sprites map[int]*sprite // parts in view, by index
	shadow  *sprite
}

// New prepares a scene; it draws the belt's texture once, some milliseconds
// at the default size. It starts nothing and holds nothing that needs closing.
func New(cfg Config) (*Scene, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("scene: %w", err)
	}
	s := &Scene{cfg: cfg, scale: cfg.scale(), sprites: map[int]*sprite{}}
	s.width = float64(cfg.Width) / s.scale
	s.drift = newDrift(cfg)
	s.belt = newBelt(cfg, s.scale)
	s.light = newLight(cfg)
	s.shadow = drawShadow(s.scale)
	return s, nil
}

// Config is what the scene was made from, with the defaults filled in.
func (s *Scene) Config() Config { return s.cfg }

// Time is when frame n is taken, counted from the start.
func (s *Scene) Time(n int) time.Duration { return duration(s.seconds(n)) }

func (s *Scene) seconds(n int) float64 { return float64(n) / s.cfg.Rate }

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// NewFrame is an empty BGR picture of the scene's size for Frame to draw in.
func (s *Scene) NewFrame() *vision.Frame {
	w, h := s.cfg.Width, s.cfg.Height
	return &vision.Frame{
		Pix: make([]byte, w*h*3), Width: w, Height: h, Stride: w * 3, Format: vision.BGR24,
	}
}
