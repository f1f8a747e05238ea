package eval

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sightline-edge/sightline/vision/score"
)

// plot is escapes and false rejects over the threshold, and the scores below them
// on the same axis. Its paths lie in a box of 1000×100, y down; what stands at a
// place is a percentage of the width.
type plot struct {
	Desc                  string
	Ticks                 []mark // of the threshold
	Rates                 []mark // of the shares; At from the top
	Escapes, FalseRejects steps
	Lines                 []mark
	BadScores, GoodScores bars
	Lanes                 int // of the lines' names
}

type mark struct {
	At, Label, Kind string
	Left            bool // the label stands to the left of its line
	Lane            int
}

// steps is a curve with its 95 % interval.
type steps struct {
	Line, Band string
	Of         int
}

// bars is a histogram.
type bars struct {
	Path     string
	Of, Peak int
}

// columns is how many parts of the threshold's axis hold two points at most: as
// many as a screen can show.
const columns = 600

// axis is a range of thresholds.
type axis struct{ low, high float64 }

// x is where a threshold lies, 0 to 1000.
func (a axis) x(v float64) float64 { return 1000 * min(max((v-a.low)/(a.high-a.low), 0), 1) }

// axisOf holds the curve and the thresholds that are drawn; scores that use much
// of 0 to 1 get all of it.
func axisOf(points []score.Point, more ...float64) axis {
	a := axis{points[0].Threshold, points[len(points)-1].Threshold}
	for _, v := range more {
		a.low, a.high = min(a.low, v), max(a.high, v)
	}
	span := a.high - a.low
	if a.low >= 0 && a.high <= 1.0001 && span > 0.4 {
		return axis{0, 1}
	}
	if least := 1e-6 * max(math.Abs(a.low), math.Abs(a.high), 1e-3); span < least {
		span = max(math.Abs(a.low), 1e-2)
	}
	return axis{a.low - span/20, a.high + span/20}
}

func (r *Report) plot() *plot {
	points := r.Operating.Curve
	if r.curve != nil {
		points = r.curve.Points
	}
	if len(points) == 0 {
		return nil
	}
	o := r.Operating
	drawn := []mark{{Label: "model's own " + short(o.Confidence.Threshold), Kind: "own"}}
	at := []float64{o.Confidence.Threshold}
	if o.Suggested != nil {
		drawn, at = append(drawn, mark{Label: "suggested " + short(o.Suggested.Threshold), Kind: "suggested", Lane: 1}), append(at, o.Suggested.Threshold)
	}
	a := axisOf(points, at...)
	for i := range drawn {
		x := a.x(at[i])
		drawn[i].At, drawn[i].Left = trimmed(x/10, 2), x > 500
	}
	p := &plot{Lines: drawn, Lanes: len(drawn), Ticks: a.ticks(), Desc: r.describe(points)}
	for _, rate := range []int{100, 75, 50, 25, 0} {
		p.Rates = append(p.Rates, mark{At: fmt.Sprint(100 - rate), Label: fmt.Sprint(rate)})
	}
	seen := a.thin(points)
	p.Escapes = a.steps(seen, func(p score.Point) score.Share { return p.Escapes })
	p.FalseRejects = a.steps(seen, func(p score.Point) score.Share { return p.FalseRejects })
	p.GoodScores, p.BadScores = a.histogram(r.hist[0]), a.histogram(r.hist[1])
	return p
}

// describe is the plot in words, for those who can't see it.
func (r *Report) describe(points []score.Point) string {
	first, last := points[0], points[len(points)-1]
	s := fmt.Sprintf("As the threshold goes from %s to %s, escapes rise from %d to %d of %d bad pictures and false rejects fall from %d to %d of %d good ones.",
		short(first.Threshold), short(last.Threshold), first.Escapes.K, last.Escapes.K, last.Escapes.N, first.FalseRejects.K, last.FalseRejects.K, last.FalseRejects.N)
	names, at := r.Operating.choices()
	for i, p := range at {
		s += fmt.Sprintf(" %s, %s: escapes %s, false rejects %s.", strings.ToUpper(names[i][:1])+names[i][1:], short(p.Threshold), p.Escapes, p.FalseRejects)
	}
	return s
}

