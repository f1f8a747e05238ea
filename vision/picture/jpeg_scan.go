package picture

import (
	"errors"
	"fmt"
	"io"
)

var errCode = errors.New("a code without a meaning, or a coefficient behind the last")

// jpegScan is what a scan header says (T.81 B.2.3).
type jpegScan struct {
	comps      []*jpegComponent
	first, end int  // the band of coefficients, in zigzag order; end is its last
	refine     bool // the scan adds a bit to what is there
	low        uint // which bit the scan begins or adds
}

// scan reads a scan header and its data.
func (d *jpegDecoder) scan(body []byte) error {
	s, err := d.scanHeader(body)
	if err != nil {
		return err
	}
	if d.isRGB() && d.comps[1].h*d.comps[1].v != d.hmax*d.vmax {
		return errElsewhere
	}
	if d.scans++; d.scans > maxScans {
		return fmt.Errorf("more than %d scans", maxScans)
	}
	for _, c := range s.comps {
		if err := d.room(c); err != nil {
			return err
		}
	}
	d.jpegBits.restart()
	d.forget()
	across, down := d.mcus()
	if len(s.comps) == 1 {
		across, down = s.comps[0].inCols, s.comps[0].inRows
	}
	var b jpegBlock
	for i, y := 0, 0; y < down; y++ {
		for x := range across {
			if d.interval > 0 && i > 0 && i%d.interval == 0 {
				if err := d.nextInterval(i/d.interval - 1); err != nil {
					return fmt.Errorf("row %d of %d of blocks: %w", y+1, down, err)
				}
			}
			i++
			if err := d.unit(s, &b, x, y); err != nil {
				return fmt.Errorf("row %d of %d of blocks: %w", y+1, down, err)
			}
		}
	}
	return nil
}

func (d *jpegDecoder) scanHeader(body []byte) (*jpegScan, error) {
	if d.comps == nil || len(body) < 1 || len(body) != 4+2*int(body[0]) || body[0] < 1 || int(body[0]) > len(d.comps) {
		return nil, errors.New("broken scan header")
	}
	n := int(body[0])
	tail := body[1+2*n:]
	s := &jpegScan{first: int(tail[0]), end: int(tail[1]), refine: tail[2]>>4 != 0, low: uint(tail[2] & 15)}
	if !d.progressive {
		s.first, s.end, s.refine, s.low = 0, 63, false, 0
	} else if err := s.check(n, uint(tail[2]>>4)); err != nil {
		return nil, err
	}
	for i := range n {
		c, err := d.component(body[1+2*i], s)
		if err != nil {
			return nil, err
		}
		dc, ac := body[2+2*i]>>4, body[2+2*i]&15
		if dc > 3 || ac > 3 {
			return nil, fmt.Errorf("scan of component %d with the Huffman tables %d and %d", c.id, dc, ac)
		}
		c.dcs, c.acs = d.dc[dc], d.ac[ac]
		if c.dcs == nil && s.first == 0 && !s.refine || c.acs == nil && s.end > 0 {
			return nil, fmt.Errorf("scan of component %d without its Huffman table", c.id)
		}
		s.comps = append(s.comps, c)
	}
	return s, nil
}

// check holds the band of a progressive scan against T.81 G.1.1.1.
func (s *jpegScan) check(comps int, high uint) error {
	if s.first > s.end || s.end > 63 || s.first == 0 && s.end != 0 || s.first > 0 && comps > 1 || s.low > 13 ||
		s.refine && high != s.low+1 {
		return fmt.Errorf("progressive scan of the coefficients %d to %d of %d components, bits %d to %d",
			s.first, s.end, comps, high, s.low)
	}
	return nil
}

// component finds one that isn't in the scan yet.
func (d *jpegDecoder) component(id byte, s *jpegScan) (*jpegComponent, error) {
	for i := range d.comps {
		c := &d.comps[i]
		if c.id != id {
			continue
		}
		for _, other := range s.comps {
			if other == c {
				return nil, fmt.Errorf("scan has component %d twice", id)
			}
		}
		return c, nil
	}
	return nil, fmt.Errorf("scan of component %d, which the frame doesn't have", id)
}

// forget makes predictions begin anew.
func (d *jpegDecoder) forget() {
	d.eobRun = 0
	for i := range d.comps {
		d.comps[i].pred = 0
	}
}

