// Package coco reads and writes COCO's format: annotation files, results for
// pycocotools' loadRes, and masks as run lengths (cocodataset.org/#format-data,
// #format-results). It is strict: a file that it takes holds no box, polygon or
// mask that doesn't fit its picture.
package coco

import (
	"fmt"
	"io"
	"os"
	"slices"
)

// Limits of what is read; beyond them a file is taken for damaged.
const (
	MaxFile   = 1 << 30 // bytes of an annotation or result file
	MaxSide   = 1 << 16 // pixels of a picture's side
	MaxPixels = 1 << 30 // pixels of a picture
)

// File is an annotation file that was read and checked: ids are unique, every
// annotation is of an image and a category that the file has.
type File struct {
	Path        string // as errors name it
	Images      []Image
	Categories  []Category
	Annotations []Annotation // in the file's order

	images     map[int64]int   // index by id
	categories map[int64]int   // index by id
	byName     map[string]int  // index of the category by name
	byFile     map[string]int  // index of the image by file_name
	byBase     map[string]int  // by its last element; -1 where several have it
	byImage    map[int64][]int // indices of an image's annotations
}

// Image is one picture's record.
type Image struct {
	ID    int64
	Name  string // file_name
	W, H  int    // pixels; 0 where the file doesn't say, of images without regions alone
	State State  // of the whole picture, where the file says it
	// Fields are the record's other strings, numbers and truth values as text,
	// for tables by place, batch or camera.
	Fields map[string]string
}

// State is what a picture as a whole is: the field `state` of an image. The
// zero value says that the file doesn't tell.
type State string

// The states of a picture.
const (
	Good      State = "good"
	Bad       State = "bad"
	Uncertain State = "uncertain" // people couldn't agree: it counts as neither
)

// Category is one class.
type Category struct {
	ID            int64
	Name          string
	Supercategory string
}

// Annotation is one object in a picture.
type Annotation struct {
	ID, Image, Category int64
	Box                 [4]float64 // x, y, w, h in pixels
	Area                float64    // square pixels, as the file says; else of the mask, else of the box
	Crowd               bool       // a group as one region: detections inside are neither right nor wrong
	Ignore              bool       // as Crowd for whoever asks; pycocotools reads it and forgets it
	// One of both holds the region, or neither.
	Polygons [][]float64 // x, y, x, y, … in pixels; their union is the region
	RLE      *RLE
}

// HasMask reports whether the annotation has a region besides its box.
func (a *Annotation) HasMask() bool { return a.RLE != nil || len(a.Polygons) > 0 }

// Read reads and checks an annotation file.
func Read(path string) (*File, error) {
	b, err := readAll(path)
	if err != nil {
		return nil, fmt.Errorf("read COCO annotations: %w", err)
	}
	return Parse(path, b)
}

// readAll reads a file of at most MaxFile bytes.
func readAll(path string) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	b, err = io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(b) > MaxFile {
		err = fmt.Errorf("%s: more than %d bytes: too large for an annotation file", path, MaxFile)
	}
	return b, err
}

// Image is the image of an id, nil for none.
func (f *File) Image(id int64) *Image {
	if i, ok := f.images[id]; ok {
		return &f.Images[i]
	}
	return nil
}

// Category is the category of an id, nil for none.
func (f *File) Category(id int64) *Category {
	if i, ok := f.categories[id]; ok {
		return &f.Categories[i]
	}
	return nil
}

// CategoryOf is the category of a name, nil for none.
func (f *File) CategoryOf(name string) *Category {
	if i, ok := f.byName[name]; ok {
		return &f.Categories[i]
	}
	return nil
}

// Of are an image's annotations in the file's order.
func (f *File) Of(image int64) []*Annotation {
	var out []*Annotation
	for _, i := range f.byImage[image] {
		out = append(out, &f.Annotations[i])
	}
	return out
}

// Bad says whether a picture is bad, and whether that is known: by its state
// where the file has one, else by its having annotations. Uncertain pictures
// are known as neither.
func (f *File) Bad(image int64) (bad, known bool) {
	img := f.Image(image)
	if img == nil {
		return false, false
	}
	switch img.State {
	case Good:
		return false, true
	case Bad:
		return true, true
	case Uncertain:
		return false, false
	}
	return len(f.byImage[image]) > 0, true
}

// Mask is an annotation's region over its whole picture, as pycocotools'
// annToRLE gives it. It is an error if the annotation has only a box.
func (f *File) Mask(a *Annotation) (RLE, error) {
	img := f.Image(a.Image)
	if img == nil {
		return RLE{}, fmt.Errorf("%s: annotation %d: of image %d, which the file doesn't have", f.Path, a.ID, a.Image)
	}
	if a.RLE != nil {
		return *a.RLE, nil
	}
	if len(a.Polygons) == 0 {
		return RLE{}, fmt.Errorf("%s: annotation %d has a box and no segmentation: masks can't be compared", f.Path, a.ID)
	}
	r, err := FromPolygons(a.Polygons, img.W, img.H)
	if err != nil {
		return RLE{}, fmt.Errorf("%s: annotation %d: %w", f.Path, a.ID, err)
	}
	return r, nil
}

// Union is the region of all of a picture's annotations together; empty without any.
func (f *File) Union(image int64) (RLE, error) {
	img := f.Image(image)
	if img == nil {
		return RLE{}, fmt.Errorf("%s has no image %d", f.Path, image)
	}
	all := Empty(img.W, img.H)
	for _, a := range f.Of(image) {
		m, err := f.Mask(a)
		if err != nil {
			return RLE{}, err
		}
		all = all.union(m)
	}
	return all, nil
}

// Names are the categories' names in the order of their ids.
func (f *File) Names() []string {
	sorted := slices.SortedFunc(slices.Values(f.Categories), func(a, b Category) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	var out []string
	for _, c := range sorted {
		out = append(out, c.Name)
	}
	return out
}
