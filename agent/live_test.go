package agent

import (
	"context"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// TestNextPictureIsNoOldOne: who asks for the next picture gets one that was taken
// since, not the one that somebody else looked at last, hours ago perhaps.
func TestNextPictureIsNoOldOne(t *testing.T) {
	l := newLive()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	waits := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.wanted > 0
	}
	shot := make(chan *Shot, 1)
	ask := func() {
		go func() {
			s, err := l.next(ctx, 0)
			if err != nil {
				t.Error(err)
			}
			shot <- s
		}()
		for !waits() && len(shot) == 0 {
			<-time.After(time.Millisecond)
		}
	}
	now := time.Now()
	film := func(seq uint64) {
		now = now.Add(time.Minute)
		l.offer(now, &vision.Frame{Pix: make([]byte, 64*64*3), Width: 64, Height: 64, Stride: 64 * 3, Format: vision.BGR24, Seq: seq}, nil, nil)
	}
	ask()
	film(1)
	if s := <-shot; s.Seq != 1 {
		t.Fatalf("the first picture is number %d", s.Seq)
	}
	film(2) // nobody looks
	ask()
	select {
	case s := <-shot:
		t.Fatalf("picture %d was there before it was asked for", s.Seq)
	default:
	}
	film(3)
	if s := <-shot; s.Seq != 3 {
		t.Errorf("picture %d came, number 3 was the next", s.Seq)
	}
	l.close()
	if s, err := l.next(ctx, 0); err != nil || s.Seq != 3 {
		t.Errorf("after its end the last picture is %+v, %v", s, err)
	}
}
