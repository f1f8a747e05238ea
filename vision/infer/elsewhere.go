package infer

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// maxElsewhere bounds the input of a model that another machine has, in bytes: what that
// machine says of it mustn't take this one's memory.
const maxElsewhere = 64 << 20

// Elsewhere is all of a model's run but the run itself, for a model that another machine
// has: frames become its inputs, its outputs become what the frame shows. It is not safe
// for concurrent use.
type Elsewhere struct {
	info    Info
	spec    Spec
	wanted  []Tensor
	filler  *Filler
	blob    *Blob
	feeds   []feed
	decoder *Decoder
}

// Packed is an input tensor as bytes, little-endian.
type Packed struct {
	Name  string
	Type  string // "float32", …
	Shape []int64
	Data  []byte // valid until the next Fill
}

// NewElsewhere takes what the model's inputs and outputs are, with -1 for a size that is
// left open, and what the caller says of it. Nothing else is known of such a model, so
// the family must be said.
func NewElsewhere(inputs, outputs []Tensor, o Options) (*Elsewhere, error) {
	info := Info{Inputs: inputs, Outputs: outputs}
	if err := info.checkInput(); err != nil {
		return nil, err
	}
	info.Height, info.Width, _ = info.planes()
	spec, err := info.Spec(o)
	if err != nil {
		return nil, err
	}
	size := 4 * int64(info.batch()) * int64(spec.Input.Planes()) * int64(spec.Input.Height) * int64(spec.Input.Width)
	if size > maxElsewhere {
		return nil, fmt.Errorf("its input %v takes %d bytes as float32, at most %d are possible: give the model a smaller input", inputs[info.picture()], size, maxElsewhere)
	}
	e := &Elsewhere{info: info, spec: spec, filler: NewFiller(spec.Input), decoder: NewDecoder(spec)}
	e.blob = e.filler.NewBlob()
	if e.wanted, _, err = info.wanted(spec.Family, spec.Input); err != nil {
		return nil, err
	}
	e.feeds, err = info.feeds(spec.Input, e.blob.Data)
	return e, err
}

// Spec is how frames are fed to the model and its outputs are read.
func (e *Elsewhere) Spec() Spec { return e.spec }

// Wanted names the outputs that Decode needs, in its order.
func (e *Elsewhere) Wanted() []string {
	var names []string
	for _, t := range e.wanted {
		names = append(names, t.Name)
	}
	return names
}

// Fill makes the inputs for a frame; Decode wants the placement.
func (e *Elsewhere) Fill(frame *vision.Frame) ([]Packed, Placement, error) {
	at, err := e.filler.Fill(e.blob, frame)
	if err != nil {
		return nil, at, err
	}
	var out []Packed
	for n := range e.feeds {
		f, t := &e.feeds[n], e.info.Inputs[n]
		if err := f.put(e.blob.Data); err != nil {
			return nil, at, err
		}
		out = append(out, Packed{Name: t.Name, Type: t.Type, Shape: f.shape, Data: f.bytes()})
	}
	return out, at, nil
}

// bytes are the tensor's values, little-endian.
func (f *feed) bytes() []byte {
	switch {
	case f.raw != nil:
		return f.raw
	case f.i64 != nil:
		var b []byte
		for _, v := range f.i64 {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
		return b
	}
	b := make([]byte, 0, 4*len(f.f32))
	for _, v := range f.f32 {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// Decode reads the outputs that Wanted names, for a frame of w×h pixels. Scores and boxes
// that are no numbers are dropped and counted.
func (e *Elsewhere) Decode(outs []Output, at Placement, w, h int) (Result, error) {
	began := time.Now()
	seen, err := e.decoder.Decode(one(outs, e.wanted, e.info.batch()), at, w, h)
	if err != nil {
		return Result{}, err
	}
	r := Result{Dropped: seen.Dropped, Score: seen.Score, Decode: time.Since(began)}
	r.Detections = append(r.Detections, seen.Detections...) // the decoder's are its own
	return r, nil
}

// Floats are the values of a tensor as the decoder takes them.
func Floats(element string, raw []byte) ([]float32, error) {
	size := map[string]int{"float32": 4, "float16": 2, "float64": 8, "int64": 8, "int32": 4, "uint8": 1, "bool": 1}[element]
	if size == 0 || len(raw)%size != 0 {
		return nil, fmt.Errorf("%d bytes of %s aren't read", len(raw), element)
	}
	out := make([]float32, len(raw)/size)
	for i := range out {
		switch b := raw[size*i:]; element {
		case "float32":
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b))
		case "float16":
			out[i] = halfFloat(binary.LittleEndian.Uint16(b))
		case "float64":
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		case "int64":
			out[i] = float32(int64(binary.LittleEndian.Uint64(b)))
		case "int32":
			out[i] = float32(int32(binary.LittleEndian.Uint32(b)))
		default:
			out[i] = float32(b[0])
		}
	}
	return out, nil
}

// Over is the input as an override that leaves nothing open but the size.
func (in Input) Over() Override {
	pad := in.Pad
	return Override{
		Colour: in.Colour, Scale: in.Scale, Mean: in.Mean[:], Std: in.Std[:], Resize: in.Resize, Anchor: in.Anchor, Pad: &pad,
		Interpolation: in.Interpolation, CropShare: in.CropShare,
	}
}
