package infer

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Group names frames that were given their turns together: one run may look at all of
// them. The zero value is a frame on its own.
type Group struct {
	ID uint64 // no other group of late has it
	Of int    // frames
}

// MaxShare is the most frames that one run looks at.
const MaxShare = 8

// How a worker finds out whether runs on several frames pay.
const (
	pays      = 0.8  // of Config.SharePays
	groupRuns = 5    // of which the quickest counts
	sameAs    = 1e-3 // of an output's largest value: what a picture's outputs may differ by from those that it has alone
)

// groupWait is how long a run waits for those of its frames that aren't there yet: they
// were given their turns in the same moment.
const groupWait = 2 * time.Millisecond

// groupRun is a run on several frames on its way through the worker process.
type groupRun struct {
	blobs []*Blob // by place; over one memory
	feeds []feed  // by place, where the tensor isn't the blobs' own memory
	slots []*slot // over the first 1, 2, 4, … places
	jobs  []job   // by place

	mu     sync.Mutex // protects the rest until it is sealed
	id     uint64
	of     int
	frames int // that have come
	sealed bool
	full   chan struct{} // closed when all have come

	// The run's:
	outs []Output
	err  error
	of1  []Output // what belongs to one frame
}

// newGroup makes the memory of runs on 1, 2, … 1<<levels frames.
func (s *server) newGroup(levels int) (*groupRun, error) {
	in, most := s.load.Spec.Input, 1<<levels
	g := &groupRun{jobs: make([]job, most), sealed: true, of1: make([]Output, len(s.sess.outputs))}
	all := s.filler.NewBlob()
	one := len(all.Data)
	all.Data = make([]float32, most*one)
	whole := s.info
	whole.asked = most
	feeds, err := whole.feeds(in, all.Data)
	if err != nil {
		return nil, err
	}
	picture := &feeds[s.info.picture()]
	alone := s.info.pictureFeed(in, all.Data[:one])
	direct := alone.raw == nil
	for n := range most {
		g.blobs = append(g.blobs, &Blob{Data: all.Data[n*one : (n+1)*one]})
		if !direct {
			f := alone
			f.raw = picture.raw[n*len(alone.raw) : (n+1)*len(alone.raw)]
			g.feeds = append(g.feeds, f)
		}
	}
	for level := range levels + 1 {
		k := 1 << level
		part := slices.Clone(feeds)
		for n := range part {
			f := &part[n]
			f.shape = slices.Clone(f.shape)
			f.shape[0] = int64(k)
			switch {
			case n != s.info.picture():
				f.i64 = slices.Repeat(f.i64, k)
			case direct:
				f.f32, f.raw = all.Data[:k*one], nil
			default:
				f.raw = f.raw[:k*len(alone.raw)]
			}
		}
		sl, err := s.sess.newSlot(part)
		if err != nil {
			return nil, err
		}
		g.slots = append(g.slots, sl)
	}
	return g, nil
}

// drop gives back what ONNX Runtime holds for the group.
func (g *groupRun) drop() {
	for _, sl := range g.slots {
		sl.drop()
	}
}

// put writes a frame to its place.
func (g *groupRun) put(f *Filler, place int, frame *vision.Frame) (Placement, error) {
	at, err := f.Fill(g.blobs[place], frame)
	if err == nil && g.feeds != nil {
		err = g.feeds[place].put(g.blobs[place].Data)
	}
	return at, err
}

// share is how many frames a run may look at: a power of two, 1 where the model fixes it.
func (s *server) share() int {
	if s.load.Share < 2 || s.load.Batch > 1 || !s.info.OpenBatch() {
		return 1
	}
	return 1 << (bits.Len(uint(min(s.load.Share, MaxShare))) - 1)
}

// openGroups finds out by runs whether several frames in one pay, and if so makes what
// that takes. Where the model can't, or it doesn't, each frame has its own run.
func (s *server) openGroups() error {
	levels := bits.Len(uint(s.share())) - 1
	if levels < 1 {
		return nil
	}
	trial, err := s.newGroup(levels)
	if err != nil {
		return err
	}
	defer trial.drop()
	takes, err := s.tryGroups(trial)
	if err != nil { // why there are no more
		fmt.Fprintf(os.Stderr, "one run looks at %d of %d cameras' pictures at most: %v\n", 1<<max(len(takes)-1, 0), s.load.Share, err)
	}
	if len(takes) < 2 {
		return nil
	}
	s.groups = make(chan *groupRun, 2) // one is filled while the other runs
	for range cap(s.groups) {
		g, err := s.newGroup(len(takes) - 1)
		if err != nil {
			return err
		}
		for level, sl := range g.slots {
			outs, err := s.sess.run(sl, s.load.Limit)
			if err == nil {
				err = s.sess.fixOutputs(sl, slices.Clone(outs))
			}
			if err != nil {
				return fmt.Errorf("run on %d frames: %w", 1<<level, err)
			}
		}
		s.groups <- g
	}
	s.info.Shared = takes
	return nil
}

// tryGroups shows noise on 1, 2, 4, … frames, and tells what those runs take, as far as
// each pays and gives for each frame what it gives alone.
func (s *server) tryGroups(g *groupRun) (takes []time.Duration, err error) {
	alone, err := s.noise(g)
	if err != nil {
		return nil, err
	}
	for level, sl := range g.slots {
		outs, err := s.sess.run(sl, firstLimit(Provider(s.info.Provider), s.load.Limit))
		if err == nil {
			err = alike(outs, alone[:1<<level])
		}
		if err != nil {
			return takes, err
		}
		best := time.Duration(math.MaxInt64)
		for range groupRuns {
			began := time.Now()
			if _, err := s.sess.run(sl, s.load.Limit); err != nil {
				return takes, err
			}
			best = min(best, time.Since(began))
		}
		if level > 0 && float64(best) > s.load.SharePays*2*float64(takes[level-1]) {
			return takes, fmt.Errorf("%d in one run take %v, %d take %v, which is no gain", 1<<level, best, 1<<level/2, takes[level-1])
		}
		takes = append(takes, best)
	}
	return takes, nil
}

