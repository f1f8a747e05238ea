package scene

import (
	"math"
	"math/rand/v2"
	"time"
)

// Parts come in blocks of equal length, so that the place of any part is
// known without adding up all gaps before it.
const (
	blockParts = 10
	meanGap    = 0.64 // between parts, in diameters
	blockLen   = blockParts * (1 + meanGap) * Diameter
)

// Streams of random numbers that one seed gives, so that drawing from one
// never shifts another.
const (
	streamGaps = iota + 1
	streamPart
	streamDefect
	streamLook
	streamBelt
	streamLight
	streamNoise
	streamDrift
)

func random(seed uint64, stream, index int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(stream)<<56^uint64(index)))
}

func between(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// drift is the belt's motion in closed form: a mean speed that swells and
// sinks slowly, and the vibration of the machine.
type drift struct {
	speed       float64    // reference pixels a second
	phase, freq [3]float64 // of the speed's waves, radians and radians a second
	shake       [4]float64 // phases of the vibration
}

// The speed's waves, as shares of the speed. Their sum stays under 1, so the
// belt never stops and its motion can be inverted.
var waves = [3]float64{0.05, 0.03, 0.015}

func newDrift(cfg Config) drift {
	r := random(cfg.Seed, streamDrift, 0)
	d := drift{speed: BeltSpeed * cfg.Speed}
	for i := range d.phase {
		d.phase[i] = between(r, 0, 2*math.Pi)
		d.freq[i] = 2 * math.Pi / between(r, 4*float64(i*i+1), 9*float64(i*i+1))
	}
	for i := range d.shake {
		d.shake[i] = between(r, 0, 2*math.Pi)
	}
	return d
}

// travel is how far the belt has come at t seconds, in reference pixels.
func (d *drift) travel(t float64) float64 {
	sum := t
	for i, a := range waves {
		sum += a / d.freq[i] * (math.Sin(d.freq[i]*t+d.phase[i]) - math.Sin(d.phase[i]))
	}
	return d.speed * sum
}

// when is the moment at which the belt has come that far, in seconds.
func (d *drift) when(travel float64) float64 {
	t := travel / d.speed
	for range 60 {
		step := (d.travel(t) - travel) / d.speed
		t -= step
		if math.Abs(step) < 1e-9 {
			break
		}
	}
	return t
}

// vibration is the machine's shake at t seconds, in reference pixels.
func (d *drift) vibration(t float64) (dx, dy float64) {
	dx = 0.25*math.Sin(2*math.Pi*11.3*t+d.shake[0]) + 0.12*math.Sin(2*math.Pi*3.1*t+d.shake[1])
	dy = 0.30*math.Sin(2*math.Pi*13.7*t+d.shake[2]) + 0.15*math.Sin(2*math.Pi*2.3*t+d.shake[3])
	return dx, dy
}

// place is the coordinate of a part's centre on the belt: how far the belt
// must come until the centre of part i stands where part 0's stood at time 0.
func place(seed uint64, index int) float64 {
	block, at := index/blockParts, index%blockParts
	r := random(seed, streamGaps, block)
	var gaps [blockParts]float64
	sum := 0.0
	for i := range gaps {
		gaps[i] = gap(r)
		sum += gaps[i]
	}
	x := float64(block) * blockLen
	for i := range at {
		x += Diameter * (1 + gaps[i]*meanGap*blockParts/sum)
	}
	return x
}

// gap is a raw distance between two parts, in diameters. Every seventh pair
// touches, some are far apart.
func gap(r *rand.Rand) float64 {
	kind, u := r.Float64(), r.Float64()
	switch {
	case kind < 0.15:
		return 0.005 * u
	case kind < 0.80:
		return 0.08 + 0.72*u
	}
	return 1 + 1.5*u
}

// start is how far the leading edge of part 0 is into the picture at time 0,
// in reference pixels.
func (s *Scene) start() float64 { return math.Round(s.width * firstLeads) }

// leading is how far the leading edge of the part is into the picture, in
// reference pixels along the belt's direction.
func (s *Scene) leading(place, travel float64) float64 { return s.start() + travel - place }

// entered and left are the seconds at which a part comes into view and is
// wholly out of it; entered is less than 0 for those in view at the start.
func (s *Scene) entered(place float64) float64 { return s.drift.when(place - s.start()) }

func (s *Scene) left(place float64) float64 {
	return s.drift.when(place - s.start() + s.width + Diameter)
}

// inView gives the indices of the parts that may show at t: first to last-1.
func (s *Scene) inView(t float64) (first, last int) {
	travel := s.drift.travel(t)
	// A part is in view while 0 < leading < width + Diameter; the margin is
	// for the vibration.
	first = s.firstBeyond(travel + s.start() - s.width - Diameter - 2)
	last = s.firstBeyond(travel + s.start() + 2)
	return first, last
}

// firstBeyond is the first part whose place is more than x.
func (s *Scene) firstBeyond(x float64) int {
	if x < 0 {
		return 0
	}
	i := int(x/blockLen) * blockParts
	for place(s.cfg.Seed, i) <= x {
		i++
	}
	return i
}

// LeftBy gives the parts that have wholly left the picture by t, counted from
// the start. It makes them all anew: ask once, at the end.
func (s *Scene) LeftBy(t time.Duration) []Part {
	var out []Part
	travel := s.drift.travel(t.Seconds())
	for i := range s.firstBeyond(travel + s.start() - s.width - Diameter) {
		out = append(out, s.Part(i))
	}
	return out
}
