package ipcam

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Codec is how pictures are coded.
type Codec uint8

// The codecs of network cameras.
const (
	H264 Codec = iota // ITU-T H.264, sent by RFC 6184
	H265              // ITU-T H.265, sent by RFC 7798
)

func (c Codec) String() string {
	if c == H265 {
		return "H265"
	}
	return "H264"
}

// AccessUnit is one coded picture with its parameter sets, in Annex B.
type AccessUnit struct {
	Data  []byte
	Codec Codec
	Key   bool // decoding can begin here
}

// keyEvery is after how many pictures decoding can begin anew; viewers wait
// for it when they join.
const keyEvery = 15

// encoder is how ffmpeg is to write: no delay, one slice a picture, an access
// unit delimiter before each, and parameter sets with every key picture.
func (c Codec) encoder(quality int) []string {
	params := fmt.Sprintf("keyint=%d:min-keyint=%d:scenecut=0:slices=1:aud=1:repeat-headers=1", keyEvery, keyEvery)
	args := []string{"-an", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1"}
	if c == H265 {
		args = append(args, "-c:v", "libx265", "-x265-params", params+":open-gop=0:pools=none:frame-threads=1:log-level=none", "-f", "hevc")
	} else {
		args = append(args, "-c:v", "libx264", "-x264-params", params+":sliced-threads=0", "-f", "h264")
	}
	return append(args, "-crf", strconv.Itoa(quality), "-flush_packets", "1", "-")
}

// delimiterType is the kind of NAL unit that begins an access unit (ITU-T H.264
// table 7-1, H.265 table 7-1).
func (c Codec) delimiterType() byte {
	if c == H265 {
		return 35
	}
	return 9
}

// nalType reads the kind from a NAL unit's first byte.
func (c Codec) nalType(first byte) byte {
	if c == H265 {
		return first >> 1 & 0x3f
	}
	return first & 0x1f
}

// key tells whether decoding can begin at such a NAL unit.
func (c Codec) key(nal byte) bool {
	if c == H265 {
		return nal >= 16 && nal <= 21 // IRAP pictures
	}
	return nal == 5 // IDR
}

const maxUnit = 32 << 20 // bytes

// split cuts a stream of Annex B at its access unit delimiters.
func (c Codec) split(r io.Reader, emit func(AccessUnit) error) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var unit []byte
	from := 0 // where to look for the next delimiter
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		unit = append(unit, buf[:n]...)
		for {
			at := c.delimiter(unit, max(from-5, 3)) // not its own
			if at < 0 {
				from = len(unit)
				break
			}
			if err := emit(c.unit(unit[:at])); err != nil {
				return err
			}
			unit, from = append([]byte(nil), unit[at:]...), 0
		}
		if len(unit) > maxUnit {
			return fmt.Errorf("split %v: no access unit delimiter in %d MiB", c, maxUnit>>20)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			if len(unit) > 0 {
				return emit(c.unit(unit))
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("split %v: %w", c, err)
		}
	}
}

// delimiter finds the start code of the next delimiter at or behind from, -1
// if there is none.
func (c Codec) delimiter(b []byte, from int) int {
	for p := from; ; p += 3 {
		i := bytes.Index(b[min(p, len(b)):], []byte{0, 0, 1})
		if i < 0 || p+i+3 >= len(b) {
			return -1
		}
		p += i
		if c.nalType(b[p+3]) == c.delimiterType() {
			if p > 0 && b[p-1] == 0 && p-1 >= from {
				p-- // the start code with four bytes
			}
			return p
		}
	}
}

func (c Codec) unit(b []byte) AccessUnit {
	u := AccessUnit{Data: b, Codec: c}
	for p := 0; ; p += 3 {
		i := bytes.Index(b[p:], []byte{0, 0, 1})
		if i < 0 || p+i+3 >= len(b) {
			return u
		}
		p += i
		u.Key = u.Key || c.key(c.nalType(b[p+3]))
	}
}