// noise fills each place with other noise, and tells the outputs of each frame alone.
func (s *server) noise(g *groupRun) (alone [][]Output, err error) {
	in, r := s.load.Spec.Input, rand.New(rand.NewPCG(1, 2))
	frames := make([]vision.Frame, len(g.blobs))
	for place := range frames {
		f := vision.Frame{Width: in.Width, Height: in.Height, Stride: 3 * in.Width, Format: vision.BGR24, Pix: make([]byte, 3*in.Width*in.Height)}
		for n := range f.Pix {
			f.Pix[n] = byte(r.Uint32())
		}
		frames[place] = f
		if _, err := g.put(s.filler, 0, &f); err != nil {
			return nil, err
		}
		outs, err := s.sess.run(g.slots[0], firstLimit(Provider(s.info.Provider), s.load.Limit))
		if err != nil {
			return nil, err
		}
		one := make([]Output, len(outs))
		for n, o := range outs {
			one[n] = Output{Name: o.Name, Shape: slices.Clone(o.Shape), Data: slices.Clone(o.Data)}
		}
		alone = append(alone, one)
	}
	for place := range frames {
		if _, err := g.put(s.filler, place, &frames[place]); err != nil {
			return nil, err
		}
	}
	return alone, nil
}

// alike checks that the outputs of a run are those that its frames have alone.
func alike(outs []Output, alone [][]Output) error {
	k := len(alone)
	for n, o := range outs {
		for place := range alone {
			a := &alone[place][n]
			if len(o.Shape) == 0 || len(a.Shape) != len(o.Shape) || a.Shape[0] != 1 || o.Shape[0] != int64(k) || !slices.Equal(o.Shape[1:], a.Shape[1:]) {
				return fmt.Errorf("the output %s of %d frames is %s, of one %s", o.Name, k, shapeText(o.Shape), shapeText(a.Shape))
			}
			if d := distance(o.Data[place*len(a.Data):(place+1)*len(a.Data)], a.Data); !(d <= sameAs) {
				return fmt.Errorf("the output %s of a frame among %d differs by %.2g of its largest value from what it is alone", o.Name, k, d)
			}
		}
	}
	return nil
}

// distance is how far values differ at most, as a part of the largest; NaN if one is.
func distance(x, y []float32) float64 {
	most, largest := 0.0, 0.0
	for n := range x {
		if x[n] != y[n] {
			most = max(most, math.Abs(float64(x[n])-float64(y[n])))
		}
		largest = max(largest, math.Abs(float64(y[n])))
	}
	if most == 0 {
		return 0
	}
	return most / largest
}

// join takes a frame into the run on its group; a new one is on its way at once, and
// waits for the others when it is due.
func (s *server) join(r *inferRequest) {
	if s.joining != nil && s.joining.add(s, r) {
		return
	}
	g := <-s.groups
	g.mu.Lock()
	g.id, g.of, g.frames, g.sealed, g.full = r.Group, min(r.Of, len(g.jobs)), 0, false, make(chan struct{})
	g.mu.Unlock()
	s.joining = g
	g.add(s, r)
	s.filled <- &job{group: g}
}

// add gives a frame its place, false if it has none there.
func (g *groupRun) add(s *server, r *inferRequest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sealed || g.id != r.Group || g.frames == g.of {
		return false
	}
	place := g.frames
	s.fillInto(&g.jobs[place], r, func(f *vision.Frame) (Placement, error) { return g.put(s.filler, place, f) })
	if g.frames++; g.frames == g.of {
		close(g.full)
	}
	return true
}

// seal waits for the frames that are to come, for a moment, and tells how many there
// are: later ones have a run of their own.
func (g *groupRun) seal() int {
	select {
	case <-g.full:
	default:
		late := time.NewTimer(groupWait)
		defer late.Stop()
		select {
		case <-g.full:
		case <-late.C:
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sealed = true
	return g.frames
}

// runGroup looks at all frames of a group in one run.
func (s *server) runGroup(g *groupRun) {
	level := bits.Len(uint(g.seal() - 1))
	start := time.Now()
	g.outs, g.err = s.sess.run(g.slots[level], s.load.Limit)
	took := time.Since(start)
	for _, o := range g.outs {
		if len(o.Shape) == 0 || o.Shape[0] != 1<<level {
			g.err = fmt.Errorf("the output %s of %d frames is %s", o.Name, 1<<level, shapeText(o.Shape))
		}
	}
	for n := range g.jobs[:g.frames] {
		j := &g.jobs[n]
		if j.reply.Run = took; j.err == nil {
			j.err = g.err
		}
	}
}

// answerGroup decodes and answers each frame's part.
func (s *server) answerGroup(d *Decoder, g *groupRun, gone *error) {
	for n := range g.jobs[:g.frames] {
		for i, o := range g.outs {
			if g.err != nil {
				break
			}
			part := &g.of1[i]
			part.Name, part.Shape = o.Name, append(part.Shape[:0], o.Shape...)
			part.Shape[0] = 1
			one := len(o.Data) / int(o.Shape[0])
			part.Data = o.Data[n*one : (n+1)*one]
		}
		s.answer(d, &g.jobs[n], g.of1, gone)
	}
	s.groups <- g
}
