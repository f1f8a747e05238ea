package agent

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

// Cascade is a large model beside the one that looks at each part, and when it is
// asked: the part is in doubt, by one of the kinds that are set or because the rule
// says so. What the rule then makes of the large model's evidence is final.
type Cascade struct {
	Large  *infer.Worker // may serve other stations too; it has the labels of the lane's model; nil: Remote looks
	About  Model         // what verdicts say of it
	Remote *Remote       // on another machine; nil: Large looks
	Unfit  string        // why neither looks beside the lane's model, for people; "": one does

	Band         *Band         // of scores that are in doubt; nil: none is
	Disagreement bool          // pictures or cameras that would decide differently are doubt
	Crop         bool          // it sees the part with a margin around it; else the picture that the first model saw
	Budget       time.Duration // of its runs a part, on average over the newest budgetParts; 0: any
	Small        bool          // where it can't look, the decision that stood before does; else the part gets NONE doubt
}

// Band is from which score of a part's worst defect to which there is doubt, both
// included; of a model that scores the picture, that score.
type Band struct{ Low, High float32 }

// Look is a model's part in a verdict.
type Look struct {
	Model  Model
	Why    string        // WhyPart, or what made the part doubtful
	Took   time.Duration // that it ran, on all pictures of the part that it saw
	Score  *float32      // that it gave the worst defect, or the picture; nil where it didn't look
	Missed string        // why it didn't look after all; "" where it did
	Remote bool          // it runs on another machine
}

// Why a model looked at a part.
const (
	WhyPart         = "part"         // it looks at each
	WhyBand         = "band"         // the deciding score lay in the band of doubt
	WhyDisagreement = "disagreement" // pictures or cameras would have decided differently
	WhyRule         = "rule"         // the rule asked
)

// Whys are the reasons for a second look, in the order in which they are looked for.
func Whys() []string { return []string{WhyRule, WhyBand, WhyDisagreement} }

// Why the large model gave way.
const (
	MissedOverload   = "overload"   // the device has more to do than it can, or is to spare heat or power
	MissedBudget     = "budget"     // its runs would cost more than the station allows
	MissedLate       = "late"       // its result wouldn't be there by the deadline, or wasn't
	MissedUnmeasured = "unmeasured" // nobody knows yet how long it takes
	MissedDown       = "down"       // it isn't loaded, was given up, or doesn't fit the model that serves
	MissedFailed     = "failed"     // it gave no result
	MissedPicture    = "no_picture" // no picture of the part was kept
	MissedPart       = "no_part"    // it doesn't see the part that the other model saw
	MissedStopped    = "stopped"    // the agent ended
	MissedBreaker    = "breaker"    // its server has failed too often of late to be asked
)

// MissedReasons are all of them.
func MissedReasons() []string {
	return []string{MissedOverload, MissedBudget, MissedLate, MissedUnmeasured, MissedDown, MissedFailed, MissedPicture, MissedPart, MissedStopped, MissedBreaker}
}

// worstOf is the deciding score of a part: the picture's where the model gives one,
// else the worst defect's.
func worstOf(p *vision.Part, picture *float32) float32 {
	if picture != nil {
		return *picture
	}
	worst := float32(0)
	for _, e := range p.Defects {
		worst = max(worst, e.Score)
	}
	return worst
}

// judge is a rule with the size of the picture that a part's box is in.
type judge struct {
	decide        func(ctx context.Context, p vision.Part, width, height int) vision.Decision
	width, height int
}

func (j judge) of(ctx context.Context, p vision.Part) vision.Decision {
	return j.decide(ctx, p, j.width, j.height)
}

// doubt is why the large model is to look at a part that the rule has decided so; ""
// for none. Score is the deciding one.
func (c *Cascade) doubt(ctx context.Context, rule judge, p *vision.Part, d vision.Decision, score float32) string {
	switch {
	case d.Verdict == vision.None && d.Reason == vision.ReasonDoubt:
		return WhyRule
	case d.Verdict == vision.None: // it failed, or knows why it doesn't decide
		return ""
	case c.Band != nil && score >= c.Band.Low && score <= c.Band.High:
		return WhyBand
	case c.Disagreement && disagrees(ctx, rule, p, d):
		return WhyDisagreement
	}
	return ""
}

