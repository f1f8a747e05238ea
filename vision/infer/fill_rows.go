package infer

import "github.com/sightline-edge/sightline/vision"

// source gives a frame's rows with the channels that are resized.
type source struct {
	frame *vision.Frame
	gray  []byte // a row of a colour frame, for a Gray tensor; nil where it is taken as it is
	at    int    // the row that gray holds, -1 if none
}

func (s *source) set(frame *vision.Frame, channels int) {
	s.frame, s.at = frame, -1
	if channels == frame.Format.Channels() {
		s.gray = s.gray[:0]
		return
	}
	if cap(s.gray) < frame.Width {
		s.gray = make([]byte, frame.Width)
	}
	s.gray = s.gray[:frame.Width]
}

// row is valid until the next one is asked for.
func (s *source) row(y int) []byte {
	src := s.frame.Pix[y*s.frame.Stride:][:s.frame.Width*s.frame.Format.Channels()]
	if len(s.gray) == 0 {
		return src
	}
	if s.at != y {
		toGray(s.gray, src)
		s.at = y
	}
	return s.gray
}

// toGray converts a row as OpenCV's BGR2GRAY does, in 15 bits.
func toGray(dst, bgr []byte) {
	for x := range dst {
		p := bgr[3*x:][:3]
		b, g, r := uint32(p[0]), uint32(p[1]), uint32(p[2])
		dst[x] = byte((b*3735 + g*19235 + r*9798 + 1<<14) >> 15)
	}
}

// emit writes line, the picture's row y, into the tensor's planes.
func (f *Filler) emit(data []float32, y int) {
	if f.geo.channels == 1 {
		f.emitGray(data, y)
		return
	}
	w, start := f.geo.at.w, y*f.in.Width
	p0, p1, p2 := f.plane(data, 0)[start:][:w], f.plane(data, 1)[start:][:w], f.plane(data, 2)[start:][:w]
	t0, t1, t2 := f.table(0), f.table(1), f.table(2)
	for x := range w {
		v := f.line[3*x:][:3]
		p0[x], p1[x], p2[x] = t0[v[0]], t1[v[1]], t2[v[2]]
	}
}

// emitGray writes a row of one channel into all planes.
func (f *Filler) emitGray(data []float32, y int) {
	g, size := &f.geo, f.in.Width*f.in.Height
	at := (g.at.y+y)*f.in.Width + g.at.x
	first, table := data[at:][:g.at.w], &f.lut[0]
	for x, v := range f.line[:len(first)] {
		first[x] = table[v]
	}
	for c := 1; c < f.in.Planes(); c++ {
		out := data[c*size+at:][:g.at.w]
		if f.alike {
			copy(out, first)
			continue
		}
		table := &f.lut[c]
		for x, v := range f.line[:len(out)] {
			out[x] = table[v]
		}
	}
}
