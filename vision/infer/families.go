package infer

import "math"

// yolox reads rows of cx, cy, log w, log h, objectness and class scores, all
// relative to a cell of a grid (YOLOX's demo_postprocess). Every class above
// the threshold counts.
func (d *Decoder) yolox(out []float32, width int) func(int32) corners {
	conf := d.spec.Confidence
	for p := range len(out) / width {
		row := out[p*width : (p+1)*width]
		obj := row[4]
		if obj <= conf {
			continue // class scores are at most 1
		}
		for c, cls := range row[5:] {
			if score := obj * cls; !(score <= conf) {
				d.add(score, int32(p), int32(c))
			}
		}
	}
	return func(place int32) corners {
		gx, gy, stride := gridCell(int(place), d.spec.Input)
		row := out[int(place)*width:]
		return centred((row[0]+gx)*stride, (row[1]+gy)*stride, exp32(row[2])*stride, exp32(row[3])*stride)
	}
}

func exp32(v float32) float32 { return float32(math.Exp(float64(v))) }

// gridCell is the cell that a place of the output belongs to: the grids of
// strides 8, 16 and 32 follow each other, row by row.
func gridCell(place int, in Input) (x, y, stride float32) {
	for _, s := range [...]int{8, 16, 32} {
		w, h := in.Width/s, in.Height/s
		if place < w*h {
			return float32(place % w), float32(place / w), float32(s)
		}
		place -= w * h
	}
	panic("BUG: place beyond the grids") // checkShape compared their sizes
}

// yolov8 reads planes of cx, cy, w, h and class scores over n places.
func (d *Decoder) yolov8(out []float32, n int) func(int32) corners {
	conf := d.spec.Confidence
	scores := out[4*n:]
	if d.spec.MultiLabel {
		for i, s := range scores {
			if !(s <= conf) {
				d.add(s, int32(i%n), int32(i/n))
			}
		}
	} else {
		d.bestOf(scores, n)
	}
	return func(place int32) corners {
		p := int(place)
		return centred(out[p], out[n+p], out[2*n+p], out[3*n+p])
	}
}

// bestOf adds each place's best class.
func (d *Decoder) bestOf(scores []float32, n int) {
	if len(d.best) != n {
		d.best = make([]candidate, n)
	}
	for p := range d.best {
		d.best[p] = candidate{score: d.spec.Confidence, class: -1}
	}
	for c := range len(scores) / n {
		for p, s := range scores[c*n : (c+1)*n] {
			if s <= d.best[p].score {
				continue
			}
			if !(s <= 1.001) {
				d.dropped++
				continue
			}
			d.best[p].score, d.best[p].class = s, int32(c)
		}
	}
	for p, b := range d.best {
		if b.class >= 0 {
			d.add(b.score, int32(p), b.class)
		}
	}
}

// rows reads finished detections: x1, y1, x2, y2, score, class.
func (d *Decoder) rows(out []float32) func(int32) corners {
	for p := range len(out) / 6 {
		score, class := out[6*p+4], out[6*p+5]
		if score <= d.spec.Confidence {
			continue
		}
		if !(class >= 0 && class < float32(len(d.spec.Labels))) {
			d.dropped++
			continue
		}
		d.add(score, int32(p), int32(class))
	}
	return func(place int32) corners {
		r := out[6*place:]
		return corners{r[0], r[1], r[2], r[3]}
	}
}

// fastestDet reads planes of objectness, x, y, w, h and class scores over one
// grid; sizes are shares of the picture. A place has one class, its best.
func (d *Decoder) fastestDet(out []float32, w, h int) func(int32) corners {
	n := w * h
	for p := range n {
		class, best := int32(-1), float32(0)
		for c := range len(d.spec.Labels) {
			s := out[(5+c)*n+p]
			if s != s {
				d.dropped++
			} else if s > best {
				class, best = int32(c), s
			}
		}
		score := float32(math.Pow(float64(out[p]), 0.6) * math.Pow(float64(best), 0.4))
		if class >= 0 && !(score <= d.spec.Confidence) {
			d.add(score, int32(p), class)
		}
	}
	tw, th := float32(d.spec.Input.Width), float32(d.spec.Input.Height)
	return func(place int32) corners {
		p := int(place)
		cx := (tanh(out[n+p]) + float32(p%w)) / float32(w)
		cy := (tanh(out[2*n+p]) + float32(p/w)) / float32(h)
		b := centred(cx*tw, cy*th, sigmoid(out[3*n+p])*tw, sigmoid(out[4*n+p])*th)
		// Many boxes reach far out of the picture; the reference cuts them before
		// NMS, which is worth 0.8 points of AP.
		return corners{max(b.x0, 0), max(b.y0, 0), min(b.x1, tw), min(b.y1, th)}
	}
}

func tanh(v float32) float32 { return float32(math.Tanh(float64(v))) }

func sigmoid(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }
