package infer

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// TestWorkerKnowsTheBackground: the worker's process has no names of labels, and
// must count classes from 0 all the same where the first names the background.
// The model tells class 0 alone.
func TestWorkerKnowsTheBackground(t *testing.T) {
	for first, told := range map[string]int{"__background__": 3, "bolt": 0} {
		cfg := testConfig(t, "testdata/deployed.onnx", Options{Family: "detections", Preset: "torchvision", Labels: []string{first, "nut"}})
		w := start(t, cfg)
		frame := picture(64, 64, vision.BGR24, 4)
		got, err := w.Infer(within(t, 30*time.Second), frame, shared(t, frame), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Detections) != told || got.Dropped != 3-told {
			t.Errorf("first label %s: %d detections, %d dropped", first, len(got.Detections), got.Dropped)
		}
		for _, d := range got.Detections {
			if d.Label != first {
				t.Errorf("class 0 is %s", d.Label)
			}
		}
	}
}