// disagrees tells whether the part would be decided differently by each label's highest
// score in any picture than it was by all together, or by one of its cameras than by another.
func disagrees(ctx context.Context, rule judge, p *vision.Part, d vision.Decision) bool {
	if len(p.Views) > 1 {
		first := vision.None
		for n := range p.Views {
			v := rule.decide(ctx, seenBy(p, n), p.Views[n].Width, p.Views[n].Height).Verdict
			if n > 0 && v != first {
				return true
			}
			first = v
		}
		return false
	}
	best, other := *p, false
	best.Defects = nil
	for _, e := range p.Defects {
		other = other || e.Peak > e.Score
		e.Score = max(e.Score, e.Peak)
		best.Defects = append(best.Defects, e)
	}
	return other && rule.of(ctx, best).Verdict != d.Verdict
}

// seenBy is the part as if one of its cameras alone had seen it.
func seenBy(p *vision.Part, view int) vision.Part {
	one := *p
	one.Views, one.Defects, one.Camera = nil, nil, p.Views[view].Camera
	for _, e := range p.Defects {
		if e.View == view {
			e.View = 0
			one.Defects = append(one.Defects, e)
		}
	}
	return one
}

// sameBox is from which overlap on the large model's part is the one that is meant.
const sameBox = 0.3

// gather adds to a part what the large model saw of it in one picture. It is false where a model that knows parts doesn't see it: then what it
// says of defects says nothing of this part.
func (l *lane) gather(p *vision.Part, r *infer.Result, x *exhibit) bool {
	box := x.box
	parts, defects := sides(l.Track, r.Detections)
	switch {
	case x.whole:
		parts = nil
	case knowsParts(l.Track):
		best, mine := float32(sameBox), vision.Box{}
		for _, d := range parts {
			if o := d.Box.IoU(box); o >= best {
				best, mine = o, d.Box
			}
		}
		if box = mine; box == (vision.Box{}) {
			return false
		}
	}
	for _, e := range evidenceOf(defects, parts, box) {
		e.View = x.view
		p.Defects = append(p.Defects, e)
	}
	return true
}

// otherwise is the decision where the large model can't look.
func (c *Cascade) otherwise(d vision.Decision) vision.Decision {
	if c.Small {
		return d
	}
	return vision.Decision{Reason: vision.ReasonDoubt}
}

// onWire are the looks of a result.
func onWire(looks []Look) []*wire.Look {
	var out []*wire.Look
	for _, l := range looks {
		out = append(out, &wire.Look{
			Model: wire.Name(l.Model.Name), Version: wire.Name(l.Model.Version), Digest: l.Model.Digest, Why: l.Why,
			Took: int64(l.Took.Truncate(time.Microsecond)), Score: l.Score, Missed: l.Missed, Remote: l.Remote,
		})
	}
	return out
}

// about is what verdicts say of the large model.
func (c *Cascade) about() Model {
	if c.Remote != nil {
		return c.Remote.About()
	}
	return c.About
}

// looker is a worker of a loadout, with what verdicts say of its model.
type looker struct {
	worker *infer.Worker
	about  Model
}

// lookers are the workers that the loadout has on this machine.
func (l *Loadout) lookers() (out []looker) {
	all := []looker{{l.Model, l.About}, {l.Small, l.SmallAbout}}
	if c := l.Cascade; c != nil {
		all = append(all, looker{c.Large, c.About})
	}
	for _, k := range all {
		if k.worker != nil {
			out = append(out, k)
		}
	}
	return out
}

// unsigned names the first of the loadout's models that nobody signed, "" for none.
func (l *Loadout) unsigned() string {
	for _, k := range l.lookers() {
		if k.about.Unsigned {
			return k.about.Name
		}
	}
	return ""
}

// Workers are those that the loadout has on this machine.
func (l *Loadout) Workers() (out []*infer.Worker) {
	for _, k := range l.lookers() {
		out = append(out, k.worker)
	}
	return out
}
