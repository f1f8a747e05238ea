// Package agent is the device's inspection: each Station takes frames from its
// camera to verdicts, and the Agent holds the stations, their workers and the
// journal together and answers for them to the page and the REST interface.
package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// DefaultDeadline is when a decided part is told at the latest, on disk or not.
const DefaultDeadline = 500 * time.Millisecond

// StationConfig says what a station inspects and how. Camera, Model and Roles
// must be given.
type StationConfig struct {
	ID, Line string
	Camera   *capture.Camera
	Source   string        // of the camera, as it may be shown
	Model    *infer.Worker // may serve other stations too
	About    Model
	Rule     *rules.Rule // nil: every part gets NONE no_rule
	Track    track.Config
	Deadline time.Duration // 0: DefaultDeadline
	Allow    bool          // tell verdicts that aren't on disk by the deadline
	Pictures bool          // keep a picture of each part
	Log      *slog.Logger
}

// Model is what a verdict says of the model that it rests on.
type Model struct {
	Name, Version, Digest, Family string
}

// Station is one inspection point: one camera, one model, one rule, and one
// verdict for each part.
type Station struct {
	cfg      StationConfig
	log      *slog.Logger
	tracker  *track.Tracker
	recorder *recorder
	live     *live
	crops    map[string]*crop // of the open parts, by ID; judge's own
	began    time.Time
	width    int // of the last frame, pixels
	height   int
	pool     *shm.Pool // that the last frame came in; judge's own, retained

	mu       sync.Mutex // protects all below
	stopping bool       // parts still in view get NONE stopped
	asked    bool       // to end
	stop     context.CancelFunc
	ended    bool
	failure  error // why the station can't inspect, nil while it can
	warned   time.Time
	stats    Stats
	counts   counts
	recently []*Inspection // the newest told, newest first, at most keepRecent
	ages     durations     // frame captured → its result, of the newest frames
	runs     durations     // model alone
}

// Stats are a station's figures since its start.
type Stats struct {
	Inferred uint64 // frames with a result
	Lost     uint64 // frames given up after the model failed on them twice
	First    time.Time
	Last     time.Time // capture of the first frame, result of the last one
}

// newStation makes a station that records through r.
func newStation(cfg StationConfig, r *recorder) *Station {
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	return &Station{
		cfg: cfg, recorder: r, tracker: track.New(cfg.Track), crops: map[string]*crop{}, live: newLive(), began: time.Now(),
		log: cfg.Log.With("station", cfg.ID), stop: func() {},
	}
}

// run inspects until the source ends, Stop is called or ctx is done. In the
// first case open parts are judged as they were seen.
func (s *Station) run(ctx context.Context) error {
	source, stop := context.WithCancel(ctx)
	defer stop()
	s.mu.Lock()
	s.stop = stop
	if s.asked {
		stop()
	}
	s.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_ = s.cfg.Camera.Run(source) // Next gives the error, behind the last frame
		return nil
	})
	g.Go(func() error { return s.live.run(ctx) })
	g.Go(func() error {
		defer s.live.close()
		defer stop()
		return s.inspect(ctx)
	})
	err := g.Wait()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	return err
}

// End ends the source as if its recording were over: open parts are judged as
// they were seen.
func (s *Station) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = true
	s.stop()
}

// fail ends the station because it can't inspect.
func (s *Station) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
	s.asked = true
	s.stop()
}

// Stop ends the source because the agent goes: open parts get NONE stopped.
func (s *Station) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping, s.asked = true, true
	s.stop()
}

// flight is a frame on its way through the model.
type flight struct {
	frame  *capture.Frame
	result infer.Result
	err    error
	done   chan struct{} // closed when result and err stand
}

// inspect keeps the model fed: with two frames where every frame counts, so
// that one is filled in while the other runs; with one where frames are
// dropped, so that the next is as fresh as can be.
func (s *Station) inspect(ctx context.Context) error {
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
		ended = s.feed(ctx, g, tokens, flights)
		return nil
	})
	g.Go(func() error { return s.land(ctx, tokens, flights) })
	err := g.Wait()
	s.finish(ctx)
	return errors.Join(ended, err)
}

