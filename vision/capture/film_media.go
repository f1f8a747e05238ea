//go:build cgo && (media || gocv)

package capture

/*
#cgo pkg-config: libavformat libavcodec libavutil libswscale
#include <stdlib.h>
#include "film_media.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
	"unsafe"
)

// filmThreads is how many threads decode large pictures at most.
const filmThreads = 4

// maxGap is the longest time between two pictures that is believed.
const maxGap = time.Hour

// openFilm opens a recording. Its pictures are given as they are to be shown.
func openFilm(o order) (reader, opened, error) {
	threads := min(runtime.NumCPU(), filmThreads)
	runtime.GOMAXPROCS(1) // as for RTSP
	path := C.CString(o.At)
	defer C.free(unsafe.Pointer(path))
	var info C.film_info
	f := C.film_open(path, C.int(threads), &info)
	if f == nil {
		return nil, opened{}, errors.New("it is no video that can be read: not a video file, of an unknown kind, or cut before its index")
	}
	r := &filmReader{film: f, media: -1}
	if fps := float64(info.rate); fps > 0 && fps < 1e4 { // NaN and nonsense stay out
		r.rate = fps
	}
	if n := float64(info.frames); n > 0 && n < 1e12 {
		r.total = n
	}
	desc := opened{Width: int(info.width), Height: int(info.height), Rate: r.rate, Codec: C.GoString(&info.codec[0]), Reader: "ffmpeg"}
	shown, err := turn(r, &desc, Options{Rotate: int(info.rotate)})
	return shown, desc, err
}

// filmReader reads one recording.
type filmReader struct {
	film  *C.film
	rate  float64 // frames a second, announced
	total float64 // frames, as the file says; 0 if it doesn't
	read  int
	media time.Duration // of the last picture
}

// Read decodes the next picture into its room. Its size may be another than that of
// the one before.
func (r *filmReader) Read(room roomFunc) (shot, error) {
	var c C.film_shot
	switch C.film_next(r.film, &c) {
	case 0:
		return shot{}, r.over()
	case -1:
		return shot{}, cutShort{fmt.Sprintf("after %d frames it holds nothing that can be decoded", r.read)}
	}
	s := shot{taken: taken{Mono: monotonic(), Media: int64(r.position(time.Duration(c.at))), Width: int(c.width), Height: int(c.height)}}
	if s.Width < 1 || s.Height < 1 || s.Width > maxSide || s.Height > maxSide {
		return s, fmt.Errorf("pictures of %dx%d: at most %d pixels a side are read", s.Width, s.Height, maxSide)
	}
	mem, err := room(3 * s.Width * s.Height)
	if err != nil {
		return s, err
	}
	if mem == nil {
		s.empty = true
		return s, nil
	}
	if C.film_fill(r.film, unsafe.Pointer(&mem[0])) == 0 {
		return s, fmt.Errorf("FFmpeg can't convert pictures of %dx%d to BGR", s.Width, s.Height)
	}
	return s, nil
}

// position is where the picture lies. Time stamps that stand still, go back, leap or are
// missing (-1) are replaced by the announced rate.
func (r *filmReader) position(at time.Duration) time.Duration {
	r.read++
	if at <= r.media || at-max(r.media, 0) > maxGap {
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
func (r *filmReader) over() error {
	switch {
	case r.read == 0:
		return errors.New("it holds no video that can be decoded")
	case r.total > 0 && float64(r.read) < 0.95*r.total: // counts that are estimated from the duration lie a little off
		return cutShort{fmt.Sprintf("%d of %.0f frames are there", r.read, r.total)}
	}
	return io.EOF
}

// Close frees FFmpeg's objects.
func (r *filmReader) Close() { C.film_close(r.film) }
