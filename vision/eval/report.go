package eval

import (
	"errors"
	"math"
	"slices"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/score"
)

// Report is all that was measured. What doesn't apply is nil or empty: a model
// of boxes has no pixels, pictures that are all bad no AUROC.
type Report struct {
	Model   string `json:"model"`
	Family  string `json:"family"`
	Digest  string `json:"digest,omitempty"` // SHA-256 of the model's file, hex
	Runtime string `json:"runtime,omitempty"`
	Truth   string `json:"annotations"`

	Pictures  int `json:"pictures"` // that were measured
	Bad       int `json:"bad"`
	Good      int `json:"good"`
	Uncertain int `json:"uncertain"`         // left out of pictures' scores
	Missing   int `json:"missing,omitempty"` // images of the file whose picture wasn't found
	Unread    int `json:"unread,omitempty"`  // pictures that can't be read

	// Of boxes, by COCO's definition.
	AP       *float64 `json:"ap,omitempty"`
	AP50     *float64 `json:"ap50,omitempty"`
	AP75     *float64 `json:"ap75,omitempty"`
	APSmall  *float64 `json:"ap_small,omitempty"`
	APMedium *float64 `json:"ap_medium,omitempty"`
	APLarge  *float64 `json:"ap_large,omitempty"`
	AR100    *float64 `json:"ar100,omitempty"`
	// Of masks.
	MaskAP   *float64 `json:"mask_ap,omitempty"`
	MaskAP50 *float64 `json:"mask_ap50,omitempty"`
	// Of the pixels of all pictures together, at the operating point.
	MaskIoU       *float64 `json:"mask_iou,omitempty"`
	MaskDice      *float64 `json:"mask_dice,omitempty"`
	MaskPrecision *float64 `json:"mask_precision,omitempty"`
	MaskRecall    *float64 `json:"mask_recall,omitempty"`
	// Of whole pictures, and of single pixels.
	ImageAUROC *float64           `json:"image_auroc,omitempty"`
	ImageAP    *float64           `json:"image_ap,omitempty"`
	PixelAUROC *float64           `json:"pixel_auroc,omitempty"`
	AUPRO      *float64           `json:"aupro,omitempty"`
	Pixels     *score.PixelScores `json:"pixel_scores,omitempty"`
	Accuracy   *score.Share       `json:"accuracy,omitempty"` // of models that say one label for a picture

	Cascade   *Cascade   `json:"cascade,omitempty"` // with a large model; see Pair
	Operating *Operating `json:"operating,omitempty"`
	Classes   []Class    `json:"classes,omitempty"`
	Slices    []Table    `json:"slices,omitempty"`
	Worst     []Shown    `json:"worst,omitempty"`
	Notes     []string   `json:"notes,omitempty"` // what a reader must know of the figures

	curve *score.Curve
	hist  [2][]float64 // scores of good and bad pictures
}

// Operating is what thresholds of the picture's score do.
type Operating struct {
	Confidence score.Point   `json:"confidence"` // the model's own
	At         []Recall      `json:"recall_at_false_rejects"`
	Suggested  *score.Choice `json:"suggested,omitempty"` // for the target
	Target     float64       `json:"target_false_rejects"`
	NoEscapes  *score.Choice `json:"no_escapes,omitempty"`
	F1         float64       `json:"f1_max"`
	F1At       float64       `json:"f1_threshold"`
	Curve      []score.Point `json:"curve"` // at most maxCurve points
}

// Recall is how many of the bad are found where so many good ones may be rejected.
type Recall struct {
	FalseRejects float64     `json:"false_rejects"`
	Found        score.Share `json:"found"`
	Threshold    float64     `json:"threshold"`
}

// Class is what one class reaches.
type Class struct {
	Name   string   `json:"name"`
	Truths int      `json:"truths"`
	Found  int      `json:"found"`
	AP     *float64 `json:"ap,omitempty"`
	AP50   *float64 `json:"ap50,omitempty"`
	MaskAP *float64 `json:"mask_ap,omitempty"`
}

// Table is what slices of the pictures reach.
type Table struct {
	By   string `json:"by"`
	Rows []Row  `json:"rows"`
}

// Row is one slice.
type Row struct {
	Name         string       `json:"name"`
	Pictures     int          `json:"pictures"`
	AP           *float64     `json:"ap,omitempty"`
	ImageAUROC   *float64     `json:"image_auroc,omitempty"`
	MaskIoU      *float64     `json:"mask_iou,omitempty"`
	Escapes      *score.Share `json:"escapes,omitempty"` // at the operating point
	FalseRejects *score.Share `json:"false_rejects,omitempty"`
}

// Report measures what was added.
func (r *Run) Report() (*Report, error) {
	if len(r.pictures) == 0 {
		return nil, errors.New("measure the model: no picture was looked at")
	}
	if len(r.category) == 0 && !r.cfg.Spec.Family.Maps() {
		return nil, noCategory(r)
	}
	out := &Report{Family: string(r.cfg.Spec.Family), Truth: r.truth.Path, Pictures: len(r.pictures), Notes: slices.Clone(r.notes)}
	if err := r.detections(out); err != nil {
		return nil, err
	}
	if err := r.surfaces(out); err != nil {
		return nil, err
	}
	if err := r.whole(out); err != nil {
		return nil, err
	}
	if len(out.figures()) == 0 && out.Accuracy == nil && len(r.category) == 0 {
		return nil, noCategory(r)
	}
	if err := r.slices(out); err != nil {
		return nil, err
	}
	out.Worst = r.worst.shown()
	return out, nil
}

