package capture

import "encoding/binary"

// lookLocked learns from a packet's payload what its picture is, and whether it
// begins with it. It reports whether there is anything to it.
func (f *rtpFlow) lookLocked(u *rtpUnit, payload []byte) bool {
	fresh, known := !u.looked, true
	switch f.codec {
	case "h264":
		known = f.lookH264Locked(u, payload, fresh)
	case "h265":
		known = f.lookH265Locked(u, payload, fresh)
	case "jpeg": // RFC 2435: each picture stands alone, and its first packet has offset 0
		u.key = true
		if fresh && len(payload) >= 4 && payload[1]|payload[2]|payload[3] == 0 {
			u.torn = false
		}
	}
	u.looked = true
	u.torn = u.torn || !known
	return known
}

// H.264's kinds of NAL units and packets that matter here (ITU-T H.264 table
// 7-1, RFC 6184 table 1).
const (
	avcSlice     = 1
	avcIDR       = 5
	avcSEI       = 6
	avcSPS       = 7
	avcDelimiter = 9
	avcTogether  = 24 // STAP-A: several units in a packet
	avcFragment  = 28 // FU-A: part of a unit
)

func (f *rtpFlow) lookH264Locked(u *rtpUnit, b []byte, fresh bool) bool {
	kind := byte(0)
	if len(b) >= 2 && b[0]&0x80 == 0 {
		kind = b[0] & 0x1f
	}
	if kind == 0 || kind > avcTogether && kind != avcFragment {
		return false
	}
	u.fragment(kind == avcFragment, [3]byte{b[0], b[1] & 0x3f}, b[1])
	switch kind {
	case avcTogether:
		for rest := b[1:]; len(rest) > 0; {
			n := 0
			if len(rest) > 2 {
				n, rest = int(binary.BigEndian.Uint16(rest)), rest[2:]
			}
			if n == 0 || n > len(rest) {
				return false
			}
			f.unitOfH264Locked(u, rest[0]&0x1f, rest[1:n], fresh)
			rest, fresh = rest[n:], false
		}
	case avcFragment:
		if b[1]&0x80 != 0 { // its start
			f.unitOfH264Locked(u, b[1]&0x1f, b[2:], fresh)
		}
	default:
		f.unitOfH264Locked(u, kind, b[1:], fresh)
	}
	return true
}

// fragment follows a NAL unit through its packets: a first one, any number in
// the middle, all with the same headers, and a last one. Anything else tore it.
func (u *rtpUnit) fragment(is bool, headers [3]byte, flags byte) {
	first, last := flags&0x80 != 0, flags&0x40 != 0
	switch {
	case !is:
		u.torn = u.torn || u.open
		u.open = false
	case first == u.open || first && last || u.open && headers != u.part:
		u.torn = true
		u.open = !last
	default:
		u.open = !last
	}
	u.part = headers
}

// unitOfH264Locked takes a NAL unit's kind and what follows its header; first
// tells that it is the first that came of its picture.
func (f *rtpFlow) unitOfH264Locked(u *rtpUnit, kind byte, b []byte, first bool) {
	begins := false
	switch kind {
	case avcIDR:
		u.key = true
		begins = firstSlice(b)
	case avcSlice:
		begins = firstSlice(b)
	case avcSPS:
		f.inBand = true
		u.torn = u.torn && !first
	case avcDelimiter:
		u.torn = u.torn && !first
	case avcSEI:
		u.start = u.start || len(b) > 0 && b[0] == 6 // a recovery point: decoding may begin
	}
	if begins && first && (kind != avcIDR || !f.inBand) {
		u.torn = false
	}
}

// firstSlice reads whether a slice begins its picture: in H.264 the number of
// its first macroblock is 0, in H.265 a flag says so; it is the first bit in both.
func firstSlice(b []byte) bool { return len(b) > 0 && b[0]&0x80 != 0 }

// H.265's kinds (ITU-T H.265 table 7-1, RFC 7798 section 4.4).
const (
	hevcLast      = 31 // of the kinds that are slices
	hevcRADL      = 6  // and 7: leading pictures that don't
	hevcRASL      = 8  // and 9: leading pictures that may refer to what lies before a key picture
	hevcIRAP      = 16 // to 21: decoding may begin
	hevcIDR       = 19 // and 20: without leading pictures that refer back
	hevcVPS       = 32
	hevcSPS       = 33
	hevcDelimiter = 35
	hevcTogether  = 48
	hevcFragment  = 49
)

func (f *rtpFlow) lookH265Locked(u *rtpUnit, b []byte, fresh bool) bool {
	if len(b) < 3 || b[0]&0x80 != 0 || b[0]>>1 > hevcFragment {
		return false
	}
	kind := b[0] >> 1
	u.fragment(kind == hevcFragment, [3]byte{b[0], b[1], b[2] & 0x3f}, b[2])
	switch kind {
	case hevcTogether:
		for rest := b[2:]; len(rest) > 0; {
			n := 0
			if len(rest) > 2 {
				n, rest = int(binary.BigEndian.Uint16(rest)), rest[2:]
			}
			if n < 2 || n > len(rest) {
				return false
			}
			f.unitOfH265Locked(u, rest[0]>>1&0x3f, rest[2:n], fresh)
			rest, fresh = rest[n:], false
		}
	case hevcFragment:
		if b[2]&0x80 != 0 {
			f.unitOfH265Locked(u, b[2]&0x3f, b[3:], fresh)
		}
	default:
		f.unitOfH265Locked(u, kind, b[2:], fresh)
	}
	return true
}

func (f *rtpFlow) unitOfH265Locked(u *rtpUnit, kind byte, b []byte, first bool) {
	switch {
	case kind == hevcVPS || kind == hevcSPS:
		f.inBand = true
		u.torn = u.torn && !first
	case kind == hevcDelimiter:
		u.torn = u.torn && !first
	case kind > hevcLast:
		return
	default:
		u.key = u.key || kind >= hevcIRAP && kind <= 21
		u.random = u.random || u.key && kind != hevcIDR && kind != hevcIDR+1
		u.leading = u.leading || kind == hevcRASL || kind == hevcRASL+1
		u.ahead = u.ahead || kind >= hevcRADL && kind <= hevcRASL+1
		if first && firstSlice(b) && !(u.key && f.inBand) {
			u.torn = false
		}
	}
}
