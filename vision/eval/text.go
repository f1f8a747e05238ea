package eval

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/sightline-edge/sightline/vision/score"
)

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s) on %d pictures of %s", r.Model, r.Family, r.Pictures, r.Truth)
	if r.Bad+r.Good > 0 && r.Good > 0 {
		fmt.Fprintf(&b, ": %d bad, %d good", r.Bad, r.Good)
		if r.Uncertain > 0 {
			fmt.Fprintf(&b, ", %d uncertain", r.Uncertain)
		}
	}
	b.WriteString("\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range r.figures() {
		fmt.Fprintf(t, "%s\t%.4f\t%s\n", f.name, *f.value, f.about)
	}
	if r.Accuracy != nil {
		fmt.Fprintf(t, "accuracy\t%.4f\t%s\n", r.Accuracy.Rate(), r.Accuracy.Least())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	r.Operating.write(&b)
	for _, table := range r.tables() {
		writeTable(&b, table)
	}
	if len(r.Worst) > 0 {
		b.WriteString("\nThe worst pictures\n")
		for _, s := range r.Worst[:min(len(r.Worst), 5)] {
			fmt.Fprintf(&b, "  %s: %s\n", s.Name, s.Why)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// named is a figure with its name.
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
		{"mask Dice", "", r.MaskDice},
		{"mask precision", "of the pixels that were found", r.MaskPrecision},
		{"mask recall", "of the pixels that are marked", r.MaskRecall},
		{"image AUROC", "bad against good pictures", r.ImageAUROC},
		{"image AP", "", r.ImageAP},
		{"pixel AUROC", "", r.PixelAUROC},
		{"AU-PRO", "up to 30 % false positives", r.AUPRO},
	}
	out := all[:0]
	for _, f := range all {
		if f.value != nil {
			out = append(out, f)
		}
	}
	return out
}

func (o *Operating) write(b *strings.Builder) {
	if o == nil {
		return
	}
	fmt.Fprintf(b, "\nAt a threshold of the picture's score (bad ones below it escape, good ones from it on are false rejects)\n")
	line := func(what string, p score.Point) {
		fmt.Fprintf(b, "  %s %.4f: escapes %s; false rejects %s\n", what, p.Threshold, p.Escapes, p.FalseRejects)
	}
	line("the model's own,", o.Confidence)
	if o.Suggested != nil {
		line(fmt.Sprintf("suggested for at most %g %% false rejects,", 100*o.Target), o.Suggested.Point)
		for _, w := range o.Suggested.Warnings {
			fmt.Fprintf(b, "    careful: %s\n", w)
		}
	}
	if o.NoEscapes != nil {
		line("without an escape,", o.NoEscapes.Point)
	}
	for _, a := range o.At {
		fmt.Fprintf(b, "  found at %g %% false rejects: %s\n", 100*a.FalseRejects, a.Found.Least())
	}
}

// textTable is a table of words.
type textTable struct {
	title string
	head  []string
	rows  [][]string
}

// tables are those by class and by slice, without columns that say nothing.
func (r *Report) tables() []textTable {
	var out []textTable
	if len(r.Classes) > 1 {
		t := textTable{"By class", []string{"class", "marked", "AP", "AP50", "mask AP"}, nil}
		for _, c := range r.Classes {
			t.rows = append(t.rows, []string{c.Name, fmt.Sprint(c.Truths), digits(c.AP), digits(c.AP50), digits(c.MaskAP)})
		}
		out = append(out, t.lean())
	}
	for _, s := range r.Slices {
		t := textTable{"By " + s.By, []string{"slice", "pictures", "AP", "image AUROC", "mask IoU", "escapes", "false rejects"}, nil}
		for _, row := range s.Rows {
			t.rows = append(t.rows, []string{row.Name, fmt.Sprint(row.Pictures), digits(row.AP), digits(row.ImageAUROC), digits(row.MaskIoU),
				counted(row.Escapes), counted(row.FalseRejects)})
		}
		out = append(out, t.lean())
	}
	return out
}

// lean leaves out columns in which no row has anything.
func (t textTable) lean() textTable {
	out := textTable{title: t.title, rows: make([][]string, len(t.rows))}
	for c, name := range t.head {
		empty := true
		for _, row := range t.rows {
			empty = empty && row[c] == ""
		}
		if empty {
			continue
		}
		out.head = append(out.head, name)
		for n, row := range t.rows {
			out.rows[n] = append(out.rows[n], row[c])
		}
	}
	return out
}

func writeTable(b *strings.Builder, t textTable) {
	fmt.Fprintf(b, "\n%s\n", t.title)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  %s\n", strings.Join(t.head, "\t"))
	for _, row := range t.rows {
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	_ = w.Flush() // a Builder takes everything
}

func digits(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.3f", *v)
}

func counted(s *score.Share) string {
	if s == nil || s.N == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", s.K, s.N)
}
