// Package wire is the leaf that the device and the fleet share: the records
// that a device writes into its journal and sends. The messages are protobuf,
// made from record.proto; this file goes between them and the device's nouns.
package wire

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/vision"
)

//go:generate ./generate.sh

// MaxRecord is how long an encoded record may be, bytes.
const MaxRecord = 1 << 20

// ErrKind is Decode's error for a record that is neither of the kinds that
// this program knows; a newer device may have written it.
var ErrKind = errors.New("the record is of a kind that this program doesn't know")

// Encode gives the bytes of a record: the same for the same record in the
// same build. A text that is no UTF-8 is an error.
func Encode(r *Record) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a record: %w", err)
	}
	if len(b) > MaxRecord {
		return nil, fmt.Errorf("encode a record: it has %d bytes, at most %d will do", len(b), MaxRecord)
	}
	return b, nil
}

// EncodeResult is Encode for a result.
func EncodeResult(r *Result) ([]byte, error) {
	return Encode(&Record{Kind: &Record_Result{Result: r}})
}

// EncodeTold is Encode for the amendment of a result.
func EncodeTold(t *Told) ([]byte, error) { return Encode(&Record{Kind: &Record_Told{Told: t}}) }

// Decode reads the bytes of a record, which may come from anywhere. Fields
// that this program doesn't know are kept.
func Decode(b []byte) (*Record, error) {
	if len(b) > MaxRecord {
		return nil, fmt.Errorf("decode a record: it has %d bytes, at most %d will do", len(b), MaxRecord)
	}
	r := new(Record)
	if err := proto.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("decode a record: %w", err)
	}
	if r.GetKind() == nil {
		return nil, fmt.Errorf("decode a record: %w", ErrKind)
	}
	return r, nil
}

// NewResult fills in what the part and its decision say, decided at that
// time, with times in whole microseconds: no camera tells them finer, and what
// is finer can't be compressed. Who looked (station, line, camera, recipe,
// model, rule) is for the caller to add, and that an attempt of 0 is the first.
// Texts that are no UTF-8 are mended, so that no odd label keeps a verdict off
// the record; evidence of a view that isn't among the part's is the first's.
func NewResult(p *vision.Part, d *vision.Decision, decided time.Time) *Result {
	r := &Result{
		PartId: mend(p.ID), Label: mend(p.Label), Score: p.Score, Box: NewBox(p.Box), Frames: count(p.Frames),
		FirstSeq: p.First, LastSeq: p.Last, BestSeq: p.Best,
		FirstCaptured: nanos(p.Seen), LastCaptured: nanos(p.LastSeen), BestCaptured: nanos(p.BestSeen),
		Decided: nanos(decided), Picture: mend(p.Name),
		Verdict: NewVerdict(d.Verdict), Reason: mend(d.Reason),
		TriggerId: Name(p.Trigger), Attempt: count(p.Attempt), Views: newViews(p.Views),
	}
	if !p.LastSeen.IsZero() {
		r.Latency = int64(decided.Sub(p.LastSeen)) / micro * micro
	}
	for _, e := range p.Defects {
		r.Evidence = append(r.Evidence, &Evidence{
			Label: mend(e.Label), Score: e.Score, Frames: count(e.Frames), Box: NewBox(e.Box), View: uint32(viewIn(e.View, len(r.Views))),
			Area: count(e.Area), Outlines: newOutlines(e.Outlines),
		})
	}
	for _, m := range d.Measurements {
		r.Measurements = append(r.Measurements, &Measurement{Name: mend(m.Name), Value: m.Value, Limit: m.Limit, Unit: mend(m.Unit)})
	}
	return r
}

// Part is the part that the result is about, its times by the wall clock.
func (r *Result) Part() vision.Part {
	p := vision.Part{
		ID: r.GetPartId(), Label: r.GetLabel(), Score: r.GetScore(), Box: r.GetBox().Vision(), Frames: int(r.GetFrames()),
		First: r.GetFirstSeq(), Last: r.GetLastSeq(), Best: r.GetBestSeq(),
		Seen: Time(r.GetFirstCaptured()), LastSeen: Time(r.GetLastCaptured()), BestSeen: Time(r.GetBestCaptured()),
		Name: r.GetPicture(), Trigger: r.GetTriggerId(), Attempt: int(r.GetAttempt()), Views: visionViews(r.GetViews()),
	}
	for _, e := range r.GetEvidence() {
		p.Defects = append(p.Defects, vision.Evidence{
			Label: e.GetLabel(), Score: e.GetScore(), Frames: int(e.GetFrames()), Box: e.GetBox().Vision(), View: viewIn(int(e.GetView()), len(p.Views)),
			Area: int(e.GetArea()), Outlines: visionOutlines(e.GetOutlines()),
		})
	}
	return p
}

// Decision is what the rule decided; see Answered for what the line was told.
func (r *Result) Decision() vision.Decision {
	d := vision.Decision{Verdict: r.GetVerdict().Vision(), Reason: r.GetReason()}
	for _, m := range r.GetMeasurements() {
		d.Measurements = append(d.Measurements, vision.Measurement{Name: m.GetName(), Value: m.GetValue(), Limit: m.GetLimit(), Unit: m.GetUnit()})
	}
	return d
}

// Answered is the verdict and the reason that the line was told: told's, else
// the result's own answer where that differs, else what was decided. Told may
// be nil.
func (r *Result) Answered(told *Told) (vision.Verdict, string) {
	for _, a := range []*Answer{told.GetAnswer(), r.GetTold()} {
		if a != nil {
			return a.GetVerdict().Vision(), a.GetReason()
		}
	}
	return r.GetVerdict().Vision(), r.GetReason()
}

// NewVerdict is the verdict on the wire.
func NewVerdict(v vision.Verdict) Verdict {
	switch v {
	case vision.Pass:
		return Verdict_VERDICT_PASS
	case vision.Fail:
		return Verdict_VERDICT_FAIL
	}
	return Verdict_VERDICT_NONE
}

// Vision is the verdict off the wire; one that this program doesn't know is
// None.
func (v Verdict) Vision() vision.Verdict {
	switch v {
	case Verdict_VERDICT_PASS:
		return vision.Pass
	case Verdict_VERDICT_FAIL:
		return vision.Fail
	}
	return vision.None
}

// NewBox is the box on the wire, to a sixteenth of a pixel: finer is noise,
// which can't be compressed.
func NewBox(b vision.Box) *Box {
	return &Box{X: sixteenth(b.X), Y: sixteenth(b.Y), W: sixteenth(b.W), H: sixteenth(b.H)}
}

func sixteenth(pixels float32) float32 { return float32(math.Round(float64(pixels)*16) / 16) }

// Vision is the box off the wire; the zero box if there is none.
func (b *Box) Vision() vision.Box {
	return vision.Box{X: b.GetX(), Y: b.GetY(), W: b.GetW(), H: b.GetH()}
}

// Time is a time off the wire, in UTC; 0 is the zero time.
func Time(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano() / micro * micro
}

func mend(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func count(n int) uint32 { return uint32(min(max(n, 0), math.MaxInt32)) }
