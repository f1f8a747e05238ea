package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

//go:embed p13_peer.py
var p13Peer string

// fillCase is a frame's size and the tensor that it fills.
type fillCase struct {
	id         string
	w, h, side int
	family     infer.Family
	goal       string
}

// p13 measures the filling of the input tensor against opencv-python, and that
// both give the same values.
func p13() Figure {
	return Figure{
		ID:   "P13",
		What: "frame to input tensor, one thread, ms ÷ the same with opencv-python or Pillow and NumPy, ms",
		Goal: "<= 1.0",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			if env.Python == "" {
				return nil, LeftOut("there is no Python with the pinned opencv-python (make bench makes one)")
			}
			var rows []Row
			for _, c := range []fillCase{
				{"P13/1080p-640", 1920, 1080, 640, infer.YOLOv8, "<= 0.15"},
				{"P13/1080p-416", 1920, 1080, 416, infer.YOLOX, "<= 1.0"},
				{"P13/640x360-416", 640, 360, 416, infer.YOLOX, "<= 1.0"},
			} {
				row, err := c.measure(ctx, env)
				if err != nil {
					return rows, err
				}
				rows = append(rows, row)
			}
			for _, c := range toolCases() {
				row, err := c.measure(ctx, env)
				if err != nil {
					return rows, err
				}
				rows = append(rows, row)
			}
			return rows, nil
		},
	}
}

// fillReps is the repetitions of one turn.
const fillReps = 200

func (c fillCase) measure(ctx context.Context, env *Env) (Row, error) {
	frame := &vision.Frame{Pix: make([]byte, c.w*c.h*3), Width: c.w, Height: c.h, Stride: 3 * c.w, Format: vision.BGR24}
	r := rand.New(rand.NewPCG(13, 13))
	for i := range frame.Pix {
		frame.Pix[i] = byte(r.Uint32())
	}
	in := infer.DefaultInput(c.family)
	in.Width, in.Height = c.side, c.side
	filler := infer.NewFiller(in)
	blob := filler.NewBlob()
	ours := func(context.Context) (Sample, error) {
		var each []float64
		for n := range fillReps + 5 {
			start := time.Now()
			if _, err := filler.Fill(blob, frame); err != nil {
				return Sample{}, err
			}
			if n >= 5 {
				each = append(each, float64(time.Since(start))/float64(time.Millisecond))
			}
		}
		return Sample{Value: quantile(each, 0.5), Each: each}, nil
	}
	bare := func(ctx context.Context) (Sample, error) { return c.peer(ctx, env.Python, frame.Pix, blob.Data) }
	if _, err := filler.Fill(blob, frame); err != nil {
		return Row{}, err
	}
	what := fmt.Sprintf("%d×%d frame to the tensor of %s at %d, bit-exact; ms ÷ opencv-python's ms", c.w, c.h, c.family, c.side)
	return env.Compare(ctx, Row{ID: c.id, What: what, Goal: c.goal}, ours, bare)
}

// peer runs opencv-python on the same pixels and compares its tensor with ours.
func (c fillCase) peer(ctx context.Context, python string, pix []byte, tensor []float32) (Sample, error) {
	cmd := exec.CommandContext(ctx, python, "-c", p13Peer, strconv.Itoa(c.w), strconv.Itoa(c.h), strconv.Itoa(c.side), string(c.family), strconv.Itoa(fillReps))
	cmd.Stdin = bytes.NewReader(pix)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Sample{}, fmt.Errorf("run opencv-python: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var got struct {
		Each   []float64
		SHA256 string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return Sample{}, fmt.Errorf("read opencv-python's answer: %w", err)
	}
	scale := 1.0
	if c.family == infer.YOLOv8 {
		scale = 255
	}
	values := make([]byte, len(tensor))
	for i, v := range tensor {
		values[i] = byte(math.RoundToEven(float64(v) * scale))
	}
	if sum := sha256.Sum256(values); hex.EncodeToString(sum[:]) != got.SHA256 {
		return Sample{}, fmt.Errorf("the tensor differs from opencv-python's")
	}
	return Sample{Value: quantile(got.Each, 0.5), Each: got.Each}, nil
}
