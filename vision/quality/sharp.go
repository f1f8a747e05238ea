package quality

import (
	"fmt"
	"math"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

const (
	reach     = 6  // an edge is looked at so many pixels to either side
	contrast  = 32 // of an edge, levels, so that noise doesn't make one
	steepBins = 64
	linesTick = 12 // rows, and as many columns, that are read a tick
	linesAll  = 96 // rows and columns of a picture that is measured alone
	fewEdges  = 30 // under so many nothing is said

	sharpRing   = 40  // ticks that the own sharpness is taken over, 10 s
	learnFor    = 240 // ticks until it counts as learnt, a minute
	edgesGone   = 0.1 // share of the usual number of edges that is left when all detail is gone
	edgesUsual  = 200 // in sharpRing ticks; a camera that shows fewer isn't judged by their number
	ownFactor   = 0.8 // how much lower the limit is without a reference
	presentLeft = 0.4 // contrast that an edge of the reference keeps if it is still there
	presentMin  = 12  // such edges that must be there, and a share of them:
	presentPart = 0.15
	perRefTile  = 3   // edges of the reference for each tile and direction
	lit         = 0.5 // share of the usual brightness under which nothing is said
)

// edges counts edges by their steepness: the largest change over one pixel, as
// a share of the whole change. Blur by sigma leaves about 0.4 / sigma.
type edges struct {
	count [steepBins]uint32
	n     int
}

func (e *edges) add(steep float64) {
	e.count[min(int(steep*steepBins), steepBins-1)]++
	e.n++
}

// steepness is that of the sharpest tenth; 0 if there are hardly any edges.
func (e *edges) steepness() float64 {
	if e.n < fewEdges {
		return 0
	}
	left := e.n / 10
	for b := steepBins - 1; b >= 0; b-- {
		if left -= int(e.count[b]); left < 0 {
			return (float64(b) + 0.5) / steepBins
		}
	}
	return 0
}

// sharp watches the sharpness of edges.
type sharp struct {
	hold
	line    []byte // one row or column of brightness
	ring    [sharpRing]edges
	sum     edges // of the ring
	at      int
	usual   float64 // the least sharpness that the camera has had and left again
	number  float64 // and the usual number of edges in the ring
	bright  float64 // and brightness
	learnt  int     // ticks
	low     float64 // the least since the last time that all was as usual
	lowN    float64
	there   int  // ticks in which enough of the reference's edges were seen
	looked  int  // of so many
	lost    int  // ticks since
	own     bool // the last value was against the camera's own past
	noWhere bool // and said that there is no detail at all
}

func (s *sharp) begin(f *vision.Frame) {
	*s = sharp{line: make([]byte, max(f.Width, f.Height))}
	s.detail = s.say
}

// forget ends what is told: the picture to compare with is another one.
func (s *sharp) forget() {
	s.hold.clear()
	s.there, s.looked, s.lost = 0, 0, 0
}

// look measures the frame at hand against the reference, or against what the
// camera showed before.
func (s *sharp) look(m *Monitor, f *vision.Frame) {
	now := f.Captured
	e := &s.ring[s.at%sharpRing]
	for b, n := range e.count {
		s.sum.count[b] -= n
	}
	s.sum.n -= e.n
	*e = edges{}
	s.scan(f, e, linesTick, s.at)
	for b, n := range e.count {
		s.sum.count[b] += n
	}
	s.sum.n += e.n
	s.at++
	value, limit, ok := 0.0, m.cfg.Sharpness, false
	s.own, s.noWhere = false, false
	if m.comparable() {
		value, ok = s.against(m, f)
	}
	if !ok {
		limit *= ownFactor
		if value, ok = s.againstOwn(m.exposure.mean); ok {
			s.own = true
		}
	}
	if !ok {
		s.hold.doubt()
		return
	}
	s.hold.is(now, value < limit, value > min(1.15*limit, 0.95), m.cfg.BlurredAfter, m.cfg.Leave)
	s.value, s.limit = value, limit
}

func (s *sharp) say(v float64) string {
	than := "the reference picture"
	if s.own {
		than = "before"
	}
	if s.noWhere {
		return "hardly any detail is left that was in " + than + ": is the lens clean and in focus?"
	}
	return fmt.Sprintf("edges have %.0f %% of the sharpness of %s: is the lens clean and in focus?", 100*v, than)
}

// against compares the edges of the reference with what is in their places.
func (s *sharp) against(m *Monitor, f *vision.Frame) (value float64, ok bool) {
	ref := m.ref
	if len(ref.edges) < fewEdges || m.exposure.mean < lit*ref.tones.mean {
		return 0, false
	}
	ratios := ref.ratios[:0]
	for i := range ref.edges {
		r := &ref.edges[i]
		n := s.segment(f, r)
		c, steep := edgeIn(s.line[:n])
		if c*r.contrast < 0 || math.Abs(c) < presentLeft*math.Abs(r.contrast) {
			continue
		}
		ratios = append(ratios, float32(steep/r.steep))
	}
	ref.ratios = ratios
	if !m.moved.held() && len(ratios) >= max(presentMin, int(presentPart*float64(len(ref.edges)))) {
		slices.Sort(ratios)
		s.there++
		s.looked += 1 + s.lost
		s.lost = 0
		return float64(ratios[len(ratios)/2]), true
	}
	s.lost++
	// Edges that come and go are those of parts: a belt without parts is not
	// without detail.
	if s.there < sharpRing || s.there < s.looked*4/5 {
		return 0, false
	}
	return s.againstAll(ref)
}

// againstAll compares all edges of the last ten seconds with all of the
// reference: hardly any of its own are left.
func (s *sharp) againstAll(ref *reference) (value float64, ok bool) {
	usual := ref.perTick * sharpRing
	if s.at < sharpRing || usual < edgesUsual {
		return 0, false
	}
	if float64(s.sum.n) < edgesGone*usual {
		s.noWhere = true
		return 0, true
	}
	steep := s.sum.steepness()
	if steep == 0 || ref.steep == 0 {
		return 0, false
	}
	return steep / ref.steep / ownFactor, true
}

// againstOwn compares the sharpest edges of the last ten seconds with the
// least sharp ten seconds that the camera has come back from.
func (s *sharp) againstOwn(mean float64) (value float64, ok bool) {
	if s.at < sharpRing {
		return 0, false
	}
	steep, n := s.sum.steepness(), float64(s.sum.n)
	if s.learnt < learnFor {
		s.learn(steep, n, mean)
		return 0, false
	}
	if mean < lit*s.bright {
		return 0, false
	}
	s.bright += (mean - s.bright) / 1024
	switch {
	case s.number > edgesUsual && n < edgesGone*s.number:
		s.noWhere = true
		s.lowN = min(s.lowN, n)
		return 0, true
	case steep == 0 || s.usual == 0:
		return 0, false
	}
	if steep > 0.9*s.usual && n > s.number/2 { // as usual: what was lower was no fault that stayed
		s.usual, s.number = min(s.usual, s.low), min(s.number, s.lowN)
		s.low, s.lowN = s.usual, s.number
	} else {
		s.low, s.lowN = min(s.low, steep), min(s.lowN, n)
	}
	return steep / s.usual, true
}

func (s *sharp) learn(steep, n, mean float64) {
	if s.learnt == 0 {
		s.usual, s.number, s.bright = steep, n, mean
	}
	if steep > 0 && (s.usual == 0 || steep < s.usual) {
		s.usual = steep
	}
	s.number = min(s.number, n)
	s.bright += (mean - s.bright) / 64
	s.low, s.lowN = s.usual, s.number
	s.learnt++
}

// all measures a picture that stands alone.
func (s *sharp) all(f *vision.Frame) edges {
	var e edges
	s.scan(f, &e, linesAll, 0)
	return e
}

// scan counts the edges along some rows and columns, others each tick.
func (s *sharp) scan(f *vision.Frame, e *edges, lines, tick int) {
	phase := float64(tick*5%16)/16 + 1.0/32
	for i := range lines {
		at := (float64(i) + phase) / float64(lines)
		s.edgesOf(s.read(f, int(at*float64(f.Height)), false), func(_ int, _, steep float64) { e.add(steep) })
		s.edgesOf(s.read(f, int(at*float64(f.Width)), true), func(_ int, _, steep float64) { e.add(steep) })
	}
}

// read gives the brightness along a row, or down a column.
func (s *sharp) read(f *vision.Frame, at int, down bool) []byte {
	c := f.Format.Channels()
	if !down {
		return s.pixels(f.Pix[at*f.Stride:], c, c, f.Width)
	}
	return s.pixels(f.Pix[at*c:], f.Stride, c, f.Height)
}

func (s *sharp) pixels(pix []byte, step, channels, n int) []byte {
	line := s.line[:n]
	if channels == 1 {
		for i := range line {
			line[i] = pix[i*step]
		}
		return line
	}
	for i := range line {
		p := pix[i*step:][:3]
		line[i] = max(p[0], p[1], p[2])
	}
	return line
}

// edgesOf finds the edges along a line.
func (s *sharp) edgesOf(line []byte, each func(at int, contrast, steep float64)) {
	for x := 0; x+2*reach < len(line); {
		d := int(line[x+2*reach]) - int(line[x])
		if -contrast < d && d < contrast {
			x++
			continue
		}
		at := min(x+reach, len(line)-2*reach-1) // the edge has just come in: take it to the middle
		if c, steep := edgeIn(line[at : at+2*reach+1]); math.Abs(c) >= contrast {
			each(at+reach, c, steep)
		}
		x = at + 2*reach
	}
}

// edgeIn measures the edge that lies in a short line: its change from end to
// end, and its steepest change over one pixel as a share of the whole range.
// Two pixels are taken together on either side, against noise.
func edgeIn(line []byte) (change, steep float64) {
	lo, hi, best := line[0], line[0], 0
	for i := 1; i < len(line); i++ {
		lo, hi = min(lo, line[i]), max(hi, line[i])
		if i+2 < len(line) {
			d := int(line[i+1]) + int(line[i+2]) - int(line[i]) - int(line[i-1])
			best = max(best, d, -d)
		}
	}
	n := len(line)
	change = float64(int(line[n-1])+int(line[n-2])-int(line[0])-int(line[1])) / 2
	if hi == lo {
		return change, 0
	}
	return change, float64(best) / float64(2*(int(hi)-int(lo)))
}

// segment reads the short line around an edge of the reference.
func (s *sharp) segment(f *vision.Frame, r *refEdge) int {
	c, n := f.Format.Channels(), 2*reach+1
	step, x, y := c, r.x-reach, r.y
	if r.down {
		step, x, y = f.Stride, r.x, r.y-reach
	}
	s.pixels(f.Pix[y*f.Stride+x*c:], step, c, n)
	return n
}