// land judges frames in order as they come from the model. Parts in view of a
// camera that gives nothing any more are decided when it has been away for too
// long: what it shows when it is back may be others.
func (s *Station) land(ctx context.Context, tokens <-chan struct{}, flights <-chan *flight) error {
	away := time.NewTimer(s.tracker.Gap())
	defer away.Stop()
	for {
		select {
		case f, ok := <-flights:
			if !ok {
				return nil
			}
			<-f.done
			<-tokens
			s.judge(ctx, f)
			f.frame.Release()
			if f.err == nil {
				away.Reset(s.tracker.Gap())
			}
		case <-away.C:
			if s.cfg.Camera.Live() {
				s.decideAll(ctx)
			}
		}
	}
}

func (s *Station) feed(ctx context.Context, g *errgroup.Group, tokens chan<- struct{}, flights chan<- *flight) error {
	for {
		select {
		case tokens <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		frame, err := s.cfg.Camera.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		f := &flight{frame: frame, done: make(chan struct{})}
		flights <- f
		g.Go(func() error {
			defer close(f.done)
			f.result, f.err = s.infer(ctx, frame)
			return nil
		})
	}
}

// infer runs the model on a frame, once more if the worker died under it.
func (s *Station) infer(ctx context.Context, f *capture.Frame) (infer.Result, error) {
	r, err := s.cfg.Model.Infer(ctx, &f.Frame, f.Pool, f.Slot)
	if !errors.Is(err, infer.ErrWorkerLost) {
		return r, err
	}
	if _, err := s.cfg.Model.Ready(ctx); err != nil {
		return infer.Result{}, err
	}
	return s.cfg.Model.Infer(ctx, &f.Frame, f.Pool, f.Slot)
}

// judge takes one frame's detections to verdicts of the parts that ended.
func (s *Station) judge(ctx context.Context, f *flight) {
	if f.err != nil {
		s.failedFrame(ctx, f)
		return
	}
	now := time.Now()
	s.measure(f, now)
	s.changePool(f.frame.Pool)
	frame := &f.frame.Frame
	s.width, s.height = frame.Width, frame.Height
	done := s.tracker.Update(track.Frame{
		Seq: frame.Seq, Clock: s.clock(frame), Captured: frame.Captured, Name: frame.Name,
		Width: frame.Width, Height: frame.Height,
	}, f.result.Detections)
	open := s.tracker.Open(frame.Seq)
	s.keepPictures(frame, open, done)
	for _, p := range done {
		s.decide(ctx, p, s.width, s.height)
	}
	s.live.offer(now, frame, open, f.result.Detections)
}

// changePool tells the model's worker when frames come in other memory.
func (s *Station) changePool(p *shm.Pool) {
	if s.pool == p {
		return
	}
	if s.pool != nil {
		s.cfg.Model.Forget(s.pool)
		s.pool.Release()
	}
	p.Retain()
	s.pool = p
}

// clock is the time that the tracker goes by: of a recording its own, else
// when the picture was taken, since the agent's start.
func (s *Station) clock(f *vision.Frame) time.Duration {
	if s.cfg.Camera.Live() {
		return f.Captured.Sub(s.began)
	}
	return f.Media
}

func (s *Station) measure(f *flight, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.First.IsZero() {
		s.stats.First = f.frame.Captured
	}
	s.stats.Inferred++
	s.stats.Last = now
	s.ages.add(now.Sub(f.frame.Captured))
	s.runs.add(f.result.Run)
}

// failedFrame counts a frame that the model gave no result for. Where each
// picture is a part, that part gets NONE.
func (s *Station) failedFrame(ctx context.Context, f *flight) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	s.stats.Lost++
	quiet := time.Since(s.warned) < time.Second
	if !quiet {
		s.warned = time.Now()
	}
	s.mu.Unlock()
	if !quiet {
		s.log.Warn("frame without a result", "seq", f.frame.Seq, "err", f.err)
	}
	if s.cfg.Track.Mode != track.Pictures {
		return
	}
	for _, p := range s.tracker.Update(track.Frame{
		Seq: f.frame.Seq, Captured: f.frame.Captured, Name: f.frame.Name, Width: f.frame.Width, Height: f.frame.Height,
	}, nil) {
		s.tell(p, vision.Decision{Reason: vision.ReasonModelFailed})
	}
}

