package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxJPEG bounds one picture of a stream, and what may lie between two.
const maxJPEG = 64 << 20

// errCutPicture is a JPEG that another one interrupted.
var errCutPicture = errors.New("a picture of the stream is cut")

// errLongPicture is a JPEG that doesn't end.
var errLongPicture = fmt.Errorf("a picture of the camera has more than %d MiB", maxJPEG>>20)

// jpegStream finds JPEG pictures in a stream of bytes by their own structure.
// It needs neither boundaries nor lengths of the parts around them, which
// cameras often get wrong.
type jpegStream struct {
	r       *bufio.Reader
	arrived *arrivals
	pending bool  // the start of a picture has been read already
	began   int64 // when the first byte of the last picture came, monotonic ns
	usual   int   // how long the last picture was, bytes
}

// arrivals notes when bytes came.
type arrivals struct {
	r    io.Reader
	last int64 // monotonic ns
}

// Read reads and notes the time.
func (a *arrivals) Read(b []byte) (int, error) {
	n, err := a.r.Read(b)
	a.last = monotonic()
	return n, err
}

func newJPEGStream(r io.Reader) *jpegStream {
	a := &arrivals{r: r}
	return &jpegStream{r: bufio.NewReaderSize(a, 64<<10), arrived: a, usual: 64 << 10}
}

// next returns one whole picture, from SOI to EOI, in memory of its own. After
// errCutPicture the stream goes on.
func (s *jpegStream) next() ([]byte, error) {
	if !s.pending {
		if err := s.seek(); err != nil {
			return nil, err
		}
	}
	s.pending = false
	s.began = s.arrived.last
	pic := append(make([]byte, 0, s.usual+s.usual/8), 0xff, 0xd8)
	marker, pic, err := s.marker(pic)
	for err == nil {
		switch {
		case len(pic) > maxJPEG:
			return nil, errLongPicture
		case marker == 0xd9:
			s.usual = len(pic)
			return pic, nil
		case marker == 0xd8:
			s.pending = true
			return nil, errCutPicture
		case marker >= 0xd0 && marker <= 0xd7 || marker == 0x01:
			// no length follows
		default:
			pic, err = s.segment(pic)
		}
		if err == nil && (marker == 0xda || marker >= 0xd0 && marker <= 0xd7) {
			pic, err = s.entropy(pic)
		}
		if err == nil {
			marker, pic, err = s.marker(pic)
		}
	}
	return nil, err
}

// seek skips to behind the next SOI that another marker follows.
func (s *jpegStream) seek() error {
	for skipped := 0; skipped < maxJPEG; {
		buf, err := s.r.Peek(3)
		if err != nil {
			return err
		}
		if buf[0] == 0xff && buf[1] == 0xd8 && buf[2] == 0xff {
			_, err := s.r.Discard(2)
			return err
		}
		all, err := s.r.Peek(s.r.Buffered())
		if err != nil {
			return err
		}
		n := 1 + bytes.IndexByte(all[1:], 0xff)
		if n == 0 {
			n = len(all)
		}
		if _, err := s.r.Discard(n); err != nil {
			return err
		}
		skipped += n
	}
	return fmt.Errorf("the stream has no JPEG picture in %d MiB", maxJPEG>>20)
}

// marker reads FF (as often as it stands) and the code after it.
func (s *jpegStream) marker(pic []byte) (byte, []byte, error) {
	b, err := s.r.ReadByte()
	if err != nil {
		return 0, pic, err
	}
	if b != 0xff {
		return 0, pic, errCutPicture
	}
	for b == 0xff {
		if b, err = s.r.ReadByte(); err != nil {
			return 0, pic, err
		}
	}
	if b == 0 {
		return 0, pic, errCutPicture
	}
	return b, append(pic, 0xff, b), nil
}

// segment copies a length and what it covers.
func (s *jpegStream) segment(pic []byte) ([]byte, error) {
	head, err := s.r.Peek(2)
	if err != nil {
		return pic, err
	}
	n := int(head[0])<<8 | int(head[1])
	if n < 2 {
		return pic, errCutPicture
	}
	at := len(pic)
	pic = append(pic, make([]byte, n)...)
	_, err = io.ReadFull(s.r, pic[at:])
	return pic, err
}

// entropy copies coded data up to the next marker, which stays unread. A
// restart marker is left to the caller, too.
func (s *jpegStream) entropy(pic []byte) ([]byte, error) {
	for len(pic) < maxJPEG {
		if _, err := s.r.Peek(2); err != nil {
			return pic, err
		}
		all, _ := s.r.Peek(s.r.Buffered()) // what is buffered is there
		i := bytes.IndexByte(all, 0xff)
		switch {
		case i < 0:
			i = len(all)
		case i == 0 && all[1] != 0:
			return pic, nil
		case i == 0:
			i = 2 // a stuffed FF
		}
		pic = append(pic, all[:i]...)
		if _, err := s.r.Discard(i); err != nil {
			return pic, err
		}
	}
	return pic, errLongPicture
}
