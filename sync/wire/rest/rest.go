// Package rest is a result as the REST interfaces of device and fleet tell it.
// It is a leaf beside package wire.
package rest

import (
	"math"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// Box is x, y, width, height in the frame's pixels.
type Box [4]float32

// NewBox is the box as JSON has it.
func NewBox(b vision.Box) Box { return Box{Finite(b.X), Finite(b.Y), Finite(b.W), Finite(b.H)} }

// Finite is the number as JSON has it, which knows none without an end: those
// become the largest there are, and what is no number becomes 0.
func Finite[T float32 | float64](v T) T {
	if math.IsNaN(float64(v)) {
		return 0
	}
	largest := math.MaxFloat64
	if _, single := any(v).(float32); single {
		largest = math.MaxFloat32
	}
	most := T(largest)
	return min(max(v, -most), most)
}

// MS is a duration in milliseconds, as JSON has it.
func MS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Result is one inspected part.
type Result struct {
	Seq           uint64         `json:"seq" doc:"its number in the journal, the order of events; 0 when it was told without being recorded"`
	ID            string         `json:"id" doc:"the part"`
	Station       string         `json:"station"`
	Line          string         `json:"line,omitempty"`
	Camera        string         `json:"camera,omitempty" doc:"which saw it: its name, or its address where it has none"`
	Label         string         `json:"label" doc:"what kind of part the model saw"`
	Verdict       vision.Verdict `json:"verdict" enum:"PASS,FAIL,NONE" doc:"what the rule decided; NONE is no decision, which rejects"`
	Reason        string         `json:"reason" doc:"why"`
	Told          *Told          `json:"told,omitempty" doc:"what the line was told, where that differs"`
	Score         float32        `json:"score" doc:"of the part itself, 0 to 1"`
	Box           Box            `json:"box" doc:"of the part: x, y, width, height in pixels, in its best picture"`
	Evidence      []Evidence     `json:"evidence,omitempty" doc:"the defects that were seen"`
	Measurements  []Measurement  `json:"measurements,omitempty" doc:"what the rule compared"`
	Frames        int            `json:"frames" doc:"pictures that showed the part"`
	FirstFrame    uint64         `json:"first_frame" doc:"number of the first picture that showed it"`
	LastFrame     uint64         `json:"last_frame" doc:"number of the last picture that showed it"`
	FirstCaptured time.Time      `json:"first_captured" doc:"when the first picture was taken"`
	LastCaptured  time.Time      `json:"last_captured" doc:"when the last picture was taken"`
	Decided       time.Time      `json:"decided" doc:"when the rule decided"`
	LatencyMS     float64        `json:"latency_ms" doc:"last picture taken → decided, ms"`
	Trigger       string         `json:"trigger_id,omitempty" doc:"the trigger that asked for it; absent where parts are followed"`
	Attempt       int            `json:"attempt" doc:"1 for the first inspection of the part"`
	Recipe        string         `json:"recipe,omitempty" doc:"which was active; absent at a station without recipes"`
	Views         []PartView     `json:"views,omitempty" doc:"what several cameras contributed, each at the same moment"`
	Model         Version        `json:"model" doc:"what its evidence is of"`
	Looks         []Look         `json:"looks,omitempty" doc:"which models looked at it, in order; absent at a station with one"`
	Rule          Version        `json:"rule" doc:"what decided"`
	Bundle        string         `json:"bundle_digest,omitempty" doc:"SHA-256 of the signed bundle that model and rule came in, hex; absent for what wasn't signed; of a part that a large model looked at, of the rule and the small one"`
	Picture       string         `json:"picture,omitempty" doc:"where its picture is, while the device has it"`
	PictureBox    *Box           `json:"picture_box,omitempty" doc:"what that shows of the picture that the evidence is of: x, y, width, height in its pixels; absent where it is of another one"`
	PictureCamera string         `json:"picture_camera,omitempty" doc:"whose picture it is, of several cameras"`
}

// Version names what took part in a verdict, exactly.
type Version struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty" doc:"SHA-256, hex"`
}

// Look is one model that looked at a part, or should have.
type Look struct {
	Model   string   `json:"model"`
	Version string   `json:"version,omitempty"`
	Digest  string   `json:"digest,omitempty" doc:"SHA-256, hex; absent where it isn't known"`
	Why     string   `json:"why" enum:"part,band,disagreement,rule" doc:"part: it looks at each; band: the score before was in the band of doubt; disagreement: pictures or cameras disagreed; rule: the rule asked"`
	MS      float64  `json:"ms" doc:"how long it ran, ms"`
	Score   *float32 `json:"score,omitempty" doc:"that it gave the part's worst defect, or the picture, 0 to 1"`
	Missed  string   `json:"missed,omitempty" doc:"why it didn't look after all (docs/cascade.md); absent where it did"`
	Remote  bool     `json:"remote,omitempty" doc:"whether it runs on another machine"`
}

