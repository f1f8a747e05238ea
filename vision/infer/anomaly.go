package infer

import (
	"fmt"

	"github.com/sightline-edge/sightline/vision"
)

// Anomaly models say how much a picture differs from good ones, and where.
const Anomaly Family = "anomaly" // anomaly_map 1×1×H×W, pred_score 1×1; or a map alone

// anomalyFamily reads Anomalib's exports. Their graph resizes the map, brings
// scores to 0 to 1 with the threshold at 0.5, and normalises the picture itself.
// Before it, Anomalib resizes with a widened filter: with two pixels a direction a
// PaDiM's scores were off by up to 0.25.
var anomalyFamily = family{
	name: Anomaly,
	spec: Spec{MaxDetections: 1, Confidence: 0.5, NMS: 1, Pixel: 0.5,
		Input: Input{Width: 256, Height: 256, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch, Interpolation: Bilinear}},
	labels: []string{"anomaly"},
	layout: layoutAnomaly,
	read:   readAnomaly,
}

func layoutAnomaly(outs []Tensor, _ Input, i Info) (layout, error) {
	at, err := layoutMap(Anomaly, outs, i, []string{"anomaly_map", "output"}, []string{"pred_score"})
	if err != nil {
		return layout{}, err
	}
	if c := channels(outs[at[mapTensor]].Shape); c > 1 {
		return layout{}, fmt.Errorf("family anomaly needs a map of one score, 1×1×height×width, found %v of %d classes: it may be of family segmentation", outs[at[mapTensor]], c)
	}
	return layout{at: at, classes: 1}, nil
}

// readAnomaly tells one detection of a picture that scores more than Confidence:
// all pixels together that reach Pixel, or the whole frame where none does.
func readAnomaly(d *Decoder, l layout, outs []Output) {
	m, _ := l.output(outs, mapTensor)
	r := &d.maps
	if !d.layMap(m.Shape) || !r.take(d, m.Data) {
		return
	}
	d.seen.Map = &r.scores
	d.seen.Score = d.score(l, outs, r.scores.highest(d.w, d.h))
	if d.err != nil || !(*d.seen.Score > d.spec.Confidence) {
		return
	}
	r.spread(d.pixel(), 0)
	if d.err = d.tooMany(); d.err != nil {
		return
	}
	det := vision.Detection{Label: d.spec.Labels[0].Name, Score: *d.seen.Score, Mask: r.regions.union(d.spec.MinArea),
		Box: vision.Box{W: float32(d.w), H: float32(d.h)}}
	if det.Mask != nil {
		det.Box = boundsOf(det.Mask)
	}
	d.dets = append(d.dets, det)
}
