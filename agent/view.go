package agent

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/change"
	"github.com/sightline-edge/sightline/vision/sched"
)

// defaultRing is how many frames of a camera are kept for triggers about the past.
const defaultRing = 4

// view is one camera of a station.
type view struct {
	index  int // in the station and in its lanes
	camera *Camera
	feed   *capture.Feed
	screen *live         // what the station sees through it
	gate   *change.Gate  // nil: every frame is inspected; feed's own
	stream *sched.Stream // its place at the accelerator
	tokens chan struct{} // held by the frames under way
	away   *time.Timer   // pokes Station.gone when nothing was judged for long; nil before run

	unsure   atomic.Uint64 // what left too soon to count as a part, pictures between having been skipped
	shutter  *shutter      // keeps frames for triggers; nil where parts are followed
	lookedAt atomic.Int64  // when a trigger's frame was inspected last, nanoseconds since 1970
	memory   memory        // of triggers' frames, for the model
	large    memory        // and for the large one

	// The judge's own:
	width, height int       // of the last frame, pixels
	judged        time.Time // the last frame

	// Protected by Station.mu:
	inferred, unchanged, lost uint64
	late                      uint64 // frames that were, or would have been, too old at their result
	regate                    bool   // the next frame is to be inspected, whatever it shows
	looks                     int    // still to be taken at what is new
	grave                     bool   // the last inspected frame showed something, and defects are looked for
}

func (s *Station) newView(c *Camera) *view {
	v := &view{index: len(s.views), camera: c, feed: c.use(), screen: newLive()}
	if s.triggered() {
		keep := cmp.Or(s.cfg.Trigger.Ring, defaultRing)
		v.shutter = newShutter(keep)
		v.shutter.landed = c.landed
		v.feed.Hold(keep + maxPending + mayHang)
	}
	if s.cfg.ChangeGate > 0 && s.stream() && !s.triggered() {
		v.gate = change.New(change.Config{Refresh: s.cfg.ChangeGate})
	}
	return v
}

// live tells whether the camera is one that goes on for ever.
func (v *view) live() bool { return v.camera.cfg.Source.Live() }

// clock is the time that the tracker goes by: of a recording its own, else
// when the picture was taken, since the agent's start.
func (s *Station) clock(v *view, f *vision.Frame) time.Duration {
	if v.live() {
		return f.Captured.Sub(s.began)
	}
	return f.Media
}

// of gives the view that saw a part.
func (s *Station) of(p *vision.Part) *view {
	for _, v := range s.views {
		if v.camera.Name() == p.Camera {
			return v
		}
	}
	return s.views[0]
}

// news tells whether a frame must be inspected: the change gate may know that it
// shows what the last inspected one showed. During a switch of models every frame
// is inspected.
func (s *Station) news(v *view, f *vision.Frame) bool {
	if v.gate == nil {
		return true
	}
	s.mu.Lock()
	fresh := v.regate || s.next != nil
	v.regate = false
	s.mu.Unlock()
	if fresh {
		v.gate.Reset()
	}
	pass := v.gate.Pass(f, s.clock(v, f))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case pass:
		v.looks = moreLooks
	case v.looks > 0 && v.grave:
		v.looks--
		return true
	}
	return pass
}

// moreLooks is how many pictures are inspected after one that was new, where a
// defect may show: the result that then stands for the others rests on as many
// looks as must agree on a defect.
const moreLooks = 2

// startTimers has each view's timer poke the judge when its camera gives nothing.
func (s *Station) startTimers(gap time.Duration) (stop func()) {
	for _, v := range s.views {
		v.judged = time.Now()
		v.away = time.AfterFunc(gap, func() {
			select {
			case s.gone <- v:
			default: // one is there already
			}
		})
	}
	return func() {
		for _, v := range s.views {
			v.away.Stop()
		}
	}
}

// anyLive tells whether one of the cameras goes on for ever.
func (s *Station) anyLive() bool {
	for _, v := range s.views {
		if v.live() {
			return true
		}
	}
	return false
}

// drops tells whether the camera drops frames that nobody takes in time.
func (v *view) drops() bool { return v.camera.cfg.Source.Drops() }
