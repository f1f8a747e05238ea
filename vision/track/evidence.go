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
}

// add takes a defect seen in frame seq, which shows the part as whole as view
// says, and keeps the best scores of its label, k at least; of several with one label in
// a frame only the best counts.
func (e *evidence) add(seq uint64, d vision.Detection, view float32, k int) {
	i := slices.IndexFunc(e.labels, func(l labelEvidence) bool { return l.label == d.Label })
	if i < 0 {
		i = len(e.labels)
		e.labels = append(e.labels, labelEvidence{label: d.Label})
	}
	l := &e.labels[i]
	if l.frames > 0 && l.frame == seq {
		return // detections come best first
	}
	l.frame = seq
	l.frames++
	l.top = append(l.top, d.Score)
	slices.SortFunc(l.top, func(a, b float32) int { return cmp.Compare(b, a) })
	l.top = l.top[:min(len(l.top), max(k, maxEvidence))]
	if d.Score > l.score {
		l.score, l.box = d.Score, d.Box
	}
	e.bestScore = max(e.bestScore, d.Score)
	if v := d.Score * view; v > e.bestView {
		e.best, e.bestView = seq, v
	}
}

// list tells each label with the score that at least k frames reached, 0 for
// one that fewer frames showed: one flicker rejects nothing, three do.
func (e *evidence) list(k int) []vision.Evidence {
	out := make([]vision.Evidence, 0, len(e.labels))
	for _, l := range e.labels {
		v := vision.Evidence{Label: l.label, Frames: l.frames, Box: l.box}
		if len(l.top) >= k {
			v.Score = l.top[k-1]
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b vision.Evidence) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Label, b.Label))
	})
	return out
}
