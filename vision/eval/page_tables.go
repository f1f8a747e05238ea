package eval

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sightline-edge/sightline/vision/score"
)

// pageTable is a table of the page; the rows of Rest are folded away.
type pageTable struct {
	Title, About string
	Head         []headView
	Rows, Rest   [][]cellView
}

type headView struct {
	Text   string
	Number bool
}

// cellView is a cell. Bar is a width in percent, "" where none is drawn.
type cellView struct {
	Text, Bound string
	Bar         string
	Number      bool
}

// unfolded is how many rows of a long table are seen at once.
const unfolded = 20

func viewOf(t textTable) pageTable {
	v := pageTable{Title: strings.ToUpper(t.title[:1]) + t.title[1:]}
	for n, h := range t.head {
		v.Head = append(v.Head, headView{h, n > 0})
	}
	for _, row := range t.rows {
		var cells []cellView
		for n, c := range row {
			cells = append(cells, cellView{c.text, strings.TrimPrefix(c.bound, ", "), bar(c.bar), n > 0})
		}
		v.Rows = append(v.Rows, cells)
	}
	if len(v.Rows) > unfolded+2 { // two more aren't worth a fold
		v.Rows, v.Rest = v.Rows[:unfolded], v.Rows[unfolded:]
	}
	return v
}

// bar is a share as a width in percent.
func bar(v *float64) string {
	if v == nil || math.IsNaN(*v) {
		return ""
	}
	return trimmed(100*min(max(*v, 0), 1), 1)
}

// trimmed has at most so many decimals.
func trimmed(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// aboutClasses says of many classes what a reader would look for in them.
func (r *Report) aboutClasses() string {
	var aps []float64
	var none []string
	for _, c := range r.Classes {
		if c.Truths == 0 || c.AP == nil {
			continue
		}
		if aps = append(aps, *c.AP); *c.AP == 0 {
			none = append(none, c.Name)
		}
	}
	if len(aps) < 5 {
		return "the most marked first"
	}
	slices.Sort(aps)
	s := fmt.Sprintf("the most marked first; half of the %d classes reach AP %s or more", len(aps), digits(aps[len(aps)/2]))
	if len(none) > 0 {
		s += fmt.Sprintf("; %d reach nothing: %s", len(none), few(none))
	}
	return s
}

// thresholds gathers what the page says of them, nil where none was measured.
func (r *Report) thresholds() *thresholds {
	o := r.Operating
	if o == nil {
		return nil
	}
	t := &thresholds{Plot: r.plot(), Care: o.warnings(), Own: !r.boxesOnly()}
	names, points := o.choices()
	for i, p := range points {
		t.Choices = append(t.Choices, choiceRow{Name: names[i], Threshold: threshold(p.Threshold), Suggested: strings.HasPrefix(names[i], "suggested"),
			Escapes: shareView(p.Escapes, at95), FalseRejects: shareView(p.FalseRejects, at95)})
	}
	for _, a := range o.At {
		row := recallRow{Rate: fmt.Sprintf("%g %%", 100*a.FalseRejects), Threshold: threshold(a.Threshold), Found: shareView(a.Found, least95)}
		row.Most = fmt.Sprintf("%d of %d", int(math.Floor(a.FalseRejects*float64(r.Good)+1e-9)), r.Good)
		t.Recall = append(t.Recall, row)
	}
	if !math.IsNaN(o.F1) {
		t.F1 = &tile{Name: "best F1", Value: digits(o.F1), Unit: "at " + threshold(o.F1At)}
	}
	return t
}

// shareView is a share as counts, its bound, and a bar.
func shareView(s score.Share, limit func(score.Share) string) cellView {
	if s.N == 0 {
		return cellView{Number: true}
	}
	rate := s.Rate()
	return cellView{Text: fmt.Sprintf("%d of %d", s.K, s.N), Bound: strings.TrimSuffix(limit(s), " at 95 %"), Bar: bar(&rate), Number: true}
}

func least95(s score.Share) string { return strings.TrimPrefix(bound(s.Least()), ", ") }
