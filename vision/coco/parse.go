package coco

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
)

// The file as JSON has it. The records are read one by one, so that an error
// can name its record.
type fileJSON struct {
	Images      []json.RawMessage `json:"images"`
	Categories  []json.RawMessage `json:"categories"`
	Annotations []json.RawMessage `json:"annotations"`
}

type annotationJSON struct {
	ID           *whole          `json:"id"`
	Image        *whole          `json:"image_id"`
	Category     *whole          `json:"category_id"`
	Box          []float64       `json:"bbox"`
	Segmentation json.RawMessage `json:"segmentation"`
	Area         *float64        `json:"area"`
	Crowd        flag            `json:"iscrowd"`
	Ignore       flag            `json:"ignore"`
}

// whole is a whole number; some exports write 640 as 640.0.
type whole int64

// UnmarshalJSON refuses fractions and what isn't a number.
func (n *whole) UnmarshalJSON(b []byte) error {
	if v, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		*n = whole(v)
		return nil
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		return fmt.Errorf("%.40s isn't a whole number", b)
	}
	*n = whole(v)
	return nil
}

// flag is a truth value that files write as 0, 1, false, true or null.
type flag bool

// UnmarshalJSON refuses what is neither of them.
func (f *flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "true":
		*f = true
	case "0", "false", "null":
		*f = false
	default:
		return fmt.Errorf("%.40s is neither 0 nor 1", b)
	}
	return nil
}

// Parse reads and checks an annotation file's bytes; name is what errors call it.
func Parse(name string, b []byte) (*File, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // as editors of Windows put before UTF-8
	if bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("[")) {
		return nil, fmt.Errorf("read COCO annotations: %s is a list: those are results; annotations have images, categories and annotations", name)
	}
	var raw fileJSON
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("read COCO annotations: %s: %w", name, explain(err, b))
	}
	if len(raw.Images) == 0 || len(raw.Categories) == 0 {
		return nil, fmt.Errorf("read COCO annotations: %s has %d images and %d categories: is it an annotation file?", name, len(raw.Images), len(raw.Categories))
	}
	f := &File{
		Path: name, images: map[int64]int{}, categories: map[int64]int{}, byName: map[string]int{},
		byFile: map[string]int{}, byBase: map[string]int{}, byImage: map[int64][]int{},
	}
	for _, add := range []struct {
		what    string
		records []json.RawMessage
		one     func([]byte) error
	}{
		{"image", raw.Images, f.addImage},
		{"category", raw.Categories, f.addCategory},
		{"annotation", raw.Annotations, newIDs().guard(f.addAnnotation)},
	} {
		for i, r := range add.records {
			if err := add.one(r); err != nil {
				return nil, fmt.Errorf("read COCO annotations: %s: %s", name, record(add.what, i, r, err))
			}
		}
	}
	return f, nil
}

// explain adds a hint where Python's json wrote what JSON doesn't have.
func explain(err error, b []byte) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	at := max(int(syntax.Offset)-1, 0)
	rest := b[min(at, len(b)):]
	if bytes.HasPrefix(rest, []byte("NaN")) || bytes.HasPrefix(rest, []byte("Infinity")) {
		return fmt.Errorf("byte %d: NaN and Infinity aren't JSON, and no coordinate: correct the export", syntax.Offset)
	}
	return fmt.Errorf("byte %d: %w", syntax.Offset, err)
}

// record names a record by its id where it has one, else by its place.
func record(what string, at int, b []byte, err error) error {
	var r struct {
		ID json.Number `json:"id"`
	}
	if e := json.Unmarshal(b, &r); e == nil && r.ID != "" {
		return fmt.Errorf("%s %s: %w", what, r.ID, err)
	}
	return fmt.Errorf("%s number %d of the list: %w", what, at+1, err)
}

func (f *File) addImage(b []byte) error {
	var r struct {
		ID    *whole `json:"id"`
		Name  string `json:"file_name"`
		W     whole  `json:"width"`
		H     whole  `json:"height"`
		State State  `json:"state"`
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &r); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	switch {
	case r.ID == nil:
		return errors.New("has no id")
	case r.Name == "":
		return errors.New("has no file_name")
	case r.State != "" && r.State != Good && r.State != Bad && r.State != Uncertain:
		return fmt.Errorf("state is %q: good, bad or uncertain are known", r.State)
	}
	w, h, id, name := int(r.W), int(r.H), int64(*r.ID), slashed(r.Name)
	if w != 0 || h != 0 { // else the file doesn't say, which is enough for ids and boxes
		if err := checkSize(w, h); err != nil {
			return err
		}
	}
	if _, ok := f.images[id]; ok {
		return errors.New("another image has this id")
	}
	if _, ok := f.byFile[name]; ok {
		return fmt.Errorf("another image has the file_name %q", r.Name)
	}
	at := len(f.Images)
	f.images[id], f.byFile[name] = at, at
	base := path.Base(name)
	if _, ok := f.byBase[base]; ok {
		at = -1
	}
	f.byBase[base] = at
	f.Images = append(f.Images, Image{ID: id, Name: r.Name, W: w, H: h, State: r.State, Fields: scalars(fields)})
	return nil
}

// checkSize says whether a picture can be this large.
func checkSize(w, h int) error {
	if w <= 0 || h <= 0 || w > MaxSide || h > MaxSide || int64(w)*int64(h) > MaxPixels {
		return fmt.Errorf("a picture of %d×%d pixels: sides are 1 to %d", w, h, MaxSide)
	}
	return nil
}

