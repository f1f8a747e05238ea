package infer

import "math"

// area is OpenCV's INTER_AREA where it makes smaller in both directions: the mean
// of what a pixel covers.
type area struct {
	// Whole factors: sums of across×down pixels each.
	whole        bool
	across, down int
	from         [2]int  // the first column and row, pixels of the frame
	sums         []int64 // a row of the picture

	// Broken factors: weights, in float32.
	cols, rows taps[float32]
	have       int       // the row of the frame that row holds, -1 if none
	row, sum   []float32 // a row of the frame, made smaller; a row of the picture
}

// newArea is nil where the picture gets larger in a direction: there OpenCV takes
// two pixels a direction.
func newArea(l placing, channels int) *area {
	across, _ := l.across.scales()
	down, _ := l.down.scales()
	if !(across >= 1 && down >= 1) {
		return nil
	}
	n := l.at.w * channels
	x, y := math.RoundToEven(across), math.RoundToEven(down)
	const epsilon = 0x1p-52
	if math.Abs(across-x) < epsilon && math.Abs(down-y) < epsilon {
		return &area{whole: true, across: int(x), down: int(y),
			from: [2]int{l.across.from * int(x), l.down.from * int(y)}, sums: make([]int64, n)}
	}
	return &area{cols: areaTaps(l.across), rows: areaTaps(l.down), row: make([]float32, n), sum: make([]float32, n)}
}

// areaTaps computes OpenCV's shares of the pixels that a pixel covers; less than a
// thousandth of a pixel at an end counts as nothing.
func areaTaps(s span) taps[float32] {
	var t taps[float32]
	var weights []float32
	scale, _ := s.scales()
	for d := s.from; d < s.from+s.n; d++ {
		from := float64(float64(d) * scale)
		to := from + scale
		width := min(scale, float64(s.src)-from)
		last := min(int(math.Floor(to)), s.src-1)
		first := min(int(math.Ceil(from)), last)
		weights = weights[:0]
		start := first
		if float64(first)-from > 1e-3 {
			start = first - 1
			weights = append(weights, float32((float64(first)-from)/width))
		}
		for range last - first {
			weights = append(weights, float32(1/width))
		}
		if to-float64(last) > 1e-3 {
			weights = append(weights, float32(min(min(to-float64(last), 1), width)/width))
		}
		t.add(start, weights)
	}
	return t
}

func (f *Filler) resampleArea(data []float32) {
	a := f.geo.area
	a.have = -1
	for y := range f.geo.at.h {
		if a.whole {
			f.sumArea(y)
		} else {
			f.weighArea(y)
		}
		f.emit(data, y)
	}
}

// sumArea makes row y of whole factors.
func (f *Filler) sumArea(y int) {
	a, channels := f.geo.area, f.geo.channels
	clear(a.sums)
	for k := range a.down {
		src := f.src.row(a.from[1] + y*a.down + k)[a.from[0]*channels:]
		if channels == 1 {
			for i := range a.sums {
				for _, v := range src[:a.across] {
					a.sums[i] += int64(v)
				}
				src = src[a.across:]
			}
			continue
		}
		for i := 0; i+2 < len(a.sums); i += 3 {
			var b, g, r int64
			for p := src[:3*a.across]; len(p) >= 3; p = p[3:] {
				b, g, r = b+int64(p[0]), g+int64(p[1]), r+int64(p[2])
			}
			a.sums[i], a.sums[i+1], a.sums[i+2] = a.sums[i]+b, a.sums[i+1]+g, a.sums[i+2]+r
			src = src[3*a.across:]
		}
	}
	if a.across == 2 && a.down == 2 { // which OpenCV rounds in another way
		for i, v := range a.sums {
			f.line[i] = byte((v + 2) >> 2)
		}
		return
	}
	share := 1 / float32(a.across*a.down)
	for i, v := range a.sums {
		f.line[i] = nearest(float32(v) * share)
	}
}

// weighArea makes row y of broken factors.
func (f *Filler) weighArea(y int) {
	a := f.geo.area
	first, weights := a.rows.at(y)
	for k, w := range weights {
		if a.have != first+k { // the last row of one is often the first of the next
			a.have = first + k
			if src := f.src.row(a.have); f.geo.channels == 1 {
				areaAlong1(a.row, src, &a.cols)
			} else {
				areaAlong3(a.row, src, &a.cols)
			}
		}
		sum := a.sum[:len(a.row)]
		if k == 0 {
			for i, v := range a.row {
				sum[i] = w * v
			}
			continue
		}
		for i, v := range a.row {
			sum[i] += float32(w * v)
		}
	}
	for i, v := range a.sum {
		f.line[i] = nearest(v)
	}
}

// areaAlong1 makes a row of one channel smaller.
func areaAlong1(dst []float32, src []byte, t *taps[float32]) {
	for i := range dst {
		first, weights := t.at(i)
		sum := float32(0)
		for j, v := range src[first:][:len(weights)] {
			sum += float32(float32(v) * weights[j])
		}
		dst[i] = sum
	}
}

// areaAlong3 makes a row of three channels smaller.
func areaAlong3(dst []float32, src []byte, t *taps[float32]) {
	for i := range len(t.first) {
		first, weights := t.at(i)
		p := src[3*first:][:3*len(weights)]
		var b, g, r float32
		for _, w := range weights {
			q := p[:3]
			b += float32(float32(q[0]) * w)
			g += float32(float32(q[1]) * w)
			r += float32(float32(q[2]) * w)
			p = p[3:]
		}
		d := dst[3*i:][:3]
		d[0], d[1], d[2] = b, g, r
	}
}

// levelShift leaves a float32 of less than 2²² without fractions, its value in the
// lowest bits.
const levelShift = 3 << 22

// nearest rounds a mean of grey levels, halves to the even one.
func nearest(v float32) byte { return byte(math.Float32bits(v + levelShift)) }
