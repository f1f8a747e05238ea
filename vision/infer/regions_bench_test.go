package infer

import (
	"math"
	"testing"
)

// blobs is a smooth map with a few spots, as a model that finds something gives it.
func blobs(w, h, spots int, seed uint32) []float32 {
	out, r := make([]float32, w*h), tensorNoise(3*spots, seed)
	for s := range spots {
		cx, cy, size := float64(r[3*s])*float64(w), float64(r[3*s+1])*float64(h), 2+8*float64(r[3*s+2])
		for p := range out {
			x, y := float64(p%w)-cx, float64(p/w)-cy
			out[p] = max(out[p], float32(math.Exp(-(x*x+y*y)/(size*size))))
		}
	}
	return out
}

// BenchmarkMasks: yolov8-seg's masks of 20 boxes in a frame of 640×640, whose sides
// are 40 to 320 pixels; boxes alone take the rest.
func BenchmarkMasks(b *testing.B) {
	spec := YOLOv8Seg.defaults()
	spec.Labels = make([]Label, 80)
	rows := make([]float32, 300*38)
	r := tensorNoise(20*38, 3)
	for k := range 20 {
		row := rows[k*38 : (k+1)*38]
		copy(row, r[k*38:])
		w, h := 40+280*row[2], 40+280*row[3]
		row[0], row[1] = row[0]*(640-w), row[1]*(640-h)
		row[2], row[3], row[4], row[5] = row[0]+w, row[1]+h, 0.9, 0
		affine(row[6:], 2, -1)
	}
	smooth := make([]float32, 0, 32*160*160)
	for k := range uint32(32) {
		smooth = append(smooth, affine(blobs(160, 160, 5, k), 2, -1)...)
	}
	for name, protos := range map[string][]float32{"smooth": smooth, "noise": affine(tensorNoise(32*160*160, 4), 2, -1)} {
		for _, frame := range [][2]int{{640, 640}, {1920, 1080}, {1130, 460}} {
			d := NewDecoder(spec)
			outs := []Output{{Name: "output0", Shape: []int64{1, 300, 38}, Data: rows}, {Name: "output1", Shape: []int64{1, 32, 160, 160}, Data: protos}}
			_, at := spec.Input.place(frame[0], frame[1])
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				masks := 0
				for b.Loop() {
					s, err := d.Decode(outs, at, frame[0], frame[1])
					if err != nil {
						b.Fatal(err)
					}
					masks = len(s.Detections)
				}
				b.ReportMetric(float64(masks), "masks")
				b.ReportMetric(float64(frame[0]), "width")
			})
		}
	}
}

// BenchmarkSegmentation: a frame of 1130×460 and the map that our own model gives
// of it, and torchvision's 21 classes at 520×520.
func BenchmarkSegmentation(b *testing.B) {
	run := func(name string, spec Spec, w, h int, data []float32) {
		spec.Input.Width, spec.Input.Height = w, h
		d := NewDecoder(spec)
		_, at := spec.Input.place(1130, 460)
		outs := []Output{{Name: "map", Shape: []int64{1, int64(len(spec.Labels)), int64(h), int64(w)}, Data: data}}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			regions := 0
			for b.Loop() {
				s, err := d.Decode(outs, at, 1130, 460)
				if err != nil {
					b.Fatal(err)
				}
				regions = len(s.Detections)
			}
			b.ReportMetric(float64(regions), "regions")
		})
	}
	one := mapSpec(Segmentation, 1)
	run("spots", one, 384, 160, blobs(384, 160, 12, 1))
	run("noise", one, 384, 160, tensorNoise(384*160, 1))
	many := mapSpec(Segmentation, 21)
	many.Activation, many.Background = Softmax, 1
	run("21-noise", many, 520, 520, affine(tensorNoise(21*520*520, 1), 20, 0))
	smooth := make([]float32, 520*520) // the background
	for k := range uint32(20) {
		smooth = append(smooth, affine(blobs(520, 520, 1, k), 40, -20)...)
	}
	run("21-spots", many, 520, 520, smooth)
}
