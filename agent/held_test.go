package agent

import (
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// curtain is a belt whose only part can be taken away.
type curtain struct {
	good []byte
	away atomic.Bool
	n    atomic.Int64 // pictures
}

func (c *curtain) Frame(_ int, dst *vision.Frame) error {
	c.n.Add(1)
	if c.away.Load() {
		return empty{}.Frame(0, dst)
	}
	copy(dst.Pix, c.good)
	return nil
}

// TestTriggerAfterAFrozenCamera: the camera's process stands still while the part
// leaves. What it reads first when it goes on is older than its time says.
func TestTriggerAfterAFrozenCamera(t *testing.T) {
	l := shipped(t, "first", 0.1)
	others := children(t)
	belt := &curtain{good: newFlips(t).good}
	r := plant(t, nil, triggered(t, l, drawnCamera(t, belt, CameraConfig{ID: "cam"})))
	s := r.find("gate")
	fresh := func() bool { return time.Since(s.views[0].shutter.newest()) < 100*time.Millisecond }
	r.eventually("pictures", fresh)
	var pids []int
	for _, pid := range children(t) {
		if !slices.Contains(others, pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) != 1 {
		t.Fatalf("%d processes read one camera", len(pids))
	}
	works(t, l.Model)
	r.ready()
	signal := func(with syscall.Signal) {
		if err := syscall.Kill(pids[0], with); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		belt.away.Store(false)
		r.eventually("a PASS", func() bool { return r.trigger(Trigger{}).Verdict == vision.Pass })
		drawn := belt.n.Load()
		signal(syscall.SIGSTOP)
		r.eventually("pictures that nobody takes", func() bool { return belt.n.Load() > drawn+8 })
		belt.away.Store(true)
		r.eventually("the part's leaving", func() bool { return belt.n.Load() > drawn+10 })
		signal(syscall.SIGCONT)
		for range 3 {
			if a := r.trigger(Trigger{Deadline: 2 * time.Second}); a.Verdict == vision.Pass {
				t.Errorf("a part that has left passed: %+v", a)
			}
		}
	}
}

// TestFrameStaysWhileItIsLookedAt: the model hangs over a picture while the camera
// takes many others. What it sees at last is the trigger's picture, in its slot.
func TestFrameStaysWhileItIsLookedAt(t *testing.T) {
	l := shipped(t, "first", 0.1)
	others := children(t)
	works(t, l.Model)
	if _, err := l.Model.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	workers := slices.DeleteFunc(children(t), func(pid int) bool { return slices.Contains(others, pid) })
	if len(workers) != 1 {
		t.Fatalf("%d processes look for one model", len(workers))
	}
	belt := &curtain{good: newFlips(t).good}
	cfg := triggered(t, l, drawnCamera(t, belt, CameraConfig{ID: "cam"}))
	cfg.MaxAge = 0
	r := plant(t, nil, cfg)
	r.ready()
	r.eventually("a PASS", func() bool { return r.trigger(Trigger{}).Verdict == vision.Pass })
	if err := syscall.Kill(workers[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answer := make(chan Answer, 1)
	go func() { answer <- r.trigger(Trigger{Deadline: 30 * time.Second}) }()
	r.eventually("a look at the picture", func() bool { return r.sched.Stats().Holding == 1 })
	belt.away.Store(true)
	drawn := belt.n.Load()
	r.eventually("other pictures in all slots", func() bool { return belt.n.Load() > drawn+40 })
	if err := syscall.Kill(workers[0], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if a := <-answer; a.Verdict != vision.Pass {
		t.Errorf("the part was there when it was triggered: %+v", a)
	}
}

// TestShutterAfterAStandstill: what comes first once a reader goes on, or was started
// anew, was kept for it meanwhile, and seems newer than it is. No trigger gets it,
// whatever dates the pictures.
func TestShutterAfterAStandstill(t *testing.T) {
	x := newExposures(20)
	x.expect(x.ms(40).Sub(x.start))
	// It stood from 80 to 600, and again from 840; what it then reads takes it 30 ms each.
	times := []int{0, 40, 80, 600, 603, 606, 640, 680, 720, 760, 800, 840, 2000, 2030, 2060, 2090, 2130, 2170, 2210}
	for n, ms := range times {
		x.shot(uint64(n+1), ms)
	}
	for at, want := range map[int]uint64{
		35: 2, 75: 3, 81: 0, 590: 0, 601: 0, 605: 0, 620: 0, 650: 0, 690: 9, 730: 10,
		850: 0, 1990: 0, 2010: 0, 2040: 0, 2070: 0, 2180: 19,
	} {
		switch f, err := x.at(t.Context(), x.ms(at)); {
		case want == 0 && !errors.Is(err, errLost):
			t.Errorf("at %d ms: %+v, %v", at, f, err)
		case want != 0 && (err != nil || f.Seq != want):
			t.Errorf("at %d ms: %+v, %v, want picture %d", at, f, err, want)
		}
	}
}

// TestRhythm: how many pictures are refused, of cameras that run well and of others.
func TestRhythm(t *testing.T) {
	every := func(ms, n int) []int { return slices.Repeat([]int{ms}, n) }
	for name, c := range map[string]struct {
		gaps   []int // ms
		held   int   // how many
		atEnd  bool
		period int // ms, at the end
	}{
		"25 a second":                {every(40, 50), 0, false, 40},
		"one a second":               {every(1000, 50), 0, false, 1000},
		"one picture is missing":     {slices.Concat(every(40, 10), []int{80}, every(40, 10)), 0, false, 40},
		"some jitter":                {slices.Repeat([]int{25, 60, 38, 44, 31}, 10), 0, false, 38},
		"a standstill":               {slices.Concat(every(40, 10), []int{500}, every(40, 10)), 3, false, 40},
		"a backlog at once":          {slices.Concat(every(40, 10), []int{500}, every(2, 8), every(40, 10)), 11, false, 40},
		"a backlog that takes long":  {slices.Concat(every(40, 10), []int{500}, every(28, 20)), 21, true, 40},
		"one is missing in it":       {slices.Concat(every(40, 10), []int{500, 5, 5, 99}), 4, true, 40},
		"it has just begun":          {[]int{40, 500, 40, 40, 40}, 3, false, 40},
		"seldomer for good":          {slices.Concat(every(40, 10), every(1000, 12)), 6, false, 1000},
		"more often for good":        {slices.Concat(every(1000, 10), every(40, 10)), 0, false, 40},
		"more often after a restart": {slices.Concat(every(40, 10), []int{500}, every(20, 200)), 151, false, 20},
		"it stands again and again":  {slices.Concat(every(40, 10), slices.Repeat([]int{500, 40, 40, 40, 40, 40, 40, 40, 40}, 5)), 15, false, 40},
	} {
		r, at, held, last := rhythm{}, time.Now(), 0, false
		r.next(at)
		for _, gap := range c.gaps {
			at = at.Add(time.Duration(gap) * time.Millisecond)
			if last = r.next(at); last {
				held++
			}
		}
		if held != c.held || last != c.atEnd || r.period() != time.Duration(c.period)*time.Millisecond {
			t.Errorf("%s: %d of %d refused, the last one %v, the period is %v", name, held, len(c.gaps), last, r.period())
		}
	}
}
