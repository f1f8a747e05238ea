package vision

import (
	"fmt"
	"time"
)

// Verdict is the decision about one part. The zero value is None, which
// rejects: whatever is forgotten, late or broken never passes a part.
type Verdict uint8

// The three verdicts. People read None as "NO DECISION – REJECTED".
const (
	None Verdict = iota
	Pass
	Fail
)

func (v Verdict) String() string {
	switch v {
	case Pass:
		return "PASS"
	case Fail:
		return "FAIL"
	}
	return "NONE"
}

// MarshalText gives the name as it stands in JSON and in records.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote and refuses everything else.
func (v *Verdict) UnmarshalText(b []byte) error {
	switch string(b) {
	case "PASS":
		*v = Pass
	case "FAIL":
		*v = Fail
	case "NONE":
		*v = None
	default:
		return fmt.Errorf("verdict %q is none of PASS, FAIL, NONE", b)
	}
	return nil
}

// Reasons of a verdict NONE that the agent itself gives. A rule's reasons are
// its own words.
const (
	ReasonNoRule      = "no_rule"      // the station has no rule
	ReasonNotRecorded = "not_recorded" // the verdict was not on disk by the deadline
	ReasonRuleFailed  = "rule_failed"  // the rule trapped, ran too long or answered nonsense
	ReasonModelFailed = "model_failed" // no frame of the part was inspected to the end
	ReasonStopped     = "stopped"      // the agent ended while the part was in view
	ReasonLate        = "late"         // no result by the trigger's deadline
	ReasonNoFrame     = "no_frame"     // the camera gave no picture for the trigger
	ReasonStale       = "stale"        // the picture was older than the station's max_age
	ReasonOverrun     = "overrun"      // triggers came faster than they can be answered
	ReasonWrongRecipe = "wrong_recipe" // the trigger names a recipe that isn't the active one
	ReasonViewMissing = "view_missing" // one of several cameras gave no picture
	ReasonNoPart      = "no_part"      // the picture shows no part
	ReasonRepeatedID  = "repeated_id"  // the trigger's ID was another part's within the window: it isn't that one's answer
	ReasonStarting    = "starting"     // the agent has just started, and doesn't know its earlier triggers yet
	ReasonDoubt       = "doubt"        // the model wasn't sure, or the rule asked for the large one, and that couldn't look
	ReasonOverload    = "overload"     // the last degradation step: the device can't inspect well enough now
	ReasonCamera      = "camera_"      // with a fault's name behind it: the camera's pictures couldn't be trusted
)

// Evidence is what all frames of a part together say about one defect label.
type Evidence struct {
	Label  string
	Score  float32 // 0 to 1: the score that at least k frames reached (package track)
	Peak   float32 // its best score in any single frame; 0 where nobody kept it
	Frames int     // how many frames showed it
	Box    Box     // in the frame where it scored best
	View   int     // index in Part.Views of what saw it; 0 without them

	Area     int        // pixels of its regions in that frame; 0 of a model that gives none
	Outlines [][][2]int // around them, closed polygons in that frame's pixels
}

// mostOutline bounds the points around the regions of one label.
const mostOutline = 160

// Show takes the shapes of what showed the evidence, all of them in the frame
// of Box and best first.
func (e *Evidence) Show(shapes []Detection) {
	e.Area, e.Outlines = 0, nil
	left := mostOutline
	for i := range shapes {
		d := &shapes[i]
		if d.Mask != nil {
			e.Area += d.Mask.Area()
		}
		for _, o := range d.Outlines(max(left/2, 3)) {
			if left -= len(o); left >= 0 {
				e.Outlines = append(e.Outlines, o)
			}
		}
	}
}

// View is what one of several cameras contributed to a part.
type View struct {
	Camera        string
	Seq           uint64 // of the frame
	Captured      time.Time
	Width, Height int // pixels of the frame
}

// Part is one physical part as the tracker saw it, from its first frame to
// its last.
type Part struct {
	ID       string
	Label    string
	Score    float32 // best score of the part itself
	Box      Box     // in the best frame
	Defects  []Evidence
	Frames   int // frames that showed the part
	First    uint64
	Last     uint64 // Seq of the first and last frame that showed it
	Best     uint64 // Seq of the frame that Box was taken from
	Name     string // file name of the picture, of a part that came from a folder
	Camera   string // that saw it, as track.Config names it
	Seen     time.Time
	LastSeen time.Time // Captured of the first and last frame that showed it
	BestSeen time.Time // and of the best

	Trigger string // ID of the trigger that asked for it; "" where parts are followed
	Attempt int    // inspection of this ID, from 1; 0 counts as 1
	Views   []View // of a part that several cameras saw at once; else nil
}

// Decision is a verdict with its reason.
type Decision struct {
	Verdict      Verdict
	Reason       string // short, for people; "ok" or the rule's own words
	Measurements []Measurement
}

// Measurement is one number that a rule compared with its limits.
type Measurement struct {
	Name  string
	Value float64
	Limit float64
	Unit  string // "" for scores
}

// ReasonText puts one of the agent's own reasons into words; a rule's stay as they are.
func ReasonText(r string) string {
	switch r {
	case ReasonNoRule:
		return "the station has no rule"
	case ReasonNotRecorded:
		return "not recorded in time"
	case ReasonRuleFailed:
		return "the rule failed"
	case ReasonModelFailed:
		return "the model failed"
	case ReasonStopped:
		return "the agent was stopped"
	case ReasonLate:
		return "not decided in time"
	case ReasonNoFrame:
		return "the camera gave no picture"
	case ReasonStale:
		return "the picture was too old"
	case ReasonOverrun:
		return "triggers came too fast"
	case ReasonWrongRecipe:
		return "the trigger named another recipe"
	case ReasonViewMissing:
		return "a camera gave no picture"
	case ReasonNoPart:
		return "no part in the picture"
	case ReasonRepeatedID:
		return "the trigger's ID was another part's"
	case ReasonStarting:
		return "the agent was starting"
	case ReasonDoubt:
		return "in doubt, and the large model couldn't look"
	case ReasonOverload:
		return "the device was overloaded"
	}
	return r
}
