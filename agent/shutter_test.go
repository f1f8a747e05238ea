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

// TestPulseBindsExactly: a hardware trigger gets the only exposure that can be its, or
// none: where one was lost, the next part's isn't taken for it.
func TestPulseBindsExactly(t *testing.T) {
	const slack, late = 20 * time.Millisecond, 100 * time.Millisecond
	for name, c := range map[string]struct {
		frames [][2]int // seq, ms
		others []int    // ms of other triggers without a picture
		taken  []int    // ms of triggers that had theirs
		at     int
		want   uint64 // 0: the error below, or that it waits where that is nil
		err    error
	}{
		"just before":                 {frames: [][2]int{{1, 0}, {2, 500}}, at: 510, want: 2},
		"later":                       {frames: [][2]int{{1, 0}, {2, 500}}, at: 410, want: 2},
		"the first one":               {frames: [][2]int{{1, 500}}, at: 500, want: 1},
		"the first one known":         {frames: [][2]int{{4, 500}}, at: 500, err: errLost},
		"not yet":                     {frames: [][2]int{{1, 0}}, at: 510},
		"lost, the next part's":       {frames: [][2]int{{1, 0}, {2, 640}}, at: 510, err: errLost},
		"lost, and a gap":             {frames: [][2]int{{1, 0}, {3, 520}}, at: 510, err: errLost},
		"another's":                   {frames: [][2]int{{1, 0}, {2, 500}}, taken: []int{500}, at: 510, err: errTaken},
		"two at once":                 {frames: [][2]int{{1, 0}, {2, 500}, {3, 540}}, at: 510, err: errLost},
		"a younger one's, too":        {frames: [][2]int{{1, 0}, {2, 590}}, others: []int{580}, at: 510, err: errLost},
		"of one that has given up":    {frames: [][2]int{{1, 0}, {2, 560}}, others: []int{500}, at: 570, err: errLost},
		"others are far away":         {frames: [][2]int{{1, 0}, {2, 500}}, others: []int{300, 700}, at: 510, want: 2},
		"the one before has its own":  {frames: [][2]int{{1, 380}, {2, 510}}, taken: []int{375}, at: 500, want: 2},
		"too old to have its picture": {frames: [][2]int{{1, 0}, {2, 40}, {3, 500}, {4, 900}, {5, 1300}, {6, 1700}}, at: 42, err: errLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExposures(4)
				for _, ms := range c.others {
					x.reserve(x.ms(ms), slack, late)
				}
				for _, f := range c.frames {
					x.shot(uint64(f[0]), f[1])
				}
				for _, ms := range c.taken {
					if _, err := x.pulse(t.Context(), x.reserve(x.ms(ms), slack, late)); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				f, err := x.pulse(ctx, x.reserve(x.ms(c.at), slack, late))
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

// TestExposureThatIsLost: the line's second exposure never comes. No trigger behind it
// has the exposure of another part.
func TestExposureThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExposures(4)
		seq := uint64(0)
		for part := range 8 {
			time.Sleep(200 * time.Millisecond)
			at, mine := time.Now(), make(chan uint64, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				f, err := x.pulse(ctx, x.reserve(at, 20*time.Millisecond, 100*time.Millisecond))
				if err != nil {
					f = &capture.Frame{}
				}
				mine <- f.Seq
			}()
			want := uint64(0)
			if part != 1 {
				seq++
				want = seq
				x.shot(seq, int(at.Sub(x.start).Milliseconds())+5)
			}
			go func() {
				if got := <-mine; got != want {
					t.Errorf("part %d has picture %d, not %d", part, got, want)
				}
			}()
		}
		time.Sleep(time.Second)
	})
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
