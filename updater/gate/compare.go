package gate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

// maxRefusals bounds what is told of one picture.
const maxRefusals = 8

// compare gives the differences between what was expected of a picture and
// what was found, the most telling first; none beyond tolerance is nil.
func compare(v *bundle.Vector, found *seen, within limits, raw bool) []Refusal {
	c := comparison{picture: v.Picture, tol: within}
	if found.broken > 0 {
		c.differ(WhatNumbers, "numbers", fmt.Sprintf("%d values that are NaN, infinite or out of range", found.broken))
	}
	if worst := found.worst(); worst.Verdict.String() != v.Verdict {
		c.differ(WhatVerdict, verdictText(v.Verdict, v.Reason), verdictText(worst.Verdict.String(), worst.Reason))
	}
	if v.Parts != nil {
		c.parts(v.Parts, found.parts)
	}
	c.detections(v.Detections, found.detections)
	if raw {
		c.outputs(v.Outputs, found.raw)
	}
	return c.refusals[:min(len(c.refusals), maxRefusals)]
}

// comparison collects the differences of one picture.
type comparison struct {
	picture  string
	tol      limits
	refusals []Refusal
}

func (c *comparison) differ(what, expected, found string) {
	c.refusals = append(c.refusals, Refusal{Picture: c.picture, What: what, Expected: expected, Found: found})
}

// parts compares where the parts are and what became of each.
func (c *comparison) parts(want []bundle.Judged, got []judged) {
	near := func(i, j int) bool { return boxOf(want[i].Box).IoU(got[j].part.Box) >= c.tol.IoU }
	same := func(i, j int) bool { return near(i, j) && got[j].decision.Verdict.String() == want[i].Verdict }
	pairs := pair(len(want), len(got), same)
	taken := map[int]bool{}
	for _, j := range pairs {
		taken[j] = true
	}
	for i, w := range want {
		if pairs[i] >= 0 {
			continue
		}
		expected := fmt.Sprintf("part at %s %s", boxText(boxOf(w.Box)), verdictText(w.Verdict, w.Reason))
		j := slices.IndexFunc(got, func(g judged) bool { return boxOf(w.Box).IoU(g.part.Box) >= c.tol.IoU })
		if j < 0 || taken[j] {
			c.differ(WhatPart, expected, "none there")
			continue
		}
		taken[j] = true
		c.differ(WhatVerdict, expected, verdictText(got[j].decision.Verdict.String(), got[j].decision.Reason))
	}
	for j, g := range got {
		if !taken[j] {
			c.differ(WhatPart, "no part", fmt.Sprintf("part at %s %s", boxText(g.part.Box), verdictText(g.decision.Verdict.String(), g.decision.Reason)))
		}
	}
}

// detections compares what the model saw. A detection so near the lowest
// recorded score that the tolerance reaches below it may come or go.
func (c *comparison) detections(want []bundle.Expected, got []vision.Detection) {
	certain := c.tol.lowest + c.tol.Score
	pairs := pair(len(want), len(got), func(i, j int) bool {
		return want[i].Label == got[j].Label && boxOf(want[i].Box).IoU(got[j].Box) >= c.tol.IoU &&
			abs(want[i].Score-got[j].Score) <= c.tol.Score
	})
	taken := map[int]bool{}
	for _, j := range pairs {
		taken[j] = true
	}
	for i, w := range want {
		if pairs[i] < 0 && w.Score > certain {
			c.missing(w, got, taken)
		}
	}
	for j, d := range got {
		if !taken[j] && d.Score > certain {
			c.differ(WhatDetection, "none there", detectionText(d.Label, d.Score, d.Box))
		}
	}
}

