//go:build cgo && (media || gocv)

package capture

/*
#cgo pkg-config: gstreamer-1.0 gstreamer-app-1.0 gstreamer-video-1.0
#include <stdlib.h>
#include "gst_media.h"
*/
import "C"

import (
	"errors"
	"runtime/cgo"
	"sync"
	"time"
	"unsafe"
)

// gstPipe is one GStreamer pipeline that ends in an appsink.
type gstPipe struct {
	c    *C.gst_pipe
	self cgo.Handle // of an RTSP camera's rtspStream, else 0
}

// gstShot describes the picture that was pulled last.
type gstShot struct {
	width, height, channels int         // channels is 0 for formats that aren't taken
	format                  string      // GStreamer's name
	rate                    float64     // frames a second, announced; 0 if it isn't
	pts, mono, came         int64       // ns: the buffer's stamp, the same and its arrival here on CLOCK_MONOTONIC; -1 without
	filled                  bool        // it is in the memory that pull was given
	outs                    []C.gst_out // what came since the last pull, this one included
}

// errGstOver is the end of a stream.
var errGstOver = errors.New("the camera closed the stream")

// startGst makes GStreamer ready, once.
var startGst = sync.OnceValue(func() error { return taking(C.gst_start()) })

// taking makes an error of a text of C's, which it frees.
func taking(text *C.char) error {
	if text == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(text))
	return errors.New(C.GoString(text))
}

// parsePipe makes a pipeline of a text.
func parsePipe(text string) (*gstPipe, error) {
	if err := startGst(); err != nil {
		return nil, err
	}
	t := C.CString(text)
	defer C.free(unsafe.Pointer(t))
	var why *C.char
	p := C.gst_pipe_parse(t, &why)
	if p == nil {
		return nil, taking(why)
	}
	return &gstPipe{c: p}, nil
}

// rtspPipe makes the pipeline of an RTSP camera. User and password go to its
// element alone. latency is the jitter buffer's.
func rtspPipe(s *rtspStream, location, user, password string, udp bool, latency, timeout time.Duration) (*gstPipe, error) {
	if err := startGst(); err != nil {
		return nil, err
	}
	texts := []*C.char{C.CString(location), nil, nil}
	if user != "" {
		texts[1], texts[2] = C.CString(user), C.CString(password)
	}
	defer func() {
		for _, t := range texts {
			C.free(unsafe.Pointer(t))
		}
	}()
	var over C.int
	if udp {
		over = 1
	}
	self := cgo.NewHandle(s)
	var why *C.char
	p := C.gst_pipe_rtsp(C.uintptr_t(self), texts[0], texts[1], texts[2], over,
		C.uint(latency.Milliseconds()), C.uint64_t(timeout.Microseconds()), &why)
	if p == nil {
		self.Delete()
		return nil, taking(why)
	}
	return &gstPipe{p, self}, nil
}

func (p *gstPipe) play() { C.gst_pipe_play(p.c) }

// pull waits for the next picture, and writes it to memory of just its size; nil
// leaves that to fill. ok is false if none comes.
func (p *gstPipe) pull(wait time.Duration, to []byte) (s gstShot, ok bool, err error) {
	var c C.gst_shot
	switch C.gst_pipe_pull(p.c, C.uint64_t(max(wait, 0)), unsafe.Pointer(unsafe.SliceData(to)), C.uint64_t(len(to)), &c) {
	case 0:
		return s, false, nil
	case -1:
		return s, false, errGstOver
	}
	s = gstShot{int(c.width), int(c.height), int(c.channels), "", float64(c.rate),
		int64(c.pts), int64(c.mono), int64(c.came), c.filled != 0, c.out[:c.outs:c.outs]}
	if s.channels == 0 {
		s.format = C.GoString(&c.format[0])
	}
	for n := len(s.outs); n == C.GST_OUTS; {
		var more [C.GST_OUTS]C.gst_out
		n = int(C.gst_pipe_outs(p.c, c.number, &more[0], C.GST_OUTS))
		s.outs = append(s.outs, more[:n]...)
	}
	return s, true, nil
}

// fill writes the pulled picture to memory of width*height*channels bytes.
func (p *gstPipe) fill(to []byte) bool { return C.gst_pipe_fill(p.c, unsafe.Pointer(&to[0])) != 0 }

// trouble is what went wrong, nil if nothing did.
func (p *gstPipe) trouble() error {
	var denied C.int
	err := taking(C.gst_pipe_trouble(p.c, &denied))
	if err != nil && denied != 0 {
		return refusal{"unauthorised (401): the camera refuses this user and password"}
	}
	return err
}

// close ends the pipeline. It may hang.
func (p *gstPipe) close() {
	C.gst_pipe_close(p.c)
	if p.self != 0 {
		p.self.Delete()
	}
}

func streamOf(self C.uintptr_t) *rtspStream { return cgo.Handle(self).Value().(*rtspStream) }

func cBool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

//export gstDescribe
func gstDescribe(self C.uintptr_t, name *C.char, clock C.int, rate *C.char) C.int {
	return cBool(streamOf(self).describe(C.GoString(name), int(clock), C.GoString(rate)))
}

//export gstChain
func gstChain(self C.uintptr_t) *C.char { return C.CString(streamOf(self).chain()) }

//export gstMissing
func gstMissing(self C.uintptr_t, why *C.char) { streamOf(self).missing(C.GoString(why)) }

// lookLocked shows flow the packets that came since the last call. The stream's
// order is locked.
func (s *rtspStream) lookLocked(c *C.gst_pipe) {
	for {
		n := int(C.gst_pipe_heads(c, unsafe.Pointer(&s.heads[0]), C.uint64_t(len(s.heads))))
		if n == 0 {
			return
		}
		for b := s.heads[:n]; len(b) > 0; {
			var h C.gst_head
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), C.sizeof_gst_head), b)
			b = b[C.sizeof_gst_head:]
			if h.size == 0 {
				s.flow.fed(int64(h.stamp))
				continue
			}
			s.flow.pass(b[:h.size], int64(h.stamp), int64(h.arrival), uint16(h.plain))
			b = b[h.size:]
		}
	}
}

// look is what the reader does before it believes in a picture.
func (p *gstPipe) look(s *rtspStream) {
	s.order.Lock()
	defer s.order.Unlock()
	s.lookLocked(p.c)
	if !s.flow.trusted() {
		C.gst_pipe_doubt(p.c)
	}
}

// gstDecode tells whether a picture may be decoded (1), and whether the next may
// without asking (2).
//
//export gstDecode
func gstDecode(self C.uintptr_t, c *C.gst_pipe, ns C.int64_t) C.int {
	s := streamOf(self)
	s.order.Lock()
	defer s.order.Unlock()
	s.lookLocked(c)
	answer := cBool(s.flow.decode(int64(ns)))
	if s.flow.trusted() {
		answer |= 2
	}
	return answer
}

//export gstReport
func gstReport(self C.uintptr_t, b *C.uint8_t, n C.size_t) {
	streamOf(self).flow.reported(unsafe.Slice((*byte)(b), int(n)))
}

//export gstComplain
func gstComplain(self C.uintptr_t, c *C.gst_pipe, ns C.int64_t, text *C.char) {
	if complaint(C.GoString(text)) {
		streamOf(self).flow.damaged(int64(ns))
		C.gst_pipe_doubt(c)
	}
}
