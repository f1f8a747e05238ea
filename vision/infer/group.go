package infer

import (
	"fmt"
	"math/bits"
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

// groupWait is how long a run waits for those of its frames that aren't there yet: they
// were given their turns in the same moment.
const groupWait = 2 * time.Millisecond

// groupRun is a run on several frames on its way through the worker process.
type groupRun struct {
	blobs []*Blob  // by place; over one memory
	feeds []feed   // by place, where the tensor isn't the blobs' own memory
	ins   []inputs // over the first 1, 2, 4, … places
	slots []*slot  // as many
	jobs  []job    // by place

	mu     sync.Mutex // protects the rest until it is sealed
	id     uint64
	of     int
	frames int       // that have come
	last   time.Time // when the last one did
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
		in, err := s.sess.newInputs(part)
		if err != nil {
			return nil, err
		}
		sl, err := s.sess.newSlot()
		if err != nil {
			return nil, err
		}
		g.ins, g.slots = append(g.ins, in), append(g.slots, sl)
	}
	return g, nil
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

// drop gives back what ONNX Runtime holds for the group.
func (g *groupRun) drop() {
	for n, sl := range g.slots {
		sl.drop()
		g.ins[n].drop()
	}
}

// profile is how many frames TensorRT's engine takes: as many as can be where more than one
// may come, so that another camera doesn't want another engine.
func (s *server) profile() int {
	if s.share() < 2 {
		return 1
	}
	return MaxShare
}

// openGroups makes what runs on several frames take, where they pay: a run on them is no
// use that a model may fail by.
func (s *server) openGroups() {
	if s.share() < 2 {
		return
	}
	takes, err := s.load.Shared, error(nil)
	if !s.load.Measured {
		takes, err = s.tryGroups()
	}
	if len(takes) > 1 && err == nil {
		err = s.makeGroup(len(takes) - 1)
	}
	if s.groups != nil {
		s.info.Shared = takes
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "one run looks at %d of %d cameras' pictures at most: %v\n", 1<<max(len(s.info.Shared)-1, 0), s.load.Share, err)
	}
}

// makeGroup makes the group that frames share. There is one: while it runs no other
// frames have turns.
func (s *server) makeGroup(levels int) error {
	g, err := s.newGroup(levels)
	if err != nil {
		return err
	}
	memory := make([][]float32, len(s.sess.outputs))
	for level := levels; level >= 0; level-- {
		outs, err := s.sess.run(g.ins[level], g.slots[level], s.groupLimit())
		if err == nil {
			err = inFrames(outs, 1<<level)
		}
		if err == nil {
			err = s.sess.fixOver(g.slots[level], slices.Clone(outs), memory)
		}
		if err != nil {
			g.drop()
			return fmt.Errorf("run on %d frames: %w", 1<<level, err)
		}
	}
	s.groups = make(chan *groupRun, 1)
	s.groups <- g
	return nil
}

// inFrames checks that outputs have a part for each of k frames.
func inFrames(outs []Output, k int) error {
	for _, o := range outs {
		if len(o.Shape) == 0 || o.Shape[0] != int64(k) {
			return fmt.Errorf("the output %s of %d frames is %s", o.Name, k, shapeText(o.Shape))
		}
	}
	return nil
}

// join takes a frame into the run on its group; a new one is on its way at once, and
// waits for the others when it is due.
func (s *server) join(r *inferRequest) {
	if s.joining != nil && s.joining.add(s, r) {
		s.joined++
		return
	}
	if s.joining == nil || s.joiner != r.Group {
		s.joiner, s.joined = r.Group, 0
	}
	g := <-s.groups
	g.mu.Lock()
	g.id, g.of, g.frames, g.sealed, g.full = r.Group, max(min(r.Of-s.joined, len(g.jobs)), 1), 0, false, make(chan struct{})
	g.mu.Unlock()
	s.joining = g
	g.add(s, r)
	s.joined++
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
	g.last = time.Now()
	if g.frames++; g.frames == g.of {
		close(g.full)
	}
	return true
}

// seal waits for the frames that are to come, as long as they come within a moment of
// each other, and tells how many there are: later ones have a run of their own.
func (g *groupRun) seal() int {
	late := time.NewTimer(groupWait)
	defer late.Stop()
	for {
		select {
		case <-g.full:
		case <-late.C:
		}
		g.mu.Lock()
		if wait := groupWait - time.Since(g.last); wait > 0 && g.frames < g.of {
			g.mu.Unlock()
			late.Reset(wait)
			continue
		}
		g.sealed = true
		n := g.frames
		g.mu.Unlock()
		return n
	}
}

// runGroup looks at all frames of a group in one run.
func (s *server) runGroup(g *groupRun) {
	level := bits.Len(uint(g.seal() - 1))
	start := time.Now()
	g.outs, g.err = s.sess.run(g.ins[level], g.slots[level], s.load.Limit)
	took := time.Since(start)
	if g.err == nil {
		if g.err = inFrames(g.outs, 1<<level); g.err != nil { // nothing is learnt by the next one
			s.apart.Store(true)
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
