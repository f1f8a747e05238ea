package picture

// firstBand reads the first bits of a band of coefficients of one block (T.81
// G.1.2.2). It is false if the block makes no sense.
func (d *jpegDecoder) firstBand(s *jpegScan, h *jpegCodes, coefs *[64]int16) bool {
	if d.eobRun > 0 {
		d.eobRun--
		return true
	}
	for k := s.first; k <= s.end; k++ {
		sym, v, ok := d.symbol(h)
		if !ok {
			return false
		}
		run := int(sym)
		if v == 0 {
			more := run & 15
			run >>= 4
			if more == 0 && run < 15 {
				d.eobRun = d.bandEnds(run) - 1
				return true
			}
			if more > 0 {
				v = extend(d.bits(more), more)
			}
		}
		if k += run; k > s.end {
			return v == 0
		}
		coefs[k] = int16(v << s.low)
	}
	return true
}

// bandEnds tells for how many blocks, this one counted, the band is over.
func (d *jpegDecoder) bandEnds(size int) int32 {
	run := int32(1) << size
	if size > 0 {
		run += d.bits(size)
	}
	return run
}

// refineBand reads one more bit of a band of coefficients of one block (T.81
// G.1.2.3). It is false if the block makes no sense.
func (d *jpegDecoder) refineBand(s *jpegScan, h *jpegCodes, coefs *[64]int16) bool {
	k := s.first
	for ; d.eobRun == 0 && k <= s.end; k++ {
		sym, v, ok := d.symbol(h)
		if !ok {
			return false
		}
		run := int(sym)
		if v == 0 {
			more := run & 15
			run >>= 4
			if more == 0 && run < 15 {
				d.eobRun = d.bandEnds(run)
				break
			}
			if more > 0 {
				v = extend(d.bits(more), more)
			}
		}
		if v < -1 || v > 1 {
			return false // new ones have but their first bit
		}
		if k = d.refineKnown(s, coefs, k, run); k > s.end {
			return v == 0
		}
		if v != 0 {
			coefs[k] = int16(v << s.low)
		}
	}
	if d.eobRun > 0 {
		d.eobRun--
		d.refineKnown(s, coefs, k, 64)
	}
	return true
}

// refineKnown reads a bit for each coefficient from k on that isn't 0, and
// stops at the zero after so many others.
func (d *jpegDecoder) refineKnown(s *jpegScan, coefs *[64]int16, k, zeros int) int {
	for ; k <= s.end; k++ {
		v := coefs[k&63]
		if v == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		if d.bits(1) == 0 {
			continue
		}
		if v > 0 {
			v += 1 << s.low
		} else {
			v -= 1 << s.low
		}
		coefs[k&63] = v
	}
	return k
}
