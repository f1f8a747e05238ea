package bundle

// GoldenFile is where a bundle keeps its golden vectors; the pictures lie
// beside it.
const GoldenFile = "golden/expected.json"

// GoldenVersion of the format that this package writes and reads.
const GoldenVersion = 1

// Golden is what a bundle's model and rule say about known pictures, and how
// far a device may be from it.
type Golden struct {
	Golden    int       `json:"golden"` // GoldenVersion
	Recorded  Recorded  `json:"recorded"`
	Tolerance Tolerance `json:"tolerance"`
	Lowest    float32   `json:"lowest"` // score from which detections were recorded
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
