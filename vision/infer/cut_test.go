package infer

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// cropped is a frame's part as a picture of its own.
func cropped(f *vision.Frame, x, y, w, h int) *vision.Frame {
	c := f.Format.Channels()
	out := &vision.Frame{Width: w, Height: h, Stride: w * c, Format: f.Format}
	for row := range h {
		at := (y+row)*f.Stride + x*c
		out.Pix = append(out.Pix, f.Pix[at:at+w*c]...)
	}
	return out
}

// TestCutIsInspectedLikeACroppedPicture: to the last bit, wherever it lies in the slot.
func TestCutIsInspectedLikeACroppedPicture(t *testing.T) {
	w := start(t, testConfig(t, "testdata/fastestdet.onnx", Options{Confidence: 0.001}))
	ctx := within(t, 30*time.Second)
	results := map[string]bool{}
	for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
		whole := picture(200, 150, format, 3)
		pool := shared(t, whole)
		for _, at := range [][4]int{
			{0, 0, 200, 150}, {0, 0, 64, 64}, {1, 1, 64, 64}, {136, 86, 64, 64}, {37, 11, 100, 90},
			{199, 149, 1, 1}, {0, 149, 200, 1}, {199, 0, 1, 150}, {73, 50, 127, 100},
		} {
			x, y, wide, high := at[0], at[1], at[2], at[3]
			cut, crop := whole.Cut(x, y, wide, high), cropped(whole, x, y, wide, high)
			got, err := w.Infer(ctx, &cut, pool, 0)
			if err != nil {
				t.Fatalf("%v: %v", at, err)
			}
			alone := shared(t, crop)
			want, err := w.Infer(ctx, crop, alone, 0)
			if err != nil {
				t.Fatalf("%v: %v", at, err)
			}
			if diff := cmp.Diff(want, got, sameResult); diff != "" {
				t.Errorf("format %v, %v (-cropped +cut):\n%s", format, at, diff)
			}
			results[fmt.Sprint(got.Detections)] = true
		}
	}
	if len(results) < 14 { // of 18
		t.Errorf("the parts gave %d results: that compares little", len(results))
	}
}

// TestHostileOffsets: a worker doesn't believe its agent either.
func TestHostileOffsets(t *testing.T) {
	w := start(t, testConfig(t, "testdata/fastestdet.onnx", Options{}))
	ctx := within(t, 30*time.Second)
	frame := picture(64, 64, vision.BGR24, 1)
	pool := shared(t, frame, frame)
	l, err := w.awaitLink(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hostile := []int{-1, math.MinInt, math.MaxInt, pool.SlotSize - len(frame.Pix) + 1, pool.SlotSize - 1, pool.SlotSize, pool.SlotSize + 1}
	for _, offset := range hostile {
		for slot := range 2 { // behind the last one nothing is mapped
			_, err := l.infer(ctx, &inferRequest{Slot: slot, Offset: offset, Width: 64, Height: 64, Stride: frame.Stride, Format: frame.Format}, pool)
			if err == nil {
				t.Errorf("offset %d in slot %d of %d bytes: accepted", offset, slot, pool.SlotSize)
			}
		}
	}
	if _, err := w.Infer(ctx, frame, pool, 1); err != nil {
		t.Errorf("after them: %v", err)
	}
	if s := w.Stats(); s.Failed != uint64(2*len(hostile)) || s.Restarts != 0 || s.Lost != 0 {
		t.Errorf("stats are %+v, want each refused by the worker, and none to end it", s)
	}
}
