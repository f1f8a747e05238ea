// Package guest is what a Go rule imports: it reads the part that the host
// hands over and writes the answer, as docs/rule-abi.md lays them down. It
// uses only the standard library, and little of that, because everything in
// it ends up in the rule's WebAssembly module.
//
// A rule is a package main with these exports, built with
// GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o my.wasm:
//
//	//go:wasmexport rule
//	func rule() uint64 { return guest.Run(decide) }
//
//	//go:wasmexport configure
//	func configure() uint64 { return guest.Configure(setUp) }
//
// The second is left out by a rule without parameters. A rule keeps nothing
// from one part to the next: several instances of it serve all stations, and
// which of them gets a part is not said.
package guest

// Version of the ABI that this package speaks.
const Version = 1

// Limits of an answer; the host refuses what is longer. Append cuts texts to
// them, so that a rule need not count.
const (
	MaxReason       = 200 // bytes of UTF-8
	MaxName         = 64  // bytes of a measurement's name
	MaxUnit         = 16  // bytes of a measurement's unit
	MaxMeasurements = 64
)

// Verdict is what the rule decides. The zero value is None, which rejects.
type Verdict uint8

// The verdicts as they stand on the wire.
const (
	None Verdict = iota
	Pass
	Fail
)

// Box is a rectangle in the picture's pixels: top left corner and size.
type Box struct {
	X, Y, W, H float32
}

// Evidence is what all frames of the part together say about one label.
type Evidence struct {
	Label  string
	Score  float32 // 0 to 1
	Frames uint32  // how many frames showed it
	Box    Box     // in a picture of its view
	View   int     // index in Part.Views of what saw it; 0 without them
}

// View is what one of several cameras contributed to the part.
type View struct {
	Camera string
	Width  uint32 // of its picture, pixels
	Height uint32
}

// Part is the part to be judged.
type Part struct {
	Label    string
	Score    float32 // 0 to 1
	Frames   uint32  // how many frames showed the part
	Width    uint32  // of the picture, pixels
	Height   uint32
	Box      Box
	Evidence []Evidence
	Views    []View // of a part that several cameras saw at once; else empty
}

// Camera is the name of the one that saw the evidence, among several; ""
// where there is only one.
func (p *Part) Camera(e *Evidence) string {
	if len(p.Views) < 2 || e.View < 0 || e.View >= len(p.Views) {
		return ""
	}
	return p.Views[e.View].Camera
}

// Measurement is one number that the rule compared with its limit.
type Measurement struct {
	Name  string
	Value float64 // finite
	Limit float64 // finite
	Unit  string  // "" for scores
}

// Answer is the rule's decision. Reason is short and for people.
type Answer struct {
	Verdict      Verdict
	Reason       string
	Measurements []Measurement
}
