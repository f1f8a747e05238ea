package quality

import (
	"fmt"

	"github.com/sightline-edge/sightline/vision"
)

const (
	clipped   = 250 // brightness of a pixel that tells nothing any more
	darkMost  = 48  // the highest DarkLevel that a reference can lead to
	darkPart  = 0.25
	slack     = 0.03 // hysteresis of the shares
	blindDark = 32   // under it there is no noise that frozen could rely on
)

// tones are the brightness of the sampled pixels.
type tones struct {
	mean   float64
	bright float64 // share that is clipped
	high   float64 // 98 % of the pixels are darker or as dark
	count  [256]uint16
}

func tonesOf(now *[samples]byte) tones {
	var t tones
	sum := 0
	for _, v := range now {
		t.count[v]++
		sum += int(v)
	}
	t.mean = float64(sum) / samples
	t.bright = 1 - t.below(clipped)
	left := samples / 50
	for v := 255; v >= 0 && left >= 0; v-- {
		left -= int(t.count[v])
		t.high = float64(v)
	}
	return t
}

// below is the share of pixels that are darker than the level.
func (t *tones) below(level float64) float64 {
	n := 0
	for v := 0; v < 256 && float64(v) < level; v++ {
		n += int(t.count[v])
	}
	return float64(n) / samples
}

// exposure watches for the dark and for clipping.
type exposure struct {
	dark, over hold
	mean       float64 // at the last tick
	blind      bool    // at the last tick there was nothing but black or white
}

// look measures the frame at hand, and reports whether it shows anything.
func (e *exposure) look(m *Monitor, f *vision.Frame) bool {
	t, cfg := tonesOf(m.grid.now()), &m.cfg
	level, most := cfg.DarkLevel, cfg.BrightShare
	if m.comparable() {
		level = max(level, min(darkPart*m.ref.tones.high, darkMost))
		most = max(most, (1+m.ref.tones.bright)/2)
	}
	dark := t.below(level)
	e.mean = t.mean
	e.blind = t.below(blindDark) >= cfg.DarkShare || t.bright >= cfg.DarkShare
	now := f.Captured
	e.dark.is(now, dark >= cfg.DarkShare, dark < cfg.DarkShare-slack, cfg.DarkAfter, cfg.Leave)
	e.dark.value, e.dark.limit, e.dark.detail = dark, cfg.DarkShare, sayDark
	e.over.is(now, t.bright >= most, t.bright < most-slack, cfg.OverexposedAfter, cfg.Leave)
	e.over.value, e.over.limit, e.over.detail = t.bright, most, sayOver
	return dark < cfg.DarkShare-slack && t.bright < most
}

func sayDark(v float64) string {
	return fmt.Sprintf("%.0f %% of the picture is black: is the light on, the lens free?", 100*v)
}

func sayOver(v float64) string {
	return fmt.Sprintf("%.0f %% of the picture is clipped white: shorten the exposure", 100*v)
}

// Measures are the exposure and sharpness of one picture.
type Measures struct {
	Mean      float64 // brightness, 0 to 255
	Dark      float64 // share of the pixels under 20
	Bright    float64 // share of the pixels at 250 or more
	Sharpness float64 // of the sharpest edges, 1 is one pixel wide; 0 if there are hardly any
}

// Measure measures one picture; zeros for one that is no picture or smaller
// than 48 pixels a side.
func Measure(f *vision.Frame) Measures {
	if usable(f) != nil {
		return Measures{}
	}
	var g grid
	g.begin(f)
	g.take(f)
	t := tonesOf(g.now())
	var s sharp
	s.begin(f)
	e := s.all(f)
	return Measures{Mean: t.mean, Dark: t.below(20), Bright: t.bright, Sharpness: e.steepness()}
}
