package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"testing"
)

func TestFlatOf(t *testing.T) {
	grows := lap{frames: 7, seconds: make([]memory, 100)}
	for n := range grows.seconds {
		grows.seconds[n] = memory{all: 100 + float64(n), private: 7}
	}
	// A tenth of the way is second 10, and a twentieth are five of them.
	if f, err := flatOf(grows); err != nil || f != (flatRun{7, memory{112, 7}, memory{197, 7}}) {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := flatOf(lap{seconds: []memory{{all: 3}, {all: 2}, {all: 2}}}); err != nil || f.early.all != 3 || f.late.all != 2 {
		t.Errorf("a short run: %+v, %v", f, err)
	}
	if _, err := flatOf(lap{seconds: make([]memory, 2)}); err == nil {
		t.Error("two looks are enough")
	}
}

func TestMedianOfSeconds(t *testing.T) {
	l := lap{seconds: []memory{{9, 1}, {5, 4}, {1, 2}}}
	if m := l.median(); m != (memory{5, 2}) {
		t.Errorf("%+v", m)
	}
	if m := (lap{}).median(); !math.IsNaN(m.all) {
		t.Errorf("of nothing: %+v", m)
	}
}

// TestMemoryStaysFlat: what each frame leaves behind would show.
func TestMemoryStaysFlat(t *testing.T) {
	frames, most := 2*bottleFrames, 1.1
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		frames, most = flatFrames, 1.01
	}
	var log bytes.Buffer
	env, err := find("", 5, &log)
	if err != nil {
		t.Fatal(err)
	}
	f, err := env.flat(t.Context(), frames)
	var left LeftOut
	if errors.As(err, &left) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d frames: %.1f MB behind the first tenth, %.1f of them in no file; at the end %.1f, %.1f", f.frames,
		f.early.all/1e6, f.early.private/1e6, f.late.all/1e6, f.late.private/1e6)
	if f.late.private > most*f.early.private {
		t.Errorf("memory in no file grew from %.1f to %.1f MB", f.early.private/1e6, f.late.private/1e6)
	}
}
