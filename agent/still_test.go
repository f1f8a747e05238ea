package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

func TestWhatACutShowsLiesInTheWholeFrame(t *testing.T) {
	dets := []vision.Detection{
		{Label: "plain", Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}},
		{Label: "turned", Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}, Oriented: &vision.OrientedBox{X: 2.5, Y: 4, W: 3, H: 4, Angle: 1}},
		{Label: "region", Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}, Mask: &vision.Mask{X: 1, Y: 2, W: 3, H: 4, Runs: []uint32{1, 5}}},
	}
	shift(dets, 100, 30)
	box := vision.Box{X: 101, Y: 32, W: 3, H: 4}
	want := []vision.Detection{
		{Label: "plain", Box: box},
		{Label: "turned", Box: box, Oriented: &vision.OrientedBox{X: 102.5, Y: 34, W: 3, H: 4, Angle: 1}},
		{Label: "region", Box: box, Mask: &vision.Mask{X: 101, Y: 32, W: 3, H: 4, Runs: []uint32{1, 5}}},
	}
	if diff := cmp.Diff(want, dets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
