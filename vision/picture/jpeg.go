package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
)

// Markers of ITU-T T.81, table B.1: the second byte after 0xff.
const (
	markSOF0 = 0xc0 // baseline; SOF1 extended, SOF2 progressive
	markSOF2 = 0xc2
	markDHT  = 0xc4
	markRST0 = 0xd0
	markRST7 = 0xd7
	markEOI  = 0xd9
	markSOS  = 0xda
	markDQT  = 0xdb
	markDRI  = 0xdd
	markAPP0 = 0xe0
	markAPPE = 0xee // APP14, Adobe's
	markCOM  = 0xfe
)

// maxScans ends files whose many almost empty scans only cost time. Encoders
// write about 10.
const maxScans = 256

// errElsewhere says that a file is of a kind that is left to image/jpeg.
var errElsewhere = errors.New("of a kind for image/jpeg")

// decodeJPEG gives the samples that libjpeg-turbo gives. The inverse transform
// of image/jpeg rounds otherwise; it decodes what is rare: four components,
// RGB with subsampling, and its are the errors about all that's unknown.
func decodeJPEG(data []byte) (image.Image, error) {
	d := jpegDecoder{adobe: -1}
	d.data = data
	m, err := d.decode()
	if errors.Is(err, errElsewhere) {
		return jpeg.Decode(bytes.NewReader(data))
	}
	return m, err
}

// jpegDecoder is the state of one picture. The tables of quant, dc and ac are
// not changed once they are read, only replaced.
type jpegDecoder struct {
	jpegBits
	quant         [4]*[64]int32 // in zigzag order
	dc, ac        [4]*jpegCodes
	comps         []jpegComponent // 1 or 3, set by the frame header
	width, height int             // pixels
	hmax, vmax    int             // sampling factors of the finest component
	progressive   bool
	interval      int // MCUs from one restart marker to the next, 0 for none
	jfif          bool
	adobe         int // transform of Adobe's marker, -1 if there is none
	scans         int
	eobRun        int32 // blocks of the band that are still to be skipped
}

// jpegComponent is one plane. Sizes in blocks are of 8×8 samples.
type jpegComponent struct {
	id, table      byte
	h, v           int        // sampling factors
	cols, rows     int        // blocks, up to whole MCUs
	inCols, inRows int        // blocks that hold samples of the picture
	plane          []byte     // cols*8 samples a row
	coefs          []int16    // of progressive pictures: 64 a block, in zigzag order
	quant          *[64]int32 // as it was at the first scan
	dcs, acs       *jpegCodes // of the current scan
	pred           int32      // DC of the block before
}

func (d *jpegDecoder) decode() (image.Image, error) {
	d.pos = 2 // SOI was seen by its magic
	for {
		mark, err := d.marker()
		if err != nil {
			return nil, err
		}
		if mark == markEOI {
			return d.image()
		}
		if mark >= markRST0 && mark <= markRST7 {
			continue // one too many after the last scan
		}
		body, err := d.segment()
		if err != nil {
			return nil, err
		}
		if err := d.take(mark, body); err != nil {
			return nil, err
		}
	}
}

// marker goes behind the next marker. What lies before it is skipped, as
// libjpeg does.
func (d *jpegDecoder) marker() (byte, error) {
	for d.pos+1 < len(d.data) {
		i := bytes.IndexByte(d.data[d.pos:len(d.data)-1], 0xff)
		if i < 0 {
			break
		}
		d.pos += i + 1
		if m := d.data[d.pos]; m != 0 && m != 0xff {
			d.pos++
			return m, nil
		}
	}
	return 0, fmt.Errorf("the file ends before its end marker: %w", io.ErrUnexpectedEOF)
}

