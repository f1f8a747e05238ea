package change_test

import (
	"os"
	"testing"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// A drawn belt always moves and its texture with it. Of its empty pictures
// nearly all are skipped once the gate has seen enough of them, and no part or
// verdict changes.
func TestDrawnBelt(t *testing.T) {
	belts := []scene.Config{{Seed: 7, DefectRate: 0.5}}
	frames := 800
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		frames = 3000
		belts = append(belts,
			scene.Config{Seed: 11, DefectRate: 0.5, Speed: 0.3},
			scene.Config{Seed: 12, DefectRate: 0.5, Speed: 2},
			scene.Config{Seed: 13, DefectRate: 0.5, RightToLeft: true},
			scene.Config{Seed: 14, DefectRate: 0.5, Rate: 50})
	}
	for _, cfg := range belts {
		s := show(gappy(t, cfg, frames))
		t.Logf("%+v: %d frames, %.0f %% skipped; %d of %d empty ones; %d parts; %+v", cfg, s.frames, s.share(), s.spared, s.empty, len(s.whole), s.stats)
		s.same(t, 2)
		if len(s.whole) < 3 && cfg.Speed != 0.3 {
			t.Errorf("only %d parts: nothing was tested", len(s.whole))
		}
		if s.spared*10 < s.empty*6 {
			t.Errorf("only %d of %d empty frames were skipped", s.spared, s.empty)
		}
	}
}

// Where parts are always in view and move, no frame is skipped.
func TestBusyBelt(t *testing.T) {
	s, err := scene.New(scene.Config{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	f := s.NewFrame()
	busy := show(film{rate: 25, next: func(n int) (*vision.Frame, []vision.Detection, bool) {
		if err := s.Frame(n, f); err != nil {
			t.Fatal(err)
		}
		var seen []vision.Detection
		for _, p := range s.Truth(n) {
			seen = append(seen, vision.Detection{Label: "part", Score: 0.9, Box: p.Clipped})
		}
		return f, seen, n < 150
	}})
	if busy.skipped != 0 {
		t.Errorf("%d of %d frames of a busy belt were skipped", busy.skipped, busy.frames)
	}
}
