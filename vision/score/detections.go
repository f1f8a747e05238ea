// Package score measures answers against truth, however they came about: boxes
// and masks by COCO's average precision, pixels by overlap, scores of pictures
// and of pixels by their curves, and the trade between escapes and false rejects
// with intervals that say how much the number of pictures is worth.
package score

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sightline-edge/sightline/vision/coco"
)

// DetectionConfig says what Detections compares. The zero value is pycocotools'
// COCOeval with iouType "bbox" over every picture.
type DetectionConfig struct {
	// Masks compares regions rather than boxes (iouType "segm"). A detection's
	// area is then that of its mask.
	Masks bool
	// Ignore takes annotations with `ignore` for regions that don't count, as the
	// format has it. pycocotools reads that field and then overwrites it with
	// iscrowd; without Ignore so do we.
	Ignore bool
	// Images are the ids of the pictures that count; nil for all of the file.
	Images []int64
}

// Figures are COCO's twelve (cocodataset.org/#detection-eval), 0 to 1; -1 where
// there is no truth to measure by, as pycocotools has it. AP is the mean of the
// precision at 101 recalls and at ten IoUs from 0.50 to 0.95; AR the mean of the
// recall at those IoUs. Small is an area up to 32² square pixels, large one from
// 96² on, by the annotation's area.
type Figures struct {
	AP       float64 `json:"ap"`
	AP50     float64 `json:"ap_50"` // at an IoU of 0.50 alone
	AP75     float64 `json:"ap_75"`
	APSmall  float64 `json:"ap_small"`
	APMedium float64 `json:"ap_medium"`
	APLarge  float64 `json:"ap_large"`
	AR1      float64 `json:"ar_1"` // with the surest detection of each class and picture alone
	AR10     float64 `json:"ar_10"`
	AR100    float64 `json:"ar_100"`
	ARSmall  float64 `json:"ar_small"` // at most 100 detections of each class and picture
	ARMedium float64 `json:"ar_medium"`
	ARLarge  float64 `json:"ar_large"`
}

// ClassFigures are those of one class alone.
type ClassFigures struct {
	Category int64  `json:"category_id"`
	Name     string `json:"name"`
	Truths   int    `json:"truths"` // annotations that count, so no crowds
	Found    int    `json:"found"`  // detections
	Figures
}

// DetectionScores is what Detections gives.
type DetectionScores struct {
	Figures                 // means over the classes that have truth
	Classes  []ClassFigures `json:"classes"` // by category id
	Pictures int            `json:"pictures"`
	Truths   int            `json:"truths"`
	Found    int            `json:"found"`
	Notes    []string       `json:"notes,omitempty"` // what a reader should know of the figures
}

// Detections gives the average precision and recall of results against truth,
// as pycocotools 2.0 computes them from the same two files, with its order among
// equal scores: by image id, then as they stand in results.
func Detections(truth *coco.File, results []coco.Result, c DetectionConfig) (*DetectionScores, error) {
	e, err := newEvaluation(truth, results, c)
	if err != nil {
		return nil, fmt.Errorf("score detections: %w", err)
	}
	out := &DetectionScores{Pictures: len(e.images), Notes: e.notes}
	var sum sums
	for k, id := range e.categories {
		cl, err := e.class(k)
		if err != nil {
			return nil, fmt.Errorf("score detections: %w", err)
		}
		f := cl.figures()
		sum.add(f)
		out.Truths += cl.truths
		out.Found += cl.found
		out.Classes = append(out.Classes, ClassFigures{
			Category: id, Name: truth.Category(id).Name, Truths: cl.truths, Found: cl.found, Figures: f,
		})
	}
	out.Figures = sum.mean()
	return out, nil
}

// evaluation holds both sides sorted by class.
type evaluation struct {
	c          DetectionConfig
	truth      *coco.File
	images     []int64 // sorted
	at         map[int64]int32
	categories []int64              // sorted
	truths     [][]*coco.Annotation // by class, in the file's order
	found      [][]*coco.Result     // by class, in the order of the results
	notes      []string
}

