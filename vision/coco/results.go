package coco

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// Result is one detection as pycocotools' loadRes reads it. Where a list has
// both boxes and segmentations, loadRes takes an object's area from its box, and
// AP by size of masks comes out differently than with WriteMasks' list.
type Result struct {
	Image        int64      `json:"image_id"`
	Category     int64      `json:"category_id"`
	Box          [4]float64 `json:"bbox"`  // x, y, w, h in pixels
	Score        float64    `json:"score"` // the higher the surer
	Segmentation *RLE       `json:"segmentation,omitempty"`
}

// Results gives a picture's detections their ids. Labels that the file has no
// category for can't be scored: left counts how many were left out, by label.
func (f *File) Results(img *Image, dets []vision.Detection) (out []Result, left map[string]int, err error) {
	left = map[string]int{}
	for _, d := range dets {
		c := f.CategoryOf(d.Label)
		if c == nil {
			left[d.Label]++
			continue
		}
		b := d.Box
		r := Result{Image: img.ID, Category: c.ID, Box: [4]float64{float64(b.X), float64(b.Y), float64(b.W), float64(b.H)}, Score: float64(d.Score)}
		if d.Mask != nil {
			m, err := FromMask(d.Mask, img.W, img.H)
			if err != nil {
				return nil, nil, fmt.Errorf("image %d: a detection of %s: %w", img.ID, d.Label, err)
			}
			r.Segmentation = &m
		}
		out = append(out, r)
	}
	return out, left, nil
}

// Check says why a result can't be scored against f.
func (r *Result) Check(f *File) error {
	img := f.Image(r.Image)
	if img == nil {
		return fmt.Errorf("of image %d, which %s doesn't have", r.Image, f.Path)
	}
	if math.IsNaN(r.Score) || math.IsInf(r.Score, 0) {
		return fmt.Errorf("of image %d: score is %v", r.Image, r.Score)
	}
	for i, v := range r.Box {
		if math.IsNaN(v) || math.IsInf(v, 0) || i > 1 && v < 0 {
			return fmt.Errorf("of image %d: bbox is %s: x, y, width and height in pixels are needed", r.Image, numbers(r.Box[:]))
		}
	}
	if m := r.Segmentation; m != nil {
		if m.W != img.W || m.H != img.H {
			return fmt.Errorf("of image %d: the mask's size is %d×%d, the picture's %d×%d", r.Image, m.W, m.H, img.W, img.H)
		}
		if err := m.Check(); err != nil {
			return fmt.Errorf("of image %d: segmentation: %w", r.Image, err)
		}
	}
	return nil
}

// WriteResults writes a list for loadRes, one result a line.
func WriteResults(to io.Writer, results []Result) error {
	return write(to, len(results), func(i int) ([]byte, error) { return json.Marshal(&results[i]) })
}

// WriteMasks is WriteResults without the boxes, for COCOeval's "segm": there an
// object's area is then its mask's. Every result must have one.
func WriteMasks(to io.Writer, results []Result) error {
	return write(to, len(results), func(i int) ([]byte, error) {
		r := &results[i]
		if r.Segmentation == nil {
			return nil, errors.New("has no segmentation")
		}
		return json.Marshal(struct {
			Image        int64   `json:"image_id"`
			Category     int64   `json:"category_id"`
			Score        float64 `json:"score"`
			Segmentation *RLE    `json:"segmentation"`
		}{r.Image, r.Category, r.Score, r.Segmentation})
	})
}

// write writes a list of n; JSON refuses NaN.
func write(to io.Writer, n int, one func(int) ([]byte, error)) error {
	w := bufio.NewWriter(to)
	between := "[\n"
	for i := range n {
		b, err := one(i)
		if err != nil {
			return fmt.Errorf("write COCO results: number %d: %w", i+1, err)
		}
		if _, err := fmt.Fprintf(w, "%s%s", between, b); err != nil {
			return fmt.Errorf("write COCO results: %w", err)
		}
		between = ",\n"
	}
	end := "]\n"
	if n == 0 {
		end = "[]\n"
	}
	_, err := w.WriteString(end)
	if err = errors.Join(err, w.Flush()); err != nil {
		return fmt.Errorf("write COCO results: %w", err)
	}
	return nil
}

// ReadResults reads and checks a list for loadRes against f. A result without a
// bbox gets its mask's bounds, as loadRes gives it.
func ReadResults(path string, f *File) ([]Result, error) {
	b, err := readAll(path)
	if err != nil {
		return nil, fmt.Errorf("read COCO results: %w", err)
	}
	return ParseResults(path, b, f)
}

// ParseResults reads and checks a result file's bytes; name is what errors call it.
func ParseResults(name string, b []byte, f *File) ([]Result, error) {
	var raw []struct {
		Result
		Box []float64 `json:"bbox"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("read COCO results: %s: %w", name, explain(err, b))
	}
	out := make([]Result, 0, len(raw))
	for i, r := range raw {
		one := r.Result
		switch {
		case len(r.Box) == 4:
			one.Box = [4]float64(r.Box)
		case len(r.Box) == 0 && one.Segmentation != nil:
			x, y, w, h := one.Segmentation.Bounds()
			one.Box = [4]float64{float64(x), float64(y), float64(w), float64(h)}
		default:
			return nil, fmt.Errorf("read COCO results: %s: number %d: bbox has %d numbers, not 4", name, i+1, len(r.Box))
		}
		if err := one.Check(f); err != nil {
			return nil, fmt.Errorf("read COCO results: %s: number %d: %w", name, i+1, err)
		}
		out = append(out, one)
	}
	return out, nil
}
