package infer

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// YOLOv8Seg is Ultralytics' instance segmentation, version 8 to 26.
const YOLOv8Seg Family = "yolov8-seg" // 1×(4+classes+32)×N, or 1×N×38 finished, and prototypes 1×32×h×w

// yolov8SegFamily reads boxes as yolov8 does. Each box has coefficients that mix
// the prototypes, planes that all boxes share, into its mask.
var yolov8SegFamily = family{
	name:   YOLOv8Seg,
	spec:   yolov8Family.spec,
	layout: layoutYOLOv8Seg,
	read:   readYOLOv8Seg,

	multiLabelBelow: valBelow,
	classStep:       ultralyticsStep,
	where:           roundedGains,
}

// Where yolov8-seg has its tensors.
const (
	boxTensor = iota
	protoTensor
)

func layoutYOLOv8Seg(outs []Tensor, in Input, i Info) (layout, error) {
	l := layout{at: [4]int{-1, -1, -1, -1}}
	for n, t := range outs {
		switch {
		case l.at[protoTensor] < 0 && fits(t.Shape, 1, -1, -1, -1):
			l.at[protoTensor] = n
		case l.at[boxTensor] < 0 && fits(t.Shape, 1, -1, -1):
			l.at[boxTensor] = n
		}
	}
	wrong := func() (layout, error) {
		return layout{}, fmt.Errorf("family yolov8-seg needs an output of 1×(4+classes+masks)×%d, or 1×N×(6+masks) with NMS inside, and prototypes of 1×masks×height×width, found %v",
			gridCells(in.Width, in.Height), outs)
	}
	if l.at[boxTensor] < 0 || l.at[protoTensor] < 0 {
		return wrong()
	}
	boxes, masks := outs[l.at[boxTensor]].Shape, outs[l.at[protoTensor]].Shape[1]
	if masks == 0 || masks > maxPrototypes {
		return wrong()
	}
	if masks > 0 && isRows(boxes, 6+masks, i.NMS) {
		l.form = finishedRows
		return l, nil
	}
	cells := int64(gridCells(in.Width, in.Height))
	head := fits(boxes, 1, -1, cells) || fits(boxes, 1, -1, -1) && boxes[1] > 0 && boxes[2] > boxes[1]
	if !head || boxes[1] >= 0 && boxes[1] <= 4+masks {
		return wrong()
	}
	if boxes[1] > 0 && masks > 0 {
		l.classes = int(boxes[1] - 4 - masks)
	}
	return l, nil
}

// maxPrototypes bounds the planes that are mixed; Ultralytics has 32.
const maxPrototypes = 256

func readYOLOv8Seg(d *Decoder, l layout, outs []Output) {
	boxes, _ := l.output(outs, boxTensor)
	protos, _ := l.output(outs, protoTensor)
	p := &d.protos
	if d.err = d.frameSize(); d.err != nil {
		return
	}
	if d.err = p.lay(protos, d); d.err != nil {
		return
	}
	count := p.count
	var box func(int32) corners
	var coefficient func(place int32, k int) float32
	if l.form == finishedRows {
		width := 6 + count
		box = d.rows(boxes.Data, width)
		coefficient = func(place int32, k int) float32 { return boxes.Data[int(place)*width+6+k] }
	} else {
		n := int(boxes.Shape[2])
		first := (int(boxes.Shape[1]) - count) * n // of the coefficients' planes
		d.planes(boxes.Data[4*n:first], n)
		box = centredPlanes(boxes.Data, n)
		coefficient = func(place int32, k int) float32 { return boxes.Data[first+k*n+int(place)] }
	}
	d.suppress(box, l.form != finishedRows)
	mix := make([]float32, count)
	for _, k := range d.kept {
		broken := false
		for n := range mix {
			mix[n] = coefficient(k.place, n)
			broken = broken || mix[n]-mix[n] != 0
		}
		if broken {
			d.dropped++
			continue
		}
		// Boxes without a pixel aren't told, as Ultralytics' predict doesn't.
		if mask := p.mask(d, k.corners, mix); mask != nil && d.place(k) {
			d.dets[len(d.dets)-1].Mask = mask
		}
	}
}

