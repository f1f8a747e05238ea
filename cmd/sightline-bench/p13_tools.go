package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

//go:embed p13_tools.py
var p13Tools string

// toolReps is the repetitions of one turn of a toolCase.
const toolReps = 40

// toolCase fills a tensor as another tool does; its JSON is p13_tools.py's order.
type toolCase struct {
	ID     string              `json:"-"`
	Goal   string              `json:"-"`
	Tool   string              `json:"-"` // for the row's text
	Width  int                 `json:"width"`
	Height int                 `json:"height"`
	Side   int                 `json:"side"` // of the square tensor
	How    infer.Interpolation `json:"how"`
	Resize infer.Resize        `json:"resize"`
	Share  float64             `json:"share"` // of Crop
	Gray   bool                `json:"gray"`
	Half   bool                `json:"half"` // packed to float16
	Mean   [3]float64          `json:"mean"`
	Std    [3]float64          `json:"std"`
	Reps   int                 `json:"reps"`
}

// toolCases are the ways to fill a tensor that P13's own rows don't show, all from
// a 1080p frame, with ImageNet's mean and deviation.
func toolCases() []toolCase {
	all := []toolCase{
		{ID: "stretch-linear", Goal: "told", Tool: "opencv-python", Side: 640, How: infer.Linear, Resize: infer.Stretch},
		{ID: "area", Goal: "told", Tool: "opencv-python", Side: 640, How: infer.Area, Resize: infer.Stretch},
		{ID: "crop-bilinear", Goal: "<= 1.0", Tool: "Pillow", Side: 224, How: infer.Bilinear, Resize: infer.Crop, Share: 0.875},
		{ID: "crop-bicubic", Goal: "<= 1.0", Tool: "Pillow", Side: 224, How: infer.Bicubic, Resize: infer.Crop, Share: 0.875},
		{ID: "stretch-bilinear", Goal: "<= 1.0", Tool: "Pillow", Side: 256, How: infer.Bilinear, Resize: infer.Stretch},
		{ID: "nearest", Goal: "<= 1.0", Tool: "Pillow", Side: 640, How: infer.Nearest, Resize: infer.Stretch},
		{ID: "gray", Goal: "told", Tool: "opencv-python", Side: 640, How: infer.Linear, Resize: infer.Stretch, Gray: true},
		{ID: "float16", Goal: "told", Tool: "opencv-python", Side: 640, How: infer.Linear, Resize: infer.Stretch, Half: true},
	}
	for i := range all {
		c := &all[i]
		c.Width, c.Height, c.Reps = 1920, 1080, toolReps
		c.Mean, c.Std = [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	}
	return all
}

func (c toolCase) input() infer.Input {
	in := infer.Input{
		Width: c.Side, Height: c.Side, Colour: infer.RGB, Scale: 1.0 / 255, Mean: c.Mean, Std: c.Std,
		Resize: c.Resize, Interpolation: c.How, CropShare: c.Share,
	}
	if c.Gray {
		in.Colour = infer.Gray
	}
	return in
}

func (c toolCase) measure(ctx context.Context, env *Env) (Row, error) {
	frame := &vision.Frame{Pix: make([]byte, c.Width*c.Height*3), Width: c.Width, Height: c.Height, Stride: 3 * c.Width, Format: vision.BGR24}
	r := rand.New(rand.NewPCG(13, 13))
	for i := range frame.Pix {
		frame.Pix[i] = byte(r.Uint32())
	}
	in := c.input()
	filler := infer.NewFiller(in)
	blob := filler.NewBlob()
	packing := infer.Packing{Planes: in.Planes(), Height: c.Side, Width: c.Side, Element: infer.Float16, Layout: infer.NCHW}
	packed := make([]byte, packing.Bytes())
	fill := func() error {
		_, err := filler.Fill(blob, frame)
		if err == nil && c.Half {
			err = packing.Pack(packed, blob.Data)
		}
		return err
	}
	if err := fill(); err != nil {
		return Row{}, err
	}
	made := blob.Data
	if c.Half {
		made = halves(packed)
	}
	bare := func(ctx context.Context) (Sample, error) { return c.peer(ctx, env.Python, frame.Pix, made) }
	what := fmt.Sprintf("%d×%d frame to a tensor of %d, %s %s", c.Width, c.Height, c.Side, c.Resize, c.How)
	if c.Share != 0 {
		what += fmt.Sprintf(" of share %g", c.Share)
	}
	if c.Gray {
		what += ", gray"
	}
	if c.Half {
		what += ", packed to float16"
	}
	what += fmt.Sprintf(", mean and deviation, the same grey levels; ms ÷ that of %s and NumPy, ms", c.Tool)
	return env.Compare(ctx, Row{ID: "P13/" + c.ID, What: what, Goal: c.Goal},
		func(context.Context) (Sample, error) { return repeat(toolReps, fill) }, bare)
}

// repeat times what it does, n times after five that don't count.
func repeat(n int, do func() error) (Sample, error) {
	var each []float64
	for i := range n + 5 {
		start := time.Now()
		if err := do(); err != nil {
			return Sample{}, err
		}
		if i >= 5 {
			each = append(each, milliseconds(time.Since(start)))
		}
	}
	return Sample{Value: quantile(each, 0.5), Each: each}, nil
}

// peer runs the tool on the same pixels and compares its tensor with ours.
func (c toolCase) peer(ctx context.Context, python string, pix []byte, ours []float32) (Sample, error) {
	order, err := json.Marshal(c)
	if err != nil {
		return Sample{}, err
	}
	cmd := exec.CommandContext(ctx, python, "-c", p13Tools, string(order))
	cmd.Stdin = bytes.NewReader(pix)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Sample{}, fmt.Errorf("run %s: %w: %s", c.Tool, err, bytes.TrimSpace(stderr.Bytes()))
	}
	each, theirs, err := c.answer(out)
	if err != nil {
		return Sample{}, fmt.Errorf("read %s's answer: %w", c.Tool, err)
	}
	if n := c.apart(ours, theirs); n > 0 {
		return Sample{}, fmt.Errorf("%d of %d values have another grey level than %s's", n, len(ours), c.Tool)
	}
	return Sample{Value: quantile(each, 0.5), Each: each}, nil
}

