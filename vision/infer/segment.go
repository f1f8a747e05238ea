package infer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// Segmentation models say of each pixel what it shows.
const Segmentation Family = "segmentation" // map 1×C×H×W, 1×1×H×W or 1×H×W; score 1×1 if the model has one

// segmentationFamily reads semantic segmentation: torchvision's, our own, and
// whatever gives a map of one score, of a class number, or of a value for each class.
var segmentationFamily = family{
	name: Segmentation,
	spec: Spec{MaxDetections: 100, Confidence: 0.01, NMS: 1, Pixel: 0.5,
		Input: Input{Width: 512, Height: 512, Colour: RGB, Scale: 1.0 / 255, Mean: imageNetMean, Std: imageNetStd, Resize: Stretch}},
	layout: layoutSegmentation,
	read:   readSegmentation,
}

// Mean and deviation of ImageNet's pictures, RGB from 0 to 1, as nearly every
// tool normalises by them.
var (
	imageNetMean = [3]float64{0.485, 0.456, 0.406}
	imageNetStd  = [3]float64{0.229, 0.224, 0.225}
)

// Where segmentation and anomaly have their tensors.
const (
	mapTensor   = iota
	scoreTensor // -1 without
)

// maxCells bounds a map: what an answer can carry.
const maxCells = maxParts / 4

func layoutSegmentation(outs []Tensor, _ Input, i Info) (layout, error) {
	at, err := layoutMap(Segmentation, outs, i, []string{"map", "out"}, []string{"score"})
	if err != nil {
		return layout{}, err
	}
	l := layout{at: at}
	t := outs[at[mapTensor]]
	switch c := channels(t.Shape); {
	case c != 1:
		l.classes = int(max(c, 0))
	case i.Outputs != nil && !slices.Contains(integers, t.Type):
		l.classes = 1 // whole numbers may be of any classes, and a run doesn't tell that they are
	}
	return l, nil
}

// integers are the types of maps whose values may be numbers of classes.
var integers = []string{"int64", "int32", "uint8", "bool"}

// numbered tells whether the map has whole numbers, which are no logits.
func (i Info) numbered() bool {
	outs := i.single()
	at, err := layoutMap(Segmentation, outs, i, []string{"map", "out"}, []string{"score"})
	return err == nil && slices.Contains(integers, outs[at[mapTensor]].Type)
}

// besides are outputs that look like a map and aren't read: torchvision's second
// head, Anomalib's comparisons with the threshold.
var besides = []string{"aux", "pred_mask", "pred_label"}

// layoutMap finds a map among the outputs, by one of the names if there are
// several, and the picture's score by its name.
func layoutMap(f Family, outs []Tensor, i Info, maps, scores []string) ([4]int, error) {
	at := [4]int{-1, -1, -1, -1}
	candidates := 0
	for n, t := range outs {
		shape := i.alone(t.Shape)
		isMap := len(shape) == 4 && fits(shape, 1, -1, -1, -1) && shape[1] != 0 || len(shape) == 3 && fits(shape, 1, -1, -1)
		isScore := fits(shape, 1, 1) || fits(shape, 1)
		switch {
		case slices.Contains(besides, t.Name):
		case isScore && slices.Contains(scores, t.Name):
			at[scoreTensor] = n
		case isMap && slices.Contains(maps, t.Name):
			at[mapTensor] = n
			candidates = -len(outs)
		case isMap && candidates >= 0:
			at[mapTensor] = n
			candidates++
		}
	}
	if at[mapTensor] < 0 || candidates > 1 {
		return at, fmt.Errorf("family %s needs an output of 1×C×height×width or 1×height×width (named %s if there are several), found %v", f, maps[0], outs)
	}
	return at, nil
}

// channels of a map's shape, -1 for an open number.
func channels(shape []int64) int64 {
	if len(shape) == 3 {
		return 1
	}
	return shape[1]
}

// alone is an output's shape for one picture of a model whose batch is fixed.
func (i Info) alone(shape []int64) []int64 {
	if len(i.Inputs) == 0 || len(shape) == 0 || shape[0] != int64(i.batch()) {
		return shape
	}
	shape = slices.Clone(shape)
	shape[0] = 1
	return shape
}

