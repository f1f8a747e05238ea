package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"unicode"
	"unicode/utf8"
)

// GoldenFile is where a bundle keeps its golden vectors; the pictures lie
// beside it.
const GoldenFile = "golden/expected.json"

// GoldenVersion of the format that this package writes and reads.
const GoldenVersion = 1

// Limits of a golden file.
const (
	maxGolden     = 16 << 20 // bytes
	MaxVectors    = 256      // pictures
	MaxExpected   = 4000     // detections of one picture, as many as a worker tells
	MaxRawOutputs = 64       // of one picture
	MaxRawValues  = 65536    // of one output's sample
	maxGoldenText = 256      // bytes of any text
	maxPixel      = 1 << 20  // any coordinate of a box
	maxObjects    = 300_000  // vectors, parts, detections and outputs together: an empty one takes fifty times its text in memory
)

// The widest tolerances: wider ones would prove nothing.
const (
	MaxScoreTolerance = 0.25
	LeastIoU          = 0.5
	maxRawTolerance   = 0.25
)

// Golden is what a bundle's model and rule say about known pictures, and how
// far a device may be from it.
type Golden struct {
	Golden    int       `json:"golden"` // GoldenVersion
	Recorded  Recorded  `json:"recorded"`
	Tolerance Tolerance `json:"tolerance"`          // for whatever wasn't measured
	Lowest    float32   `json:"lowest"`             // score from which detections were recorded
	Settings  []string  `json:"settings,omitempty"` // of the manifest, as Settings gives them; none in files of before
	Measured  *Measured `json:"measured,omitempty"` // what the tolerances come from; nil: somebody's choice
	Vectors   []Vector  `json:"vectors"`
}

// Recorded says on what the expected values were made.
type Recorded struct {
	Provider  string `json:"provider"`  // cpu, cuda, tensorrt
	Precision string `json:"precision"` // float32, float16, int8
	Runtime   string `json:"runtime"`   // version of ONNX Runtime
	Agent     string `json:"agent"`     // version of the program
}

// Tolerance is how far what is found may be from what is expected.
type Tolerance struct {
	Score float32 `json:"score"` // absolute
	IoU   float32 `json:"iou"`   // a box overlaps the expected one at least so far
	Raw   float32 `json:"raw"`   // of a raw output, relative to the largest expected value of that output
}

// Vector is one picture with what is expected of it.
type Vector struct {
	Picture    string      `json:"picture"` // path inside the bundle
	Verdict    string      `json:"verdict"` // the worst of its parts: FAIL, NONE, PASS; NONE without a part
	Reason     string      `json:"reason"`  // of that part, for people: it isn't compared
	Parts      []Judged    `json:"parts"`
	Detections []Expected  `json:"detections"`
	Outputs    []RawOutput `json:"outputs,omitempty"`
}

// Judged is one part of the picture with its verdict.
type Judged struct {
	Box     [4]float32 `json:"box"`     // x, y, w, h in pixels of the picture
	Verdict string     `json:"verdict"` // PASS, FAIL, NONE
	Reason  string     `json:"reason"`  // for people: it isn't compared
}

// Expected is one detection.
type Expected struct {
	Label string     `json:"label"`
	Score float32    `json:"score"`
	Box   [4]float32 `json:"box"` // x, y, w, h in pixels of the picture
}

// RawOutput is a sample of one output tensor: every Every-th value.
type RawOutput struct {
	Name   string    `json:"name"`
	Shape  []int64   `json:"shape"`
	Every  int       `json:"every"`
	Values []float32 `json:"values"`
}

// ReadGolden reads and checks the golden file of a bundle's folder; the error
// has fs.ErrNotExist where there is none.
func ReadGolden(fsys fs.FS) (*Golden, error) {
	b, err := readBounded(fsys, GoldenFile, maxGolden)
	if err != nil {
		return nil, fmt.Errorf("read golden vectors: %w", err)
	}
	return ParseGolden(b)
}

