package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/vision/infer"
)

// What decoding is measured with: Ultralytics' outputs at 640 pixels.
const (
	decodeSide   = 640
	decodeCells  = 8400
	decodeKinds  = 80
	decodeThings = 20
	decodeNear   = 15 // candidates above the threshold of each thing
	decodeProtos = 32
	decodeReps   = 100
)

// decodes measures from a model's output to detections.
func decodes() Figure {
	return Figure{
		ID:   "decode",
		What: "a model's output to detections on one core, ms ÷ 1 ms",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			boxes, err := decodeRow(ctx, env, infer.YOLOv8, Row{ID: "decode/yolov8", Goal: "<= 0.6",
				What: fmt.Sprintf("yolov8's 1×84×8400 with %d candidates above 0.25 about %d things, decoding and NMS", decodeThings*decodeNear, decodeThings)})
			if err != nil {
				return nil, err
			}
			masks, err := decodeRow(ctx, env, infer.YOLOv8Seg, Row{ID: "decode/yolov8-seg", Goal: "<= 3",
				What: fmt.Sprintf("yolov8-seg's 1×116×8400 and 1×32×160×160, %d masks on a frame of 640×640, with all before them", decodeThings)})
			if err != nil {
				return []Row{boxes}, err
			}
			return []Row{boxes, masks}, nil
		},
	}
}

// decodeRow times a family's decoder, in a thread that stays on its core.
func decodeRow(ctx context.Context, env *Env, family infer.Family, row Row) (Row, error) {
	in := infer.DefaultInput(family)
	in.Width, in.Height = decodeSide, decodeSide
	spec := infer.Spec{Family: family, Input: in, Confidence: 0.25, NMS: 0.7, MaxDetections: 300}
	for _, name := range infer.COCO() {
		spec.Labels = append(spec.Labels, infer.Label{Name: name})
	}
	d, outs := infer.NewDecoder(spec), decodeOutputs(family == infer.YOLOv8Seg)
	decode := func() error {
		seen, err := d.Decode(outs, infer.Placement{GainX: 1, GainY: 1}, decodeSide, decodeSide)
		if err != nil {
			return err
		}
		masks := 0
		for _, one := range seen.Detections {
			if one.Mask != nil {
				masks++
			}
		}
		if len(seen.Detections) != decodeThings || masks != decodeThings && family.Masks() {
			return fmt.Errorf("%d detections, %d masks: want %d", len(seen.Detections), masks, decodeThings)
		}
		return nil
	}
	row.What += ", ms ÷ 1 ms"
	return env.Compare(ctx, row,
		func(context.Context) (s Sample, err error) {
			err = onOneCore(func() error { s, err = repeat(decodeReps, decode); return err })
			return s, err
		},
		func(context.Context) (Sample, error) { return Sample{Value: 1}, nil })
}

// onOneCore does it in a thread that stays on the first of our cores.
func onOneCore(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and let it end with the goroutine, so that nothing else is bound
		var all, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &all); err != nil {
			done <- err
			return
		}
		for core := 0; one.Count() == 0 && core < 1024; core++ {
			if all.IsSet(core) {
				one.Set(core)
			}
		}
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}

// decodeOutputs draws things of 96×96 pixels on a grid of 5×4; the candidates of
// one thing overlap almost wholly, those of two don't.
func decodeOutputs(masks bool) []infer.Output {
	r := rand.New(rand.NewPCG(8400, 84))
	planes := 4 + decodeKinds
	if masks {
		planes += decodeProtos
	}
	data := make([]float32, planes*decodeCells)
	at := func(plane, cell int) *float32 { return &data[plane*decodeCells+cell] }
	for cell := range decodeCells {
		*at(0, cell), *at(1, cell) = 640*r.Float32(), 640*r.Float32()
		*at(2, cell), *at(3, cell) = 16+100*r.Float32(), 16+100*r.Float32()
		for k := range decodeKinds {
			*at(4+k, cell) = 0.01 * r.Float32()
		}
	}
	cells := r.Perm(decodeCells)
	for thing := range decodeThings {
		x, y := float32(64+128*(thing%5)), float32(80+160*(thing/5))
		for _, cell := range cells[thing*decodeNear : (thing+1)*decodeNear] {
			*at(0, cell), *at(1, cell) = x+4*r.Float32(), y+4*r.Float32()
			*at(2, cell), *at(3, cell) = 96+4*r.Float32(), 96+4*r.Float32()
			*at(4+thing%decodeKinds, cell) = 0.3 + 0.6*r.Float32()
			for k := 4 + decodeKinds; k < planes; k++ {
				*at(k, cell) = r.Float32() - 0.3
			}
		}
	}
	outs := []infer.Output{{Name: "output0", Shape: []int64{1, int64(planes), decodeCells}, Data: data}}
	if masks {
		protos := make([]float32, decodeProtos*160*160)
		for i := range protos {
			protos[i] = r.Float32() - 0.3
		}
		outs = append(outs, infer.Output{Name: "output1", Shape: []int64{1, decodeProtos, 160, 160}, Data: protos})
	}
	return outs
}
