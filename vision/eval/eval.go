// Package eval measures a model on annotated pictures: what it saw in each is
// compared with what people marked there, and becomes one report for people and
// programs (docs/models.md, "Measuring a model").
package eval

import (
	"fmt"
	"slices"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/score"
)

// Config says what is measured.
type Config struct {
	Spec infer.Spec
	// Confidence is the score from which a detection counts where one operating
	// point is measured; average precision uses all that the model gave.
	Confidence float32
	// FalseRejects is the share of good pictures that may be rejected, for which a
	// threshold is suggested.
	FalseRejects float64
	// Worst is how many of the worst pictures are kept to be shown.
	Worst int
}

// Look is what a model saw in one picture.
type Look struct {
	Image      *coco.Image
	Frame      *vision.Frame
	Detections []vision.Detection
	Score      *float32        // of the whole picture, of families that give one
	Map        *infer.ScoreMap // of those that give a score for each pixel
}

// Run gathers looks. It is not safe for concurrent use.
type Run struct {
	truth    *coco.File
	cfg      Config
	category map[string]*coco.Category // of a label
	notes    []string
	masked   bool // some annotation has a region

	pictures []picture
	results  []coco.Result // all detections with a category
	pixels   score.Pixels
	maps     score.Maps
	mapped   int // pictures whose map was added
	worst    gallery

	scores []float32 // of a frame's pixels; kept for the next
}

// picture is what is kept of one look.
type picture struct {
	image      *coco.Image
	score      float64 // of the whole picture
	bad, known bool
	brightness float64 // mean grey level, 0 to 255
	size       float64 // square root of the largest annotation's area, pixels; 0 without any
	pixels     score.Pixels
	truth      int // annotations
	top        string
}

// New begins a measurement against truth.
func New(truth *coco.File, cfg Config) *Run {
	r := &Run{truth: truth, cfg: cfg, category: map[string]*coco.Category{}, worst: gallery{most: cfg.Worst}}
	for _, l := range cfg.Spec.Labels {
		if c := truth.CategoryOf(l.Name); c != nil {
			r.category[l.Name] = c
		}
	}
	things := slices.DeleteFunc(slices.Clone(cfg.Spec.Labels), func(l infer.Label) bool { return l.Role == vision.Ignored })
	if len(r.category) == 0 && len(things) == 1 && len(truth.Categories) == 1 {
		l, c := things[0].Name, &truth.Categories[0]
		r.category[l] = c
		r.notef("the model's only label, %q, is taken for the file's only category, %q", l, c.Name)
	}
	if n := len(cfg.Spec.Labels) - len(r.category); n > 0 && len(r.category) > 0 {
		r.notef("%d of the model's %d labels have no category of that name, and aren't measured", n, len(cfg.Spec.Labels))
	}
	for i := range truth.Annotations {
		r.masked = r.masked || truth.Annotations[i].HasMask()
	}
	return r
}

func (r *Run) notef(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// Add takes what the model saw in one picture; nothing of it is kept but
// figures, and the pixels of those that are shown.
func (r *Run) Add(l Look) error {
	if l.Image.W == 0 {
		l.Image.W, l.Image.H = l.Frame.Width, l.Frame.Height
	}
	if l.Image.W != l.Frame.Width || l.Image.H != l.Frame.Height {
		return fmt.Errorf("%s has %d×%d pixels, %s says %d×%d: the annotations are of another picture, or it is turned by its EXIF data",
			l.Image.Name, l.Frame.Width, l.Frame.Height, r.truth.Path, l.Image.W, l.Image.H)
	}
	p := picture{image: l.Image, brightness: brightness(l.Frame), top: top(l.Detections)}
	p.bad, p.known = r.truth.Bad(l.Image.ID)
	p.score = r.scoreOf(&l)
	for _, a := range r.truth.Of(l.Image.ID) {
		p.truth++
		p.size = max(p.size, root(a.Area))
	}
	if err := r.addResults(&l); err != nil {
		return err
	}
	if err := r.addPixels(&l, &p); err != nil {
		return err
	}
	r.pictures = append(r.pictures, p)
	return r.show(&l, &p)
}

// scoreOf is how bad the picture is to the model: its own score of it, else the
// best of a detection whose label the file knows.
func (r *Run) scoreOf(l *Look) float64 {
	if l.Score != nil {
		return float64(*l.Score)
	}
	best := float32(0)
	for _, d := range l.Detections {
		if r.category[d.Label] != nil {
			best = max(best, d.Score)
		}
	}
	return float64(best)
}

// addResults keeps the detections as COCO's results, each with its category.
func (r *Run) addResults(l *Look) error {
	for i := range l.Detections {
		d := &l.Detections[i]
		c := r.category[d.Label]
		if c == nil {
			continue
		}
		one := coco.Result{Image: l.Image.ID, Category: c.ID, Score: float64(d.Score),
			Box: [4]float64{float64(d.Box.X), float64(d.Box.Y), float64(d.Box.W), float64(d.Box.H)}}
		if d.Mask != nil {
			rle, err := coco.FromMask(d.Mask, l.Image.W, l.Image.H)
			if err != nil {
				return fmt.Errorf("%s: %w", l.Image.Name, err)
			}
			one.Segmentation = &rle
		}
		r.results = append(r.results, one)
	}
	return nil
}

// regions reports whether regions are compared.
func (r *Run) regions() bool { return r.masked && r.cfg.Spec.Family.Masks() }

// addPixels compares the union of what was found with the union of what is true.
func (r *Run) addPixels(l *Look, p *picture) error {
	if !r.regions() {
		return nil
	}
	truth, err := r.truth.Union(l.Image.ID)
	if err != nil {
		return err
	}
	found := coco.Empty(l.Image.W, l.Image.H)
	for _, d := range l.Detections {
		// A map's own threshold has made its regions, whatever the picture's score says.
		if d.Mask == nil || !(d.Score >= r.cfg.Confidence || r.cfg.Spec.Family.Maps()) {
			continue
		}
		one, err := coco.FromMask(d.Mask, l.Image.W, l.Image.H)
		if err == nil {
			found, err = found.Union(one)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.Image.Name, err)
		}
	}
	if err := p.pixels.Add(found, truth); err != nil {
		return fmt.Errorf("%s: %w", l.Image.Name, err)
	}
	if err := r.pixels.Add(found, truth); err != nil || l.Map == nil {
		return err
	}
	n := l.Image.W * l.Image.H
	if cap(r.scores) < n {
		r.scores = make([]float32, n)
	}
	l.Map.Upsample(r.scores[:n], l.Image.W, l.Image.H)
	r.mapped++
	return r.maps.Add(r.scores[:n], truth.Pixels(), l.Image.W, l.Image.H)
}

// top is the surest label, of models that say one for a whole picture.
func top(dets []vision.Detection) string {
	if len(dets) == 0 {
		return ""
	}
	return dets[0].Label
}
