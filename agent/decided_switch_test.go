package agent

import (
	"fmt"
	"testing"

	"github.com/sightline-edge/sightline/vision/track"
)

// TestSwitchWithDecidedParts: parts that were decided before they leave the picture
// are followed on; a switch meanwhile neither doubles nor loses a verdict.
func TestSwitchWithDecidedParts(t *testing.T) {
	for _, text := range []string{"x=0.5", "x=0.3", "frames 4", "zone 0.2,0 0.5,1"} {
		decide, err := track.ParseDecide(text)
		if err != nil {
			t.Fatal(err)
		}
		first, second := seeing(t, "first"), seeing(t, "second")
		first.Track.Decide, second.Track.Decide = decide, decide
		want := undisturbed(t, first, frames)
		for _, at := range []int{41, 47, 53, 59, 64} {
			t.Run(fmt.Sprintf("%s at %d", text, at), func(t *testing.T) {
				b := newBelt(t, first, track.Stream)
				for range at {
					b.step()
				}
				if _, err := b.change(t.Context(), second)(); err != nil {
					t.Fatal(err)
				}
				for b.n < frames {
					b.step()
				}
				got := b.verdicts(b.finish())
				for n, v := range want {
					if g, told := got[n]; !told || g != v {
						t.Errorf("part %d: told %v (%v), without a switch %v", n, g, told, v)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d parts were told, without a switch %d", len(got), len(want))
				}
				if n := len(b.station.lane.crops); n > 0 {
					t.Errorf("%d pictures are kept of parts that were told", n)
				}
			})
		}
	}
}