// protoMasks makes masks as Ultralytics' process_mask_native does: the mixed
// prototypes, without the letterbox's padding, are brought to the frame's size
// bilinearly, and what is more than 0 in the box is the mask. Where the padding
// isn't whole cells wide, they are brought to 2 or 4 times their size first.
type protoMasks struct {
	data    []float32
	count   int
	w, h    int     // of a prototype
	finer   int     // 1, 2 or 4
	columns mapAxis // from cells to cells of 1/finer
	rows    mapAxis
	across  mapAxis // from those to the frame's pixels
	down    mapAxis

	mixed []float32    // cells of one box
	line  []float32    // one row of them
	fine  [2][]float32 // rows of fine cells: row n is in n&1
	have  [2]int
	row   []float32
	all   []stretch
}

// lay prepares masks for the frame.
func (p *protoMasks) lay(o Output, d *Decoder) error {
	p.data, p.count, p.h, p.w = o.Data, int(o.Shape[1]), int(o.Shape[2]), int(o.Shape[3])
	if p.w < 1 || p.h < 1 || p.w > maxCells/p.h {
		return fmt.Errorf("prototypes of %d×%d cells: 1 to %d in all are possible", p.w, p.h, maxCells)
	}
	in := d.spec.Input
	if in.Resize != Letterbox || in.Anchor != Centre {
		p.finer = 1
		kx, ky := float64(p.w)/float64(in.Width), float64(p.h)/float64(in.Height)
		p.across.lay((d.at.GainX/2+d.at.PadX)*kx-0.5, d.at.GainX*kx, 0, p.w, d.w)
		p.down.lay((d.at.GainY/2+d.at.PadY)*ky-0.5, d.at.GainY*ky, 0, p.h, d.h)
	} else {
		p.layLetterbox(d.w, d.h)
	}
	f := float64(p.finer)
	p.columns.lay(0.5/f-0.5, 1/f, 0, p.w, p.w*p.finer)
	p.rows.lay(0.5/f-0.5, 1/f, 0, p.h, p.h*p.finer)
	return nil
}

// layLetterbox follows the arithmetic of Ultralytics 8.4 (process_mask_native and
// scale_masks), roundings included.
func (p *protoMasks) layLetterbox(w, h int) {
	content := func(gain float64, pixels int) int {
		return max(int(math.RoundToEven(float64(pixels)*gain)), 1)
	}
	gainOf := func(f int) float64 {
		return min(float64(f*p.h)/float64(h), float64(f*p.w)/float64(w))
	}
	gain := gainOf(4)
	pad := (4*p.h - content(gain, h)) | (4*p.w - content(gain, w))
	switch pad |= pad / 2; {
	case pad&1 != 0:
		p.finer = 4
	case pad&2 != 0:
		p.finer = 2
	default:
		p.finer = 1
	}
	gain = gainOf(p.finer)
	lay := func(a *mapAxis, cells, pixels int) {
		n := content(gain, pixels)
		from := max(int(math.RoundToEven(float64(cells-n)/2-0.1)), 0)
		step := float64(n) / float64(pixels)
		a.lay(float64(from)+step/2-0.5, step, from, min(from+n, cells), pixels)
	}
	lay(&p.across, p.w*p.finer, w)
	lay(&p.down, p.h*p.finer, h)
}

// mask makes the mask of one box, nil without a pixel. Only what lies in the box
// is computed.
func (p *protoMasks) mask(d *Decoder, c corners, mix []float32) *vision.Mask {
	x0, y0, x1, y1 := d.pixels(c)
	x0, y0, x1, y1 = max(x0, p.across.from), max(y0, p.down.from), min(x1, p.across.to), min(y1, p.down.to)
	if x0 >= x1 || y0 >= y1 {
		return nil
	}
	fine := cellsOf(&p.across, x0, x1, p.w*p.finer)
	cols := cellsOf(&p.columns, fine[0], fine[1], p.w)
	down := cellsOf(&p.down, y0, y1, p.h*p.finer)
	rows := cellsOf(&p.rows, down[0], down[1], p.h)
	d.dropped += p.mix(mix, cols, rows)

	p.all, p.have = p.all[:0], [2]int{-1, -1}
	p.row = resized(p.row, p.w*p.finer+1)
	for y := y0; y < y1; y++ {
		r, f := int(p.down.cell[y]), p.down.share[y]
		a := p.fineRow(r, cols, rows, fine)
		if f == 0 {
			copy(p.row[fine[0]:fine[1]], a[fine[0]:fine[1]])
		} else {
			b := p.fineRow(r+1, cols, rows, fine)
			for n := fine[0]; n < fine[1]; n++ {
				p.row[n] = lerp(a[n], b[n], f)
			}
		}
		p.row[fine[1]] = p.row[fine[1]-1]
		p.across.reaching(p.row, math.SmallestNonzeroFloat32, x0, x1, func(from, to int, _ float32) {
			p.all = append(p.all, stretch{y: int32(y), x0: int32(from), x1: int32(to)})
		})
	}
	return maskOf(p.all)
}