// answer reads what p13_tools.py prints.
func (c toolCase) answer(out []byte) (each []float64, tensor []float32, err error) {
	line, values, _ := bytes.Cut(out, []byte("\n"))
	var got struct{ Each []float64 }
	if err := json.Unmarshal(line, &got); err != nil {
		return nil, nil, err
	}
	if len(got.Each) != c.Reps {
		return nil, nil, fmt.Errorf("it has %d times, want %d", len(got.Each), c.Reps)
	}
	if c.Half {
		tensor = halves(values)
	} else {
		for b := values; len(b) >= 4; b = b[4:] {
			tensor = append(tensor, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
	}
	if in := c.input(); len(tensor) != in.Planes()*c.Side*c.Side {
		return nil, nil, fmt.Errorf("its tensor has %d values, want %d", len(tensor), in.Planes()*c.Side*c.Side)
	}
	return got.Each, tensor, nil
}

// apart counts the values that stand for another grey level.
func (c toolCase) apart(a, b []float32) (n int) {
	plane := c.Side * c.Side
	for i := range a {
		mean, std := c.Mean[i/plane], c.Std[i/plane]
		level := func(v float32) float64 { return math.RoundToEven((float64(v)*std + mean) * 255) }
		if level(a[i]) != level(b[i]) {
			n++
		}
	}
	return n
}

// halves reads float16 values, all of them normal numbers or 0.
func halves(b []byte) []float32 {
	all := make([]float32, len(b)/2)
	for i := range all {
		h := binary.LittleEndian.Uint16(b[2*i:])
		bits := uint32(h&0x8000) << 16
		if h&0x7fff != 0 {
			bits |= uint32(h&0x7fff)<<13 + (127-15)<<23
		}
		all[i] = math.Float32frombits(bits)
	}
	return all
}
