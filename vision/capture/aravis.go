package capture

import (
	"slices"
	"strings"
	"time"
)

// pixelFormat is one of those in which a GenICam camera may send its pictures
// and that are read here. All have 8 bits a channel.
type pixelFormat struct {
	code  uint32   // PFNC
	names []string // of the feature's entry; the second is that of older cameras
	bytes int      // a pixel
	lay   func(dst, src []byte, w, h, stride int)
}

// pixelFormats are in the order in which they are told to people.
var pixelFormats = []pixelFormat{
	{0x01080001, []string{"Mono8"}, 1, copyRows(1)},
	{0x01080009, []string{"BayerRG8"}, 1, bayer(0, 0)},
	{0x01080008, []string{"BayerGR8"}, 1, bayer(1, 0)},
	{0x0108000a, []string{"BayerGB8"}, 1, bayer(0, 1)},
	{0x0108000b, []string{"BayerBG8"}, 1, bayer(1, 1)},
	{0x02180014, []string{"RGB8", "RGB8Packed"}, 3, swapRows},
	{0x02180015, []string{"BGR8", "BGR8Packed"}, 3, copyRows(3)},
}

// gray tells that the frame is Gray8, not BGR24.
func (f *pixelFormat) gray() bool { return f.names[0] == "Mono8" }

// size is how many bytes a frame of it takes.
func (f *pixelFormat) size(w, h int) int {
	if f.gray() {
		return w * h
	}
	return 3 * w * h
}

// formatNamed finds a format by its name in any case.
func formatNamed(name string) *pixelFormat {
	for i := range pixelFormats {
		if slices.ContainsFunc(pixelFormats[i].names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return &pixelFormats[i]
		}
	}
	return nil
}

// readable lists for people those of a camera's formats that are read here.
func readable(offered []string) string {
	var names []string
	for _, n := range offered {
		if formatNamed(n) != nil {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return "none of " + strings.Join(offered, ", ")
	}
	return strings.Join(names, ", ")
}

func copyRows(bytes int) func(dst, src []byte, w, h, stride int) {
	return func(dst, src []byte, w, h, stride int) {
		w *= bytes
		if stride == w {
			copy(dst[:w*h], src)
			return
		}
		for y := range h {
			copy(dst[y*w:][:w], src[y*stride:])
		}
	}
}

// swapRows makes BGR of RGB.
func swapRows(dst, src []byte, w, h, stride int) {
	for y := range h {
		d, s := dst[y*3*w:][:3*w], src[y*stride:][:3*w]
		for i := 0; i+2 < len(s) && i+2 < len(d); i += 3 {
			d[i], d[i+1], d[i+2] = s[i+2], s[i+1], s[i]
		}
	}
}

// bayer makes BGR of a mosaic whose red pixels have columns and rows of these
// parities. What a pixel lacks is the mean of its nearest neighbours that have
// it (bilinear); at the edge the picture is mirrored, which keeps the pattern.
func bayer(redX, redY int) func(dst, src []byte, w, h, stride int) {
	return func(dst, src []byte, w, h, stride int) {
		if w < 2 || h < 2 {
			for i := range w * h { // no mosaic, only a brightness
				v := src[i/w*stride+i%w]
				dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
			}
			return
		}
		row := func(y int) []byte { return src[y*stride:][:w] }
		for y := range h {
			up, down := y-1, y+1
			if up < 0 {
				up = 1
			}
			if down == h {
				down = h - 2
			}
			first, channel := redX, 2
			if y&1 != redY {
				first, channel = 1-redX, 0
			}
			bayerRow(dst[y*3*w:][:3*w], row(up), row(y), row(down), first, channel)
		}
	}
}

// bayerRow is one row of bayer: channel, 2 for red and 0 for blue, is what
// every other pixel from first on has; green is between.
func bayerRow(dst, up, row, down []byte, first, channel int) {
	w := len(row)
	up, down = up[:w], down[:w]
	other := 2 - channel
	pixel := func(x, left, right int) {
		d := dst[3*x : 3*x+3]
		if x&1 == first {
			d[channel] = row[x]
			d[1] = byte((int(up[x]) + int(down[x]) + int(row[left]) + int(row[right]) + 2) >> 2)
			d[other] = byte((int(up[left]) + int(up[right]) + int(down[left]) + int(down[right]) + 2) >> 2)
			return
		}
		d[1] = row[x]
		d[channel] = byte((int(row[left]) + int(row[right]) + 1) >> 1)
		d[other] = byte((int(up[x]) + int(down[x]) + 1) >> 1)
	}
	pixel(0, 1, 1)
	// The same by pairs, without a branch a pixel.
	x := 1
	if x&1 != first && w > 2 {
		pixel(x, x-1, x+1)
		x++
	}
	c, o := channel&2, ^channel&2 // as they are, but the compiler sees that they fit
	for ; x+2 < w; x += 2 {
		u, r, l, d := (*[4]byte)(up[x-1:]), (*[4]byte)(row[x-1:]), (*[4]byte)(down[x-1:]), (*[6]byte)(dst[3*x:])
		d[c] = r[1]
		d[1] = byte((uint(u[1]) + uint(l[1]) + uint(r[0]) + uint(r[2]) + 2) >> 2)
		d[o] = byte((uint(u[0]) + uint(u[2]) + uint(l[0]) + uint(l[2]) + 2) >> 2)
		d[3+c] = byte((uint(r[1]) + uint(r[3]) + 1) >> 1)
		d[4] = r[2]
		d[3+o] = byte((uint(u[2]) + uint(l[2]) + 1) >> 1)
	}
	for ; x < w; x++ {
		right := x + 1
		if right == w {
			right = w - 2
		}
		pixel(x, x-1, right)
	}
}

// gapMost is the longest run of frames that is taken for lost; a larger leap is
// a camera that counts anew.
const gapMost = 1 << 14

// gap is how many frames a camera took between two of these numbers, that
// never came. Old cameras count in 16 bits and leave 0 out.
func gap(last, id uint64) uint64 {
	n := id - last - 1
	if id < last && last <= 0xffff {
		n = id + 0xffff - last - 1
	}
	if id == last || n > gapMost {
		return 0
	}
	return n
}

// frameCount finds out of a camera's numbers what became of its frames.
type frameCount struct {
	last      uint64 // number of the last complete frame, 0 before the first
	broken    uint64 // incomplete frames since
	underruns uint64
}

// complete takes the number of a complete frame, 0 from a camera that doesn't
// count. It tells what came between it and the last: incomplete frames, and those
// of which nothing came at all, because every packet was lost or, if underruns
// has grown, for want of a buffer.
func (c *frameCount) complete(id uint64, underruns func() uint64) (incomplete, skipped uint64) {
	incomplete = c.broken
	if n := gap(c.last, id); c.last != 0 && id != 0 && n > c.broken {
		n -= c.broken
		if u := underruns(); u != c.underruns {
			c.underruns = u
			skipped = n
		} else {
			incomplete += n
		}
	}
	c.last, c.broken = id, 0
	return incomplete, skipped
}

// arrival lays a CLOCK_REALTIME stamp of a moment ago over CLOCK_MONOTONIC, ns.
// One that can't be is now, as when the clock was set in between.
func arrival(real int64) int64 {
	mono, ago := monotonic(), time.Now().UnixNano()-real
	if real <= 0 || ago < 0 || ago > int64(time.Minute) {
		return mono
	}
	return mono - ago
}
