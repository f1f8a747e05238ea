package infer

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// TestOneBrokenClassSpoilsNoOther: a NaN in one of RT-DETR's finished rows made scores
// of the other rows' classes.
func TestOneBrokenClassSpoilsNoOther(t *testing.T) {
	for _, classes := range []int{2, 80} {
		rows := []float32{
			0.5, 0.5, 0.2, 0.2, 0.9, 0,
			0.2, 0.2, 0.1, 0.1, 0.8, 1,
			0.7, 0.7, 0.1, 0.1, 0.7, float32(math.NaN()),
		}
		d := NewDecoder(Spec{Family: RTDETR, Labels: make([]Label, classes), Confidence: 0.25, NMS: 0.7, MaxDetections: 300,
			Input: Input{Width: 64, Height: 64, Resize: Stretch}})
		seen, err := d.Decode([]Output{{Name: "o", Shape: []int64{1, 3, 6}, Data: rows}}, Placement{GainX: 1, GainY: 1}, 64, 64)
		if err != nil || len(seen.Detections) != 2 || seen.Dropped != 1 || seen.Detections[0].Score != 0.9 || seen.Detections[1].Class != 1 || seen.Detections[1].Score != 0.8 {
			t.Errorf("%d classes: %+v, %v", classes, seen, err)
		}
	}
}

// TestRowsOfOnePictureStayWhole: as many detections as a batch has pictures are no
// batch.
func TestRowsOfOnePictureStayWhole(t *testing.T) {
	outs := []Output{
		{Shape: []int64{2, 7}, Data: make([]float32, 14)},
		{Shape: []int64{2, 3}, Data: make([]float32, 6)},
		{Shape: []int64{2, 4, 5}, Data: make([]float32, 40)},
	}
	one(outs, []Tensor{{Shape: []int64{-1, 7}}, {Shape: []int64{2, 3}}, {Shape: []int64{-1, 4, 5}}}, 2)
	var sizes []int
	for _, o := range outs {
		sizes = append(sizes, len(o.Data))
	}
	if want := []int{14, 3, 20}; !slices.Equal(sizes, want) {
		t.Errorf("kept %v values, want %v", sizes, want)
	}
}

// TestTransposedHeadIsNoList: a head of two classes, transposed, has rows of six
// values too.
func TestTransposedHeadIsNoList(t *testing.T) {
	in := Input{Width: 640, Height: 640}
	if l, err := layoutYOLOv8([]Tensor{{Name: "o", Shape: []int64{1, 8400, 6}}}, in, Info{}); err == nil {
		t.Errorf("laid out as %+v", l)
	}
	if l, err := layoutYOLOv8([]Tensor{{Name: "o", Shape: []int64{1, 300, 6}}}, in, Info{}); err != nil || l.form != finishedRows {
		t.Errorf("300 finished rows: %+v, %v", l, err)
	}
}

// TestGapOfPartsIsNoticed: a part that is too much mustn't be left out of what follows.
func TestGapOfPartsIsNoticed(t *testing.T) {
	turned := packShapes([]vision.Detection{{Oriented: &vision.OrientedBox{}}})[0]
	c := &call{done: make(chan struct{}), shapes: bytes.Repeat(turned, maxParts/len(turned)-1)}
	l := &link{owner: New(Config{Spec: Spec{Labels: make([]Label, 1)}}), seats: make(chan struct{}, 1), calls: map[uint64]*call{1: c}}
	l.seats <- struct{}{}
	l.collect(&partReply{ID: 1, Shapes: bytes.Repeat(turned, 3)})
	l.collect(&partReply{ID: 1, Shapes: turned})
	l.deliver(&resultReply{ID: 1, Boxes: packDetections(nil, make([]vision.Detection, 1))})
	if c.err == nil {
		t.Error("an answer with a gap counts as whole")
	}
}

// TestMapOfAFailedFrameIsForgotten: what a run gave is gone by the next one, also
// where its values were no scores.
func TestMapOfAFailedFrameIsForgotten(t *testing.T) {
	d := NewDecoder(Spec{Family: Segmentation, Labels: make([]Label, 3), Activation: NoActivation, Background: 1, Confidence: 0.5, NMS: 1, MaxDetections: 10, Pixel: 0.5,
		Input: Input{Width: 4, Height: 4, Resize: Stretch}})
	at := Placement{GainX: 1, GainY: 1}
	planes := make([]float32, 48)
	planes[16+5] = 7 // no score, of a class that is told
	if _, err := d.Decode([]Output{{Name: "map", Shape: []int64{1, 3, 4, 4}, Data: planes}}, at, 4, 4); err == nil {
		t.Fatal("7 counts as a score")
	}
	for n := range planes {
		planes[n] = float32(math.NaN()) // as freed memory may hold
	}
	if seen, err := d.Decode([]Output{{Name: "map", Shape: []int64{1, 1, 4, 4}, Data: make([]float32, 16)}}, at, 4, 4); err != nil || *seen.Score != 0 || d.maps.classes.data != nil {
		t.Errorf("%+v, %v: the last frame's map is held", seen, err)
	}
}

// TestClassesAreWhole: what is no class's number is dropped, not rounded to one.
func TestClassesAreWhole(t *testing.T) {
	spec := YOLOv8.defaults()
	spec.Labels = make([]Label, 3)
	rows := []float32{
		10, 10, 60, 60, 0.9, 1,
		10, 70, 60, 120, 0.8, 0.37,
		70, 10, 120, 60, 0.7, 3,
		0, 0, 0, 0, 0, 0,
	}
	dets, dropped, err := decodeOne(NewDecoder(spec), rows, []int64{1, 4, 6}, Placement{GainX: 1, GainY: 1}, 640, 640)
	if err != nil || len(dets) != 1 || dets[0].Class != 1 || dropped != 2 {
		t.Errorf("%+v, %d dropped, %v", dets, dropped, err)
	}
}
