package infer

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// TestRegionsComeFromTheWorker: masks, score and map, of a model that has an output
// that isn't read. The map is each pixel's mean.
func TestRegionsComeFromTheWorker(t *testing.T) {
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{})
	cfg.Model.Path = "testdata/regions.onnx"
	cfg.Spec = Segmentation.defaults()
	cfg.Spec.Labels, cfg.Spec.MaxDetections = []Label{{Name: "bright"}}, MaxDetections
	cfg.Spec.Input = Input{Width: 64, Height: 64, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch}
	w := start(t, cfg)
	ctx := within(t, 30*time.Second)
	for _, size := range [][2]int{{64, 64}, {300, 100}, {20, 50}} {
		frame := picture(size[0], size[1], vision.BGR24, 4)
		pool := shared(t, frame)
		got, scores, err := w.InferScores(ctx, frame, pool, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Detections) < 5 || got.Dropped != 0 || scores == nil || got.Score == nil || *got.Score != slices.Max(scores.Data) {
			t.Fatalf("%v: %d regions, %d dropped, score %v", size, len(got.Detections), got.Dropped, got.Score)
		}
		inside := make([]bool, size[0]*size[1])
		for _, d := range got.Detections {
			d.Mask.Spans(func(y, x0, x1 int) {
				for x := x0; x < x1; x++ {
					inside[y*size[0]+x] = true
				}
			})
		}
		for p, in := range inside {
			if at := scores.At(p%size[0], p/size[0]); in != (at >= 0.5) && (at < 0.4999 || at > 0.5001) {
				t.Fatalf("%v: pixel %d, %d scores %v, is in a region: %v", size, p%size[0], p/size[0], at, in)
			}
		}
		plain, err := w.Infer(ctx, frame, pool, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, plain, sameResult); diff != "" {
			t.Errorf("%v: without the map (-with +without):\n%s", size, diff)
		}
	}
}