// mapReader turns a map into scores and regions. It keeps its buffers.
type mapReader struct {
	scores       ScoreMap
	across, down mapAxis // of the frame's pixels
	regions      regions

	line    []float32 // one row of cells
	highest []float32 // of each row of cells, for a map of one score
	classes classMap
}

func readSegmentation(d *Decoder, l layout, outs []Output) {
	m, _ := l.output(outs, mapTensor)
	r := &d.maps
	if !d.layMap(m.Shape) {
		return
	}
	switch several := len(d.spec.Labels) > 1; {
	case channels(m.Shape) == 1 && several:
		r.indices(d, m.Data)
	case channels(m.Shape) == 1:
		r.one(d, m.Data)
	case d.spec.Activation == Sigmoid:
		r.each(d, m.Data)
	default:
		r.best(d, m.Data)
	}
	if d.err != nil {
		return
	}
	d.seen.Map = &r.scores
	highest := r.scores.highest(d.w, d.h)
	if r.classes.data != nil {
		highest = r.classes.highest(&r.scores, d.w, d.h)
		r.classes.data = nil // the run's
	}
	if d.seen.Score = d.score(l, outs, highest); d.err == nil {
		_, own := l.output(outs, scoreTensor)
		d.tellRegions(own)
	}
}

// layMap puts a map's cells to the frame; false, with the reason in d.err, for one
// that can't be.
func (d *Decoder) layMap(shape []int64) bool {
	w, h := int(shape[len(shape)-1]), int(shape[len(shape)-2])
	if w < 1 || h < 1 || w > maxCells/h {
		d.err = fmt.Errorf("a map of %d×%d cells: 1 to %d in all are possible", w, h, maxCells)
		return false
	}
	if d.err = d.frameSize(); d.err != nil {
		return false
	}
	r, at := &d.maps, d.at
	r.classes.data = nil // of a run that failed
	kx, ky := float64(w)/float64(d.spec.Input.Width), float64(h)/float64(d.spec.Input.Height)
	r.scores = ScoreMap{W: w, H: h, Data: resized(r.scores.Data, w*h),
		OffX: (at.GainX/2+at.PadX)*kx - 0.5, StepX: at.GainX * kx,
		OffY: (at.GainY/2+at.PadY)*ky - 0.5, StepY: at.GainY * ky}
	r.across.lay(r.scores.OffX, r.scores.StepX, 0, w, d.w)
	r.down.lay(r.scores.OffY, r.scores.StepY, 0, h, d.h)
	r.line, r.highest = resized(r.line, w+1), resized(r.highest, h)
	r.regions.reset()
	return true
}

// frameSize refuses frames that no Filler takes.
func (d *Decoder) frameSize() error {
	if d.w < 1 || d.h < 1 || d.w > maxFrame || d.h > maxFrame {
		return fmt.Errorf("frame of %d×%d: 1 to %d pixels a side are possible", d.w, d.h, maxFrame)
	}
	return nil
}

// score is the picture's: what the model says, else the other.
func (d *Decoder) score(l layout, outs []Output, otherwise float32) *float32 {
	o, ok := l.output(outs, scoreTensor)
	if !ok {
		return &otherwise
	}
	s := o.Data[0]
	if !(s >= -scoreSlack && s <= 1+scoreSlack) {
		d.err = fmt.Errorf("the picture's score is %v, where 0 to 1 is possible", s)
		return nil
	}
	s = min(max(s, 0), 1)
	return &s
}

