package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sightline-edge/sightline/vision/score"
)

// textTable is a table for people, as text and on the page.
type textTable struct {
	title string
	head  []string
	rows  [][]cell
}

// cell is one place of a table.
type cell struct {
	text  string   // a name, a figure, or "1 of 32"
	bound string   // what follows it: ", ≤ 14.0 %"
	bar   *float64 // 0 to 1, for figures that are drawn
}

// tables are those by class and by slice, without columns that say nothing.
func (r *Report) tables() []textTable {
	var out []textTable
	if len(r.Classes) > 1 {
		out = append(out, r.classTable())
	}
	for _, s := range r.Slices {
		out = append(out, s.text())
	}
	return out
}

// classTable has the classes of which most is marked first.
func (r *Report) classTable() textTable {
	sorted := slices.Clone(r.Classes)
	slices.SortStableFunc(sorted, func(a, b Class) int { return cmp.Compare(b.Truths, a.Truths) })
	t := textTable{"By class", []string{"class", "marked", "AP", "AP50", "mask AP"}, nil}
	for _, c := range sorted {
		t.rows = append(t.rows, []cell{{text: c.Name}, {text: strconv.Itoa(c.Truths)}, figureCell(c.AP), figureCell(c.AP50), figureCell(c.MaskAP)})
	}
	return t.lean()
}

func (s *Table) text() textTable {
	t := textTable{"By " + s.By, []string{"slice", "pictures", "AP", "image AUROC", "mask IoU", "escapes", "false rejects"}, nil}
	for _, row := range s.Rows {
		t.rows = append(t.rows, []cell{{text: row.Name}, {text: strconv.Itoa(row.Pictures)}, figureCell(row.AP), figureCell(row.ImageAUROC), figureCell(row.MaskIoU),
			shareCell(row.Escapes), shareCell(row.FalseRejects)})
	}
	t = t.lean()
	if slices.Contains(t.head, "escapes") || slices.Contains(t.head, "false rejects") {
		t.title += ", bounds at 95 %"
	}
	return t
}

// lean leaves out columns in which no row has anything.
func (t textTable) lean() textTable {
	out := textTable{title: t.title, rows: make([][]cell, len(t.rows))}
	for c, name := range t.head {
		if !slices.ContainsFunc(t.rows, func(row []cell) bool { return row[c].text != "" }) {
			continue
		}
		out.head = append(out.head, name)
		for n, row := range t.rows {
			out.rows[n] = append(out.rows[n], row[c])
		}
	}
	return out
}

func figureCell(v *float64) cell {
	if v == nil || math.IsNaN(*v) {
		return cell{}
	}
	return cell{text: digits(*v), bar: v}
}

// digits are three, or up to six where that keeps a figure apart from 0 and 1.
func digits(v float64) string {
	for n := 3; n <= 6; n++ {
		s := strconv.FormatFloat(v, 'f', n, 64)
		if fake := v != 0 && strings.Trim(s, "-0.") == "" || v < 1 && strings.HasPrefix(s, "1"); !fake {
			return s
		}
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

func shareCell(s *score.Share) cell {
	if s == nil || s.N == 0 {
		return cell{}
	}
	return cell{text: fmt.Sprintf("%d of %d", s.K, s.N), bound: bound(s.String())}
}

// counted is a share that should be small, least one that should be large, each
// with its bound; that it holds at 95 % is said where the bounds stand.
func counted(s *score.Share) string {
	c := shareCell(s)
	return c.text + c.bound
}

func least(s score.Share) string {
	if s.N == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d%s", s.K, s.N, bound(s.Least()))
}

// bound is what a share says after its counts: ", ≤ 0.7 %".
func bound(said string) string {
	at := strings.Index(said, ", ")
	if at < 0 {
		return ""
	}
	return strings.TrimSuffix(said[at:], " at 95 %")
}
