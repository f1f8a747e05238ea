package main

import (
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/paint"
)

// picturePrediction is a line of predict's JSON.
type picturePrediction struct {
	Image      string      `json:"image"`
	Width      int         `json:"width"` // pixels
	Height     int         `json:"height"`
	Score      *float32    `json:"score,omitempty"` // of the whole picture, where the model gives one
	Detections []detection `json:"detections"`
}

type detection struct {
	Label    string      `json:"label"`
	Score    float32     `json:"score"`
	Box      [4]float32  `json:"box"`                // x, y, w, h in pixels
	Oriented *[5]float32 `json:"oriented,omitempty"` // x, y of the centre, w, h, angle in radians
	Area     int         `json:"area_px,omitempty"`  // of the mask
	Mask     *coco.RLE   `json:"mask,omitempty"`     // COCO's compressed run lengths
}

// printer writes predictions in one of the formats.
type printer struct {
	enc   *json.Encoder
	out   io.Writer
	truth *coco.File      // of the format coco, else nil
	dir   string          // of drawn pictures
	drawn map[string]bool // their names
	all   []coco.Result
	left  int // pictures that got none

	unknown map[string]int // detections by label that the annotations have no category for
}

func newPrinter(w io.Writer, o *predictOptions, truth *coco.File) (*printer, error) {
	p := &printer{enc: json.NewEncoder(w), out: w, dir: o.draw, unknown: map[string]int{}, drawn: map[string]bool{}}
	if o.format == "coco" {
		p.truth = truth
	}
	if p.dir != "" {
		if err := os.MkdirAll(p.dir, 0o755); err != nil {
			return nil, fmt.Errorf("draw the predictions: %w", err)
		}
	}
	return p, nil
}

func (p *printer) picture(l *looked) error {
	if err := p.draw(l); err != nil {
		return err
	}
	if p.truth != nil {
		img, err := p.truth.Find(filepath.Dir(l.path), l.path)
		if err != nil {
			return err
		}
		if img.W == 0 {
			img.W, img.H = l.frame.Width, l.frame.Height
		}
		results, unknown, err := p.truth.Results(img, l.result.Detections)
		for label, n := range unknown {
			p.unknown[label] += n
		}
		p.all = append(p.all, results...)
		return err
	}
	out := picturePrediction{Image: l.path, Width: l.frame.Width, Height: l.frame.Height, Score: l.result.Score, Detections: []detection{}}
	for i := range l.result.Detections {
		d, err := printed(&l.result.Detections[i], l.frame)
		if err != nil {
			return fmt.Errorf("%s: %w", l.path, err)
		}
		out.Detections = append(out.Detections, d)
	}
	return p.enc.Encode(out)
}

func printed(d *vision.Detection, f *vision.Frame) (detection, error) {
	out := detection{Label: d.Label, Score: d.Score, Box: [4]float32{d.Box.X, d.Box.Y, d.Box.W, d.Box.H}}
	if o := d.Oriented; o != nil {
		out.Oriented = &[5]float32{o.X, o.Y, o.W, o.H, o.Angle}
	}
	if d.Mask != nil {
		rle, err := coco.FromMask(d.Mask, f.Width, f.Height)
		if err != nil {
			return out, err
		}
		out.Area, out.Mask = rle.Area(), &rle
	}
	return out, nil
}

// drawnSide bounds a drawn picture, pixels.
const drawnSide = 1920

// draw writes a copy of the picture with what was seen.
func (p *printer) draw(l *looked) (err error) {
	if p.dir == "" {
		return nil
	}
	c := paint.Frame(l.frame, drawnSide)
	c.Detections(l.result.Detections)
	if s := l.result.Score; s != nil {
		c.Text(4, 14, paint.Ink, fmt.Sprintf("picture %.3f", *s), l.frame.Width)
	}
	f, err := os.Create(filepath.Join(p.dir, p.drawnAs(l.path)))
	if err != nil {
		return fmt.Errorf("draw the predictions: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	return jpeg.Encode(f, c.Image, &jpeg.Options{Quality: 90})
}

// drawnAs is the name of a picture's copy: its own, with a number where pictures of
// several folders or kinds have the same.
func (p *printer) drawnAs(path string) string {
	stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	name := stem + ".jpg"
	for n := 2; p.drawn[name]; n++ {
		name = fmt.Sprintf("%s-%d.jpg", stem, n)
	}
	p.drawn[name] = true
	return name
}

// apart refuses to draw into a folder that pictures come from: copies would take
// their place.
func apart(dir string, files []string) error {
	to, err := os.Stat(dir)
	if err != nil {
		return nil // it will be made
	}
	for _, path := range files {
		if from, err := os.Stat(filepath.Dir(path)); err == nil && os.SameFile(from, to) {
			return fmt.Errorf("draw the predictions: %s is the folder of %s, which a drawn copy could replace: name another one", dir, filepath.Base(path))
		}
	}
	return nil
}

// unscored says which detections were left out of COCO's results; "" if none.
func (p *printer) unscored() string {
	labels := slices.Sorted(maps.Keys(p.unknown))
	n := 0
	for _, label := range labels {
		n += p.unknown[label]
	}
	if n == 0 {
		return ""
	}
	if len(labels) > 12 {
		labels = append(labels[:12], "…")
	}
	return fmt.Sprintf("detections left out, since %s has no category of their label: %d (%s)", p.truth.Path, n, strings.Join(labels, ", "))
}

func (p *printer) close() error {
	if p.truth == nil {
		return nil
	}
	return coco.WriteResults(p.out, p.all)
}
