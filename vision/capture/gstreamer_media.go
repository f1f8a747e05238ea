//go:build cgo && (media || gocv)

package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

const (
	gstLook     = 100 * time.Millisecond // between looks for errors while nothing comes
	gstClose    = time.Second            // to end a pipeline; one that hangs ends with the process
	firstWait   = 9 * time.Second        // for the first picture: key pictures may be rare
	gstPatience = 8 * time.Second        // to open, before the agent loses its own
	readWait    = 3 * time.Second        // for any other, if the order doesn't say
	oldestStamp = int64(10 * time.Second)
)

// gstReader reads one GStreamer pipeline.
type gstReader struct {
	ctx     context.Context // of the worker: a Read ends with it
	pipe    *gstPipe
	stream  *rtspStream // nil unless it is an RTSP camera
	wait    time.Duration
	marked  uint64 // pictures that an element marked as corrupt
	told    uint64 // pictures with missing parts, as told so far
	passed  uint64 // whole pictures that a newer one has replaced, not told yet
	given   bool
	pending *gstShot // pulled by open
	spoilt  bool     // the last pull found a picture that may not be given; the one before it is gone, too
	room    []byte   // where the next picture goes if it is as large as the last, nil for none
	size    int      // bytes of the last picture
	backlog backlog
	clocks  rtspClocks
}

// openPipeline runs a pipeline as written.
func openPipeline(ctx context.Context, o order) (reader, opened, error) {
	p, err := parsePipe(o.At)
	if err != nil {
		return nil, opened{}, fmt.Errorf("GStreamer can't make the pipeline: %w; try it with gst-launch-1.0", err)
	}
	return startReader(&gstReader{ctx: ctx, pipe: p, wait: o.read()})
}

// startReader plays and waits for the first picture, so that the source can be
// described, or for a reason why none comes.
func startReader(r *gstReader) (reader, opened, error) {
	if r.wait <= 0 {
		r.wait = readWait
	}
	r.pipe.play()
	desc := opened{Reader: "gstreamer"}
	until := time.Now().Add(gstPatience)
	for r.ctx.Err() == nil && time.Now().Before(until) {
		s, err := r.pull(gstLook)
		if err != nil {
			r.Close()
			return nil, opened{}, err
		}
		if s != nil {
			r.pending = s
			desc.Width, desc.Height, desc.Rate = s.width, s.height, s.rate
			break
		}
	}
	if r.stream != nil {
		codec, rate := r.stream.flow.described()
		desc.Codec = codec
		if rate > 0 {
			desc.Rate = rate
		}
	}
	return r, desc, nil
}

// pull waits at most so long for a picture that may be given; nil if none comes.
func (r *gstReader) pull(wait time.Duration) (*gstShot, error) {
	if s := r.pending; s != nil {
		r.pending = nil
		return s, nil
	}
	r.spoilt = false
	s, ok, err := r.pipe.pull(wait, r.room)
	if err != nil || !ok {
		return nil, r.reason(err)
	}
	if s.channels == 0 || s.width <= 0 || s.height <= 0 || s.width > maxSide || s.height > maxSide {
		return nil, fmt.Errorf("the appsink gets %s of %dx%d: end the pipeline in ! videoconvert ! video/x-raw,format=BGR ! appsink (GRAY8 is taken, too)", s.format, s.width, s.height)
	}
	if !r.whole(s) {
		r.spoilt = true
		return nil, nil
	}
	return &s, nil
}

// whole tells whether the pulled picture may be given, and counts those that
// came before it.
func (r *gstReader) whole(s gstShot) bool {
	good, n := false, uint64(0)
	if r.stream != nil {
		r.pipe.look(r.stream)
	}
	for _, out := range s.outs {
		corrupt := out.corrupt != 0
		good = !corrupt
		if r.stream != nil {
			good = r.stream.flow.show(int64(out.pts), corrupt)
		} else if corrupt {
			r.marked++
		}
		if good {
			n++
		}
	}
	if good {
		n--
	}
	r.passed += n
	return good
}

