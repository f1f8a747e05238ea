package agent

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// flight is a frame on its way through the models: that of the lane that
// decides, and during a switch that of the next one.
type flight struct {
	frame *capture.Frame
	runs  []*run
	done  chan struct{} // closed when all runs stand
}

// run is one model's look at a frame.
type run struct {
	lane   *lane
	result infer.Result
	err    error
}

// of gives the lane's run, nil if it doesn't take part.
func (f *flight) of(l *lane) *run {
	for _, r := range f.runs {
		if r.lane == l {
			return r
		}
	}
	return nil
}

// inspect keeps the model fed: with two frames where every frame counts, so
// that one is filled in while the other runs; with one where frames are
// dropped, so that the next is as fresh as can be.
func (s *Station) inspect(ctx, source context.Context) error {
	width := 2
	if s.cfg.Camera.Drops() {
		width = 1
	}
	tokens := make(chan struct{}, width)
	flights := make(chan *flight, width)
	g, ctx := errgroup.WithContext(ctx)
	var ended error // of the source; it must not end the frames that are under way
	g.Go(func() error {
		defer close(flights)
		ended = s.feed(ctx, source, g, tokens, flights)
		return nil
	})
	g.Go(func() error { return s.land(ctx, tokens, flights) })
	err := g.Wait()
	s.finish(ctx)
	return errors.Join(ended, err)
}

// feed takes frames from the camera and sends them on their way, while there is
// a model for them.
func (s *Station) feed(ctx, source context.Context, g *errgroup.Group, tokens chan struct{}, flights chan<- *flight) error {
	for {
		select {
		case tokens <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !s.awaitModel(source) {
			return nil
		}
		frame, err := s.cfg.Camera.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		f := &flight{frame: frame, done: make(chan struct{})}
		if !s.depart(f, flights) {
			frame.Release()
			<-tokens
			continue
		}
		g.Go(func() error {
			defer close(f.done)
			s.look(ctx, f)
			return nil
		})
	}
}

// depart notes which lanes see the frame. It is one step with the sending, so
// that a switch finds each frame either not begun or among the flights; they
// have room for as many as there are tokens. Without a model that works there is
// no flight.
func (s *Station) depart(f *flight, flights chan<- *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane.Model == nil || s.lane.dead != nil && s.next == nil {
		return false
	}
	f.runs = []*run{{lane: s.lane}}
	if s.next != nil && s.next.new.Model != nil {
		f.runs = append(f.runs, &run{lane: s.next.new})
	}
	flights <- f
	return true
}

// awaitModel waits until there is one, false when the source is to end before.
func (s *Station) awaitModel(source context.Context) bool {
	s.mu.Lock()
	armed := s.armed
	s.mu.Unlock()
	select {
	case <-armed: // also when both hold: what the source still has is inspected
		return true
	default:
	}
	select {
	case <-armed:
		return true
	case <-source.Done():
		return false
	}
}

// patience is how much longer than the model that decides the next one may
// look at a frame, before the switch to it is given up.
const patience = 2 * time.Second

var errSlow = errors.New("the model needs too long for a frame beside the running one")

// look runs the models on the frame. The next lane's worker can't hold the
// first one's result up for longer than patience.
func (s *Station) look(ctx context.Context, f *flight) {
	first := f.runs[0]
	if len(f.runs) == 1 {
		first.result, first.err = s.infer(ctx, first.lane, f.frame)
		return
	}
	second := f.runs[1]
	if second.lane.Model == first.lane.Model {
		first.result, first.err = s.infer(ctx, first.lane, f.frame)
		second.result, second.err = first.result, first.err
		return
	}
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		second.result, second.err = second.lane.Model.Infer(limited, &f.frame.Frame, f.frame.Pool, f.frame.Slot)
		if second.err != nil && context.Cause(limited) == errSlow {
			second.err = errSlow
		}
	})
	first.result, first.err = s.infer(ctx, first.lane, f.frame)
	defer time.AfterFunc(patience, func() { cancel(errSlow) }).Stop()
	wg.Wait()
}

// infer runs the lane's model on a frame, once more if the worker died under it.
func (s *Station) infer(ctx context.Context, l *lane, f *capture.Frame) (infer.Result, error) {
	r, err := l.Model.Infer(ctx, &f.Frame, f.Pool, f.Slot)
	if !errors.Is(err, infer.ErrWorkerLost) {
		return r, err
	}
	if _, err := l.Model.Ready(ctx); err != nil {
		return infer.Result{}, err
	}
	return l.Model.Infer(ctx, &f.Frame, f.Pool, f.Slot)
}

// land judges frames in order as they come from the model. Parts in view of a
// camera that gives nothing any more are decided when it has been away for too
// long: what it shows when it is back may be others.
func (s *Station) land(ctx context.Context, tokens <-chan struct{}, flights <-chan *flight) error {
	gap := s.lane.tracker.Gap()
	away := time.NewTimer(gap)
	defer away.Stop()
	for {
		select {
		case f, ok := <-flights:
			if !ok {
				return nil
			}
			<-f.done
			<-tokens
			if s.judge(ctx, f) {
				away.Reset(gap)
			}
			f.frame.Release()
		case <-away.C:
			if s.cfg.Camera.Live() && s.switching() == nil { // else see judgeQuiet
				s.decideAll(ctx)
			}
		case <-s.poked:
			s.mind(ctx)
		case <-s.quiet():
			s.judgeQuiet(ctx, flights)
		}
	}
}

// judge takes one frame's detections to verdicts of the parts that ended. It
// tells whether there were any detections to take.
func (s *Station) judge(ctx context.Context, f *flight) bool {
	if o := s.switching(); o != nil && f.of(o.new) != nil {
		return s.judgeBoth(ctx, o, f)
	}
	r := f.of(s.lane)
	if r == nil { // it departed before the lane that decides now
		r = &run{lane: s.lane, err: f.runs[0].err}
		if r.err == nil {
			r.err = errNotSeen
		}
	}
	return s.judgeOne(ctx, f, r)
}

var errNotSeen = errors.New("the model that saw the frame has been replaced")

// judgeOne is judge while one lane sees the frames.
func (s *Station) judgeOne(ctx context.Context, f *flight, r *run) bool {
	if r.err != nil {
		s.failedFrame(ctx, f, r)
		return false
	}
	now := time.Now()
	s.measure(f, r, now)
	s.mu.Lock()
	r.lane.tally.runs.add(r.result.Run)
	r.lane.tally.ages.add(now.Sub(f.frame.Captured))
	s.mu.Unlock()
	done, open := s.follow(f, r)
	for _, p := range done {
		s.decide(ctx, r.lane, p)
	}
	r.lane.prune()
	s.live.offer(now, &f.frame.Frame, open, r.result.Detections)
	return true
}

// follow gives a lane the detections of its model: it returns the parts that
// ended, and those in view.
func (s *Station) follow(f *flight, r *run) (done []vision.Part, open []track.View) {
	l, frame := r.lane, &f.frame.Frame
	l.use(f.frame.Pool)
	s.width, s.height = frame.Width, frame.Height
	done = l.tracker.Update(track.Frame{
		Seq: frame.Seq, Clock: s.clock(frame), Captured: frame.Captured, Name: frame.Name,
		Width: frame.Width, Height: frame.Height,
	}, r.result.Detections)
	open = l.tracker.Open(frame.Seq)
	if s.cfg.Pictures {
		l.keepPictures(frame, open, done)
	}
	return done, open
}
