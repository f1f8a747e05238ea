package infer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// request is what the agent sends; exactly one field is set.
type request struct {
	Load   *loadRequest  `json:"load,omitempty"` // the model's descriptor comes with it
	Pool   *shm.Info     `json:"pool,omitempty"` // the memory's descriptor comes with it
	Forget uint64        `json:"forget,omitempty"`
	Infer  *inferRequest `json:"infer,omitempty"`
	Stop   uint64        `json:"stop,omitempty"` // a run on tensors whose answer nobody wants any more
}

// loadRequest is always the first request. Labels stay with the agent; the
// worker only needs their number.
type loadRequest struct {
	Spec     Spec          `json:"spec"`
	Classes  int           `json:"classes"`
	Library  string        `json:"library"`
	Threads  int           `json:"threads"`
	Provider Provider      `json:"provider,omitempty"`
	Limit    time.Duration `json:"limit"`
	Aside    bool          `json:"aside,omitempty"`   // no station waits for it
	Memory   int64         `json:"memory,omitempty"`  // bytes that the process may have for itself
	Tensors  bool          `json:"tensors,omitempty"` // the model runs on tensors alone: there is no Spec

	Precision Precision `json:"precision,omitempty"`
	Engines   Engines   `json:"engines"`
	Batch     int       `json:"batch,omitempty"`
	Without   string    `json:"without,omitempty"` // why TensorRT isn't tried again
	AtOnce    bool      `json:"at_once,omitempty"` // CUDA is taken where TensorRT has no engine yet
	Only      bool      `json:"only,omitempty"`    // the process is to build TensorRT's engine alone

	Graph GraphLevel `json:"graph,omitempty"`

	Share     int     `json:"share,omitempty"` // frames that one run may look at
	SharePays float64 `json:"share_pays,omitempty"`

	Measured bool            `json:"measured,omitempty"` // whether that pays is known
	Shared   []time.Duration `json:"shared,omitempty"`   // as Info.Shared, then
}

type inferRequest struct {
	ID     uint64             `json:"id"`
	Pool   uint64             `json:"pool"`
	Slot   int                `json:"slot"`
	Offset int                `json:"offset,omitempty"` // of the first pixel in the slot, bytes
	Width  int                `json:"w"`
	Height int                `json:"h"`
	Stride int                `json:"stride"`
	Format vision.PixelFormat `json:"format"`

	Samples int  `json:"samples,omitempty"` // raw values of each output that are wanted
	Scores  bool `json:"scores,omitempty"`  // the map of scores is wanted
	Aside   bool `json:"aside,omitempty"`   // no station waits for it

	Group uint64 `json:"group,omitempty"` // of Group
	Of    int    `json:"of,omitempty"`

	Tensors *tensorsRequest `json:"tensors,omitempty"` // the run is on tensors, not on a frame
}

// reply is what the worker sends; exactly one field is set.
type reply struct {
	Engine  *engineReply `json:"engine,omitempty"`
	Ready   *Info        `json:"ready,omitempty"`
	Refused string       `json:"refused,omitempty"` // why trying again is no use
	Part    *partReply   `json:"part,omitempty"`
	Result  *resultReply `json:"result,omitempty"`
	Memory  *memoryReply `json:"memory,omitempty"` // its descriptor comes with it
}

// partReply is a part of an answer, sent ahead of it: what may be longer than a
// message. Parts of a kind follow each other.
type partReply struct {
	ID     uint64 `json:"id"`
	Shapes []byte `json:"shapes,omitempty"` // of packShapes
	Scores []byte `json:"scores,omitempty"` // of packFloats, of the map
}

// mapReply is a ScoreMap without its scores.
type mapReply struct {
	W     int     `json:"w"`
	H     int     `json:"h"`
	OffX  float64 `json:"off_x"`
	StepX float64 `json:"step_x"`
	OffY  float64 `json:"off_y"`
	StepY float64 `json:"step_y"`
}

type resultReply struct {
	ID       uint64        `json:"id"`
	Err      string        `json:"err,omitempty"`
	TimedOut bool          `json:"timed_out,omitempty"`
	Boxes    []byte        `json:"boxes,omitempty"` // of packDetections
	Dropped  int           `json:"dropped,omitempty"`
	Score    *float32      `json:"score,omitempty"`
	Map      *mapReply     `json:"map,omitempty"`
	Raw      []rawReply    `json:"raw,omitempty"` // if samples were asked for
	Fill     time.Duration `json:"fill"`
	Run      time.Duration `json:"run"`
	Decode   time.Duration `json:"decode"`

	Tensors []Laid `json:"tensors,omitempty"` // of a run on tensors
	Stopped bool   `json:"stopped,omitempty"` // because it was asked for
}

// packedSize is the bytes of one detection: class, score, x, y, w, h.
const packedSize = 6 * 4

// packDetections appends detections in a form that costs no parsing.
func packDetections(b []byte, dets []vision.Detection) []byte {
	for _, d := range dets {
		b = binary.LittleEndian.AppendUint32(b, uint32(d.Class))
		for _, v := range [...]float32{d.Score, d.Box.X, d.Box.Y, d.Box.W, d.Box.H} {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}

var errPacked = errors.New("the worker's answer is damaged")

func unpackDetections(b []byte, labels []Label) ([]vision.Detection, error) {
	if len(b)%packedSize != 0 || len(b) > MaxDetections*packedSize {
		return nil, fmt.Errorf("%w: %d bytes", errPacked, len(b))
	}
	if len(b) == 0 {
		return nil, nil
	}
	dets := make([]vision.Detection, len(b)/packedSize)
	for i := range dets {
		p := b[i*packedSize:]
		f := func(n int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(p[4*n:])) }
		class := binary.LittleEndian.Uint32(p)
		if class >= uint32(len(labels)) {
			return nil, fmt.Errorf("%w: class %d of %d", errPacked, class, len(labels))
		}
		dets[i] = vision.Detection{Label: labels[class].Name, Class: int(class), Score: f(1),
			Box: vision.Box{X: f(2), Y: f(3), W: f(4), H: f(5)}}
	}
	return dets, nil
}
