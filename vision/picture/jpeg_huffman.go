package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// fastBits is how many bits of a code are looked up at once; longer codes are
// rare by what they are.
const fastBits = 10

// An entry of jpegCodes.fast holds, from its lowest bit:
//
//	5 bits  how many bits it takes, 0 if the code is longer than fastBits
//	1 bit   set if the value is there too: its bits followed within fastBits
//	8 bits  (from bit 8) the symbol; with the value only its run of zeros
//	16 bits the value, signed
const (
	fastLen   = 31
	fastValue = 1 << 5
	fastSym   = 8
	fastVal   = 16
)

// jpegCodes is a Huffman table for decoding (T.81 C and F.2.2.3).
type jpegCodes struct {
	fast   [1 << fastBits]int32
	limit  [17]int32 // of each length: one more than its last code
	offset [17]int32 // of each length: to be added to a code for its place in syms
	syms   [256]byte
}

// huffman reads tables (T.81 B.2.4.2).
func (d *jpegDecoder) huffman(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 || body[0]>>4 > 1 || body[0]&15 > 3 {
			return errors.New("broken header of a table of Huffman codes")
		}
		class, at := body[0]>>4, body[0]&15
		total := 0
		for _, n := range body[1:17] {
			total += int(n)
		}
		if total == 0 || total > 256 || len(body) < 17+total {
			return fmt.Errorf("table of %d Huffman codes in %d bytes", total, len(body)-17)
		}
		h, err := newCodes((*[16]byte)(body[1:17]), body[17:17+total])
		if err != nil {
			return err
		}
		if class == 0 {
			for _, s := range h.syms {
				if s > 15 {
					return fmt.Errorf("table of Huffman codes for DC has the symbol %d", s)
				}
			}
			d.dc[at] = h
		} else {
			d.ac[at] = h
		}
		body = body[17+total:]
	}
	return nil
}

// newCodes makes a table from the number of codes of each length, 1 to 16, and
// the symbols in the order of the codes.
func newCodes(counts *[16]byte, syms []byte) (*jpegCodes, error) {
	h := new(jpegCodes)
	copy(h.syms[:], syms)
	code, at := int32(0), int32(0)
	for i, n := range counts {
		size := i + 1
		h.offset[size] = at - code
		for range n {
			if size <= fastBits && code < 1<<size {
				h.short(code, size, syms[at])
			}
			code++
			at++
		}
		if code > 1<<size {
			return nil, fmt.Errorf("table of Huffman codes has %d codes too many of %d bits", code-1<<size, size)
		}
		h.limit[size] = code
		code <<= 1
	}
	return h, nil
}

// short fills in all entries that begin with a code of up to fastBits.
func (h *jpegCodes) short(code int32, size int, sym byte) {
	rest := fastBits - size // bits behind the code
	first := code << rest
	more := int(sym & 15) // bits of the value
	for i := range int32(1) << rest {
		e := int32(size) | int32(sym)<<fastSym
		if more > 0 && more <= rest {
			v := extend(i>>(rest-more), more)
			e = int32(size+more) | fastValue | int32(sym>>4)<<fastSym | v<<fastVal
		}
		h.fast[first+i] = e
	}
}

// extend gives the number that size bits (1 to 15) stand for (T.81 F.2.2.1).
func extend(v int32, size int) int32 {
	below := v>>(size-1) - 1 // -1 for the negative half, else 0
	return v + below&(1-1<<size)
}

// long finds a code of more than fastBits at the top of acc; its size is 0 if
// there is no such code.
func (h *jpegCodes) long(acc uint64) (sym byte, size int) {
	for size = fastBits + 1; size <= 16; size++ {
		if code := int32(acc >> (64 - size)); code < h.limit[size] {
			return h.syms[(code+h.offset[size])&255], size
		}
	}
	return 0, 0
}

// jpegBits reads the bits of a scan, the next one being the highest of acc.
type jpegBits struct {
	data []byte
	pos  int    // of the next byte in data
	acc  uint64 // bits below the first n are 0 or those of data[pos] and on
	n    int    // bits that count
	pad  int    // how many of them are zeros for want of data
}

// refill adds to acc and n, which the caller holds, so that n is 32 at least.
// It stops at a marker and goes on with zeros.
func (r *jpegBits) refill(acc uint64, n int) (uint64, int) {
	if r.pos+8 <= len(r.data) {
		v := binary.BigEndian.Uint64(r.data[r.pos:])
		if (^v-0x0101010101010101)&v&0x8080808080808080 == 0 { // no byte is 0xff
			r.pos += (63 - n) >> 3
			return acc | v>>(n&63), n | 56
		}
	}
	for n <= 56 && r.pos < len(r.data) {
		b := r.data[r.pos]
		if b == 0xff {
			if r.pos+1 >= len(r.data) || r.data[r.pos+1] != 0 {
				break
			}
			r.pos++
		}
		r.pos++
		acc |= uint64(b) << (56 - n)
		n += 8
	}
	if n < 32 {
		n += 32
		r.pad += 32
	}
	return acc, n
}

// bits gives the next size bits, 1 to 16.
func (r *jpegBits) bits(size int) int32 {
	if r.n < 32 {
		r.acc, r.n = r.refill(r.acc, r.n)
	}
	v := int32(r.acc >> (64 - size))
	r.acc <<= size
	r.n -= size
	return v
}

// short reports whether more bits were taken than there are.
func (r *jpegBits) short() bool { return r.n < r.pad }

// restart drops what is left of the bits.
func (r *jpegBits) restart() { r.acc, r.n, r.pad = 0, 0, 0 }
