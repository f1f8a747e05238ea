package infer

import (
	"fmt"
	"math"
	"slices"
)

// feed is the memory of one input tensor; one of the slices is set, by element.
type feed struct {
	shape   []int64
	element string
	f32     []float32
	raw     []byte
	i64     []int64
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
			out = append(out, feed{shape: []int64{1, 2}, element: "int64", i64: []int64{int64(in.Width), int64(in.Height)}})
		default:
			return nil, fmt.Errorf("the model has an input %v that isn't a picture", t)
		}
	}
	return out, nil
}

// pictureFeed is the picture's tensor. A model that was exported for several
// pictures at a time gets one of them, and emptiness for the rest.
func (i Info) pictureFeed(in Input, blob []float32) feed {
	t := i.Inputs[i.picture()]
	f := feed{shape: i.inputShape(in), element: t.Type}
	n := 1
	for _, d := range f.shape {
		n *= int(d)
	}
	switch {
	case t.Type == "float32" && n == len(blob) && !i.nhwc():
		f.f32 = blob
	case t.Type == "float32":
		f.f32 = make([]float32, n)
	case t.Type == "float16":
		f.raw = make([]byte, 2*n)
	default:
		f.raw = make([]byte, n)
	}
	return f
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

// batch is how many pictures a run takes: 1, or what the model fixes.
func (i Info) batch() int {
	if t := i.Inputs[i.picture()]; len(t.Shape) == 4 && t.Shape[0] > 1 {
		return int(t.Shape[0])
	}
	return 1
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

// one keeps of a run's outputs what belongs to its first picture.
func one(outs []Output, batch int) []Output {
	if batch == 1 {
		return outs
	}
	for k := range outs {
		o := &outs[k]
		if len(o.Shape) > 0 && o.Shape[0] == int64(batch) {
			o.Shape = slices.Clone(o.Shape)
			o.Shape[0] = 1
			o.Data = o.Data[:len(o.Data)/batch]
		}
	}
	return outs
}

// half is the value of an IEEE 754 binary16.
func half(b uint16) float32 {
	sign, exp, frac := uint32(b>>15)<<31, uint32(b>>10)&31, uint32(b)&0x3ff
	switch {
	case exp == 31: // infinite, or no number
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp == 0:
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// put writes the blob's picture into the tensor, unless it lies there already.
func (f *feed) put(blob []float32, planes int, nhwc bool) error {
	switch {
	case f.f32 == nil:
		return fmt.Errorf("inputs of %s can't be filled", f.element)
	case &f.f32[0] == &blob[0]:
	case nhwc:
		n := len(blob) / planes
		for c := range planes {
			for p, v := range blob[c*n : (c+1)*n] {
				f.f32[p*planes+c] = v
			}
		}
	default:
		copy(f.f32, blob)
	}
	return nil
}
