package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// jpegPump takes JPEG pictures off a stream as they come and keeps only the
// newest, so that a slow decoder sees fresh pictures instead of a backlog.
type jpegPump struct {
	newest chan jpegPicture // room for one; closed after the last
	err    error            // why it ended; only after newest is closed
	cut    atomic.Uint64    // pictures that another one interrupted, since the last whole one
}

// jpegPicture is one encoded picture.
type jpegPicture struct {
	data    []byte
	mono    int64  // when its first byte came, ns
	skipped uint64 // whole ones before it that nobody took
	cut     uint64 // broken ones before it
}

func newJPEGPump() *jpegPump { return &jpegPump{newest: make(chan jpegPicture, 1)} }

// run moves pictures from the stream to newest until it ends.
func (p *jpegPump) run(from io.Reader) {
	defer close(p.newest)
	s := newJPEGStream(from)
	for {
		data, err := s.next()
		if errors.Is(err, errCutPicture) {
			p.cut.Add(1)
			continue
		}
		if err != nil {
			p.err = err
			return
		}
		pic := jpegPicture{data: data, mono: s.began, cut: p.cut.Swap(0)}
		select {
		case old := <-p.newest:
			pic.skipped = old.skipped + 1
			pic.cut += old.cut
		default:
		}
		p.newest <- pic // the only sender, and the place is free
	}
}

// errQuiet is what no picture has come for.
var errQuiet = errors.New("nothing came in time")

// read decodes the newest picture. errQuiet: none is whole for so long; io.EOF
// and others: the stream has ended.
func (p *jpegPump) read(ctx context.Context, wait time.Duration, room roomFunc) (shot, error) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return shot{}, ctx.Err()
	case <-t.C:
		if n := p.cut.Load(); n > 0 {
			return shot{}, fmt.Errorf("none of the %d pictures of the last %v is whole", n, wait)
		}
		return shot{}, errQuiet
	case pic, ok := <-p.newest:
		if !ok {
			return shot{}, p.err
		}
		s, err := decodeInto(pic.data, room)
		s.Mono, s.Timing, s.skipped, s.incomplete = pic.mono, vision.Arrived, pic.skipped, pic.cut
		return s, err
	}
}

// drain lets run end, once what it reads has been closed.
func (p *jpegPump) drain() {
	for range p.newest { // it may be about to hand one over
	}
}

// mjpegReader reads JPEG pictures from one HTTP response.
type mjpegReader struct {
	ctx    context.Context // ends with the worker
	cancel context.CancelFunc
	body   io.ReadCloser
	pump   *jpegPump
	wait   time.Duration // longest for a picture
}

func newMJPEG(ctx context.Context, cancel context.CancelFunc, res *http.Response, wait time.Duration) *mjpegReader {
	r := &mjpegReader{ctx: ctx, cancel: cancel, body: res.Body, pump: newJPEGPump(), wait: wait}
	go r.pump.run(r.body)
	return r
}

// Read decodes the newest picture.
func (r *mjpegReader) Read(room roomFunc) (shot, error) {
	s, err := r.pump.read(r.ctx, r.wait, room)
	if bad := (errUnreadable{}); err == nil || errors.As(err, &bad) {
		return s, err
	}
	return s, streamEnd(err)
}

// streamEnd says of a connection's end what people need.
func streamEnd(err error) error {
	var ne interface{ Timeout() bool }
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the camera closed the stream")
	case errors.Is(err, syscall.ECONNRESET):
		return errors.New("the camera reset the connection")
	case errors.Is(err, errQuiet), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return errors.New("the camera stopped sending")
	}
	return err
}

// Close ends the connection and waits for the pump.
func (r *mjpegReader) Close() {
	r.cancel()
	r.body.Close()
	r.pump.drain()
}
