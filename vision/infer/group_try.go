package infer

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// How a worker finds out whether runs on several frames pay.
const (
	pays      = 0.8  // of Config.SharePays
	groupRuns = 3    // of which the quickest counts
	sameAs    = 1e-3 // of an output's largest value: what a picture's outputs may differ by from those that it has alone
)

// groupShare is the part of a process's memory that groups may take.
const groupShare = 4

// fitting is how many doublings of such frames, in bytes, the memory has room for.
func (s *server) fitting(levels, frame int) int {
	for levels > 0 && s.load.Memory > 0 && int64(frame)<<levels > s.load.Memory/groupShare {
		levels--
	}
	return levels
}

// groupLimit is how long a run on several frames may take before it is known.
func (s *server) groupLimit() time.Duration {
	return min(firstLimit(Provider(s.info.Provider), s.load.Limit), 6*s.load.Limit)
}

// tryGroups shows noise on 1, 2, 4, … frames, and tells what those runs take, as far as
// each pays and gives for each frame what it gives alone. The error says why it ends
// before as many as there may be; takes of 1 and 2 at least are worth making groups for.
func (s *server) tryGroups() (takes []time.Duration, err error) {
	levels := s.fitting(bits.Len(uint(s.share()))-1, 8*len(s.filler.NewBlob().Data))
	g, err := s.newGroup(levels)
	if err != nil {
		return nil, err
	}
	defer g.drop()
	var alone [][]Output
	for level := 0; level <= levels; level++ {
		for place := len(alone); place < 1<<level; place++ {
			one, err := s.alone(g, place)
			if err != nil {
				return takes, err
			}
			alone = append(alone, one)
			levels = s.fitting(levels, 3*bytesIn(one))
		}
		for place := range alone {
			if _, err := g.put(s.filler, place, s.noise(place)); err != nil {
				return takes, err
			}
		}
		best := time.Duration(math.MaxInt64)
		for range groupRuns {
			began := time.Now()
			outs, err := s.sess.run(g.ins[level], g.slots[level], s.groupLimit())
			best = min(best, time.Since(began))
			if err == nil {
				err = alike(outs, alone)
			}
			if err != nil {
				return takes, enough(takes, err)
			}
		}
		if level > 0 && float64(best) > s.load.SharePays*2*float64(takes[level-1]) {
			return takes, enough(takes, fmt.Errorf("%d in one run take %v, %d take %v, which is no gain", 1<<level, best, 1<<level/2, takes[level-1]))
		}
		takes = append(takes, best)
	}
	return takes, nil
}

// enough drops an error that only says why a group isn't larger.
func enough(takes []time.Duration, err error) error {
	if len(takes) > 1 {
		return nil
	}
	return err
}

func bytesIn(outs []Output) (n int) {
	for _, o := range outs {
		n += 4 * len(o.Data)
	}
	return n
}

// noise is a picture of noise, each of other brightness and contrast.
func (s *server) noise(place int) *vision.Frame {
	in, r := s.load.Spec.Input, rand.New(rand.NewPCG(1, uint64(place)))
	f := &vision.Frame{Width: in.Width, Height: in.Height, Stride: 3 * in.Width, Format: vision.BGR24, Pix: make([]byte, 3*in.Width*in.Height)}
	low, span := 23*place%160, 32+41*place%64
	for n := range f.Pix {
		f.Pix[n] = byte(low + r.IntN(span))
	}
	return f
}

// alone is what the picture for a place gives by itself.
func (s *server) alone(g *groupRun, place int) ([]Output, error) {
	if _, err := g.put(s.filler, 0, s.noise(place)); err != nil {
		return nil, err
	}
	outs, err := s.sess.run(g.ins[0], g.slots[0], s.groupLimit())
	if err != nil {
		return nil, err
	}
	one := make([]Output, len(outs))
	for n, o := range outs {
		one[n] = Output{Name: o.Name, Shape: slices.Clone(o.Shape), Data: slices.Clone(o.Data)}
	}
	return one, nil
}

// alike checks that the outputs of a run are those that its frames have alone.
func alike(outs []Output, alone [][]Output) error {
	k := len(alone)
	if err := inFrames(outs, k); err != nil {
		return err
	}
	for n, o := range outs {
		for place := range alone {
			a := &alone[place][n]
			if len(a.Shape) != len(o.Shape) || a.Shape[0] != 1 || !slices.Equal(o.Shape[1:], a.Shape[1:]) {
				return fmt.Errorf("the output %s of %d frames is %s, of one %s", o.Name, k, shapeText(o.Shape), shapeText(a.Shape))
			}
			if d := distance(o.Data[place*len(a.Data):(place+1)*len(a.Data)], a); !(d <= sameAs) {
				return fmt.Errorf("the output %s of a frame among %d differs by %.2g of its largest value from what it is alone", o.Name, k, d)
			}
		}
	}
	return nil
}

// least is the part of an output's largest value that what is small beside it is held
// against.
const least = 1e-4

// distance is how far values differ at most, as a part of the largest of their kind; NaN if
// one is. Kinds, such as scores and pixels, lie along the shorter of the second and the
// last dimension.
func distance(x []float32, alone *Output) (most float64) {
	kinds, run := 1, len(x) // value i is of the kind i / run % kinds
	if s := alone.Shape; len(s) > 2 && len(x) > 0 {
		last := s[len(s)-1]
		if kinds = int(s[1]); s[1] <= last {
			run = len(x) / kinds
		} else {
			kinds, run = int(last), 1
		}
	}
	largest, apart := make([]float64, kinds), make([]float64, kinds)
	all := 0.0
	for n, y := range alone.Data {
		kind := n / run % kinds
		largest[kind] = max(largest[kind], math.Abs(float64(y)))
		all = max(all, largest[kind])
		if x[n] != y {
			apart[kind] = max(apart[kind], math.Abs(float64(x[n])-float64(y)))
		}
	}
	for kind := range kinds {
		if apart[kind] != 0 {
			most = max(most, apart[kind]/max(largest[kind], least*all))
		}
	}
	return most
}
