package eval

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/sightline-edge/sightline/vision/score"
)

// width is the terminal's for which sentences are folded, columns.
const width = 80

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s) on %d pictures of %s", plain(r.Model), plain(r.Family), r.Pictures, plain(r.Truth))
	if r.Good > 0 {
		fmt.Fprintf(&b, ": %s", r.kinds())
	}
	b.WriteString("\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range r.figures() {
		fmt.Fprintf(t, "%s\t%.4f\t%s\n", f.name, *f.value, f.about)
	}
	if r.Accuracy != nil {
		fmt.Fprintf(t, "accuracy\t%.4f\t%s\n", r.Accuracy.Rate(), r.Accuracy.Least())
	}
	_ = t.Flush() // a Builder takes everything
	r.Cascade.write(&b)
	r.Operating.write(&b)
	for _, table := range r.tables() {
		table.write(&b)
	}
	if len(r.Worst) > 0 {
		b.WriteString("\nThe worst pictures\n")
		for _, s := range r.Worst[:min(len(r.Worst), 5)] {
			fmt.Fprintf(&b, "  %s: %s\n", plain(s.Name), plain(s.Why))
		}
	}
	for n, note := range r.Notes {
		if n == 0 {
			b.WriteString("\n")
		}
		fold(&b, "Note: ", plain(note)+".")
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// kinds counts the bad, the good and the uncertain pictures.
func (r *Report) kinds() string {
	s := fmt.Sprintf("%d bad, %d good", r.Bad, r.Good)
	if r.Uncertain > 0 {
		s += fmt.Sprintf(", %d uncertain", r.Uncertain)
	}
	return s
}

// plain is a name of somebody else's as a terminal may have it: nothing in it
// moves the cursor, turns the line round, or ends a column.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, s)
}

// fold writes a sentence in lines of at most width columns, the second and
// further ones as far in as what the first starts with.
func fold(b *strings.Builder, start, s string) {
	line, wide := start, 0
	indent := strings.Repeat(" ", len([]rune(start)))
	for _, word := range strings.Fields(s) {
		n := len([]rune(word))
		if wide > 0 && len(indent)+wide+1+n > width {
			b.WriteString(line + "\n")
			line, wide = indent, 0
		}
		if wide > 0 {
			line, wide = line+" ", wide+1
		}
		line, wide = line+word, wide+n
	}
	b.WriteString(line + "\n")
}

// named is a figure with its name and what it is of.
type named struct {
	name, about string
	value       *float64
}

// figures are those that apply, in the order in which they are told.
func (r *Report) figures() []named {
	all := []named{
		{"AP", "boxes, COCO's mean over IoU 0.50 to 0.95", r.AP},
		{"AP50", "at IoU 0.50", r.AP50},
		{"AP75", "at IoU 0.75", r.AP75},
		{"AP small", "objects up to 32² px", r.APSmall},
		{"AP medium", "32² to 96² px", r.APMedium},
		{"AP large", "from 96² px", r.APLarge},
		{"AR", "recall with at most 100 a picture", r.AR100},
		{"mask AP", "regions, COCO's mean over IoU 0.50 to 0.95", r.MaskAP},
		{"mask AP50", "at IoU 0.50", r.MaskAP50},
		{"mask IoU", "pixels of all pictures together", r.MaskIoU},
		{"mask Dice", "as IoU, overlap counted twice", r.MaskDice},
		{"mask precision", "of the pixels that were found", r.MaskPrecision},
		{"mask recall", "of the pixels that are marked", r.MaskRecall},
		{"image AUROC", "bad against good pictures", r.ImageAUROC},
		{"image AP", "precision over recall of the bad pictures", r.ImageAP},
		{"pixel AUROC", "marked pixels against all others", r.PixelAUROC},
		{"AU-PRO", "overlap of regions, up to 30 % false positives", r.AUPRO},
	}
	out := all[:0]
	for _, f := range all {
		if f.value != nil && !math.IsNaN(*f.value) {
			out = append(out, f)
		}
	}
	return out
}

// choices are the thresholds that are told, each with its name.
func (o *Operating) choices() (names []string, points []score.Point) {
	add := func(name string, p score.Point) { names, points = append(names, name), append(points, p) }
	add("the model's own", o.Confidence)
	if o.Suggested != nil {
		add(fmt.Sprintf("suggested for at most %g %% false rejects", 100*o.Target), o.Suggested.Point)
	}
	if o.NoEscapes != nil {
		add("the highest without an escape", o.NoEscapes.Point)
	}
	return names, points
}

// warnings say what must be known before anybody relies on the suggestion.
func (o *Operating) warnings() []string {
	if o.Suggested == nil {
		return nil
	}
	return o.Suggested.Warnings
}

func (o *Operating) write(b *strings.Builder) {
	if o == nil {
		return
	}
	b.WriteString("\n")
	fold(b, "", "At a threshold of the picture's score: bad pictures below it escape, good ones from it on are false rejects (bounds at 95 %)")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  \tthreshold\tescapes\tfalse rejects\n")
	names, points := o.choices()
	for i, p := range points {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", names[i], threshold(p.Threshold), counted(&p.Escapes), counted(&p.FalseRejects))
	}
	for _, a := range o.At {
		fmt.Fprintf(t, "  found at %g %% false rejects\t%s\t%s found\n", 100*a.FalseRejects, threshold(a.Threshold), least(a.Found))
	}
	_ = t.Flush() // a Builder takes everything
	for _, w := range o.warnings() {
		fold(b, "  careful: ", w)
	}
}

// threshold has all digits, so that it can be used as it stands: models give
// float32.
func threshold(v float64) string {
	if float64(float32(v)) == v {
		return strconv.FormatFloat(v, 'g', -1, 32)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// write prints the table.
func (t textTable) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n", plain(t.title))
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  %s\n", strings.Join(t.head, "\t"))
	for _, row := range t.rows {
		words := make([]string, len(row))
		for n, c := range row {
			words[n] = plain(c.text + c.bound)
		}
		fmt.Fprintf(w, "  %s\n", strings.Join(words, "\t"))
	}
	_ = w.Flush() // a Builder takes everything
}
