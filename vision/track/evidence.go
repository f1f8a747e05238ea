package track

import (
	"cmp"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// Of a part's frames one in evidenceShare must agree on a defect, at least
// Config.Evidence and at most maxEvidence: among the hundred frames of a slow
// belt three chance scores are likelier than among twenty.
const (
	evidenceShare = 16
	maxEvidence   = 8
)

// needed is how many of a part's frames must agree on a defect.
func (c Config) needed(frames int) int {
	return min(max(c.Evidence, min(frames/evidenceShare, maxEvidence)), frames)
}

// evidence collects what the frames of a part say about its defects.
type evidence struct {
	labels    []labelEvidence
	frames    int     // views, also those that show no defect
	top       uint64  // Seq of the best view of the part, whatever it shows
	topView   float32 // how good that is
	best      uint64  // Seq of the frame that shows a defect best, the part whole
	bestView  float32 // its score, less for a part that is cut by the border
	bestScore float32 // of any defect in any frame
}

type labelEvidence struct {
	label  string
	frame  uint64 // the newest frame that showed it
	frames int
	top    []float32 // the best scores, one a frame, highest first
	score  float32   // best
	box    vision.Box

	bestFrame uint64             // that it was best in
	shapes    []vision.Detection // that frame's with this label, of a model that gives shapes
	area      int                // pixels of all of them, those that aren't kept included

	counts *counts  // of all scores, for Majority
	recent []recent // of the newest N views, for KofN
	seen   uint64   // for Best: Seq of the best view that showed it
	inBest float32  // and its score there
}

// recent is the score of one of the newest views.
type recent struct {
	view  int // its number
	score float32
}

// look counts a view of the part, before the defects that it shows are added.
func (e *evidence) look(seq uint64, quality float32) {
	e.frames++
	if quality > e.topView {
		e.top, e.topView = seq, quality
	}
}

// add takes a defect seen in frame seq, which shows the part as whole as view
// says, and keeps the best scores of its label; of several with one label in
// a frame only the best counts.
func (e *evidence) add(seq uint64, d vision.Detection, view float32, cfg *Config) {
	i := slices.IndexFunc(e.labels, func(l labelEvidence) bool { return l.label == d.Label })
	if i < 0 {
		i = len(e.labels)
		e.labels = append(e.labels, labelEvidence{label: d.Label})
	}
	l := &e.labels[i]
	if l.frames > 0 && l.frame == seq { // detections come best first
		if l.bestFrame == seq {
			l.shape(d)
		}
		return
	}
	l.frame = seq
	l.frames++
	l.top = append(l.top, d.Score)
	slices.SortFunc(l.top, func(a, b float32) int { return cmp.Compare(b, a) })
	l.top = l.top[:min(len(l.top), max(cfg.Evidence, maxEvidence))]
	l.keep(seq, e, d.Score, cfg.Combine)
	if d.Score > l.score {
		l.score, l.box, l.bestFrame, l.shapes, l.area = d.Score, d.Box, seq, nil, 0
		l.shape(d)
	}
	e.bestScore = max(e.bestScore, d.Score)
	if v := d.Score * view; v > e.bestView {
		e.best, e.bestView = seq, v
	}
}

// maxShapes bounds the regions of one label whose outlines are told.
const maxShapes = 64

// shape keeps what was detected, if it is more than a box.
func (l *labelEvidence) shape(d vision.Detection) {
	if d.Mask != nil {
		l.area += d.Mask.Area()
	}
	if (d.Mask != nil || d.Oriented != nil) && len(l.shapes) < maxShapes {
		l.shapes = append(l.shapes, d)
	}
}

// keep notes what the combination needs beside the best scores. What it takes
// doesn't grow with the frames: a part may stand in view for days.
func (l *labelEvidence) keep(seq uint64, e *evidence, score float32, c Combine) {
	switch c.Kind {
	case Majority:
		if l.counts == nil {
			l.counts = &counts{}
		}
		l.counts.add(score)
	case KofN:
		l.recent = slices.DeleteFunc(l.recent, func(r recent) bool { return r.view <= e.frames-c.N })
		l.recent = append(l.recent, recent{e.frames, score})
	case Best:
		if e.top == seq {
			l.seen, l.inBest = seq, score
		}
	}
}

// combined is the label's score.
func (l *labelEvidence) combined(e *evidence, cfg Config) float32 {
	switch c := cfg.Combine; c.Kind {
	case Any:
		return l.score
	case Majority:
		return l.counts.reached(e.frames/2 + 1)
	case KofN:
		var scores []float32
		for _, r := range l.recent {
			if r.view > e.frames-c.N {
				scores = append(scores, r.score)
			}
		}
		slices.SortFunc(scores, func(a, b float32) int { return cmp.Compare(b, a) })
		return reached(scores, min(c.K, e.frames))
	case Best:
		if l.seen == e.top {
			return l.inBest
		}
		return 0
	}
	return reached(l.top, cfg.needed(e.frames))
}

// reached is the k-th of scores that are sorted, highest first: what k frames
// reached; 0 if there are fewer.
func reached(scores []float32, k int) float32 {
	if k = max(k, 1); len(scores) < k {
		return 0
	}
	return scores[k-1]
}

// counts sorts any number of scores by steps of 1/256.
type counts [257]struct {
	n      int
	lowest float32 // of the scores in this step
}

func (c *counts) add(score float32) {
	b := &c[int(min(max(score, 0), 1)*256)]
	if b.n == 0 || score < b.lowest {
		b.lowest = score
	}
	b.n++
}

// reached is a score that k frames reached and, but for a step's width, the
// highest one.
func (c *counts) reached(k int) float32 {
	for i := len(c) - 1; i >= 0; i-- {
		if k -= c[i].n; k <= 0 {
			return c[i].lowest
		}
	}
	return 0
}

// list tells each label with its score, by default the one that a few frames
// reached, 0 for one that fewer showed: one flicker rejects nothing, three do.
func (e *evidence) list(cfg Config) []vision.Evidence {
	out := make([]vision.Evidence, 0, len(e.labels))
	for i := range e.labels {
		l := &e.labels[i]
		one := vision.Evidence{Label: l.label, Score: l.combined(e, cfg), Peak: l.score, Frames: l.frames, Box: l.box}
		one.Show(l.shapes)
		one.Area = l.area
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b vision.Evidence) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Label, b.Label))
	})
	return out
}
