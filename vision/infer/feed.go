package infer

import (
	"fmt"
	"math"
	"slices"
)

// feed is the memory of one input tensor: one of the slices is set.
type feed struct {
	shape []int64
	f32   []float32 // a blob's own
	i64   []int64
	raw   []byte // packed
	pack  Packing
}

// sizesInput is the second input of RT-DETR's and D-FINE's exports: the size to
// which the boxes are to be scaled, width and height (their deploy form).
const sizesInput = "orig_target_sizes"

// feeds makes the inputs of one run over a blob, in the model's order. Boxes are
// asked for in the tensor's pixels, where the model asks.
func (i Info) feeds(in Input, blob []float32) ([]feed, error) {
	var out []feed
	for n, t := range i.Inputs {
		switch {
		case n == i.picture():
			out = append(out, i.pictureFeed(in, blob))
		case t.Name == sizesInput && t.Type == "int64":
			out = append(out, feed{shape: []int64{1, 2}, i64: []int64{int64(in.Width), int64(in.Height)}})
		default:
			return nil, fmt.Errorf("the model has an input %v that isn't a picture", t)
		}
	}
	return out, nil
}

// pictureFeed is the picture's tensor. A model that was exported for several
// pictures at a time gets one of them, and emptiness for the rest.
func (i Info) pictureFeed(in Input, blob []float32) feed {
	f := feed{shape: i.inputShape(in), pack: Packing{
		Planes: in.Planes(), Height: in.Height, Width: in.Width, Element: Element(i.Inputs[i.picture()].Type), Layout: NCHW,
	}}
	if i.nhwc() {
		f.pack.Layout = NHWC
	}
	if i.batch() == 1 && f.pack.Element == Float32 && f.pack.Layout == NCHW {
		f.f32 = blob
	} else {
		f.raw = make([]byte, i.batch()*f.pack.Bytes())
	}
	return f
}

// put packs the blob's picture into the tensor, unless it lies there already.
func (f *feed) put(blob []float32) error {
	if f.raw == nil {
		return nil
	}
	return f.pack.Pack(f.raw[:f.pack.Bytes()], blob)
}

// inputShape is the picture's tensor with the sizes of in.
func (i Info) inputShape(in Input) []int64 {
	c, h, w := int64(in.Planes()), int64(in.Height), int64(in.Width)
	shape := []int64{c, h, w}
	if i.nhwc() {
		shape = []int64{h, w, c}
	}
	if len(i.Inputs[i.picture()].Shape) == 4 {
		shape = slices.Insert(shape, 0, int64(i.batch()))
	}
	return shape
}

// picture is the index of the picture among the inputs.
func (i Info) picture() int {
	for n, t := range i.Inputs {
		if len(t.Shape) == 4 || len(t.Shape) == 3 {
			return n
		}
	}
	return 0
}

// batch is how many pictures a run takes: what the model fixes, or what was asked for
// where it leaves that open.
func (i Info) batch() int {
	switch t := i.Inputs[i.picture()]; {
	case len(t.Shape) == 4 && t.Shape[0] > 1:
		return int(t.Shape[0])
	case i.OpenBatch():
		return max(i.asked, 1)
	}
	return 1
}

// OpenBatch tells whether the model takes any number of pictures in a run.
func (i Info) OpenBatch() bool {
	if len(i.Inputs) == 0 {
		return false
	}
	t := i.Inputs[i.picture()]
	return len(t.Shape) == 4 && t.Shape[0] < 0
}

// nhwc reports whether the channels are the picture's last dimension, as
// TensorFlow's exports have them.
func (i Info) nhwc() bool {
	s := i.Inputs[i.picture()].Shape
	if len(s) < 3 {
		return false
	}
	isChannels := func(d int64) bool { return d == 1 || d == 3 }
	return isChannels(s[len(s)-1]) && !isChannels(s[len(s)-3])
}

// one keeps of a run's outputs what belongs to its first picture. Declared are
// their shapes: rows or values whose number the model leaves open may be as many as
// there are pictures and yet all of one.
func one(outs []Output, declared []Tensor, batch int) []Output {
	if batch == 1 {
		return outs
	}
	for k := range outs {
		o := &outs[k]
		found := len(o.Shape) < 3 && k < len(declared) && len(declared[k].Shape) > 0 && declared[k].Shape[0] < 0
		if len(o.Shape) > 0 && o.Shape[0] == int64(batch) && !found {
			o.Shape = slices.Clone(o.Shape)
			o.Shape[0] = 1
			o.Data = o.Data[:len(o.Data)/batch]
		}
	}
	return outs
}

// one keeps what belongs to the run's first picture. Where more were asked for, what
// comes as many times as there are pictures is one's each.
func (s *server) one(outs []Output) []Output {
	if s.info.asked > 1 {
		return one(outs, nil, s.info.batch())
	}
	return one(outs, s.sess.outputs, s.info.batch())
}

// halfFloat is the value of an IEEE 754 binary16.
func halfFloat(b uint16) float32 {
	sign, exp, frac := uint32(b>>15)<<31, uint32(b>>10)&31, uint32(b)&0x3ff
	switch {
	case exp == 31: // infinite, or no number
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp == 0:
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
