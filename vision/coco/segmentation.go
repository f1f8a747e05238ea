package coco

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// segmentation reads the field of that name: a list of polygons, or run
// lengths. Null, an empty list and a list of empty ones, as some exports of boxes
// have it, are none.
func (a *Annotation) segmentation(b json.RawMessage, w, h int) error {
	switch {
	case len(b) == 0 || string(b) == "null":
		return nil
	case b[0] == '{':
		r := new(RLE)
		if err := json.Unmarshal(b, r); err != nil {
			return fmt.Errorf("segmentation: %w", err)
		}
		if r.W != w || r.H != h {
			return fmt.Errorf("segmentation: its size is %d×%d, the picture's %d×%d", r.W, r.H, w, h)
		}
		a.RLE = r
		return nil
	case b[0] != '[':
		return errors.New("segmentation is neither a list of polygons nor run lengths")
	}
	if err := json.Unmarshal(b, &a.Polygons); err != nil {
		return fmt.Errorf("segmentation: polygons are lists of numbers in a list: %w", err)
	}
	if !slices.ContainsFunc(a.Polygons, func(p []float64) bool { return len(p) > 0 }) {
		a.Polygons = nil
	}
	for i, p := range a.Polygons {
		if err := checkPolygon(p, w, h); err != nil {
			return fmt.Errorf("segmentation: polygon %d of %d: %w", i+1, len(a.Polygons), err)
		}
	}
	return nil
}

// checkPolygon says what makes a list of numbers no polygon of a w×h picture.
func checkPolygon(p []float64, w, h int) error {
	if len(p) < 6 || len(p)%2 != 0 {
		return fmt.Errorf("has %d numbers: x and y of three points or more are needed", len(p))
	}
	for i, v := range p {
		side := float64(w)
		if i%2 == 1 {
			side = float64(h)
		}
		if !(v >= -beyond*side) || !(v <= (1+beyond)*side) {
			return fmt.Errorf("the point %s lies outside of the picture, which is %d×%d", numbers(p[i&^1:i&^1+2]), w, h)
		}
	}
	return nil
}

// rleJSON is how a mask is written: the size as height, width and the counts as
// a list or as the compressed string.
type rleJSON struct {
	Size   []int           `json:"size"`
	Counts json.RawMessage `json:"counts"`
}

// UnmarshalJSON reads both forms, and refuses counts that don't fit the size.
func (r *RLE) UnmarshalJSON(b []byte) error {
	var raw rleJSON
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if len(raw.Size) != 2 {
		return errors.New("run lengths need a size of height and width")
	}
	h, w := raw.Size[0], raw.Size[1]
	if err := checkSize(w, h); err != nil {
		return err
	}
	if len(raw.Counts) > 0 && raw.Counts[0] == '"' {
		var s string
		if err := json.Unmarshal(raw.Counts, &s); err != nil {
			return err
		}
		got, err := ParseRLE(s, w, h)
		if err != nil {
			return err
		}
		*r = got
		return nil
	}
	got := RLE{W: w, H: h}
	if err := json.Unmarshal(raw.Counts, &got.Counts); err != nil {
		return fmt.Errorf("counts are neither a string nor a list of counts: %w", err)
	}
	if err := got.Check(); err != nil {
		return err
	}
	*r = got
	return nil
}

// MarshalJSON writes the compressed form, as pycocotools reads it.
func (r RLE) MarshalJSON() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	counts, err := json.Marshal(r.String())
	if err != nil {
		return nil, err
	}
	return json.Marshal(rleJSON{Size: []int{r.H, r.W}, Counts: counts})
}