func newEvaluation(truth *coco.File, results []coco.Result, c DetectionConfig) (*evaluation, error) {
	e := &evaluation{c: c, truth: truth, at: map[int64]int32{}}
	if err := e.pick(); err != nil {
		return nil, err
	}
	classOf := map[int64]int{}
	for _, k := range truth.Categories {
		e.categories = append(e.categories, k.ID)
	}
	slices.Sort(e.categories)
	for k, id := range e.categories {
		classOf[id] = k
	}
	e.truths, e.found = make([][]*coco.Annotation, len(classOf)), make([][]*coco.Result, len(classOf))
	for i := range truth.Annotations {
		a := &truth.Annotations[i]
		if _, ok := e.at[a.Image]; ok {
			k := classOf[a.Category]
			e.truths[k] = append(e.truths[k], a)
		}
		if a.ID == 0 {
			e.notes = append(e.notes, "an annotation has the id 0: pycocotools counts what finds it as false, and so do these figures")
		}
	}
	flat := 0
	for i := range results {
		r := &results[i]
		if err := r.Check(truth); err != nil {
			return nil, fmt.Errorf("result %d: %w", i+1, err)
		}
		k, ok := classOf[r.Category]
		if !ok {
			return nil, fmt.Errorf("result %d: of category %d, which %s doesn't have", i+1, r.Category, truth.Path)
		}
		if c.Masks && r.Segmentation == nil {
			return nil, fmt.Errorf("result %d: of image %d: has no segmentation: masks can't be compared", i+1, r.Image)
		}
		if r.Box[2] == 0 || r.Box[3] == 0 {
			flat++
		}
		if _, ok := e.at[r.Image]; ok {
			e.found[k] = append(e.found[k], r)
		}
	}
	if flat > 0 && !c.Masks {
		e.notes = append(e.notes, fmt.Sprintf("%d of %d detections have a box without size: they count as false", flat, len(results)))
	}
	return e, nil
}

// pick sets the pictures that count, sorted by id.
func (e *evaluation) pick() error {
	if e.c.Images == nil {
		for _, img := range e.truth.Images {
			e.images = append(e.images, img.ID)
		}
	}
	for _, id := range e.c.Images {
		if e.truth.Image(id) == nil {
			return fmt.Errorf("%s has no image %d", e.truth.Path, id)
		}
		e.images = append(e.images, id)
	}
	slices.Sort(e.images)
	e.images = slices.Compact(e.images)
	for i, id := range e.images {
		e.at[id] = int32(i)
	}
	return nil
}

// byImage sorts things of one class by picture, those of a picture in the order
// they had; from[i] is where picture i's start.
func byImage[T any](things []T, at map[int64]int32, image func(T) int64, pictures int) (sorted []T, from []int) {
	from = make([]int, pictures+1)
	for _, t := range things {
		from[at[image(t)]+1]++
	}
	for i := range pictures {
		from[i+1] += from[i]
	}
	next, sorted := slices.Clone(from), make([]T, len(things))
	for _, t := range things {
		i := at[image(t)]
		sorted[next[i]] = t
		next[i]++
	}
	return sorted, from
}

// class matches one class in every picture.
func (e *evaluation) class(k int) (*class, error) {
	truths, fromT := byImage(e.truths[k], e.at, func(a *coco.Annotation) int64 { return a.Image }, len(e.images))
	found, fromD := byImage(e.found[k], e.at, func(r *coco.Result) int64 { return r.Image }, len(e.images))
	cl := &class{found: len(found), hits: make([]hit, 0, len(found))}
	for i := range e.images {
		p := picture{masks: e.c.Masks}
		for _, a := range truths[fromT[i]:fromT[i+1]] {
			t := target{id: a.ID, box: a.Box, area: a.Area, crowd: a.Crowd, ignore: a.Crowd || e.c.Ignore && a.Ignore}
			if e.c.Masks {
				var err error
				if t.mask, err = e.region(a); err != nil {
					return nil, err
				}
			}
			p.targets = append(p.targets, t)
		}
		p.found = surest(found[fromD[i]:fromD[i+1]])
		cl.add(&p)
	}
	cl.sort()
	return cl, nil
}

func (e *evaluation) region(a *coco.Annotation) (region, error) {
	m, err := e.truth.Mask(a)
	if err != nil {
		return region{}, err
	}
	return regionOf(m), nil
}

// mostFound is how many detections of a class and picture count.
const mostFound = 100

// surest are the detections with the highest scores, highest first, at most
// mostFound; equal ones stay in order. It sorts in place.
func surest(found []*coco.Result) []*coco.Result {
	byScore := func(a, b *coco.Result) int { return cmp.Compare(b.Score, a.Score) }
	if !slices.IsSortedFunc(found, byScore) {
		slices.SortStableFunc(found, byScore)
	}
	return found[:min(len(found), mostFound)]
}
