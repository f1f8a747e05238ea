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
	"github.com/sightline-edge/sightline/vision/sched"
	"github.com/sightline-edge/sightline/vision/track"
)

// flight is a frame on its way through the models: that of the lane that
// decides, and during a switch that of the next one.
type flight struct {
	view    *view
	frame   *capture.Frame
	turn    *sched.Turn // nil while it has none
	same    bool        // the change gate saw nothing new: the last result stands
	awaited bool        // somebody waits for its result: bystanders stand still
	runs    []*run
	done    chan struct{} // closed when all runs stand
}

// run is one model's look at a frame.
type run struct {
	lane   *lane
	small  bool // of the lane's models it is the small one
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

// inspect takes frames of the station's cameras through the models.
func (s *Station) inspect(ctx, source context.Context) error {
	total := 0
	for _, v := range s.views {
		width := s.width(v)
		v.tokens = make(chan struct{}, width)
		total += width
	}
	flights := make(chan *flight, total)
	g, ctx := errgroup.WithContext(ctx)
	ended := make([]error, len(s.views)) // of the sources; they must not end the frames that are under way
	var feeds sync.WaitGroup
	for n, v := range s.views {
		feeds.Add(1)
		g.Go(func() error {
			defer feeds.Done()
			ended[n] = s.feed(ctx, source, g, v, flights)
			return nil
		})
	}
	g.Go(func() error {
		feeds.Wait()
		close(flights)
		return nil
	})
	g.Go(func() error { return s.land(ctx, flights) })
	err := g.Wait()
	s.finish(ctx)
	return errors.Join(append(ended, err)...)
}

// feed takes frames from a camera and sends them on their way, while there is
// a model for them and whenever it is the camera's turn.
func (s *Station) feed(ctx, source context.Context, g *errgroup.Group, v *view, flights chan<- *flight) error {
	for {
		select {
		case v.tokens <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !s.awaitModel(source) {
			return nil
		}
		frame, turn, err := s.nextTurn(ctx, v)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		f := &flight{view: v, frame: frame, turn: turn, awaited: v.drops(), same: !s.news(v, &frame.Frame), done: make(chan struct{})}
		if !s.depart(f, flights) {
			f.land(false)
			s.letGo(f)
			<-v.tokens
			continue
		}
		if f.same {
			f.land(false)
			close(f.done)
			continue
		}
		g.Go(func() error {
			defer close(f.done)
			if f.turn == nil {
				f.turn, f.runs[0].err = s.takeTurn(ctx, v, frame)
			}
			if f.turn != nil {
				s.look(ctx, f)
				f.land(f.runs[0].err == nil)
			}
			return nil
		})
	}
}

// land gives the flight's turn back, if it has one.
func (f *flight) land(ok bool) {
	if f.turn != nil {
		f.turn.Done(ok)
	}
}

// takeTurn waits for the turn of a frame that is inspected however long that takes.
func (s *Station) takeTurn(ctx context.Context, v *view, f *capture.Frame) (*sched.Turn, error) {
	_, cost := s.choose(s.current())
	return v.stream.Take(ctx, sched.Ask{Model: cost, Newest: func() (time.Time, bool) { return f.Captured, true }})
}

// nextTurn waits until the camera has a frame and the accelerator a turn for it, and
// takes the newest frame then. A recording's next frame is taken without: each counts,
// and some are seen to be nothing new while the model looks at the one before.
func (s *Station) nextTurn(ctx context.Context, v *view) (*capture.Frame, *sched.Turn, error) {
	if !v.drops() {
		frame, err := v.feed.Next(ctx)
		return frame, nil, err
	}
	for {
		if err := v.feed.Await(ctx); err != nil {
			return nil, nil, err
		}
		s.bystanders.Hold()
		frame, turn, err := s.takeNewest(ctx, v)
		if err == nil {
			return frame, turn, nil
		}
		s.bystanders.Release()
		if !errors.Is(err, sched.ErrStale) && !errors.Is(err, sched.ErrLate) {
			return nil, nil, err
		}
		s.passOver(v)
	}
}

// takeNewest waits for a turn for the camera's frame, and takes the newest then.
func (s *Station) takeNewest(ctx context.Context, v *view) (*capture.Frame, *sched.Turn, error) {
	_, cost := s.choose(s.current())
	turn, err := v.stream.Take(ctx, sched.Ask{Model: cost, Newest: v.feed.Newest, MaxAge: s.maxAge(v)})
	if err != nil {
		return nil, nil, err
	}
	frame, err := v.feed.Next(ctx)
	if err != nil {
		turn.Done(false)
		return nil, nil, err
	}
	return frame, turn, nil
}

// letGo is for a flight whose frame nobody needs any more.
func (s *Station) letGo(f *flight) {
	f.frame.Release()
	if f.awaited {
		s.bystanders.Release()
	}
}

// maxAge bounds the age of a camera's frame at its result. Of a recording, which
// waits, every frame counts.
func (s *Station) maxAge(v *view) time.Duration {
	if !v.drops() {
		return 0
	}
	return s.cfg.MaxAge
}

// passOver drops the frame that would be too old by the time of its result.
func (s *Station) passOver(v *view) {
	if f := v.feed.Drop(); f {
		s.mu.Lock()
		v.late++
		s.mu.Unlock()
	}
}

// current is the lane that decides.
func (s *Station) current() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lane
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
	f.same = f.same && s.next == nil
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
	for _, r := range f.runs {
		r.small = s.small(r.lane)
	}
	first := f.runs[0]
	if len(f.runs) == 1 {
		s.infer(ctx, first, f)
		return
	}
	second := f.runs[1]
	if first.worker() == second.worker() && second.lane.ROI == first.lane.ROI {
		s.infer(ctx, first, f)
		second.small = second.small && first.small
		if second.result, second.err = first.result, first.err; first.worker() != second.worker() {
			second.err = infer.ErrWorkerLost
		}
		return
	}
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		second.result, second.err = inferROI(limited, second.worker(), second.lane.ROI, infer.Group{}, f.frame)
		if second.err != nil && context.Cause(limited) == errSlow {
			second.err = errSlow
		}
	})
	s.infer(ctx, first, f)
	defer time.AfterFunc(patience, func() { cancel(errSlow) }).Stop()
	wg.Wait()
}