// segment reads the length and the body of the marker's segment.
func (d *jpegDecoder) segment() ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, fmt.Errorf("length of a segment: %w", io.ErrUnexpectedEOF)
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 {
		return nil, fmt.Errorf("segment of %d bytes, the length alone has 2", n)
	}
	if n > len(rest) {
		return nil, fmt.Errorf("segment of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	d.pos += n
	return rest[2:n], nil
}

func (d *jpegDecoder) take(mark byte, body []byte) error {
	switch {
	case mark >= markSOF0 && mark <= markSOF2:
		return d.frame(mark, body)
	case mark == markDHT:
		return d.huffman(body)
	case mark == markDQT:
		return d.quantisation(body)
	case mark == markSOS:
		return d.scan(body)
	case mark == markDRI:
		if len(body) != 2 {
			return fmt.Errorf("restart interval of %d bytes, not 2", len(body))
		}
		d.interval = int(binary.BigEndian.Uint16(body))
	case mark == markAPP0:
		d.jfif = d.jfif || bytes.HasPrefix(body, []byte("JFIF\x00"))
	case mark == markAPPE:
		if len(body) >= 12 && bytes.HasPrefix(body, []byte("Adobe")) {
			d.adobe = int(body[11])
		}
	case mark > markAPP0 && mark < markAPP0+16 || mark == markCOM:
	default:
		return errElsewhere
	}
	return nil
}

// quantisation reads tables of 8 or 16 bits (T.81 B.2.4.1).
func (d *jpegDecoder) quantisation(body []byte) error {
	for len(body) > 0 {
		wide, at := int(body[0]>>4), body[0]&15
		body = body[1:]
		if wide > 1 || at > 3 || len(body) < 64*(wide+1) {
			return fmt.Errorf("quantisation table %d of %d-bit values with %d bytes", at, 8*(wide+1), len(body))
		}
		t := new([64]int32)
		for i := range t {
			if wide == 1 {
				t[i] = int32(binary.BigEndian.Uint16(body[2*i:]))
			} else {
				t[i] = int32(body[i])
			}
		}
		d.quant[at] = t
		body = body[64*(wide+1):]
	}
	return nil
}

// frame reads the frame header (T.81 B.2.2).
func (d *jpegDecoder) frame(mark byte, body []byte) error {
	if d.comps != nil {
		return errors.New("a second frame header")
	}
	if len(body) < 6 || body[0] != 8 || len(body) != 6+3*int(body[5]) || body[5] != 1 && body[5] != 3 {
		return errElsewhere
	}
	d.progressive = mark == markSOF2
	d.height, d.width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	if d.width == 0 || d.height == 0 || d.width > MaxSide || d.height > MaxSide || d.width*d.height > MaxBytes/3 {
		return fmt.Errorf("size %dx%d is empty or too large", d.width, d.height)
	}
	comps := make([]jpegComponent, body[5])
	for i := range comps {
		s := body[6+3*i:]
		comps[i] = jpegComponent{id: s[0], h: int(s[1] >> 4), v: int(s[1] & 15), table: s[2]}
		if comps[i].h == 0 || comps[i].v == 0 || s[2] > 3 {
			return errElsewhere
		}
		for _, other := range comps[:i] {
			if other.id == s[0] {
				return errElsewhere
			}
		}
	}
	if len(comps) == 1 {
		comps[0].h, comps[0].v = 1, 1 // of one component each MCU is one block
	} else if _, ok := subsampling(comps); !ok {
		return errElsewhere
	}
	d.comps = comps
	d.measure()
	return nil
}

// measure sets the sizes in blocks of all components.
func (d *jpegDecoder) measure() {
	d.hmax, d.vmax = d.comps[0].h, d.comps[0].v
	across, down := d.mcus()
	for i := range d.comps {
		c := &d.comps[i]
		c.cols, c.rows = across*c.h, down*c.v
		c.inCols = ceilDiv(ceilDiv(d.width*c.h, d.hmax), 8)
		c.inRows = ceilDiv(ceilDiv(d.height*c.v, d.vmax), 8)
	}
}

// mcus is the size in minimum coded units of the scans of several components.
func (d *jpegDecoder) mcus() (across, down int) {
	return ceilDiv(d.width, 8*d.hmax), ceilDiv(d.height, 8*d.vmax)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