// nextInterval goes behind the restart marker of the interval that has ended,
// which are counted from 0.
func (d *jpegDecoder) nextInterval(ended int) error {
	d.jpegBits.restart()
	d.forget()
	want := byte(markRST0 + ended&7)
	m, err := d.marker()
	if err == nil && m != want {
		err = fmt.Errorf("marker %#02x stands for the restart marker %#02x", m, want)
	}
	return err
}

// unit reads one MCU: h×v blocks of each component, or a single block if the
// scan has but one.
func (d *jpegDecoder) unit(s *jpegScan, b *jpegBlock, x, y int) error {
	for _, c := range s.comps {
		h, v := c.h, c.v
		if len(s.comps) == 1 {
			h, v = 1, 1
		}
		for by := y * v; by < (y+1)*v; by++ {
			for bx := x * h; bx < (x+1)*h; bx++ {
				if !d.block(s, c, b, bx, by) {
					if d.short() {
						break // the better error
					}
					return errCode
				}
			}
		}
	}
	if d.short() {
		return fmt.Errorf("the data end early: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// block reads one block. It is false if the block makes no sense.
func (d *jpegDecoder) block(s *jpegScan, c *jpegComponent, b *jpegBlock, bx, by int) bool {
	if !d.progressive {
		last := d.sequential(c, b)
		if last < 0 {
			return false
		}
		c.samples(b, last, bx, by)
		return true
	}
	at := (by*c.cols + bx) * 64
	coefs := (*[64]int16)(c.coefs[at : at+64])
	switch {
	case s.first > 0 && s.refine:
		return d.refineBand(s, c.acs, coefs)
	case s.first > 0:
		return d.firstBand(s, c.acs, coefs)
	case s.refine:
		coefs[0] |= int16(d.bits(1)) << s.low
		return true
	}
	diff, ok := d.difference(c)
	c.pred += diff
	coefs[0] = int16(c.pred << s.low)
	return ok
}

// difference reads how far the DC of a block is from that of the block before.
func (d *jpegDecoder) difference(c *jpegComponent) (diff int32, ok bool) {
	sym, v, ok := d.symbol(c.dcs)
	if v == 0 && sym > 0 {
		v = extend(d.bits(int(sym)), int(sym))
	}
	return v, ok
}

// symbol reads one code. Where the table has it, the value that follows is
// read too and isn't 0; sym then holds only the run of zeros.
func (d *jpegDecoder) symbol(h *jpegCodes) (sym byte, value int32, ok bool) {
	if d.n < 32 {
		d.acc, d.n = d.refill(d.acc, d.n)
	}
	e := h.fast[d.acc>>(64-fastBits)]
	sym, size := byte(e>>fastSym), int(e&fastLen)
	if e&fastValue != 0 {
		value = e >> fastVal
	} else if size == 0 {
		sym, size = h.long(d.acc)
	}
	d.acc <<= size
	d.n -= size
	return sym, value, size > 0
}

// sequential reads a whole block and dequantises it. It gives the position in
// zigzag order of the last coefficient, -1 if the block makes no sense.
func (d *jpegDecoder) sequential(c *jpegComponent, b *jpegBlock) (last int) {
	diff, ok := d.difference(c)
	if !ok {
		return -1
	}
	c.pred += diff
	b[0] = int64(int16(c.pred)) * int64(c.quant[0])
	h, quant := c.acs, c.quant
	acc, n := d.acc, d.n
	for k := 1; k < 64; k++ {
		if n < 32 {
			acc, n = d.refill(acc, n)
		}
		e := h.fast[acc>>(64-fastBits)]
		v, size := e>>fastVal, int(e&fastLen)
		run := int(e >> fastSym & 255)
		if e&fastValue == 0 {
			if size == 0 {
				var sym byte
				if sym, size = h.long(acc); size == 0 {
					d.acc, d.n = acc, n
					return -1
				}
				run = int(sym)
			}
			more := run & 15
			run >>= 4
			if more == 0 && run < 15 { // end of block
				acc <<= size & 63
				n -= size
				break
			}
			if more > 0 {
				v = extend(int32(acc<<(size&63)>>((64-more)&63)), more)
				size += more
			}
		}
		acc <<= size & 63
		n -= size
		if k += run; v != 0 {
			if k > 63 {
				d.acc, d.n = acc, n
				return -1
			}
			at := zigzag[k]
			b[at>>1&31] += int64(v) * int64(quant[k]) << (at & 1 << 5)
			last = k
		}
	}
	d.acc, d.n = acc, n
	return last
}
