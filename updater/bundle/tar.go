package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// stream is a decompressed archive within its limits.
type stream struct {
	frame *frame
	dec   *zstd.Decoder
	limit Limits
	done  int64 // bytes handed on
}

func openStream(archive io.Reader, limit Limits) (*stream, error) {
	f, err := openFrame(archive)
	if err != nil {
		return nil, err
	}
	if f.size > limit.Bytes {
		return nil, refuse("it unpacks to %d bytes, at most %d are possible", f.size, limit.Bytes)
	}
	// One thread: decoding in the caller, and no goroutine that outlives it.
	dec, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return &stream{frame: f, dec: dec, limit: limit}, nil
}

func (s *stream) close() { s.dec.Close() }

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.dec.Read(p)
	s.done += int64(n) // the decoder keeps to the announced size, too; that is its promise, and this is ours
	switch {
	case s.done > s.frame.size:
		return 0, refuse("its frame announces %d bytes and holds more", s.frame.size)
	case s.done > ratioFrom && (s.done-ratioFrom)/s.limit.Ratio > s.frame.read:
		return 0, refuse("%d bytes of it unpack to more than %d: nothing that a bundle holds is so empty", s.frame.read, s.done)
	case err == nil || err == io.EOF:
		return n, err
	case s.frame.err != nil:
		return n, s.frame.err
	case errors.Is(err, ErrInvalid):
		return n, err
	}
	return n, refuse("decompress it: %w", err)
}

// tarReader reads a bundle's files, whose paths are known before.
type tarReader struct {
	in   io.Reader
	left int64 // bytes that may still come
}

// full reads exactly p.
func (t *tarReader) full(p []byte, what string) error {
	t.left -= int64(len(p))
	if t.left < 0 {
		return refuse("%s is beyond the most that may be unpacked", what)
	}
	_, err := io.ReadFull(t.in, p)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("it ends too early, in %s", what)
	}
	return err
}

// header gives the size of the file, which must be the next one.
func (t *tarReader) header(path string) (int64, error) {
	var h [block]byte
	if err := t.full(h[:], "the header of "+path); err != nil {
		return 0, err
	}
	size, err := checkHeader(&h, path)
	if err == nil && size > t.left {
		err = refuse("%s has %d bytes, more than may still be unpacked", path, size)
	}
	return size, err
}

// text reads a small file whole.
func (t *tarReader) text(path string, size, most int64) ([]byte, error) {
	if size > most {
		return nil, refuse("%s has %d bytes, at most %d are possible", path, size, most)
	}
	b := make([]byte, size)
	if err := t.full(b, path); err != nil {
		return nil, err
	}
	return b, t.padding(path, size)
}

// file hands one file on, to keep if it isn't nil and to each, and checks its hash.
func (t *tarReader) file(f File, keep *bytes.Buffer, each func(File, io.Reader) error) error {
	sum := sha256.New()
	body := &io.LimitedReader{R: t.in, N: f.Size}
	var r io.Reader = io.TeeReader(body, sum)
	if keep != nil {
		r = io.TeeReader(r, keep)
	}
	if each != nil {
		if err := each(f, r); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if body.N > 0 {
		return refuse("it ends too early, in %s", f.Path)
	}
	t.left -= f.Size
	if got := [sha256.Size]byte(sum.Sum(nil)); got != f.SHA256 {
		return refuse("%s has the SHA-256 %.4x…, %s says %.4x…", f.Path, got, SumsFile, f.SHA256)
	}
	return t.padding(f.Path, f.Size)
}

// padding reads the zeros behind a file.
func (t *tarReader) padding(path string, size int64) error {
	return t.zeros(int(padded(size)-size), "the padding of "+path)
}

// padded is a size with what fills its last block.
func padded(size int64) int64 { return (size + block - 1) / block * block }

func (t *tarReader) zeros(n int, what string) error {
	var b [2 * block]byte
	if err := t.full(b[:n], what); err != nil {
		return err
	}
	if b != [2 * block]byte{} {
		return refuse("%s isn't empty", what)
	}
	return nil
}

// end reads the two empty blocks, and nothing may follow.
func (t *tarReader) end() error {
	if err := t.zeros(2*block, "the end, where no file of "+SumsFile+" is left"); err != nil {
		return err
	}
	var one [1]byte
	switch _, err := io.ReadFull(t.in, one[:]); {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	}
	return refuse("there is data behind its end")
}