// ParseGolden decodes a golden file strictly and checks it.
func ParseGolden(b []byte) (*Golden, error) {
	if n := bytes.Count(b, []byte("{")); n > maxObjects {
		return nil, refuse("read %s: it has %d objects, at most %d are read", GoldenFile, n, maxObjects)
	}
	var g Golden
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&g); err != nil {
		return nil, refuse("read %s: %w", GoldenFile, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, refuse("read %s: there is data behind its end", GoldenFile)
	}
	if err := g.check(); err != nil {
		return nil, refuse("read %s: %w", GoldenFile, err)
	}
	return &g, nil
}

// Write writes the golden file, one vector a line, after it has checked it.
func (g *Golden) Write(w io.Writer) error {
	if err := g.check(); err != nil {
		return fmt.Errorf("write golden vectors: %w", err)
	}
	var b bytes.Buffer
	put := func(before string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("BUG: %v", err)) // check refused what JSON can't tell
		}
		b.WriteString(before)
		b.Write(text)
	}
	put("{\n \"golden\": ", g.Golden)
	put(",\n \"recorded\": ", g.Recorded)
	put(",\n \"tolerance\": ", g.Tolerance)
	put(",\n \"lowest\": ", g.Lowest)
	if len(g.Settings) > 0 {
		put(",\n \"settings\": ", g.Settings)
	}
	if g.Measured != nil {
		put(",\n \"measured\": ", g.Measured)
	}
	before := ",\n \"vectors\": [\n  "
	for _, v := range g.Vectors {
		if v.Detections == nil {
			v.Detections = []Expected{}
		}
		if v.Parts == nil {
			v.Parts = []Judged{}
		}
		put(before, v)
		before = ",\n  "
	}
	b.WriteString("\n ]\n}\n")
	if b.Len() > maxGolden {
		return fmt.Errorf("write golden vectors: they take %d bytes, at most %d are possible: use fewer pictures, or smaller samples", b.Len(), maxGolden)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write golden vectors: %w", err)
	}
	return nil
}

// check says all that is wrong.
func (g *Golden) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if g.Golden != GoldenVersion {
		fault("golden: %d is not a version that this program reads, want %d", g.Golden, GoldenVersion)
	}
	for key, text := range map[string]string{
		"provider": g.Recorded.Provider, "precision": g.Recorded.Precision, "runtime": g.Recorded.Runtime, "agent": g.Recorded.Agent,
	} {
		if text == "" || !plainText(text) {
			fault("recorded.%s: %.40q must be given, in at most %d printable bytes", key, text, maxGoldenText)
		}
	}
	faults = append(faults, g.Tolerance.check()...)
	if !(g.Lowest >= 0 && g.Lowest < 1) {
		fault("lowest: %v is outside 0 to 1", g.Lowest)
	}
	faults = append(faults, g.checkSettings()...)
	if g.Measured != nil {
		faults = append(faults, g.Measured.check()...)
	}
	if n := len(g.Vectors); n == 0 || n > MaxVectors {
		fault("vectors: %d pictures, 1 to %d are possible", n, MaxVectors)
		return errors.Join(faults...)
	}
	seen := map[string]bool{}
	for i := range g.Vectors {
		v := &g.Vectors[i]
		if seen[v.Picture] {
			fault("vectors[%d]: %q stands twice", i, v.Picture)
		}
		seen[v.Picture] = true
		for _, err := range v.check() {
			fault("vectors[%d]: %w", i, err)
		}
	}
	return errors.Join(faults...)
}

// Check keeps a tolerance from being one that lets everything through.
func (t Tolerance) Check() error { return errors.Join(t.check()...) }

func (t Tolerance) check() []error {
	var faults []error
	for _, c := range []struct {
		key         string
		v           float32
		least, most float32
	}{{"score", t.Score, 0, MaxScoreTolerance}, {"iou", t.IoU, LeastIoU, 1}, {"raw", t.Raw, 0, maxRawTolerance}} {
		if !(c.v >= c.least && c.v <= c.most) {
			faults = append(faults, fmt.Errorf("tolerance.%s: %v is outside %v to %v", c.key, c.v, c.least, c.most))
		}
	}
	return faults
}

