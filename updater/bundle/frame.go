package bundle

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds how far back a compressed archive may refer, in bytes: it
// is the memory that a device needs to unpack it.
const maxWindow = 8 << 20

// frame hands on one Zstandard frame and ends with it. Decoders go on with
// whatever frames follow, pass over skippable ones and take dictionaries; here
// none of that is possible. It follows the frame's own structure (RFC 8878).
type frame struct {
	in   *bufio.Reader
	size int64 // unpacked, as the frame's header tells
	read int64 // bytes handed on so far
	err  error // of the stream below, not of the frame

	left    int // bytes of the piece that is being handed on
	pending []byte
	last    bool // no block follows
	tail    int  // bytes of the checksum
}

// openFrame reads the frame's header.
func openFrame(r io.Reader) (*frame, error) {
	f := &frame{in: bufio.NewReaderSize(r, 64<<10)}
	start, err := f.in.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var h zstd.Header
	if err := h.Decode(start); err != nil || h.Skippable {
		return nil, refuse("it is no bundle: it doesn't begin with a Zstandard frame")
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	switch {
	case h.DictionaryID != 0:
		return nil, refuse("it needs a dictionary, which a bundle doesn't")
	case !h.HasFCS || h.FrameContentSize > maxTarSize:
		return nil, refuse("its frame doesn't tell its unpacked size, or one that is impossible")
	case window > maxWindow:
		return nil, refuse("it needs %d bytes of memory to be unpacked, at most %d are given", window, maxWindow)
	}
	f.size, f.left = int64(h.FrameContentSize), h.HeaderSize
	if h.HasCheckSum {
		f.tail = 4
	}
	return f, nil
}

func (f *frame) Read(p []byte) (int, error) {
	if f.left == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	p = p[:min(len(p), f.left)]
	var n int
	var err error
	if len(f.pending) > 0 {
		n = copy(p, f.pending)
		f.pending = f.pending[n:]
	} else {
		n, err = f.in.Read(p)
	}
	f.left -= n
	f.read += int64(n)
	return n, f.below(err)
}

// next begins the next piece: a block with its header, or the checksum.
func (f *frame) next() error {
	if f.last {
		if f.left, f.tail = f.tail, 0; f.left == 0 {
			return io.EOF
		}
		return nil
	}
	var h [3]byte
	if _, err := io.ReadFull(f.in, h[:]); err != nil {
		return f.below(err)
	}
	word := int(h[0]) | int(h[1])<<8 | int(h[2])<<16
	f.last = word&1 != 0
	size := word >> 3
	if word>>1&3 == 1 {
		size = 1 // one byte, repeated
	}
	f.pending = bytes.Clone(h[:])
	f.left = len(h) + size
	return nil
}

// below keeps the stream's own errors apart from a frame that ends too early.
func (f *frame) below(err error) error {
	switch {
	case err == nil:
		return nil
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return refuse("it ends too early: it was cut off")
	}
	f.err = err
	return err
}

// end refuses what follows the frame.
func (f *frame) end() error {
	if f.left != 0 || !f.last || f.tail != 0 {
		return refuse("its frame goes on behind the last file")
	}
	switch _, err := f.in.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return refuse("there is data behind its end")
	default:
		return err
	}
}
