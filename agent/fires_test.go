package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
)

// gun is what a camera with a software trigger knows of its pictures.
type gun struct {
	*testing.T
	*fires
	x       *shutter
	session uint64
	seq     uint64
}

func newGun(t *testing.T) *gun {
	g := &gun{T: t, fires: &fires{}, x: newShutter(4)}
	g.x.free = func(*capture.Frame) {}
	g.x.landed = func(f *capture.Frame) { g.landed(f, g.session, 0) }
	return g
}

func (g *gun) fire(awaited bool) *fired {
	s := g.begin(time.Now(), awaited)
	g.sent(s, g.session)
	return s
}

// comes is a picture that was exposed that long ago.
func (g *gun) comes(timing vision.Timing, ago time.Duration) {
	g.seq++
	now := time.Now()
	g.x.add(&capture.Frame{Frame: vision.Frame{Seq: g.seq, Captured: now.Add(-ago), Timing: timing}, Came: now})
}

// clear tells whether a trigger may fire now.
func (g *gun) clear() bool {
	ctx, cancel := context.WithTimeout(g.Context(), time.Millisecond)
	defer cancel()
	return g.fires.clear(ctx, func() (uint64, time.Duration) { return g.session, 0 }) == nil
}

// gets is what a trigger has, 0 for nothing.
func (g *gun) gets(s *fired) uint64 {
	ctx, cancel := context.WithTimeout(g.Context(), time.Millisecond)
	defer cancel()
	f, err := g.x.number(ctx, func() uint64 { return g.number(s) })
	if err != nil {
		return 0
	}
	return f.Seq
}

// TestLatePictureIsNobodys: a trigger gives up, or nobody waits from the start. No other
// one is bound to the picture that comes at last, and none fires before that.
func TestLatePictureIsNobodys(t *testing.T) {
	for name, awaited := range map[string]bool{"given up": true, "bare": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGun(t)
				first := g.fire(awaited)
				time.Sleep(80 * time.Millisecond)
				g.abandon(first)
				if g.clear() {
					t.Error("the next trigger fires while the first one's picture is on its way")
				}
				go func() { time.Sleep(30 * time.Millisecond); g.comes(vision.Arrived, 0) }()
				if err := g.fires.clear(t.Context(), func() (uint64, time.Duration) { return 0, 0 }); err != nil || g.seq != 1 {
					t.Errorf("%v with %d pictures", err, g.seq)
				}
				next := g.fire(true)
				if got := g.gets(next); got != 0 {
					t.Errorf("it gets picture %d, which was another's", got)
				}
				g.comes(vision.Arrived, 0)
				if got := g.gets(next); got != 2 {
					t.Errorf("it gets picture %d", got)
				}
			})
		})
	}
}

// TestPictureThatNeverComes: what was asked of a session that is over, and what is
// overdue, keeps nobody for ever; with a camera that is slow that takes longer.
func TestPictureThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGun(t)
		g.abandon(g.fire(true))
		g.session++
		if !g.clear() {
			t.Error("the session before owes the next")
		}
		g.abandon(g.fire(true))
		if time.Sleep(owedLeast - 100*time.Millisecond); g.clear() {
			t.Error("it was given up too soon")
		}
		if time.Sleep(200 * time.Millisecond); !g.clear() {
			t.Error("an incomplete picture keeps the camera for ever")
		}
		slow := g.fire(true)
		time.Sleep(1500 * time.Millisecond)
		if g.comes(vision.Arrived, 0); g.gets(slow) != 1 {
			t.Error("a trigger that waits long enough doesn't get its picture")
		}
		g.abandon(g.fire(true))
		if time.Sleep(2500 * time.Millisecond); g.clear() {
			t.Error("a slow camera's picture was given up too soon")
		}
		if time.Sleep(600 * time.Millisecond); !g.clear() {
			t.Error("a slow camera is kept for ever")
		}
	})
}

// TestStampBeforeTheFire: what the camera's own clock dates before the fire isn't its
// picture, however late it comes.
func TestStampBeforeTheFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGun(t)
		g.abandon(g.fire(true))
		time.Sleep(1100 * time.Millisecond)
		if !g.clear() {
			t.Fatal("an overdue picture")
		}
		next := g.fire(true)
		time.Sleep(50 * time.Millisecond)
		if g.comes(vision.Stamped, 900*time.Millisecond); g.gets(next) != 0 {
			t.Error("it gets a picture that was taken before it")
		}
		if g.comes(vision.Stamped, 40*time.Millisecond); g.gets(next) != 2 {
			t.Error("it doesn't get its own")
		}
	})
}

// TestPictureThatCameBefore: it lay in the station's way when the camera was fired.
func TestPictureThatCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGun(t)
		came := time.Now()
		time.Sleep(time.Millisecond)
		s := g.fire(true)
		g.x.add(&capture.Frame{Frame: vision.Frame{Seq: 1, Captured: came}, Came: came})
		if g.seq = 1; g.gets(s) != 0 {
			t.Error("it gets a picture that was there before")
		}
		if g.comes(vision.Arrived, 0); g.gets(s) != 2 {
			t.Error("it doesn't get its own")
		}
	})
}

// TestPicturesOfSeveralStations: both take the camera's pictures; whichever is first,
// each picture pays once.
func TestPicturesOfSeveralStations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGun(t)
		other := newShutter(4)
		other.free, other.landed = g.x.free, g.x.landed
		one, two := g.fire(true), g.fire(true)
		time.Sleep(time.Millisecond)
		g.comes(vision.Arrived, 0)
		now := time.Now()
		other.add(&capture.Frame{Frame: vision.Frame{Seq: 1, Captured: now}, Came: now})
		if g.number(one) != 1 || g.number(two) != 0 {
			t.Errorf("pictures %d and %d after one has come", g.number(one), g.number(two))
		}
		g.seq = 6
		g.comes(vision.Arrived, 0)
		if _, err := other.number(t.Context(), func() uint64 { return 1 }); err != nil {
			t.Error(err)
		}
		if g.number(two) != 7 {
			t.Errorf("picture %d", g.number(two))
		}
	})
}