// Told is a verdict as the line heard it.
type Told struct {
	Verdict vision.Verdict `json:"verdict" enum:"PASS,FAIL,NONE"`
	Reason  string         `json:"reason"`
}

// Evidence is what all pictures of a part say about one defect.
type Evidence struct {
	Label  string  `json:"label"`
	Score  float32 `json:"score" doc:"0 to 1"`
	Frames int     `json:"frames" doc:"pictures that showed it"`
	Box    Box     `json:"box" doc:"x, y, width, height in pixels, in the picture where it scored best"`
	Camera string  `json:"camera,omitempty" doc:"of the view that showed it, where there are several"`

	AreaMM2  float64    `json:"area_mm2,omitempty" doc:"area_px in mm², at a station that knows its scale"`
	Area     int        `json:"area_px,omitempty" doc:"pixels of its regions in that picture; absent of a model that gives none"`
	Outlines [][][2]int `json:"outlines,omitempty" doc:"around them: closed polygons of x, y in that picture's pixels"`
}

// PartView is what one of several cameras contributed to a part.
type PartView struct {
	Camera   string    `json:"camera"`
	Frame    uint64    `json:"frame" doc:"number of its picture"`
	Captured time.Time `json:"captured" doc:"when that was taken"`
	Width    int       `json:"width" doc:"of the picture, pixels"`
	Height   int       `json:"height"`
}

// Measurement is a number that a rule compared with its limit.
type Measurement struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit,omitempty" doc:"empty for scores"`
}

// Answer is what the line was told: Told, else the rule's own decision.
func (r *Result) Answer() Told {
	if r.Told != nil {
		return *r.Told
	}
	return Told{r.Verdict, r.Reason}
}

// FromWire is a record as the interfaces tell it.
func FromWire(seq uint64, r *wire.Result) Result {
	p, d := r.Part(), r.Decision()
	out := Result{
		Seq: seq, ID: p.ID, Station: r.GetStation(), Line: r.GetLine(), Camera: r.GetCamera(), Label: p.Label,
		Verdict: d.Verdict, Reason: d.Reason, Score: Finite(p.Score), Box: NewBox(p.Box), Frames: p.Frames,
		FirstFrame: p.First, LastFrame: p.Last, FirstCaptured: p.Seen, LastCaptured: p.LastSeen,
		Decided: wire.Time(r.GetDecided()), LatencyMS: MS(time.Duration(r.GetLatency())), Attempt: int(r.GetAttempt()),
		Model: Version{Name: r.GetModel(), Digest: r.GetModelDigest()},
		Rule:  Version{Name: r.GetRule(), Digest: r.GetRuleDigest()}, Bundle: r.GetBundleDigest(),
		Trigger: p.Trigger, Recipe: r.GetRecipe(),
	}
	for _, v := range p.Views {
		out.Views = append(out.Views, PartView{v.Camera, v.Seq, v.Captured, v.Width, v.Height})
	}
	for n, e := range p.Defects {
		one := Evidence{Label: e.Label, Score: Finite(e.Score), Frames: e.Frames, Box: NewBox(e.Box), Area: e.Area, Outlines: e.Outlines, AreaMM2: Finite(r.GetEvidence()[n].GetAreaMm2())}
		if len(p.Views) > 0 {
			one.Camera = p.Views[e.View].Camera
		}
		out.Evidence = append(out.Evidence, one)
	}
	for _, m := range d.Measurements {
		out.Measurements = append(out.Measurements, Measurement{Name: m.Name, Value: Finite(m.Value), Limit: Finite(m.Limit), Unit: m.Unit})
	}
	for _, l := range r.GetLooks() {
		one := Look{
			Model: l.GetModel(), Version: l.GetVersion(), Digest: l.GetDigest(), Why: l.GetWhy(), MS: MS(time.Duration(l.GetTook())),
			Missed: l.GetMissed(), Remote: l.GetRemote(),
		}
		if l.Score != nil {
			score := Finite(l.GetScore())
			one.Score = &score
		}
		out.Looks = append(out.Looks, one)
	}
	if t := r.GetTold(); t != nil {
		out.Told = &Told{Verdict: t.GetVerdict().Vision(), Reason: t.GetReason()}
	}
	return out
}
