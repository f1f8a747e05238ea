package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/track"
)

// Limits of the live picture: viewers get at most so many a second, none wider.
const (
	liveEvery   = 80 * time.Millisecond
	liveSide    = 1280 // pixels
	liveQuality = 80   // of the JPEG
)

// errEnded tells a viewer that the station gives no more pictures.
var errEnded = errors.New("the station has ended")

// Shot is one live picture with what was seen in it.
type Shot struct {
	Seq           uint64
	Captured      time.Time
	Width, Height int // pixels of the frame that the boxes are in
	JPEG          []byte
	Parts         []vision.Part      // confirmed parts, Box where this frame shows them
	Detections    []vision.Detection // all that the model saw
}

// live encodes the newest frame for viewers, and nothing while nobody looks.
type live struct {
	fresh chan struct{} // a raw shot waits; room for one

	mu     sync.Mutex // protects all below
	wanted int        // viewers that wait
	last   time.Time  // of the last copy
	raw    Shot       // with pix, waiting for the encoder
	pix    vision.Frame
	shot   *Shot
	turn   chan struct{} // closed when shot changes
	ended  bool
}

func newLive() *live {
	return &live{fresh: make(chan struct{}, 1), turn: make(chan struct{})}
}

// offer copies the frame if a viewer waits and the last copy is old enough.
func (l *live) offer(now time.Time, f *vision.Frame, open []track.View, dets []vision.Detection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.wanted == 0 || now.Sub(l.last) < liveEvery || len(l.fresh) > 0 {
		return
	}
	l.last = now
	pix := append(l.pix.Pix[:0], f.Pix[:f.Stride*f.Height]...)
	l.pix = *f
	l.pix.Pix = pix
	l.raw = Shot{Seq: f.Seq, Captured: f.Captured, Width: f.Width, Height: f.Height, Detections: dets}
	for _, v := range open {
		l.raw.Parts = append(l.raw.Parts, v.Part)
	}
	l.fresh <- struct{}{}
}

// run encodes what offer copied until the context ends or the station closes.
func (l *live) run(ctx context.Context) error {
	var buf vision.Frame
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-l.fresh:
			if !ok {
				return nil
			}
		}
		l.mu.Lock()
		shot := l.raw
		buf, l.pix = l.pix, buf
		l.mu.Unlock()
		var err error
		if shot.JPEG, err = picture.EncodeJPEG(&buf, picture.Encoding{Quality: liveQuality, MaxSide: liveSide}); err != nil {
			return err
		}
		l.mu.Lock()
		l.shot = &shot
		close(l.turn)
		l.turn = make(chan struct{})
		l.mu.Unlock()
	}
}

// close tells viewers that no more comes. The last shot stays.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		close(l.fresh)
		close(l.turn)
	}
}

// next waits for a shot newer than after, for the next one if that is 0. Once the
// station has ended its last one stays.
func (l *live) next(ctx context.Context, after uint64) (*Shot, error) {
	l.mu.Lock()
	if after == 0 && l.shot != nil && !l.ended {
		after = l.shot.Seq // which may be of long ago, when somebody looked last
	}
	l.wanted++
	defer func() {
		l.mu.Lock()
		l.wanted--
		l.mu.Unlock()
	}()
	for {
		shot, turn, ended := l.shot, l.turn, l.ended
		l.mu.Unlock()
		if shot != nil && shot.Seq > after {
			return shot, nil
		}
		if ended {
			return nil, errEnded
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-turn:
		}
		l.mu.Lock()
	}
}