// scalars are the fields besides those that Image has by name, as text.
func scalars(fields map[string]json.RawMessage) map[string]string {
	out := map[string]string{}
	for k, v := range fields {
		switch k {
		case "id", "file_name", "width", "height", "state":
			continue
		}
		text := string(v)
		if text == "null" || text[0] == '[' || text[0] == '{' {
			continue
		}
		if text[0] == '"' {
			if err := json.Unmarshal(v, &text); err != nil {
				continue // can't be: it was read as JSON before
			}
		}
		out[k] = text
	}
	return out
}

func (f *File) addCategory(b []byte) error {
	var r struct {
		ID    *whole `json:"id"`
		Name  string `json:"name"`
		Super string `json:"supercategory"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return err
	}
	if r.ID == nil || r.Name == "" {
		return errors.New("needs an id and a name")
	}
	id := int64(*r.ID)
	if _, ok := f.categories[id]; ok {
		return errors.New("another category has this id")
	}
	if _, ok := f.byName[r.Name]; ok {
		return fmt.Errorf("another category is called %q", r.Name)
	}
	f.categories[id], f.byName[r.Name] = len(f.Categories), len(f.Categories)
	f.Categories = append(f.Categories, Category{id, r.Name, r.Super})
	return nil
}

// ids are the annotations' ids that were seen.
type ids map[int64]bool

func newIDs() ids { return ids{} }

// guard refuses an id for the second time.
func (s ids) guard(add func(annotationJSON) error) func([]byte) error {
	return func(b []byte) error {
		var r annotationJSON
		if err := json.Unmarshal(b, &r); err != nil {
			return err
		}
		if r.ID == nil || r.Image == nil || r.Category == nil {
			return errors.New("needs an id, an image_id and a category_id")
		}
		if s[int64(*r.ID)] {
			return errors.New("another annotation has this id")
		}
		s[int64(*r.ID)] = true
		return add(r)
	}
}

func (f *File) addAnnotation(r annotationJSON) error {
	a := Annotation{ID: int64(*r.ID), Image: int64(*r.Image), Category: int64(*r.Category), Crowd: bool(r.Crowd), Ignore: bool(r.Ignore)}
	img := f.Image(a.Image)
	if img == nil {
		return fmt.Errorf("of image %d, which the file doesn't have", a.Image)
	}
	if f.Category(a.Category) == nil {
		return fmt.Errorf("of category %d, which the file doesn't have", a.Category)
	}
	w, h := img.W, img.H
	if w == 0 {
		w, h = MaxSide, MaxSide
	}
	if err := a.segmentation(r.Segmentation, w, h); err != nil {
		return err
	}
	if img.W == 0 && a.HasMask() {
		return fmt.Errorf("has a region, but image %d doesn't tell its width and height", img.ID)
	}
	if err := f.size(&a, r, w, h); err != nil {
		return err
	}
	f.byImage[a.Image] = append(f.byImage[a.Image], len(f.Annotations))
	f.Annotations = append(f.Annotations, a)
	return nil
}

// size sets the box and the area; what the record leaves out is the mask's.
func (f *File) size(a *Annotation, r annotationJSON, w, h int) error {
	var mask RLE
	if a.HasMask() && (len(r.Box) == 0 || r.Area == nil) {
		var err error
		if mask, err = f.Mask(a); err != nil {
			return err
		}
	}
	switch {
	case len(r.Box) == 4:
		a.Box = [4]float64(r.Box)
	case len(r.Box) == 0 && a.HasMask():
		x, y, bw, bh := mask.Bounds()
		a.Box = [4]float64{float64(x), float64(y), float64(bw), float64(bh)}
	default:
		return fmt.Errorf("bbox has %d numbers: x, y, width and height in pixels are needed", len(r.Box))
	}
	if err := checkBox(a.Box, w, h); err != nil {
		return err
	}
	switch {
	case r.Area != nil:
		a.Area = *r.Area
	case a.HasMask():
		a.Area = float64(mask.Area())
	default:
		a.Area = a.Box[2] * a.Box[3]
	}
	if !(a.Area >= 0) || math.IsInf(a.Area, 0) {
		return fmt.Errorf("area is %v square pixels", a.Area)
	}
	return nil
}

// beyond is how far a box or a polygon may leave its picture, as a share of the
// side: people draw a little past the edge, and what lies there isn't counted.
// More than that and the annotation is of a picture of another size.
const beyond = 0.1

func checkBox(b [4]float64, w, h int) error {
	if !(b[2] >= 0) || !(b[3] >= 0) { // COCO's own files have some of no size
		return fmt.Errorf("bbox %s has no size", numbers(b[:]))
	}
	for i, side := range []float64{float64(w), float64(h)} {
		if low, high := b[i], b[i]+b[i+2]; !(low >= -beyond*side) || !(high <= (1+beyond)*side) {
			return fmt.Errorf("bbox %s lies outside of the picture, which is %d×%d", numbers(b[:]), w, h)
		}
	}
	return nil
}

// numbers writes a few coordinates.
func numbers(v []float64) string {
	var s []string
	for _, n := range v {
		s = append(s, strconv.FormatFloat(n, 'g', 6, 64))
	}
	return "[" + strings.Join(s, ", ") + "]"
}