// detections fills in average precision.
func (r *Run) detections(out *Report) error {
	if !r.cfg.Spec.Family.Boxes() {
		return nil
	}
	if len(r.category) == 0 {
		out.Notes = append(out.Notes, "no label of the model is a category of the file, so that only pictures and pixels are measured, whatever their category")
		return nil
	}
	boxes, err := score.Detections(r.truth, r.results, score.DetectionConfig{Images: r.images(nil)})
	if err != nil {
		return err
	}
	out.AP, out.AP50, out.AP75 = figure(boxes.AP), figure(boxes.AP50), figure(boxes.AP75)
	out.APSmall, out.APMedium, out.APLarge, out.AR100 = figure(boxes.APSmall), figure(boxes.APMedium), figure(boxes.APLarge), figure(boxes.AR100)
	out.Notes = append(out.Notes, boxes.Notes...)
	for _, c := range boxes.Classes {
		if c.Truths > 0 || c.Found > 0 {
			out.Classes = append(out.Classes, Class{Name: c.Name, Truths: c.Truths, Found: c.Found, AP: figure(c.AP), AP50: figure(c.AP50)})
		}
	}
	if !r.regions() {
		return nil
	}
	masks, err := score.Detections(r.truth, r.results, score.DetectionConfig{Masks: true, Images: r.images(nil)})
	if err != nil {
		return err
	}
	out.MaskAP, out.MaskAP50 = figure(masks.AP), figure(masks.AP50)
	for _, c := range masks.Classes {
		for i := range out.Classes {
			if out.Classes[i].Name == c.Name {
				out.Classes[i].MaskAP = figure(c.AP)
			}
		}
	}
	return nil
}

// images are the ids of some pictures, of all for nil.
func (r *Run) images(which []int) []int64 {
	ids := []int64{}
	if which == nil {
		for _, p := range r.pictures {
			ids = append(ids, p.image.ID)
		}
		return ids
	}
	for _, n := range which {
		ids = append(ids, r.pictures[n].image.ID)
	}
	return ids
}

// surfaces fills in what pixels say.
func (r *Run) surfaces(out *Report) error {
	if !r.regions() {
		return nil
	}
	out.MaskIoU, out.MaskDice = figure(r.pixels.IoU()), figure(r.pixels.Dice())
	out.MaskPrecision, out.MaskRecall = figure(r.pixels.Precision()), figure(r.pixels.Recall())
	if r.mapped == 0 || r.pixels.Both+r.pixels.True == 0 || r.pixels.None+r.pixels.Found == 0 {
		return nil
	}
	scores, err := r.maps.Scores(proLimit)
	if err != nil {
		return err
	}
	out.Pixels, out.PixelAUROC, out.AUPRO = &scores, figure(scores.AUROC), figure(scores.AUPRO)
	return nil
}

// proLimit is the false positive rate up to which AU-PRO is measured (Bergmann et al.).
const proLimit = 0.3

// whole fills in what pictures' scores say.
func (r *Run) whole(out *Report) error {
	var scores []float64
	var bad []bool
	for _, p := range r.pictures {
		switch {
		case !p.known:
			out.Uncertain++
			continue
		case p.bad:
			out.Bad++
		default:
			out.Good++
		}
		scores, bad = append(scores, p.score), append(bad, p.bad)
		kind := 0
		if p.bad {
			kind = 1
		}
		out.hist[kind] = append(out.hist[kind], p.score)
	}
	r.accuracy(out)
	if out.Bad == 0 || out.Good == 0 {
		if !r.cfg.Spec.Family.Boxes() || r.cfg.Spec.Family.Maps() {
			out.Notes = append(out.Notes, "good and bad pictures are needed to measure pictures' scores; these are all of one kind")
		}
		return nil
	}
	c, err := score.NewCurve(scores, bad)
	if err != nil {
		return err
	}
	out.curve = c
	auroc, err := c.AUROC()
	if err != nil {
		return err
	}
	ap, err := c.AveragePrecision()
	if err != nil {
		return err
	}
	out.ImageAUROC, out.ImageAP = figure(auroc), figure(ap)
	out.Operating, err = r.operating(c)
	return err
}

// accuracy counts the pictures whose only category is the surest label.
func (r *Run) accuracy(out *Report) {
	if r.cfg.Spec.Family.Boxes() || r.cfg.Spec.Family.Maps() {
		return
	}
	s := score.Share{}
	for _, p := range r.pictures {
		kinds := map[int64]bool{}
		for _, a := range r.truth.Of(p.image.ID) {
			kinds[a.Category] = true
		}
		if len(kinds) != 1 {
			continue
		}
		s.N++
		if c := r.category[p.top]; c != nil && kinds[c.ID] {
			s.K++
		}
	}
	if s.N > 0 {
		out.Accuracy = &s
	}
}

// figure is a number of the report, nil for what couldn't be measured.
func figure(v float64) *float64 {
	if math.IsNaN(v) || v < 0 {
		return nil
	}
	return &v
}

func root(area float64) float64 { return math.Sqrt(max(area, 0)) }

// brightness is the mean of the frame's values, 0 to 255.
func brightness(f *vision.Frame) float64 {
	sum, n := 0.0, f.Width*f.Format.Channels()
	for y := range f.Height {
		row := uint64(0)
		for _, v := range f.Pix[y*f.Stride : y*f.Stride+n] {
			row += uint64(v)
		}
		sum += float64(row)
	}
	return sum / float64(n*f.Height)
}
