package capture

import (
	"math/rand/v2"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// clock is a camera's: it runs at 1+drift of ours and shows set at 0.
type clock struct {
	drift float64
	set   int64
}

func (c clock) at(t int64) int64 { return c.set + t + int64(float64(t)*c.drift) }

// taken25 gives the capture times of n frames at 25/s.
func taken25(n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i) * 40 * ms
	}
	return all
}

// TestPace: with jitter of up to 30 ms and a camera whose fastest way is 5 ms,
// the time is right within a few ms whatever the clock.
func TestPace(t *testing.T) {
	for name, c := range map[string]clock{
		"ours": {}, "of 1970": {0, 12345}, "of today": {0, 1.78e18}, "before 1970": {0, -5e18},
		"too fast": {200e-6, 0}, "too slow": {-200e-6, 1.78e18},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		var p pace
		const start = int64(4e14)
		last, worst := int64(0), int64(0)
		for i, at := range taken25(25 * 120) {
			way := 5*ms + int64(r.ExpFloat64()*6e6)%(30*ms)
			if r.IntN(200) == 0 {
				way += 300 * ms // a retransmission
			}
			got := p.at(c.at(at), start+at+way) - start
			if got > at+way || got <= last && i > 0 {
				t.Fatalf("%s: frame %d is of %v, after %v, and came at %v", name, i, got, last, at+way)
			}
			last = got
			if off := got - at - 5*ms; i > 100 {
				worst = max(worst, off, -off)
			}
		}
		t.Logf("clock %s: at most %v off", name, time.Duration(worst))
		if worst > 4*ms {
			t.Errorf("clock %s: %v off", name, time.Duration(worst))
		}
	}
}

// TestPaceOfClocksThatAreSet: a new line begins at once, and no time lies in the
// future or far back.
func TestPaceOfClocksThatAreSet(t *testing.T) {
	for name, leap := range map[string]int64{
		"1970 to today": 1.78e18, "back to 1970": -1.78e18, "forward a second": 1e9, "back a second": -1e9, "wrapped": -(1 << 32) * 100_000 / 9,
	} {
		var p pace
		for i, at := range taken25(1000) {
			camera := at
			if i >= 500 {
				camera += leap
			}
			got := p.at(camera, at+7*ms)
			if off := got - at; off > 7*ms || off < 0 {
				t.Fatalf("%s: frame %d is %v off", name, i, time.Duration(off))
			}
		}
	}
}

func TestPaceOfAFrameThatWasHeldUp(t *testing.T) {
	var p pace
	for i, at := range taken25(750) {
		way := 5 * ms
		if i >= 500 && i < 550 { // the network stands still for 2 s, and then all comes at once
			way += 22*1000*ms - at
		}
		if off := p.at(at, at+way) - at; i >= 1 && (off < 4*ms || off > 6*ms) {
			t.Errorf("frame %d is %v off, its way took %v", i, time.Duration(off), time.Duration(way))
		}
	}
}

// TestPaceOfStampsThatLie: a camera that says 25/s and gives 20 stamps its
// frames too close, or too far from each other. Then it is the arrival that counts.
func TestPaceOfStampsThatLie(t *testing.T) {
	for _, drift := range []float64{-0.2, 0.25, -0.01} {
		var p pace
		for i, at := range taken25(1000) {
			got := p.at(clock{drift, 0}.at(at), at+5*ms)
			if off := at + 5*ms - got; i > 200 && off > 2*ms || off > int64(float64(6e9)*max(-drift, 0.01)) {
				t.Fatalf("drift %v: frame %d is %v before its arrival", drift, i, time.Duration(off))
			}
		}
	}
	var p pace
	for i := range int64(300) { // one that stamps nothing
		if got := p.at(0, i*40*ms); got != i*40*ms {
			t.Fatalf("frame %d is %v before its arrival", i, time.Duration(i*40*ms-got))
		}
	}
}