// short is a threshold for reading, not for setting: four digits.
func short(v float64) string {
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e6) {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	s := strconv.FormatFloat(v, 'g', 4, 64)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return s
}

// thin keeps the first and the last point of each column.
func (a axis) thin(points []score.Point) []score.Point {
	column := func(i int) int { return int(a.x(points[i].Threshold) * columns / 1000) }
	var out []score.Point
	for i := range points {
		if i == 0 || i == len(points)-1 || column(i) != column(i-1) || column(i) != column(i+1) {
			out = append(out, points[i])
		}
	}
	return out
}

// steps draws what holds up to each point's threshold: a picture is rejected that
// scores the threshold or more.
func (a axis) steps(points []score.Point, of func(score.Point) score.Share) steps {
	rates, lows, highs := make([]float64, len(points)), make([]float64, len(points)), make([]float64, len(points))
	for i, p := range points {
		s := of(p)
		lows[i], highs[i] = s.Interval()
		if s.N > 0 {
			rates[i] = s.Rate()
		}
	}
	var back strings.Builder
	for i := len(points) - 1; i >= 0; i-- {
		from := 0.0
		if i > 0 {
			from = a.x(points[i-1].Threshold)
		}
		fmt.Fprintf(&back, "V%sH%s", height(lows[i]), trimmed(from, 1))
	}
	return steps{Line: a.stairs(points, rates), Band: a.stairs(points, highs) + back.String() + "Z", Of: of(points[0]).N}
}

// stairs goes along the thresholds, and at each to the next one's height.
func (a axis) stairs(points []score.Point, heights []float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "M0 %s", height(heights[0]))
	for i := 1; i < len(points); i++ {
		x := trimmed(a.x(points[i-1].Threshold), 1)
		if heights[i] != heights[i-1] {
			fmt.Fprintf(&b, "H%sV%s", x, height(heights[i]))
		}
	}
	b.WriteString("H1000")
	return b.String()
}

// height is a share from the top, 0 to 100.
func height(share float64) string { return trimmed(100*(1-share), 2) }

// histogramBars is in how many parts scores are counted.
const histogramBars = 50

func (a axis) histogram(scores []float64) bars {
	out := bars{Of: len(scores)}
	counts := make([]int, histogramBars)
	for _, s := range scores {
		n := min(int(a.x(s)*histogramBars/1000), histogramBars-1)
		counts[n]++
		out.Peak = max(out.Peak, counts[n])
	}
	const wide = 1000.0 / histogramBars
	var b strings.Builder
	for i, n := range counts {
		if n > 0 { // one picture is seen beside thousands
			fmt.Fprintf(&b, "M%s 100V%sh%sV100z", trimmed(wide*float64(i)+1, 1), trimmed(100-max(100*float64(n)/float64(out.Peak), 3), 1), trimmed(wide-2, 1))
		}
	}
	out.Path = b.String()
	return out
}

// ticks are at round numbers.
func (a axis) ticks() []mark {
	step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/5)))
	for _, by := range []float64{5, 2} {
		if (a.high-a.low)/(step*by) >= 4 {
			step *= by
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var out []mark
	for k := math.Ceil(a.low/step - 1e-9); k*step <= a.high+step*1e-9 && len(out) < 12; k++ {
		v := k*step + 0 // not -0
		label := strconv.FormatFloat(v, 'f', decimals, 64)
		if decimals > 9 || math.Abs(v) >= 1e6 {
			label = strconv.FormatFloat(v, 'g', 8, 64)
		}
		out = append(out, mark{At: trimmed(a.x(v)/10, 2), Label: label})
	}
	return out
}
