package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
)

// exposures is a shutter that says which frames it has given back.
type exposures struct {
	*shutter
	freed map[uint64]int
	start time.Time
}

func newExposures(keep int) *exposures {
	x := &exposures{shutter: newShutter(keep), freed: map[uint64]int{}, start: time.Now()}
	x.free = func(f *capture.Frame) { x.freed[f.Seq]++ }
	return x
}

// shot adds frame seq, captured so many ms after the start.
func (x *exposures) shot(seq uint64, ms int) {
	at := x.start.Add(time.Duration(ms) * time.Millisecond)
	x.add(&capture.Frame{Frame: vision.Frame{Seq: seq, Captured: at}, Came: at.Add(time.Millisecond)})
}

func (x *exposures) ms(ms int) time.Time { return x.start.Add(time.Duration(ms) * time.Millisecond) }

// TestShutterBindsExactly: a trigger gets the first frame at or after its moment, or
// none; never the next best.
func TestShutterBindsExactly(t *testing.T) {
	for name, c := range map[string]struct {
		frames [][2]int // seq, ms
		at     int
		want   uint64 // 0: the error below, or that it waits where that is nil
		err    error
	}{
		"between":           {[][2]int{{1, 0}, {2, 40}, {3, 80}}, 41, 3, nil},
		"exactly":           {[][2]int{{1, 0}, {2, 40}, {3, 80}}, 40, 2, nil},
		"not yet":           {[][2]int{{1, 0}, {2, 40}}, 41, 0, nil},
		"nothing before":    {[][2]int{{1, 50}, {2, 90}}, 41, 0, errLost},
		"a frame was lost":  {[][2]int{{1, 0}, {3, 80}}, 10, 0, errLost},
		"too long ago":      {[][2]int{{1, 0}, {2, 40}, {3, 80}, {4, 120}, {5, 160}, {6, 200}}, 30, 0, errLost},
		"the oldest kept":   {[][2]int{{1, 0}, {2, 40}, {3, 80}, {4, 120}, {5, 160}}, 41, 3, nil},
		"only known by age": {[][2]int{{1, 0}, {2, 40}, {3, 80}, {4, 120}, {5, 160}}, 39, 0, errLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExposures(3)
				for _, f := range c.frames {
					x.shot(uint64(f[0]), f[1])
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				f, err := x.at(ctx, x.ms(c.at))
				switch {
				case c.want != 0 && (err != nil || f.Seq != c.want):
					t.Errorf("got %+v, %v", f, err)
				case c.want == 0 && c.err != nil && !errors.Is(err, c.err):
					t.Errorf("got %+v, %v", f, err)
				case c.want == 0 && c.err == nil && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("it should have waited: %+v, %v", f, err)
				}
			})
		})
	}
}

// TestShutterGivesEachFrameOnce: two triggers never share a picture, and every frame
// comes back once.
func TestShutterGivesEachFrameOnce(t *testing.T) {
	x := newExposures(3)
	for n := range 10 {
		x.shot(uint64(n+1), 40*n)
	}
	f, err := x.at(t.Context(), x.ms(330))
	if err != nil || f.Seq != 10 {
		t.Fatal(f, err)
	}
	if _, err := x.at(t.Context(), x.ms(331)); !errors.Is(err, errTaken) {
		t.Errorf("a second trigger for the same frame: %v", err)
	}
	x.close()
	x.shot(11, 400)
	for seq := range uint64(11) {
		want := 1
		if seq+1 == 10 { // it is the trigger's
			want = 0
		}
		if got := x.freed[seq+1]; got != want {
			t.Errorf("frame %d was given back %d times", seq+1, got)
		}
	}
	if _, err := x.at(t.Context(), x.ms(500)); !errors.Is(err, errLost) {
		t.Errorf("a closed shutter: %v", err)
	}
}

// TestShutterOfTriggeredCameras: the exposure that a line made may be a little older
// than the message; the one that a software trigger makes is the next.
func TestShutterOfTriggeredCameras(t *testing.T) {
	x := newExposures(4)
	x.shot(1, 0)
	x.shot(2, 500)
	if f, err := x.pulse(t.Context(), x.ms(510), 20*time.Millisecond); err != nil || f.Seq != 2 {
		t.Error(f, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if f, err := x.pulse(short, x.ms(510), 20*time.Millisecond); err == nil {
		t.Errorf("the exposure of another part: %+v", f)
	}
	if f, err := x.next(short, x.ms(505)); err == nil {
		t.Errorf("a picture that was there before: %+v", f)
	}
	x.shot(3, 540)
	if f, err := x.next(t.Context(), x.ms(505)); err != nil || f.Seq != 3 {
		t.Error(f, err)
	}
}

// TestPlacesKeepTheirOrder: triggers of a camera that they make expose go one after
// the other, in the order in which they came, also where one gives up.
func TestPlacesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Camera{}
		var places []place
		for range 6 {
			places = append(places, c.queue())
		}
		var order []int
		var mu sync.Mutex
		for n := 5; n >= 0; n-- { // those behind are quicker
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(7*n+1)*time.Second)
				defer cancel()
				defer places[n].leave()
				if n == 2 {
					return // it gives up before its turn
				}
				if err := places[n].wait(ctx); err != nil {
					t.Errorf("place %d: %v", n, err)
					return
				}
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				time.Sleep(time.Second)
			}()
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !slices.Equal(order, []int{0, 1, 3, 4, 5}) {
			t.Errorf("they went in the order %v", order)
		}
	})
}
