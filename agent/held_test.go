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

// TestShutterAfterAStandstill: what comes first once a reader goes on was kept for it
// meanwhile, and seems newer than it is. No trigger gets it.
func TestShutterAfterAStandstill(t *testing.T) {
	x := newExposures(8)
	x.expect(x.ms(40).Sub(x.start))
	for n, ms := range []int{0, 40, 80, 600, 603, 606, 640, 680} { // it stood from 80 to 600
		x.shot(uint64(n+1), ms)
	}
	for at, want := range map[int]uint64{35: 2, 75: 3, 81: 0, 590: 0, 601: 0, 605: 0, 620: 7, 650: 8} {
		switch f, err := x.at(t.Context(), x.ms(at)); {
		case want == 0 && !errors.Is(err, errLost):
			t.Errorf("at %d ms: %+v, %v", at, f, err)
		case want != 0 && (err != nil || f.Seq != want):
			t.Errorf("at %d ms: %+v, %v, want picture %d", at, f, err, want)
		}
	}
	x.expect(0) // of a camera that stamps its pictures, none is in doubt
	x.shot(9, 1300)
	if f, err := x.at(t.Context(), x.ms(1290)); err != nil || f.Seq != 9 {
		t.Errorf("%+v, %v", f, err)
	}
}
