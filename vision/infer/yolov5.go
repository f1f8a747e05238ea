package infer

import "fmt"

// The families of YOLOv5's kind: rows of a place each, decoded in the graph,
// with an objectness.
const (
	YOLOv5 Family = "yolov5" // Ultralytics' YOLOv5 and YOLOv3: 1×N×(5+classes)
	YOLOv7 Family = "yolov7" // YOLOv7 with --grid: the same; or N×7 with --end2end
)

// yolov5Family reads what the yolov5 repository's export.py writes.
var yolov5Family = family{
	name:   YOLOv5,
	spec:   Spec{MaxDetections: 1000, Confidence: 0.25, NMS: 0.45, Input: ultralyticsInput},
	layout: layoutYOLOv5(YOLOv5),
	read:   readYOLOv5,

	multiLabelBelow: valBelow,
	classStep:       ultralyticsStep,
	where:           unroundedPads,
}

// yolov7Family reads what YOLOv7's export.py writes. It differs where there is
// one class: that has no score of its own.
var yolov7Family = family{
	name:   YOLOv7,
	spec:   Spec{MaxDetections: 300, Confidence: 0.25, NMS: 0.45, Input: ultralyticsInput},
	layout: layoutYOLOv5(YOLOv7),
	read:   readYOLOv5,

	multiLabelBelow: valBelow,
	classStep:       4096,
	where:           unroundedPads,
}

// ultralyticsInput is how Ultralytics' detectors want a picture, and those after them.
var ultralyticsInput = Input{Width: 640, Height: 640, Colour: RGB, Scale: 1.0 / 255, Resize: Letterbox, Anchor: Centre, Pad: 114}

// unroundedPads are YOLOv5's: its scale_boxes takes away the margins before they
// were rounded to pixels.
func unroundedPads(in Input, at Placement, w, h int) Placement {
	if in.Resize != Letterbox || in.Anchor != Centre {
		return at
	}
	at.PadX = (float64(in.Width) - float64(w)*at.GainX) / 2
	at.PadY = (float64(in.Height) - float64(h)*at.GainY) / 2
	return at
}

// The forms of yolov5 and yolov7.
const (
	objectRows  form = iota // 1×N×(5+classes): cx, cy, w, h, objectness, class scores
	end2endRows             // N×7: picture, x1, y1, x2, y2, class, score
)

// layoutYOLOv5 looks for the one output of decoded rows. Old exports have the
// heads beside it, of five dimensions.
func layoutYOLOv5(f Family) func([]Tensor, Input, Info) (layout, error) {
	return func(outs []Tensor, in Input, _ Info) (layout, error) {
		found := -1
		for n, t := range outs {
			if len(t.Shape) != 5 && found >= 0 {
				return layout{}, fmt.Errorf("family %s needs one output of 1×N×(5+classes), found %d: %v", f, len(outs), outs)
			}
			if len(t.Shape) != 5 {
				found = n
			}
		}
		if found < 0 {
			return layout{}, fmt.Errorf("family %s needs an output of 1×N×(5+classes), found only heads that aren't decoded, %v: export with --grid", f, outs)
		}
		l := layout{at: [4]int{found, -1, -1, -1}}
		shape, cells := outs[found].Shape, int64(gridCells(in.Width, in.Height))
		switch {
		case f == YOLOv7 && len(shape) == 2 && shape[1] == 7:
			l.form = end2endRows
			return l, nil
		case fits(shape, 1, cells, -1) && shape[1] > 0:
			return layout{}, fmt.Errorf("family %s has several places a cell, found one each in %s: pass yolox, or yolov8 if it is transposed", f, shapeText(shape))
		case fits(shape, 1, -1, -1) && (shape[2] > 5 || shape[2] < 0) && (shape[1] < 0 || shape[1] > shape[2]):
			l.classes = int(max(shape[2]-5, 0))
			return l, nil
		}
		return layout{}, fmt.Errorf("family %s needs an output of 1×%d×(5+classes) for an input of %d×%d, found %s", f, 3*cells, in.Width, in.Height, shapeText(shape))
	}
}

func readYOLOv5(d *Decoder, l layout, outs []Output) {
	o, _ := l.output(outs, 0)
	if l.form == end2endRows {
		d.end2end(o.Data)
		return
	}
	out, width := o.Data, int(o.Shape[2])
	conf, multi := d.spec.Confidence, d.spec.MultiLabel
	alone := width == 6 && d.spec.Family == YOLOv7
	for p := range len(out) / width {
		row := out[p*width : (p+1)*width]
		obj := row[4]
		if obj <= conf {
			continue
		}
		if alone {
			d.add(obj, int32(p), 0)
			continue
		}
		d.objectScores(row[5:], obj, int32(p), multi)
	}
	d.finish(func(place int32) corners {
		row := out[int(place)*width:]
		return centred(row[0], row[1], row[2], row[3])
	}, true)
}

// objectScores adds a place's best class, or every one above the threshold.
func (d *Decoder) objectScores(classes []float32, obj float32, place int32, multi bool) {
	best, class := d.spec.Confidence, int32(-1)
	for c, cls := range classes {
		score := obj * cls
		switch {
		case score <= best:
		case multi || !(score <= 1.001): // or no score at all, which add counts
			d.add(score, place, int32(c))
		default:
			best, class = score, int32(c)
		}
	}
	if class >= 0 {
		d.add(best, place, class)
	}
}

// end2end reads YOLOv7's finished rows, in letterboxed pixels.
func (d *Decoder) end2end(out []float32) {
	for p := range len(out) / 7 {
		class, score := out[7*p+5], out[7*p+6]
		switch picture := out[7*p]; {
		case score <= d.spec.Confidence:
		case picture == 0:
			d.addClass(score, p, class)
		case !(picture > 0 && picture < maxBatch):
			d.dropped++ // else it is of another picture of the batch
		}
	}
	d.finish(func(place int32) corners {
		r := out[7*int(place):]
		return corners{r[1], r[2], r[3], r[4]}
	}, false)
}

// addClass adds a finished detection, whose class the model gives as a number.
func (d *Decoder) addClass(score float32, place int, class float32) {
	if !(class >= 0 && class < float32(len(d.spec.Labels))) || class != float32(int32(class)) {
		d.dropped++
		return
	}
	d.add(score, int32(place), int32(class))
}