// missing tells what became of an expected detection: the nearest one of its
// label, with another score or box, or nothing.
func (c *comparison) missing(w bundle.Expected, got []vision.Detection, taken map[int]bool) {
	best, nearest := float32(0), -1
	for j, d := range got {
		if iou := boxOf(w.Box).IoU(d.Box); d.Label == w.Label && !taken[j] && iou > best {
			best, nearest = iou, j
		}
	}
	expected := detectionText(w.Label, w.Score, boxOf(w.Box))
	if nearest < 0 {
		c.differ(WhatDetection, expected, "nothing there")
		return
	}
	taken[nearest] = true
	d := got[nearest]
	text := detectionText(d.Label, d.Score, d.Box)
	if best < c.tol.IoU {
		c.differ(WhatBox, expected, fmt.Sprintf("%s, overlap %.3f is below %.3f", text, best, c.tol.IoU))
		return
	}
	c.differ(WhatScore, expected, fmt.Sprintf("%s, %.4f away is more than %.4f", text, abs(w.Score-d.Score), c.tol.Score))
}

// outputs compares the raw samples.
func (c *comparison) outputs(want []bundle.RawOutput, got []infer.RawSample) {
	if len(want) != len(got) {
		c.differ(WhatOutput, fmt.Sprintf("%d outputs", len(want)), fmt.Sprintf("%d", len(got)))
		return
	}
	for i, w := range want {
		g := got[i]
		if w.Name != g.Name || !slices.Equal(w.Shape, g.Shape) || w.Every != g.Every || len(w.Values) != len(g.Values) {
			c.differ(WhatOutput, outputText(w.Name, w.Shape, w.Every, len(w.Values)), outputText(g.Name, g.Shape, g.Every, len(g.Values)))
			continue
		}
		largest := float32(0)
		for _, x := range w.Values {
			largest = max(largest, abs(x))
		}
		far, at := float32(-1), 0
		for n, x := range w.Values {
			d := abs(x - g.Values[n])
			if d != d {
				d = float32(math.Inf(1))
			}
			if d > far {
				far, at = d, n
			}
		}
		if limit := c.tol.raw(w.Name, largest); far > limit {
			c.differ(WhatOutput, fmt.Sprintf("%s[%d] = %g", w.Name, at*w.Every, w.Values[at]),
				fmt.Sprintf("%g, %.3g away is more than %.3g", g.Values[at], far, limit))
		}
	}
}

// pair matches as many of n left things with m right ones as can be, each
// with one that fits; -1 for those without. The first of the left go first.
func pair(n, m int, fits func(i, j int) bool) []int {
	left, right := make([]int, n), make([]int, m)
	for i := range left {
		left[i] = -1
	}
	for j := range right {
		right[j] = -1
	}
	var seen []bool
	var augment func(i int) bool
	augment = func(i int) bool {
		for j := range m {
			if seen[j] || !fits(i, j) {
				continue
			}
			seen[j] = true
			if right[j] < 0 || augment(right[j]) {
				left[i], right[j] = j, i
				return true
			}
		}
		return false
	}
	for i := range n {
		seen = make([]bool, m)
		augment(i)
	}
	return left
}

func abs(v float32) float32 { return float32(math.Abs(float64(v))) }

func boxOf(b [4]float32) vision.Box { return vision.Box{X: b[0], Y: b[1], W: b[2], H: b[3]} }

func boxText(b vision.Box) string {
	return fmt.Sprintf("%.0f,%.0f %.0f×%.0f", b.X, b.Y, b.W, b.H)
}

func detectionText(label string, score float32, b vision.Box) string {
	return fmt.Sprintf("%s %.3f at %s", label, score, boxText(b))
}

func verdictText(verdict, reason string) string {
	if reason == "" {
		return verdict
	}
	return fmt.Sprintf("%s (%s)", verdict, reason)
}

func outputText(name string, shape []int64, every, values int) string {
	var dims []string
	for _, d := range shape {
		dims = append(dims, fmt.Sprint(d))
	}
	return fmt.Sprintf("%s of %s, %d values, every %d", name, strings.Join(dims, "×"), values, every)
}