func TestPaceOfNonsense(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var p pace
	arrival, last := int64(0), int64(-1)
	for range 100_000 {
		arrival += r.Int64N(50 * ms)
		got := p.at(int64(r.Uint64()), arrival)
		if got > arrival || got < arrival-paceHeld || got < last {
			t.Fatalf("%d of a frame that came at %d, after %d", got, arrival, last)
		}
		last = got
	}
}

func TestPaceLag(t *testing.T) {
	var p pace
	if _, steady := p.lag(); steady {
		t.Error("steady without a frame")
	}
	for _, at := range taken25(50) {
		p.at(at-300*ms, at)
	}
	if _, steady := p.lag(); steady {
		t.Error("steady after 2 s")
	}
	for _, at := range taken25(250)[50:] {
		p.at(at-300*ms, at)
	}
	if lag, steady := p.lag(); !steady || lag != 300*ms {
		t.Errorf("lag of %v, steady: %v", time.Duration(lag), steady)
	}
}

// handed plays a stream against backlog as a reader does: a frame is handed
// over unless a fresher one comes while it waits.
func handed(arrivals, camera []int64) (given []int, stale int) {
	var b backlog
	for i := range arrivals {
		old, wait := b.next(camera[i], arrivals[i])
		if old && len(given) > 0 && given[len(given)-1] == -1 {
			stale++
		}
		if n := len(given); n > 0 && given[n-1] == -1 {
			given = given[:n-1]
			if !old {
				given = append(given, i-1)
			}
		}
		if wait > 0 && i+1 < len(arrivals) && arrivals[i+1]-arrivals[i] < wait.Nanoseconds() {
			given = append(given, -1) // waits
			continue
		}
		given = append(given, i)
	}
	return given, stale
}

func TestBacklog(t *testing.T) {
	const n = 100
	at := taken25(n)
	own := func(i int) int64 { return at[i] + 5*ms }
	burst := func(gap int64) func(int) int64 { // 30 frames are there when somebody connects
		return func(i int) int64 { return max(at[30]+int64(i)*gap, own(i)) }
	}
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct {
		name     string
		arrival  func(int) int64
		min, max int // stale
	}{
		{"at its own pace", own, 0, 0},
		{"slow", func(i int) int64 { return 50 * own(i) / 40 }, 0, 0},
		{"in one burst", burst(0), 30, 31},
		{"in a burst of 1 ms each", burst(ms), 30, 32},
		{"in a burst of 10 ms each", burst(10 * ms), 38, 42},
		{"faster for ever", func(i int) int64 { return at[i] / 4 }, n - 2, n}, // 1 s of frames: less than the bound
		{"with jitter", func(i int) int64 { return own(i) + r.Int64N(15*ms) }, 0, 0},
	} {
		arrivals := make([]int64, n)
		for i := range arrivals {
			arrivals[i] = c.arrival(i)
		}
		given, stale := handed(arrivals, at)
		if stale < c.min || stale > c.max || stale+len(given) != n {
			t.Errorf("%s: %d stale, want %d to %d; %d given", c.name, stale, c.min, c.max, len(given))
		}
	}
}

// TestBacklogIsBounded: a stream that stamps 100 ms for frames 10 ms apart
// isn't held back for longer than 3 s.
func TestBacklogIsBounded(t *testing.T) {
	var b backlog
	for i := range int64(1000) {
		if _, wait := b.next(i*100*ms, i*10*ms); i*10*ms > backlogMost.Nanoseconds() && wait != 0 || wait > 250*time.Millisecond {
			t.Fatalf("frame after %v waits %v", time.Duration(i*10*ms), wait)
		}
	}
	b = backlog{}
	for range 10 { // without stamps
		if old, wait := b.next(0, 0); old || wait > backlogFirst {
			t.Fatalf("old: %v, waits %v", old, wait)
		}
	}
}
