package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
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

// TestPortraitOfTheViewThatShowsIt: evidence counts the views that there are, and
// the first camera gave none.
func TestPortraitOfTheViewThatShowsIt(t *testing.T) {
	frame := func(level byte) *capture.Frame {
		f := &capture.Frame{}
		f.Frame = vision.Frame{Pix: []byte{level, level, level}, Width: 1, Height: 1, Stride: 3, Format: vision.BGR24}
		return f
	}
	glances := []glance{{}, {frame: frame(1)}, {frame: frame(2)}}
	p := vision.Part{Defects: []vision.Evidence{{Label: "pit", Score: 0.5, View: 0}, {Label: "pit", Score: 0.9, View: 1}}}
	c := (&Station{}).portrait(p, glances)
	if c == nil || c.frame.Pix[0] != 2 || c.view != 1 {
		t.Errorf("the portrait is %+v", c)
	}
	if c := (&Station{}).portrait(p, make([]glance, 2)); c != nil {
		t.Errorf("without a frame the portrait is %+v", c)
	}
}