// infer runs the run's model on a frame, once more if the worker died under it; a
// small one that did leaves that to the other.
func (s *Station) infer(ctx context.Context, r *run, f *flight) {
	r.result, r.err = inferROI(ctx, r.worker(), r.lane.ROI, groupOf(f.turn), f.frame)
	if r.err == nil || !r.small && !errors.Is(r.err, infer.ErrWorkerLost) || r.small && ready(r.worker()) == nil {
		return
	}
	r.small = false
	if _, r.err = r.worker().Ready(ctx); r.err == nil {
		r.result, r.err = inferROI(ctx, r.worker(), r.lane.ROI, infer.Group{}, f.frame)
	}
}

// worker is the one that the run asks.
func (r *run) worker() *infer.Worker { return r.lane.worker(r.small) }

// land judges frames in order as they come from the model. Parts in view of a
// camera that gives nothing any more are decided when it has been away for too
// long: what it shows when it is back may be others.
func (s *Station) land(ctx context.Context, flights <-chan *flight) error {
	gap := s.lane.gap()
	defer s.startTimers(gap)()
	for {
		select {
		case f, ok := <-flights:
			if !ok {
				return nil
			}
			<-f.done
			<-f.view.tokens
			if s.judge(ctx, f) {
				f.view.judged = time.Now()
				f.view.away.Reset(gap)
			}
			s.letGo(f)
		case v := <-s.gone:
			switch {
			case !v.live() || time.Since(v.judged) < gap:
			case s.switching() != nil: // see judgeQuiet; but the other cameras' frames may keep it from its turn
				v.away.Reset(gap)
			default:
				s.decideView(ctx, v)
			}
		case r := <-s.coming:
			s.ruleCame(r)
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
	if f.same {
		return s.judgeSame(ctx, f)
	}
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
	if age := s.maxAge(f.view); age > 0 && now.Sub(f.frame.Captured) > age {
		s.mu.Lock()
		f.view.late++
		f.view.regate = true
		s.mu.Unlock()
		return false
	}
	s.measure(f, r, now)
	if f.view.gate != nil {
		f.view.gate.Seen(f.frame.Seq, len(r.result.Detections))
	}
	s.mu.Lock()
	r.lane.tally.runs.add(r.result.Run)
	r.lane.tally.ages.add(now.Sub(f.frame.Captured))
	f.view.grave = len(r.result.Detections) > 0 && r.lane.seeksDefects()
	s.mu.Unlock()
	s.take(ctx, f, r, now)
	return true
}

// take gives a lane what was seen in a frame, and decides the parts that ended.
func (s *Station) take(ctx context.Context, f *flight, r *run, now time.Time) {
	done, open := s.follow(f, r)
	for _, p := range done {
		s.decide(ctx, r.lane, p)
	}
	r.lane.prune()
	f.view.screen.offer(now, &f.frame.Frame, open, r.result.Detections)
}

// judgeSame is judge for a frame that shows what the last inspected one showed:
// the same was seen in it. If that one had no result, the next frame is inspected.
func (s *Station) judgeSame(ctx context.Context, f *flight) bool {
	eye := &s.lane.eyes[f.view.index]
	last := eye.last
	s.mu.Lock()
	if last == nil {
		f.view.regate = true
	} else {
		s.stats.Unchanged++
		f.view.unchanged++
	}
	s.stats.Last = time.Now()
	s.mu.Unlock()
	if last == nil {
		return false
	}
	s.take(ctx, f, &run{lane: s.lane, small: eye.small, result: *last}, time.Now())
	return true
}

// follow gives a lane the detections of its model: it returns the parts that
// ended, and those in view.
func (s *Station) follow(f *flight, r *run) (done []vision.Part, open []track.View) {
	l, frame, v := r.lane, &f.frame.Frame, f.view
	l.use(v, f.frame.Pool)
	v.width, v.height = frame.Width, frame.Height
	e := &l.eyes[v.index]
	e.last, e.small = &r.result, r.small
	done = e.tracker.Update(track.Frame{
		Seq: frame.Seq, Clock: s.clock(v, frame), Captured: frame.Captured, Name: frame.Name,
		Width: frame.Width, Height: frame.Height,
	}, r.result.Detections)
	unsure := e.tracker.Unsure()
	v.unsure.Add(unsure - e.unsure)
	e.unsure = unsure
	open = e.tracker.Open(frame.Seq)
	l.note(r.small, frame.Seq, open, done)
	if s.cfg.Pictures {
		l.keepPictures(frame, open, done)
	}
	if l.Cascade != nil {
		s.keepExhibits(r, v, frame, open, done)
	}
	return done, open
}
