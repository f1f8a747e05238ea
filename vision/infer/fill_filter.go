package infer

import "math"

// filter is Pillow's way to resize 8-bit pictures: a window around a pixel's
// middle, widened by the factor where the picture gets smaller, first along the
// rows, rounded to 8 bits, then along the columns.
type filter struct {
	across, down taps[int32]
	pair         []int32 // of the position across: the first of its pairs of weights in split
	split        []int16 // pairs of weights: the lower 15 bits of both, then their upper bits
	ring         []byte  // depth rows of the frame, filtered along; row y lies in y % depth
	depth        int
	sum          []int32 // a row of the picture
}

// taps holds, for every output position, the first of the frame's pixels that make
// it and their weights, weight[start[i]:start[i+1]].
type taps[W int32 | float32] struct {
	first, start []int32
	weight       []W
}

// at is what output position i is made of.
func (t *taps[W]) at(i int) (first int, weights []W) {
	return int(t.first[i]), t.weight[t.start[i]:t.start[i+1]]
}

func (t *taps[W]) add(first int, weights []W) {
	if t.start == nil {
		t.start = append(t.start, 0)
	}
	t.weight = append(t.weight, weights...)
	t.first, t.start = append(t.first, int32(first)), append(t.start, int32(len(t.weight)))
}

// most is the largest number of pixels that make one.
func (t *taps[W]) most() int {
	n := 0
	for i := range t.first {
		n = max(n, int(t.start[i+1]-t.start[i]))
	}
	return n
}

func newFilter(how Interpolation, l placing, channels int) *filter {
	curve, support := triangle, 1.0
	if how == Bicubic {
		curve, support = cubic, 2.0
	}
	f := &filter{across: filterTaps(l.across, curve, support), down: filterTaps(l.down, curve, support)}
	f.depth = f.down.most()
	f.sum = make([]int32, l.at.w*channels)
	f.ring = make([]byte, f.depth*len(f.sum))
	f.pair = append(f.pair, 0)
	for i := range l.at.w {
		_, weights := f.across.at(i)
		for ; len(weights) > 0; weights = weights[min(2, len(weights)):] {
			a, b := weights[0], int32(0)
			if len(weights) > 1 {
				b = weights[1]
			}
			f.split = append(f.split, int16(a&0x7fff), int16(b&0x7fff), int16(a>>15), int16(b>>15))
		}
		f.pair = append(f.pair, int32(len(f.split)/4))
	}
	return f
}

// row is the ring's place for row y of the frame.
func (k *filter) row(y int) []byte {
	n := len(k.sum)
	return k.ring[y%k.depth*n:][:n]
}

// weightBits is the precision of a filter's weights, as Pillow has it.
const weightBits = 22

// filterTaps computes Pillow's windows and weights. Weights of nothing at the ends
// are left out.
func filterTaps(s span, curve func(float64) float64, support float64) taps[int32] {
	var t taps[int32]
	scale := float64(s.src) / float64(s.dst)
	wide := max(scale, 1)
	reach, narrow := support*wide, 1/wide
	share := make([]float64, 0, 2*int(math.Ceil(reach))+1)
	fixed := make([]int32, 0, cap(share))
	for d := s.from; d < s.from+s.n; d++ {
		middle := float64((float64(d) + 0.5) * scale)
		first := max(int(float64(middle-reach)+0.5), 0)
		last := min(int(float64(middle+reach)+0.5), s.src)
		share, fixed = share[:0], fixed[:0]
		total := 0.0
		for x := first; x < last; x++ {
			w := curve(float64((float64(float64(x)-middle) + 0.5) * narrow))
			share = append(share, w)
			total += w
		}
		for _, w := range share {
			if total != 0 {
				w /= total
			}
			fixed = append(fixed, int32(math.Copysign(0.5, w)+float64(w*(1<<weightBits)))) // cut towards 0
		}
		from, to := 0, len(fixed)
		for to > from+1 && fixed[to-1] == 0 {
			to--
		}
		for from < to-1 && fixed[from] == 0 {
			from++
		}
		t.add(first+from, fixed[from:to])
	}
	return t
}

// triangle is the curve of Pillow's BILINEAR, 1 pixel to either side.
func triangle(x float64) float64 { return max(1-math.Abs(x), 0) }

// cubic is the curve of Pillow's BICUBIC, 2 pixels to either side, with a = −0.5.
func cubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return (float64(float64(float64(float64((x-5)*x)+8)*x)) - 4) * a
	}
	return 0
}

// resampleFiltered fills the tensor through the filter. The windows of the rows
// only move down, so that each row of the frame is filtered along at most once.
func (f *Filler) resampleFiltered(data []float32) {
	k, channels := f.geo.filter, f.geo.channels
	next := 0
	for y := range f.geo.at.h {
		first, weights := k.down.at(y)
		for next = max(next, first); next < first+len(weights); next++ {
			if channels == 1 {
				along1(k.row(next), f.src.row(next), &k.across)
			} else {
				k.along3(k.row(next), f.src.row(next))
			}
		}
		k.blend(f.line, first, weights)
		f.emit(data, y)
	}
}

const half = 1 << (weightBits - 1)

// along1 filters a row of one channel.
func along1(dst, src []byte, t *taps[int32]) {
	for i := range dst {
		first, weights := t.at(i)
		sum := int32(half)
		for j, v := range src[first:][:len(weights)] {
			sum += int32(v) * weights[j]
		}
		dst[i] = clip(sum)
	}
}

// along3Go filters a row of three channels; along3 is a faster one with the same
// result.
func (k *filter) along3Go(dst, src []byte) {
	t := &k.across
	for i := range len(t.first) {
		first, weights := t.at(i)
		p := src[3*first:][:3*len(weights)]
		b, g, r := int32(half), int32(half), int32(half)
		for _, w := range weights {
			q := p[:3]
			b += int32(q[0]) * w
			g += int32(q[1]) * w
			r += int32(q[2]) * w
			p = p[3:]
		}
		d := dst[3*i:][:3]
		d[0], d[1], d[2] = clip(b), clip(g), clip(r)
	}
}

// blendGo mixes rows of the ring, from row first of the frame on; blend is a faster
// one with the same result.
func (k *filter) blendGo(dst []byte, first int, weights []int32) {
	sum := k.sum[:len(dst)]
	for i := range sum {
		sum[i] = half
	}
	for len(weights) > 0 {
		var rows [4][]byte
		var w [4]int32
		n := min(len(weights), 4)
		for j := range rows {
			rows[j] = k.row(first + min(j, n-1))[:len(sum)]
		}
		copy(w[:], weights[:n])
		a, b, c, d := rows[0], rows[1], rows[2], rows[3]
		for i := range sum {
			sum[i] += int32(a[i])*w[0] + int32(b[i])*w[1] + int32(c[i])*w[2] + int32(d[i])*w[3]
		}
		first, weights = first+n, weights[n:]
	}
	for i, v := range sum {
		dst[i] = clip(v)
	}
}

// clip cuts a sum to 8 bits.
func clip(sum int32) byte { return byte(min(max(sum>>weightBits, 0), 255)) }
