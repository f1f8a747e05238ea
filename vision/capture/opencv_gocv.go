//go:build cgo && gocv

package capture

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"gocv.io/x/gocv"
)

// HaveOpenCV tells whether OpenAll reads V4L2 devices.
const HaveOpenCV = true

// videoReader reads one cv::VideoCapture.
type videoReader struct {
	vc      *gocv.VideoCapture
	w, h    int      // of the last picture; the next one is expected to have it
	scratch gocv.Mat // for pictures without room
}

func newVideoReader(vc *gocv.VideoCapture, lib string) (*videoReader, opened) {
	r := &videoReader{vc: vc, scratch: gocv.NewMat()}
	r.w, r.h = int(vc.Get(gocv.VideoCaptureFrameWidth)), int(vc.Get(gocv.VideoCaptureFrameHeight))
	desc := opened{Width: r.w, Height: r.h, Codec: fourCC(vc.Get(gocv.VideoCaptureFOURCC)), Reader: lib}
	if fps := vc.Get(gocv.VideoCaptureFPS); fps > 0 && fps < 1e4 { // NaN and nonsense stay out
		desc.Rate = fps
	}
	return r, desc
}

// fourCC is the codec's name, "" for one that is not in letters.
func fourCC(v float64) string {
	if !(v > 0 && v <= math.MaxUint32) {
		return ""
	}
	n := uint32(v)
	s := []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
	for _, b := range s {
		if b < ' ' || b > '~' {
			return ""
		}
	}
	return strings.TrimSpace(string(s))
}

// Read decodes the next picture into its room, or somewhere else and copies it
// when its size isn't the expected one.
func (r *videoReader) Read(room roomFunc) (shot, error) {
	var mem []byte
	if r.w > 0 && r.h > 0 {
		var err error
		if mem, err = room(3 * r.w * r.h); err != nil {
			return shot{}, err
		}
	}
	m := &r.scratch
	if mem != nil {
		laid, err := gocv.NewMatFromBytes(r.h, r.w, gocv.MatTypeCV8UC3, mem[:3*r.w*r.h])
		if err != nil {
			return shot{}, fmt.Errorf("lay a picture of %dx%d: %w", r.w, r.h, err)
		}
		defer laid.Close()
		m = &laid
	}
	if !r.vc.Read(m) || m.Empty() {
		return shot{}, errStopped
	}
	s := shot{taken: taken{Mono: monotonic()}}
	data, err := m.DataPtrUint8()
	if err != nil {
		return shot{}, fmt.Errorf("a decoded picture: %w", err)
	}
	known := m.Cols() == r.w && m.Rows() == r.h
	r.w, r.h = m.Cols(), m.Rows()
	s.Width, s.Height = r.w, r.h
	switch {
	case known && mem == nil:
		s.empty = true
		return s, nil
	case known && m.Type() == gocv.MatTypeCV8UC3 && &data[0] == &mem[0]:
		return s, nil
	}
	return r.moved(s, m.Channels(), data, room)
}

// moved copies a picture that OpenCV has put elsewhere: another size, or gray.
func (r *videoReader) moved(s shot, channels int, data []byte, room roomFunc) (shot, error) {
	n := s.Width * s.Height
	if channels != 3 && channels != 1 || len(data) != n*channels {
		return s, fmt.Errorf("pictures with %d channels of %d bytes: only BGR and gray with 8 bits are read", channels, len(data)/max(n*channels, 1))
	}
	mem, err := room(3 * n)
	if err != nil {
		return s, err
	}
	if mem == nil {
		s.empty = true
		return s, nil
	}
	if channels == 3 {
		copy(mem, data)
		return s, nil
	}
	for i, v := range data {
		mem[3*i], mem[3*i+1], mem[3*i+2] = v, v, v
	}
	return s, nil
}

// errStopped is a device that gives nothing more.
var errStopped = errors.New("the camera stopped sending or closed the stream")

// Close frees OpenCV's objects.
func (r *videoReader) Close() {
	r.scratch.Close()
	_ = r.vc.Close() // it was read from only
}