func (v *Vector) check() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := CheckPath(v.Picture); err != nil {
		fault("picture: %w", err)
	}
	if err := checkVerdict(v.Verdict, v.Reason); err != nil {
		fault("%w", err)
	}
	if n := len(v.Parts); n > MaxExpected {
		fault("parts: %d, at most %d are possible", n, MaxExpected)
	}
	for i, p := range v.Parts {
		if err := errors.Join(checkVerdict(p.Verdict, p.Reason), checkBox(p.Box)); err != nil {
			fault("parts[%d]: %w", i, err)
			break // one tells enough
		}
	}
	if n := len(v.Detections); n > MaxExpected {
		fault("detections: %d, at most %d are possible", n, MaxExpected)
	}
	for i, d := range v.Detections {
		if err := d.check(); err != nil {
			fault("detections[%d]: %w", i, err)
			break // one tells enough
		}
	}
	if n := len(v.Outputs); n > MaxRawOutputs {
		fault("outputs: %d, at most %d are possible", n, MaxRawOutputs)
	}
	for i := range v.Outputs {
		if err := v.Outputs[i].check(); err != nil {
			fault("outputs[%d]: %w", i, err)
		}
	}
	return faults
}

func (e Expected) check() error {
	if e.Label == "" || !plainText(e.Label) {
		return fmt.Errorf("label: %.40q must be given, in at most %d printable bytes", e.Label, maxGoldenText)
	}
	if !(e.Score >= 0 && e.Score <= 1) {
		return fmt.Errorf("score: %v is outside 0 to 1", e.Score)
	}
	return checkBox(e.Box)
}

func checkBox(box [4]float32) error {
	for _, c := range box {
		if !(c >= -maxPixel && c <= maxPixel) {
			return fmt.Errorf("box: %v is no place in a picture", box)
		}
	}
	if box[2] < 0 || box[3] < 0 {
		return fmt.Errorf("box: %v has a negative side", box)
	}
	return nil
}

func checkVerdict(verdict, reason string) error {
	if verdict != "PASS" && verdict != "FAIL" && verdict != "NONE" {
		return fmt.Errorf("verdict: %.40q is none of PASS, FAIL, NONE", verdict)
	}
	if !plainText(reason) {
		return fmt.Errorf("reason: %.40q must have at most %d printable bytes", reason, maxGoldenText)
	}
	return nil
}

func (o *RawOutput) check() error {
	if !plainText(o.Name) {
		return fmt.Errorf("name: %.40q must have at most %d printable bytes", o.Name, maxGoldenText)
	}
	if len(o.Shape) > 16 || o.Every < 1 {
		return fmt.Errorf("shape and every: %d sizes and every %d, want at most 16 and at least 1", len(o.Shape), o.Every)
	}
	n := int64(1)
	for _, d := range o.Shape {
		if d < 1 || d > math.MaxInt32 || n > math.MaxInt32/d {
			return fmt.Errorf("shape: %v is no tensor of at most %d values", o.Shape, math.MaxInt32)
		}
		n *= d
	}
	if want := (n-1)/int64(o.Every) + 1; int64(len(o.Values)) != want || want > MaxRawValues {
		return fmt.Errorf("values: %d, want %d for every value number %d of %v, and at most %d are possible", len(o.Values), want, o.Every, o.Shape, MaxRawValues)
	}
	for _, v := range o.Values {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return errors.New("values: not all are numbers")
		}
	}
	return nil
}

// plainText is short and shows nothing but what it is.
func plainText(s string) bool { return printableText(s, maxGoldenText) }

func printableText(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// compare says which of the pictures aren't among the files.
func (g *Golden) compare(files map[string]File) []error {
	var faults []error
	for i, v := range g.Vectors {
		if _, ok := files[v.Picture]; !ok {
			faults = append(faults, fmt.Errorf("%s: vectors[%d]: %s is not in the bundle", GoldenFile, i, v.Picture))
		}
	}
	return faults
}
