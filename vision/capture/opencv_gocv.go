//go:build cgo && gocv

package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"gocv.io/x/gocv"
)

// HaveOpenCV tells whether OpenAll reads videos, RTSP and devices.
const HaveOpenCV = true

// openNative opens what needs a library: OpenCV, GStreamer or Aravis.
func openNative(ctx context.Context, o order) (reader, opened, error) {
	// Its warnings would reach the log at every start of a camera.
	_ = os.Setenv("OPENCV_LOG_LEVEL", "SILENT") // can't fail for such names
	_ = os.Setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")
	switch o.Kind {
	case video:
		return openVideo(o)
	case rtsp:
		runtime.GOMAXPROCS(1) // one goroutine does it all, and each more would keep the runtime's monitor awake: 0.3 ms a picture
		if err := askRTSP(ctx, o); err != nil {
			return nil, opened{}, err
		}
		return openRTSP(ctx, o)
	case device:
		return openDevice(o)
	case genICam:
		return openGenICam(ctx, o)
	}
	runtime.GOMAXPROCS(1)
	return openPipeline(ctx, o)
}

// openVideo opens a recording.
func openVideo(o order) (reader, opened, error) {
	runtime.GOMAXPROCS(1) // as for RTSP
	vc, err := gocv.OpenVideoCaptureWithAPI(o.At, gocv.VideoCaptureFFmpeg)
	if err != nil {
		return nil, opened{}, errors.New("it is no video that can be read: not a video file, of an unknown kind, or cut before its index")
	}
	return newVideoReader(vc, o, "ffmpeg")
}

// videoReader reads one cv::VideoCapture.
type videoReader struct {
	vc      *gocv.VideoCapture
	live    bool
	w, h    int     // of the last picture; the next one is expected to have it
	rate    float64 // frames a second, announced
	total   float64 // frames, as the file says; 0 if it doesn't
	read    int
	media   time.Duration
	scratch gocv.Mat // for pictures without room
}

func newVideoReader(vc *gocv.VideoCapture, o order, lib string) (reader, opened, error) {
	r := &videoReader{vc: vc, live: o.Kind.live(), scratch: gocv.NewMat(), media: -1}
	r.w, r.h = int(vc.Get(gocv.VideoCaptureFrameWidth)), int(vc.Get(gocv.VideoCaptureFrameHeight))
	if fps := vc.Get(gocv.VideoCaptureFPS); fps > 0 && fps < 1e4 { // NaN and nonsense stay out
		r.rate = fps
	}
	if n := vc.Get(gocv.VideoCaptureFrameCount); n > 0 && n < 1e12 && !r.live {
		r.total = n
	}
	return r, opened{Width: r.w, Height: r.h, Rate: r.rate, Codec: fourCC(vc.Get(gocv.VideoCaptureFOURCC)), Reader: lib}, nil
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
		return shot{}, r.over()
	}
	s := shot{taken: taken{Mono: monotonic(), Media: int64(r.position())}}
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

// position is where in a recording the last picture lies. Time stamps that
// stand still or go back are replaced by the announced rate.
func (r *videoReader) position() time.Duration {
	r.read++
	if r.live {
		return 0
	}
	ms := r.vc.Get(gocv.VideoCapturePosMsec)
	at := time.Duration(-1)
	if ms >= 0 && ms < 1e12 {
		at = time.Duration(math.Round(ms * 1e6))
	}
	if at <= r.media {
		step := time.Millisecond
		if r.rate > 0 {
			step = time.Duration(float64(time.Second) / r.rate)
		}
		at = max(r.media, -step) + step
	}
	r.media = at
	return at
}

// over tells an end from a loss.
func (r *videoReader) over() error {
	switch {
	case r.live:
		return errors.New("the camera stopped sending or closed the stream")
	case r.read == 0:
		return errors.New("it holds no video that can be decoded")
	case r.total > 0 && float64(r.read) < 0.95*r.total: // counts that are estimated from the duration lie a little off
		return cutShort{fmt.Sprintf("%d of %.0f frames are there", r.read, r.total)}
	}
	return io.EOF
}

// Close frees OpenCV's objects.
func (r *videoReader) Close() {
	r.scratch.Close()
	_ = r.vc.Close() // it was read from only
}