// finish decides the parts that were still in view.
func (s *Station) finish(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // what was seen is told also when the agent goes
	s.decideAll(ctx)
	if s.pool != nil {
		s.cfg.Model.Forget(s.pool)
		s.pool.Release()
		s.pool = nil
	}
}

// decideAll decides the parts that are in view.
func (s *Station) decideAll(ctx context.Context) {
	for _, p := range s.tracker.Flush() {
		s.decide(ctx, p, s.width, s.height)
	}
}

func (s *Station) decide(ctx context.Context, p vision.Part, width, height int) {
	s.mu.Lock()
	stopping, failure := s.stopping, s.failure
	s.mu.Unlock()
	switch {
	case failure != nil: // the model is given up: what is left of the part was not inspected
		s.tell(p, vision.Decision{Reason: vision.ReasonModelFailed})
	case stopping:
		s.tell(p, vision.Decision{Reason: vision.ReasonStopped})
	case s.cfg.Rule == nil:
		s.tell(p, vision.Decision{Reason: vision.ReasonNoRule})
	default:
		s.tell(p, s.cfg.Rule.Decide(ctx, p, width, height))
	}
}

// tell hands the decision to the recorder, which tells it once it is on disk.
func (s *Station) tell(p vision.Part, d vision.Decision) {
	c := s.crops[p.ID]
	delete(s.crops, p.ID)
	s.recorder.decided(&Inspection{
		Part: p, Decision: d, Told: d, Decided: time.Now(),
		Station: s.cfg.ID, Line: s.cfg.Line, Source: s.cfg.Source, Model: s.cfg.About, station: s, crop: c,
	})
}

// keepPictures copies the best view of each open part; of one that ends with
// its only frame, that frame.
func (s *Station) keepPictures(f *vision.Frame, open []track.View, done []vision.Part) {
	if !s.cfg.Pictures {
		return
	}
	keep := func(id string, box vision.Box) {
		c := s.crops[id]
		if c == nil {
			c = &crop{}
			s.crops[id] = c
		}
		c.cut(f, box)
	}
	for _, v := range open {
		if v.Best || s.crops[v.Part.ID] == nil {
			keep(v.Part.ID, v.Part.Box)
		}
	}
	for _, p := range done {
		if s.crops[p.ID] == nil && p.Last == f.Seq {
			keep(p.ID, p.Box)
		}
	}
}

// keepRecent is how many of the newest verdicts the page shows at once.
const keepRecent = 12

// told counts a verdict that was told.
func (s *Station) told(i *Inspection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.counts.add(now, i.Told.Verdict, now.Sub(i.Decided))
	s.recently = slices.Insert(s.recently, 0, i)
	s.recently = s.recently[:min(len(s.recently), keepRecent)]
}

// Failure is why the station can't inspect, nil while it can.
func (s *Station) Failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Figures are what a summary tells of a station.
type Figures struct {
	Stats
	Camera             capture.Stats
	Parts              [3]uint64     // told, by vision.Verdict
	AgeP50, AgeP99     time.Duration // frame captured → its result
	ModelP50, ModelP99 time.Duration // the model alone
}

// Figures are the current figures, quantiles over the whole run (of its newest
// 65,536 frames).
func (s *Station) Figures() Figures { return s.figures(0) }

// figures has quantiles over the newest frames, 0 for all: sorting all of them
// is too much for what a page asks ten times a second.
func (s *Station) figures(newest int) Figures {
	f := Figures{Camera: s.cfg.Camera.Stats()}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Stats, f.Parts = s.stats, s.counts.total
	f.AgeP50, f.AgeP99 = s.ages.quantiles(newest)
	f.ModelP50, f.ModelP99 = s.runs.quantiles(newest)
	return f
}
