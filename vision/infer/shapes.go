package infer

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// Bounds of what is sent ahead of an answer, in bytes.
const (
	maxPart  = 96 << 10 // of one message, before its base64
	maxParts = 64 << 20 // of one answer
)

// Kinds of shapes.
const (
	orientedShape = 1 // X, Y, W, H, Angle as float32
	maskShape     = 2 // X, Y, W, H and the number of runs, then the runs
)

// packShapes packs what detections have besides their box, each as its index,
// a kind and numbers, all varints but float32s; cut into parts that fit a
// message.
func packShapes(dets []vision.Detection) [][]byte {
	var all []byte
	for n, d := range dets {
		if o := d.Oriented; o != nil {
			all = append(binary.AppendUvarint(all, uint64(n)), orientedShape)
			all = append(all, packFloats([]float32{o.X, o.Y, o.W, o.H, o.Angle})...)
		}
		if m := d.Mask; m != nil {
			all = append(binary.AppendUvarint(all, uint64(n)), maskShape)
			for _, v := range [...]int{m.X, m.Y, m.W, m.H, len(m.Runs)} {
				all = binary.AppendUvarint(all, uint64(v))
			}
			for _, r := range m.Runs {
				all = binary.AppendUvarint(all, uint64(r))
			}
		}
	}
	var parts [][]byte
	for len(all) > 0 {
		n := min(len(all), maxPart)
		parts, all = append(parts, all[:n]), all[n:]
	}
	return parts
}

func unpackShapes(b []byte, dets []vision.Detection) error {
	r := shapeReader{b: b}
	for len(r.b) > 0 && r.err == nil {
		n, kind := r.number(uint64(max(len(dets), 1)-1)), r.byte()
		switch {
		case r.err != nil || len(dets) == 0:
			return fmt.Errorf("%w: shapes of nothing", errPacked)
		case kind == orientedShape:
			dets[n].Oriented = r.oriented()
		case kind == maskShape:
			dets[n].Mask = r.mask()
		default:
			return fmt.Errorf("%w: shape of kind %d", errPacked, kind)
		}
	}
	return r.err
}

// shapeReader reads what packShapes wrote; err is the first fault.
type shapeReader struct {
	b   []byte
	err error
}

func (r *shapeReader) number(most uint64) int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *shapeReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *shapeReader) fail() {
	if r.err == nil {
		r.err = fmt.Errorf("%w: a shape is cut or out of range", errPacked)
	}
	r.b = nil
}

func (r *shapeReader) oriented() *vision.OrientedBox {
	if len(r.b) < 20 {
		r.fail()
		return nil
	}
	v := unpackFloats(r.b[:20])
	r.b = r.b[20:]
	return &vision.OrientedBox{X: v[0], Y: v[1], W: v[2], H: v[3], Angle: v[4]}
}

func (r *shapeReader) mask() *vision.Mask {
	m := &vision.Mask{X: r.number(maxFrame), Y: r.number(maxFrame), W: r.number(maxFrame), H: r.number(maxFrame)}
	n := r.number(uint64(len(r.b)))
	m.Runs = make([]uint32, 0, n)
	for range n {
		m.Runs = append(m.Runs, uint32(r.number(maxFrame*maxFrame)))
	}
	if r.err != nil {
		return nil
	}
	return m
}

// packFloats gives float32s, little endian.
func packFloats(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

func unpackFloats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func unpackMap(r *mapReply, scores []byte) (*ScoreMap, error) {
	if r.W < 1 || r.H < 1 || r.W > maxFrame || r.H > maxFrame || len(scores) != 4*r.W*r.H {
		return nil, fmt.Errorf("%w: a map of %d×%d scores has %d bytes", errPacked, r.W, r.H, len(scores))
	}
	return &ScoreMap{W: r.W, H: r.H, Data: unpackFloats(scores), OffX: r.OffX, StepX: r.StepX, OffY: r.OffY, StepY: r.StepY}, nil
}