// reason prefers what an element or our own side said to the end that followed.
func (r *gstReader) reason(end error) error {
	if r.stream != nil {
		if err := r.stream.failed(); err != nil {
			return err
		}
	}
	if err := r.pipe.trouble(); err != nil {
		return fmt.Errorf("GStreamer: %w", err)
	}
	return end
}

// next waits for the next picture as long as it may take.
func (r *gstReader) next() (*gstShot, error) {
	wait := r.wait
	if !r.given {
		wait = max(wait, firstWait)
	}
	before := r.thrownNow()
	for until := time.Now().Add(wait); time.Now().Before(until); {
		if r.ctx.Err() != nil {
			return nil, errGone
		}
		if s, err := r.pull(min(gstLook, time.Until(until))); s != nil || err != nil {
			return s, err
		}
	}
	if n := r.thrownNow() - before; n > 0 {
		return nil, fmt.Errorf("no whole picture for %v: of %d a part is missing, or of what they refer to; over TCP nothing gets lost on the way", wait, n)
	}
	if !r.given && r.stream != nil && r.stream.flow.packets() {
		return nil, errors.New("what the camera sends can't be decoded: no key picture came in time")
	}
	return nil, errors.New("the camera stopped sending")
}

func (r *gstReader) thrownNow() uint64 {
	if r.stream == nil {
		return r.marked
	}
	return r.stream.flow.thrown()
}

// Read gives the newest picture. While a camera sends its backlog, that is the
// last one of it.
func (r *gstReader) Read(room roomFunc) (shot, error) {
	var err error
	if r.size > 0 {
		if r.room, err = room(r.size); err != nil {
			return shot{}, err
		}
		r.room = r.room[:min(r.size, len(r.room))]
	}
	g, err := r.next()
	if err != nil {
		return shot{}, err
	}
	var s shot
	for {
		at := r.stamps(g)
		if !at.ok {
			break
		}
		old, wait := r.backlog.next(at.camera, at.arrival)
		if old {
			s.stale, s.skipped, r.passed = s.stale+s.skipped+r.passed, 0, 0
		}
		if wait == 0 {
			break
		}
		newer, err := r.pull(wait)
		if newer == nil && err == nil && r.spoilt {
			newer, err = r.next()
		}
		if err != nil {
			return shot{}, err
		}
		if newer == nil {
			break
		}
		s.skipped++
		g = newer
	}
	r.given = true
	n := r.thrownNow()
	s.incomplete, r.told = n-r.told, n
	s.skipped, r.passed = s.skipped+r.passed, 0
	return r.give(s, g, room)
}

func (r *gstReader) stamps(g *gstShot) stamped {
	if r.stream == nil {
		return stamped{g.mono, 0, g.came, g.mono > 0}
	}
	var s stamped
	s.camera, s.wall, s.arrival, s.ok = r.stream.flow.taken(g.pts)
	return s
}

// when is the time of capture, as well as it is known.
func (r *gstReader) when(g *gstShot) (int64, vision.Timing) {
	at := r.stamps(g)
	switch {
	case !at.ok:
	case r.stream != nil:
		return r.clocks.at(at)
	case at.camera <= g.came+int64(gstLook) && at.camera > g.came-oldestStamp:
		return min(at.camera, g.came), vision.Arrived
	}
	return g.came, vision.Read
}

func (r *gstReader) give(s shot, g *gstShot, room roomFunc) (shot, error) {
	s.Width, s.Height, s.Gray = g.width, g.height, g.channels == 1
	s.Mono, s.Timing = r.when(g)
	if at := r.stamps(g); at.ok && r.stream != nil {
		s.Stamp = at.camera
	}
	r.size = g.width * g.height * g.channels
	if g.filled {
		return s, nil
	}
	mem, err := room(r.size)
	if err != nil {
		return s, err
	}
	if mem == nil {
		s.empty = true
		return s, nil
	}
	if !r.pipe.fill(mem) {
		return s, fmt.Errorf("GStreamer can't convert pictures of %dx%d to BGR", g.width, g.height)
	}
	return s, nil
}

// Close ends the pipeline, or leaves it to the end of the process if it hangs.
func (r *gstReader) Close() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.pipe.close()
	}()
	t := time.NewTimer(gstClose)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
