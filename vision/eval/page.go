package eval

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/score"
)

//go:embed page.html
var pageHTML string

// WriteHTML writes the report as one page that needs nothing else: no network, no
// script, no file beside it. One report always gives the same bytes.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, r.page()); err != nil {
		return fmt.Errorf("fill in the page: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// page is what the template shows, in its order. All is text of ours or of others
// that the template escapes, but for the pictures' data.
type page struct {
	*Report
	Kinds, File string
	Key         []tile // the figures that answer how good the model is
	More        []tile
	Cascade     *cascadePage
	Threshold   *thresholds
	Classes     *pageTable
	Slices      []pageTable
	Shots       []shot
	Short       string // of the digest
}

// tile is one figure with what it means.
type tile struct {
	Name, Value, Unit string
	Bound             string // what 95 % allow
	About             string // what it means
	On                string // on how many
	Few               bool   // these are so few that the figure says little
}

// thresholds is what a threshold of the picture's score costs.
type thresholds struct {
	Plot    *plot
	Choices []choiceRow
	Care    []string
	Recall  []recallRow
	F1      *tile
	Own     bool // the model scores the picture itself
}

type choiceRow struct {
	Name, Threshold       string
	Escapes, FalseRejects cellView
	Suggested             bool
}

type recallRow struct {
	Rate, Most, Threshold string
	Found                 cellView
}

// shot is one of the worst pictures.
type shot struct {
	Shown
	URL template.URL // the JPEG that gallery.go made
}

func (r *Report) page() *page {
	p := &page{Report: r, File: path.Base(strings.ReplaceAll(r.Truth, `\`, "/")), Short: r.Digest}
	if r.Bad+r.Good > 0 && (r.Good > 0 || !r.boxesOnly()) {
		p.Kinds = r.kinds()
	}
	if len(p.Short) > 12 {
		p.Short = p.Short[:12] + "…"
	}
	p.Key, p.More = r.tiles()
	p.Threshold, p.Cascade = r.thresholds(), r.Cascade.page()
	for i, t := range r.tables() {
		v := viewOf(t)
		if i == 0 && len(r.Classes) > 1 {
			v.About = r.aboutClasses()
			p.Classes = &v
			continue
		}
		p.Slices = append(p.Slices, v)
	}
	for _, s := range r.Worst {
		one := shot{Shown: s}
		if len(s.jpeg) > 0 {
			one.URL = template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(s.jpeg))
		}
		p.Shots = append(p.Shots, one)
	}
	return p
}

// boxesOnly reports whether the model gives no score of a whole picture.
func (r *Report) boxesOnly() bool {
	f := infer.Family(r.Family)
	return f.Boxes() && !f.Maps()
}

// keys are the figures that are shown large, the first six of them: of models that
// score pictures, and of those that find boxes.
var (
	keysOfPictures = []string{"escapes", "false rejects", "accuracy", "image AUROC", "pixel AUROC", "AU-PRO", "mask IoU", "mask AP", "AP"}
	keysOfBoxes    = []string{"AP", "AP50", "mask AP", "escapes", "false rejects", "mask IoU", "image AUROC"}
)

const mostKeyed = 6

// meanings are of figures that take more words than a line of text has.
var meanings = map[string]string{
	"AP":          "boxes found, and how well they fit: COCO's mean over IoU 0.50 to 0.95 and all classes; 1 is all, each exactly",
	"AP50":        "boxes found where half an overlap (IoU 0.50) is enough",
	"mask AP":     "regions found, and how well they fit: COCO's mean over IoU 0.50 to 0.95",
	"mask IoU":    "marked and found pixels: what both share, of what either has",
	"image AUROC": "how often a bad picture scores higher than a good one; 0.5 is chance",
	"pixel AUROC": "how often a marked pixel scores higher than another; 0.5 is chance",
	"AU-PRO":      "how much of each marked region is found, at up to 30 % of the other pixels; every region counts alike",
}

// tiles parts the figures into the key ones and the others.
func (r *Report) tiles() (key, more []tile) {
	all := r.shares()
	for _, f := range r.figures() {
		t := tile{Name: f.name, Value: digits(*f.value), About: f.about}
		if m := meanings[f.name]; m != "" {
			t.About = m
		}
		t.On, t.Few = r.on(f.name)
		all = append(all, t)
	}
	keys := keysOfPictures
	if r.boxesOnly() {
		keys = keysOfBoxes
	}
	for _, name := range keys {
		at := slices.IndexFunc(all, func(t tile) bool { return t.Name == name })
		if at >= 0 && len(key) < mostKeyed {
			key = append(key, all[at])
			all = slices.Delete(all, at, at+1)
		}
	}
	return key, all
}

// shares are the figures that are counts.
func (r *Report) shares() (out []tile) {
	if o := r.Operating; o != nil {
		at := fmt.Sprintf("at the model's own threshold, %s", short(o.Confidence.Threshold))
		e, f := o.Confidence.Escapes, o.Confidence.FalseRejects
		out = append(out,
			tile{Name: "escapes", Value: fmt.Sprint(e.K), Unit: fmt.Sprintf("of %d bad", e.N), Bound: at95(e), About: "bad pictures that pass, " + at, Few: e.N < few95},
			tile{Name: "false rejects", Value: fmt.Sprint(f.K), Unit: fmt.Sprintf("of %d good", f.N), Bound: at95(f), About: "good pictures that are rejected, " + at, Few: f.N < few95})
	}
	if a := r.Accuracy; a != nil && a.N > 0 {
		out = append(out, tile{Name: "accuracy", Value: fmt.Sprint(a.K), Unit: fmt.Sprintf("of %d", a.N), Bound: strings.TrimPrefix(bound(a.Least()), ", ") + " at 95 %",
			About: "pictures whose surest label is the marked one", Few: a.N < few95})
	}
	return out
}

func at95(s score.Share) string { return strings.TrimPrefix(bound(s.String()), ", ") + " at 95 %" }

// few95 is from how many pictures on a share of none can be said to be at most 5 %.
const few95 = 59

// on says how much a figure was measured on, and whether that is little.
func (r *Report) on(name string) (on string, few bool) {
	switch {
	case name == "AP small" || name == "AP medium" || name == "AP large": // their objects aren't counted
		return "", false
	case strings.HasPrefix(name, "image "):
		return fmt.Sprintf("%d bad, %d good pictures", r.Bad, r.Good), min(r.Bad, r.Good) < few95
	case name == "pixel AUROC" || name == "AU-PRO":
		if r.Pixels == nil {
			return "", false
		}
		return fmt.Sprintf("%s pixels, %s regions", grouped(r.Pixels.Pixels), grouped(int64(r.Pixels.Regions))), r.Pixels.Regions < few95
	case strings.HasPrefix(name, "mask ") && !strings.HasPrefix(name, "mask AP"):
		return fmt.Sprintf("%s pictures", grouped(int64(r.Pictures))), false
	}
	objects, classes := 0, 0
	for _, c := range r.Classes {
		if objects += c.Truths; c.Truths > 0 {
			classes++
		}
	}
	if classes <= 1 {
		return fmt.Sprintf("%s objects", grouped(int64(objects))), objects < few95
	}
	return fmt.Sprintf("%s objects, %d classes", grouped(int64(objects)), classes), objects < few95
}

// grouped has a comma between thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