// cellsOf are the cells that pixels from up to to need.
func cellsOf(a *mapAxis, from, to, cells int) [2]int {
	return [2]int{int(a.cell[from]), min(int(a.cell[to-1])+2, cells)}
}

// fineRow gives a row of fine cells, from the mixed ones of a box.
func (p *protoMasks) fineRow(n int, cols, rows, fine [2]int) []float32 {
	w := cols[1] - cols[0]
	k := n & 1
	p.fine[k] = resized(p.fine[k], p.w*p.finer+1)
	out := p.fine[k]
	if p.have[k] == n {
		return out
	}
	p.have[k] = n
	if p.finer == 1 {
		copy(out[cols[0]:cols[1]], p.mixed[(n-rows[0])*w:])
		return out
	}
	r, f := int(p.rows.cell[n])-rows[0], p.rows.share[n]
	p.line = resized(p.line, w+1)
	line, up := p.line[:w], p.mixed[r*w:(r+1)*w]
	if f == 0 {
		copy(line, up)
	} else {
		below := p.mixed[(r+1)*w : (r+2)*w]
		for c := range line {
			line[c] = lerp(up[c], below[c], f)
		}
	}
	p.line[w] = p.line[w-1]
	for x := fine[0]; x < fine[1]; x++ {
		c := int(p.columns.cell[x]) - cols[0]
		out[x] = lerp(p.line[c], p.line[c+1], p.columns.share[x])
	}
	return out
}

// mix computes the cells of one box, and counts those that are no numbers, which
// lie outside of the mask.
func (p *protoMasks) mix(by []float32, cols, rows [2]int) (broken int) {
	w, plane := cols[1]-cols[0], p.w*p.h
	p.mixed = resized(p.mixed, w*(rows[1]-rows[0]))
	clear(p.mixed)
	for r := rows[0]; r < rows[1]; r++ {
		out := p.mixed[(r-rows[0])*w:][:w]
		at := func(k int) []float32 { return p.data[k*plane+r*p.w+cols[0]:][:w] }
		k := 0
		for ; k+4 <= len(by); k += 4 {
			addFour(out, at(k), at(k+1), at(k+2), at(k+3), [4]float32(by[k:k+4]))
		}
		for ; k < len(by); k++ {
			for c, v := range at(k) {
				out[c] += by[k] * v
			}
		}
		for c, v := range out {
			if v-v != 0 {
				out[c] = nothing
				broken++
			}
		}
	}
	return broken
}

// addFour adds four weighted rows: several a pass, for the sum costs as much to
// load and store as a product.
func addFour(out, a, b, c, d []float32, by [4]float32) {
	a, b, c, d = a[:len(out)], b[:len(out)], c[:len(out)], d[:len(out)]
	for n := range out {
		out[n] += by[0]*a[n] + by[1]*b[n] + by[2]*c[n] + by[3]*d[n]
	}
}

// pixels are those whose upper left corner lies in the box, clipped at the frame's
// edges, as Ultralytics' crop_mask counts.
func (d *Decoder) pixels(c corners) (x0, y0, x1, y1 int) {
	at := d.at
	edge := func(v float32, pad, gain float64, most int) int {
		return int(math.Ceil(min(max((float64(v)-pad)/gain, 0), float64(most))))
	}
	return edge(c.x0, at.PadX, at.GainX, d.w), edge(c.y0, at.PadY, at.GainY, d.h), edge(c.x1, at.PadX, at.GainX, d.w), edge(c.y1, at.PadY, at.GainY, d.h)
}
