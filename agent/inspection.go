package agent

import (
	"strconv"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/rules"
)

// Inspection is one part on its way from the rule to those who are told.
type Inspection struct {
	Part     vision.Part
	Decision vision.Decision // the rule's
	Told     vision.Decision // what the line hears: Decision, or NONE not_recorded
	Decided  time.Time
	Deadline time.Time // when it is told at the latest
	Station  string
	Line     string
	Camera   string // its name, or its address without credentials
	Recipe   string // that was active when it was decided; "" without recipes
	Model    Model  // that its evidence is of
	Looks    []Look // at a station with a large model too, in order; else nil
	Seq      uint64 // in the journal; 0 when told without being on disk
	Picture  []byte // JPEG of the best view, nil without
	Width    int    // pixels of Picture
	Height   int
	InView   vision.Box // the part's box in Picture

	Shows       vision.Box // what Picture shows of the frame that the evidence is of; zero if that is another one
	ShowsCamera string     // and which view's, of several

	station *Station
	lane    *lane       // that judged it
	rule    *rules.Rule // of the lane when it did; nil: none
	crop    *crop
	large   bool     // the evidence is the large model's
	ask     *inquiry // that it answers; nil where parts are followed
}

// by is when it is told at the latest, on disk or not.
func (i *Inspection) by() time.Time {
	if i.Deadline.IsZero() {
		return i.Decided.Add(i.station.cfg.Deadline)
	}
	return i.Deadline
}

// Latency is how long after the part's last frame it was decided.
func (i *Inspection) Latency() time.Duration { return i.Decided.Sub(i.Part.LastSeen) }

// record is the journal's record; told says what was told before it was
// written, nil if nothing else was.
func (i *Inspection) record(told *vision.Decision) []byte {
	return must(wire.EncodeResult(i.message(told)))
}

func (i *Inspection) message(told *vision.Decision) *wire.Result {
	r := wire.NewResult(&i.Part, &i.Decision, i.Decided)
	r.Station, r.Line, r.Camera, r.Attempt = i.Station, i.Line, i.Camera, max(r.Attempt, 1)
	r.Recipe = wire.Name(i.Recipe)
	r.Model, r.ModelDigest, r.BundleDigest = i.Model.Name, i.Model.Digest, i.Model.Bundle
	r.Looks = onWire(i.Looks)
	if i.rule != nil {
		r.Rule, r.RuleDigest = i.rule.Name(), i.rule.Digest()
	}
	if told != nil {
		r.Told = answer(told)
	}
	for n, e := range i.Part.Defects {
		r.Evidence[n].AreaMm2 = i.AreaMM2(e)
	}
	return r
}

// AreaMM2 is the area of evidence in mm²; 0 at a station that doesn't know its scale.
func (i *Inspection) AreaMM2(e vision.Evidence) float64 {
	mm := i.station.cfg.MMPerPixel
	return digits(float64(e.Area) * mm * mm)
}

// digits leaves out what is only the noise of binary fractions: 0.25, not
// 0.25000000000000006.
func digits(v float64) float64 {
	short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 9, 64), 64) // it was just written
	return short
}

// amendment says that something else was told than the record seq has.
func (i *Inspection) amendment(seq uint64) []byte {
	return must(wire.EncodeTold(&wire.Told{Seq: seq, Answer: answer(&i.Told), At: time.Now().UnixNano()}))
}

func answer(d *vision.Decision) *wire.Answer {
	return &wire.Answer{Verdict: wire.NewVerdict(d.Verdict), Reason: d.Reason}
}

// must is for records made here, whose texts were checked at the doors.
func must(b []byte, err error) []byte {
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}
