// Package picture turns encoded pictures into frames and back, in plain Go.
// What it decodes is what OpenCV's imread with IMREAD_COLOR gives for the same
// bytes: BGR, alpha dropped, 16 bits cut to 8, turned upright by the EXIF
// orientation, chroma upsampled by libjpeg-turbo's triangle filter. Models
// that were trained and scored through OpenCV so see the same pixels here.
package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"github.com/sightline-edge/sightline/vision"
)

// Limits of what Decode takes; a header that promises more is refused before
// any memory is asked for.
const (
	MaxSide  = 20000   // pixels
	MaxBytes = 1 << 30 // of the encoded file, and of the decoded BGR picture
)

// ErrFormat is wrapped by errors about bytes that are no picture of a kind
// that Decode knows.
var ErrFormat = errors.New("no JPEG, PNG, BMP or WebP picture")

// Info is what a picture's header says.
type Info struct {
	Format      string // "jpeg", "png", "bmp" or "webp"
	Width       int    // pixels, upright
	Height      int    // pixels, upright
	Orientation int    // of EXIF, 1 to 8; 1 is upright
}

// codec is one kind of file.
type codec struct {
	name   string
	magic  string // '?' stands for any byte
	config func(*bytes.Reader) (image.Config, error)
	decode func([]byte) (image.Image, error)
	exif   func([]byte) []byte // the TIFF structure, nil if there is none
}

func codecs() [4]codec {
	return [4]codec{
		{"jpeg", "\xff\xd8\xff",
			func(r *bytes.Reader) (image.Config, error) { return jpeg.DecodeConfig(r) },
			decodeJPEG, jpegEXIF},
		{"png", "\x89PNG\r\n\x1a\n",
			func(r *bytes.Reader) (image.Config, error) { return png.DecodeConfig(r) },
			func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }, pngEXIF},
		{"bmp", "BM",
			func(r *bytes.Reader) (image.Config, error) { return bmp.DecodeConfig(r) },
			func(b []byte) (image.Image, error) { return bmp.Decode(bytes.NewReader(b)) }, noEXIF},
		{"webp", "RIFF????WEBP",
			func(r *bytes.Reader) (image.Config, error) { return webp.DecodeConfig(r) },
			func(b []byte) (image.Image, error) { return decodeWebP(bytes.NewReader(b)) }, webpEXIF},
	}
}

func noEXIF([]byte) []byte { return nil }

func find(data []byte) (codec, error) {
	for _, c := range codecs() {
		if len(data) >= len(c.magic) && matches(c.magic, data) {
			return c, nil
		}
	}
	return codec{}, fmt.Errorf("decode picture: %w", ErrFormat)
}

func matches(magic string, data []byte) bool {
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

// Known reports whether the first bytes of a file (12 are enough) are those of
// a kind of picture that Decode reads.
func Known(head []byte) bool {
	_, err := find(head)
	return err == nil
}

// Stat reads the header only.
func Stat(data []byte) (Info, error) {
	info, _, err := stat(data)
	return info, err
}

func stat(data []byte) (Info, codec, error) {
	if len(data) > MaxBytes {
		return Info{}, codec{}, fmt.Errorf("decode picture: file of %d bytes, at most %d are read", len(data), MaxBytes)
	}
	c, err := find(data)
	if err != nil {
		return Info{}, c, err
	}
	conf, err := c.config(bytes.NewReader(data))
	if err != nil {
		return Info{}, c, fmt.Errorf("decode %s picture: header: %w", c.name, err)
	}
	info := Info{Format: c.name, Width: conf.Width, Height: conf.Height, Orientation: orientation(c.exif(data))}
	switch {
	case info.Width <= 0 || info.Height <= 0:
		err = fmt.Errorf("decode %s picture: size %dx%d is empty", c.name, info.Width, info.Height)
	case info.Width > MaxSide || info.Height > MaxSide || info.Width*info.Height > MaxBytes/3:
		err = fmt.Errorf("decode %s picture: size %dx%d is more than %d pixels a side or %d MiB",
			c.name, info.Width, info.Height, MaxSide, MaxBytes>>20)
	}
	if info.Orientation >= 5 {
		info.Width, info.Height = info.Height, info.Width
	}
	return info, c, err
}

// Decode reads a picture into the memory that alloc gives for its size in
// pixels: at least w*h*3 bytes, which become the frame's Pix. A nil alloc
// takes memory from the heap; after an error the memory holds nothing
// of use. Seq, times and name of the frame are left to the caller.
func Decode(data []byte, alloc func(w, h int) ([]byte, error)) (vision.Frame, error) {
	info, c, err := stat(data)
	if err != nil {
		return vision.Frame{}, err
	}
	need := info.Width * info.Height * 3
	var pix []byte
	if alloc == nil {
		pix = make([]byte, need)
	} else if pix, err = alloc(info.Width, info.Height); err != nil {
		return vision.Frame{}, fmt.Errorf("decode %s picture of %dx%d: %w", c.name, info.Width, info.Height, err)
	}
	if len(pix) < need {
		return vision.Frame{}, fmt.Errorf("decode %s picture of %dx%d: %d bytes of room, %d are needed", c.name, info.Width, info.Height, len(pix), need)
	}
	m, err := c.decode(data)
	if err != nil {
		return vision.Frame{}, fmt.Errorf("decode %s picture of %dx%d: %w", c.name, info.Width, info.Height, err)
	}
	f := vision.Frame{Pix: pix[:need], Width: info.Width, Height: info.Height, Stride: info.Width * 3, Format: vision.BGR24}
	if info.Orientation == 1 {
		return f, toBGR(f.Pix, m)
	}
	flat := make([]byte, need)
	if err := toBGR(flat, m); err != nil {
		return vision.Frame{}, err
	}
	turn(f.Pix, flat, m.Bounds().Dx(), m.Bounds().Dy(), info.Orientation)
	return f, nil
}