// tellRegions makes detections of the regions, the best first. A region is as sure as
// its best pixel, and never surer than a model that scores the picture (own) is of that.
func (d *Decoder) tellRegions(own bool) {
	g := &d.maps.regions
	if d.err = d.tooMany(); d.err != nil {
		return
	}
	said := *d.seen.Score
	roots := g.found(d.spec.MinArea, d.spec.Confidence, d.spec.MaxDetections)
	for n, mask := range g.masks(roots) {
		o := &g.groups[roots[n]]
		d.dets = append(d.dets, vision.Detection{Label: d.spec.Labels[o.class].Name, Class: int(o.class), Score: min(o.peak, 1, said), Mask: mask, Box: boundsOf(mask)})
	}
	if !own || len(d.spec.Labels) != 1 {
		return
	}
	// Of one class the picture's score is the best region's, so that a rule decides by
	// it; where the map shows none, the whole picture is meant.
	switch {
	case len(d.dets) > 0:
		d.dets[0].Score = said
	case said > d.spec.Confidence && d.spec.Background != 1:
		d.dets = append(d.dets, vision.Detection{Label: d.spec.Labels[0].Name, Score: said, Box: vision.Box{W: float32(d.w), H: float32(d.h)}})
	}
}

// tooMany is the error of a frame whose regions weren't all taken.
func (d *Decoder) tooMany() error {
	if !d.maps.regions.full {
		return nil
	}
	return fmt.Errorf("the frame of %d×%d falls into more than %d stretches of pixels: the map is noise, or the frame too large for it", d.w, d.h, maxStretches)
}

// one reads a map of one score a cell.
func (r *mapReader) one(d *Decoder, data []float32) {
	if d.spec.Activation == Softmax {
		d.err = errors.New("there is no softmax of one class: set activation to sigmoid")
		return
	}
	if r.take(d, data) && d.spec.Background != 1 {
		r.spread(d.pixel(), 0)
	}
}

// each reads a map whose classes don't exclude each other. The scores are the
// highest of those that count.
func (r *mapReader) each(d *Decoder, data []float32) {
	n := r.scores.W * r.scores.H
	sum := resized(r.classes.top, n)
	clear(sum)
	for c := range len(data) / n {
		if c+1 == d.spec.Background {
			continue
		}
		r.regions.layer()
		if !r.take(d, data[c*n:(c+1)*n]) {
			return
		}
		r.spread(d.pixel(), int32(c))
		for k, s := range r.scores.Data {
			sum[k] = max(sum[k], s)
		}
	}
	r.classes.top = sum
	copy(r.scores.Data, sum)
}

// pixel is the score from which on a pixel is of the thing.
func (d *Decoder) pixel() float32 { return cmp.Or(d.spec.Pixel, 0.5) }

// scoreSlack is what roundings may take a score out of 0 to 1 by.
const scoreSlack = 1e-3

// take makes scores of a plane's values. Those that are no numbers are 0. It is
// false, with the reason in d.err, if they are numbers but no scores.
func (r *mapReader) take(d *Decoder, data []float32) bool {
	w, out := r.scores.W, r.scores.Data
	for y := range r.scores.H {
		row, highest := out[y*w:(y+1)*w], float32(0)
		for x, v := range data[y*w : (y+1)*w] {
			switch {
			case v-v != 0: // NaN or infinite
				d.dropped++
				v = 0
			case d.spec.Activation == Sigmoid:
				v = sigmoid(v)
			case v < -scoreSlack || v > 1+scoreSlack:
				d.err = noScore(v)
				return false
			}
			v = min(max(v, 0), 1)
			row[x], highest = v, max(highest, v)
		}
		r.highest[y] = highest
	}
	return true
}

func noScore(v float32) error {
	return fmt.Errorf("the values aren't scores of 0 to 1 (there is %v): set activation to softmax or sigmoid, or export the model with it", v)
}

// spread finds the pixels whose score reaches at.
func (r *mapReader) spread(at float32, class int32) {
	m, down := &r.scores, &r.down
	for y := down.from; y < down.to; y++ {
		row := int(down.cell[y])
		if r.highest[row] < at && r.highest[min(row+1, m.H-1)] < at {
			continue
		}
		down.blend(r.line, m.Data, y, 0, m.W)
		r.across.reaching(r.line, at, 0, len(r.across.cell), func(x0, x1 int, peak float32) {
			r.regions.add(y, x0, x1, class, peak)
		})
		if r.regions.full {
			return
		}
	}
}
