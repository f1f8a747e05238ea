package change_test

import (
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/change"
)

const frame = time.Second / 30

// ready is a gate that knows the desk's noise, and the next frame's number.
func ready(t *testing.T, d *desk) (*change.Gate, int) {
	t.Helper()
	g := change.New(change.Config{})
	for n := range settled {
		g.Pass(d.draw(n), time.Duration(n)*frame)
	}
	if s := g.Stats(); s.Skipped < settled/2 || s.First != 1 || s.Learning < 20 || s.Passed()+s.Skipped != settled {
		t.Fatalf("a still desk gave %+v", s)
	}
	return g, settled
}

// skipsFrom gives the next frame at which the gate has just skipped one.
func skipsFrom(t *testing.T, g *change.Gate, d *desk, n int) int {
	t.Helper()
	for ; n < 10*settled; n++ {
		if !g.Pass(d.draw(n), time.Duration(n)*frame) {
			return n + 1
		}
	}
	t.Fatal("nothing is skipped")
	return 0
}

func TestRefresh(t *testing.T) {
	d := newDesk()
	passed, g := 0, change.New(change.Config{Refresh: 200 * time.Millisecond})
	last := time.Duration(0)
	for n := range 300 {
		at := time.Duration(n) * frame
		if g.Pass(d.draw(n), at) {
			last, passed = at, passed+1
		}
		if at-last >= 200*time.Millisecond {
			t.Fatalf("at %v the last inspection is %v ago", at, at-last)
		}
	}
	if s := g.Stats(); s.Refreshed == 0 || passed > 100 || uint64(passed) != s.Passed() {
		t.Errorf("%d of 300 passed: %+v", passed, s)
	}
}

func TestClock(t *testing.T) {
	d := newDesk()
	for _, jump := range []time.Duration{-time.Nanosecond, -time.Hour, time.Second, time.Hour} {
		g, n := ready(t, d)
		n = skipsFrom(t, g, d, n)
		was := time.Duration(n-1) * frame
		if !g.Pass(d.draw(n), was+jump) {
			t.Errorf("a clock that jumps by %v: the frame was skipped", jump)
		}
	}
	// A clock that stands passes nothing by itself, and breaks nothing.
	g, n := ready(t, d)
	n = skipsFrom(t, g, d, n)
	for i := range 50 {
		g.Pass(d.draw(n+i), time.Duration(n)*frame)
	}
}

func TestReset(t *testing.T) {
	d := newDesk()
	g, n := ready(t, d)
	n = skipsFrom(t, g, d, n)
	before := g.Stats()
	g.Reset()
	if !g.Pass(d.draw(n), time.Duration(n)*frame) {
		t.Error("the frame after Reset was skipped")
	}
	if s := g.Stats(); s.First != before.First+1 {
		t.Errorf("it passed, but not as the first: %+v", s)
	}
	skipsFrom(t, g, d, n+1)
	if s := g.Stats(); s.Learning != before.Learning {
		t.Errorf("the noise was learnt anew: %+v", s)
	}
}

func TestAnotherPicturePasses(t *testing.T) {
	d := newDesk()
	g, n := ready(t, d)
	n = skipsFrom(t, g, d, n)
	smaller := *d.draw(n)
	smaller.Height -= 8
	if !g.Pass(&smaller, time.Duration(n)*frame) {
		t.Error("a frame of another size was skipped")
	}
	mono := newDesk()
	mono.format = vision.Gray8
	for i := range 3 {
		if !g.Pass(mono.draw(i), time.Duration(n+i)*frame) {
			t.Errorf("grey frame %d after those in colour was skipped", i)
		}
	}
}

// What isn't a picture, or is too small to judge, always passes.
func TestOddPictures(t *testing.T) {
	g := change.New(change.Config{})
	for _, f := range []vision.Frame{
		{}, {Pix: make([]byte, 3), Width: 1, Height: 1, Stride: 3, Format: vision.BGR24},
		{Pix: make([]byte, 15*15), Width: 15, Height: 15, Stride: 15, Format: vision.Gray8},
		{Pix: make([]byte, 10), Width: 64, Height: 64, Stride: 64, Format: vision.Gray8},
		{Pix: make([]byte, 64*64), Width: 64, Height: 64, Stride: 64},
		{Pix: make([]byte, 64), Width: 64, Height: -1, Stride: 64, Format: vision.Gray8},
	} {
		for i := range 100 {
			if !g.Pass(&f, time.Duration(i)) {
				t.Fatalf("%dx%d was skipped", f.Width, f.Height)
			}
		}
	}
}

// Every size is read within its bytes, also where rows have gaps between them.
func TestSizes(t *testing.T) {
	for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
		for w := 14; w < 70; w++ {
			for _, h := range []int{1, 2, 3, 4, 15, 16, 17, 33, 64} {
				c := format.Channels()
				stride := w*c + w%5
				f := vision.Frame{Pix: make([]byte, stride*(h-1)+w*c), Width: w, Height: h, Stride: stride, Format: format}
				g := change.New(change.Config{Refresh: time.Hour})
				for i := range 40 {
					g.Pass(&f, time.Duration(i))
				}
				if w < 16 || h < 3 {
					continue
				}
				if g.Pass(&f, 50) {
					t.Fatalf("%dx%d: an unchanged frame passed", w, h)
				}
				for i := range c * 4 { // the last pixels; every byte is another place
					f.Pix[len(f.Pix)-1-i] = 255
				}
				if f.Height%2 == 1 && !g.Pass(&f, 51) {
					t.Fatalf("%dx%d: the last pixels changed, and the frame was skipped", w, h)
				}
			}
		}
	}
}

// What a frame's inspection saw counts only for that frame, whenever it comes,
// and from any goroutine.
func TestSeen(t *testing.T) {
	d := newDesk()
	d.belt, d.rough = 6, 1.6
	g := change.New(change.Config{})
	var told sync.WaitGroup
	for n := range 300 {
		f := d.draw(n)
		if g.Pass(f, time.Duration(n)*frame) {
			told.Add(1)
			go func() {
				defer told.Done()
				g.Seen(uint64(n+1), 0)
				g.Seen(uint64(n+1), 3) // the first word stands
				g.Seen(uint64(n+7777), 0)
			}()
		}
		g.Stats()
		told.Wait()
	}
	s := g.Stats()
	if s.Skipped < 100 {
		t.Errorf("of an empty belt that moves little was skipped: %+v", s)
	}
	g.Reset() // another model may see something on it
	for n := range 8 {
		if !g.Pass(d.draw(300+n), time.Duration(300+n)*frame) {
			t.Fatal("what one model saw nothing in was skipped for another one")
		}
		g.Seen(uint64(301+n), 0)
	}
}

// A model that sees something on the belt leaves nothing to skip.
func TestNeverEmpty(t *testing.T) {
	d := newDesk()
	d.belt, d.rough = 6, 1.6
	g := change.New(change.Config{})
	for n := range 200 {
		if g.Pass(d.draw(n), time.Duration(n)*frame) {
			g.Seen(uint64(n+7777), 0) // of no frame that there was
			g.Seen(uint64(n+1), 1)
		}
	}
	if s := g.Stats(); s.Skipped > 5 {
		t.Errorf("frames of a belt on which something is seen were skipped: %+v", s)
	}
}

func TestNoAllocations(t *testing.T) {
	d := newDesk()
	g, n := ready(t, d)
	f := d.draw(n)
	allocs := testing.AllocsPerRun(200, func() {
		n++
		if g.Pass(f, time.Duration(n)*frame) {
			g.Seen(f.Seq, 0)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a frame", allocs)
	}
}
