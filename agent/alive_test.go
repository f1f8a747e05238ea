package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

func TestProgress(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	type look struct {
		s       int
		in, out uint64
		excuse  bool
	}
	for name, c := range map[string]struct {
		looks []look
		stuck bool // 60 s after the start
	}{
		"nothing comes":                     {[]look{{0, 0, 0, false}, {30, 0, 0, false}, {59, 0, 0, false}}, false},
		"a camera goes away":                {[]look{{0, 10, 10, false}, {1, 10, 10, false}, {59, 10, 10, false}}, false},
		"results keep up":                   {[]look{{0, 10, 9, false}, {30, 20, 19, false}, {59, 30, 29, false}}, false},
		"slow, but results come":            {[]look{{0, 10, 1, false}, {30, 500, 2, false}, {45, 900, 3, false}, {59, 999, 3, false}}, false},
		"results stop":                      {[]look{{0, 10, 9, false}, {1, 20, 9, false}, {59, 500, 9, false}}, true},
		"results stop, then the camera too": {[]look{{0, 10, 9, false}, {1, 20, 9, false}, {2, 20, 9, false}, {59, 20, 9, false}}, true},
		"results never come":                {[]look{{0, 0, 0, false}, {1, 1, 0, false}, {59, 90, 0, false}}, true},
		"results stop, and come again":      {[]look{{0, 10, 9, false}, {1, 20, 9, false}, {58, 500, 10, false}}, false},
		"the model is being started":        {[]look{{0, 10, 9, true}, {1, 20, 9, true}, {59, 500, 9, true}}, false},
		"started, but results don't come":   {[]look{{0, 10, 9, true}, {20, 400, 9, true}, {25, 500, 9, false}, {59, 900, 9, false}}, true},
		"stopped for less than the limit":   {[]look{{0, 10, 9, false}, {45, 500, 9, false}}, false},
	} {
		var p progress
		for _, l := range c.looks {
			p.saw(at(l.s), l.in, l.out, l.excuse)
		}
		if got := p.stuck(at(60)); got != c.stuck {
			t.Errorf("%s: stuck is %v", name, got)
		}
	}
}

func TestHungWatchLoopIsNotAlive(t *testing.T) {
	var log bytes.Buffer
	b := newBench(t, StationConfig{})
	a := New(Config{Journal: b.journal, Log: slog.New(slog.NewTextHandler(&log, nil))})
	now := a.began
	if !a.Alive(now.Add(stuckAfter)) {
		t.Error("an agent that has just begun isn't alive")
	}
	late := now.Add(stuckAfter + time.Second)
	for range 2 {
		if a.Alive(late) {
			t.Error("an agent whose watch loop never went round is alive")
		}
	}
	if n := strings.Count(log.String(), "watch loop has not gone round for 21s"); n != 1 {
		t.Errorf("the reason is logged %d times, want once:\n%s", n, log.String())
	}
	a.look(late)
	if !a.Alive(late.Add(stuckAfter)) {
		t.Error("an agent whose watch loop goes round again isn't alive")
	}
}

// Whoever hears of verdicts hangs: parts are decided, none is told.
func TestStuckTellingIsNotAlive(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: time.Millisecond})
	b.write(t)
	hang, heard := make(chan struct{}), make(chan struct{}, 2)
	b.recorder.tell = func(*Inspection) { heard <- struct{}{}; <-hang }
	a := &Agent{recorder: b.recorder, log: slog.New(slog.DiscardHandler), began: time.Now()}
	b.pass("one")
	<-heard
	b.pass("two")
	now := time.Now()
	a.look(now)
	a.look(now.Add(time.Second))
	if !a.Alive(now.Add(stuckAfter)) {
		t.Error("not alive although telling stopped just now")
	}
	later := now.Add(stuckAfter + 2*time.Second)
	a.look(later)
	if a.Alive(later) {
		t.Error("alive although no decided part is told")
	}
	close(hang)
	<-heard
	for b.Stats().Told < 2 {
		<-time.After(time.Millisecond)
	}
	a.look(later)
	if !a.Alive(later) {
		t.Error("not alive although parts are told again")
	}
}

// A disk that takes nothing is told as NONE; a new start wouldn't mend it.
func TestFullDiskIsAlive(t *testing.T) {
	b := newBench(t, StationConfig{Deadline: time.Millisecond})
	a := &Agent{recorder: b.recorder, log: slog.New(slog.DiscardHandler), began: time.Now()}
	now := time.Now()
	for i := range 3 {
		b.pass("part")
		if told := <-b.told; told.Told.Verdict != vision.None {
			t.Fatalf("told %v", told.Told)
		}
		a.look(now.Add(time.Duration(i) * 15 * time.Second))
	}
	if !a.Alive(now.Add(31 * time.Second)) {
		t.Error("not alive although every part is told")
	}
	b.write(t)
}
