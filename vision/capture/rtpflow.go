package capture

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/pion/rtp"
)

// unitsKept is how many pictures may be on their way to the decoder, in it and behind it.
const unitsKept = 128

// rtpFlow follows the RTP packets of one video stream. It tells which pictures
// came whole and may be decoded, and when their first packet came. A picture
// that lacks a packet is thrown away, and so is what may refer to it, up to the
// next one that refers to nothing before it: a decoder would fill the gap with
// something that looks like a picture. GStreamer's threads call it.
type rtpFlow struct {
	mu    sync.Mutex // protects what follows
	codec string     // h264, h265 or jpeg; "" before the stream is known
	clock int64      // ticks a second of the stamps
	rate  float64    // frames a second, announced; 0 if it isn't

	units   [unitsKept]rtpUnit
	count   int     // units so far; the newest is count-1
	seq     uint16  // of the last packet
	next    int     // the unit that should go to the decoder next
	inBand  bool    // parameter sets come before key pictures
	broken  bool    // what comes refers to something that was lost
	leading bool    // decoding began anew at a picture whose leading ones refer back
	from    int64   // stamp, ns, at which decoding began; what is shown before it isn't decodable
	begun   bool    // a picture was let through
	seen    bool    // a picture came out of the decoder
	suspect int     // unit from which on the decoder's pictures are not to be trusted, -1 for none
	keyed   int     // key unit that was fed last
	lost    uint64  // pictures thrown away
	accused []int64 // stamps of pictures that the decoder complained about before they were looked at

	report report
}

// rtpUnit is one coded picture, that is, the packets of one stamp.
type rtpUnit struct {
	ns      int64   // its stamp
	stamp   uint32  // the same in RTP's ticks
	arrival int64   // of its first packet, on CLOCK_MONOTONIC, ns; 0 if that isn't known
	looked  bool    // at its first packet
	missed  bool    // pictures before it are missing
	torn    bool    // packets of it are missing, or not what they should be
	open    bool    // a NAL unit is in the middle of its fragments
	part    [3]byte // headers of the fragments of the one that is open
	whole   bool    // its last packet came
	key     bool    // it refers to nothing before it
	start   bool    // decoding may begin at it for want of a key picture
	random  bool    // H.265 CRA or BLA: pictures that lead it may refer back
	leading bool    // H.265 RASL
	ahead   bool    // the same, or RADL
	fed     bool    // it went to the decoder
	shown   bool    // it came out
	counted bool    // as lost
}

// report is a camera's RTCP sender report.
type report struct {
	ntp   int64 // ns since 1970
	stamp uint32
}

func newRTPFlow() *rtpFlow { return &rtpFlow{broken: true, suspect: -1} }

// describe says what the camera announced. It is called before any packet.
func (f *rtpFlow) describe(codec string, clock int, rate float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.codec, f.clock, f.rate = codec, int64(clock), rate
}

func (f *rtpFlow) described() (codec string, rate float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.codec, f.rate
}

// thrown is how many pictures were thrown away so far.
func (f *rtpFlow) thrown() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// packets tells whether anything came.
func (f *rtpFlow) packets() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count > 0
}

// pass notes a packet in order. ns is the stamp of its picture, unrolled, by
// which it will be known from now on; arrival is when the picture's first packet
// came, on CLOCK_MONOTONIC, and counts with the first that passes; 0 if that isn't
// known. plain is how many packets passed since the last that weren't worth a
// call: fragments from the middle of a NAL unit.
func (f *rtpFlow) pass(packet []byte, ns, arrival int64, plain uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq += plain
	var h rtp.Header
	n, err := h.Unmarshal(packet)
	if err != nil {
		return
	}
	payload := packet[n:]
	if h.Padding && len(payload) > 0 {
		payload = payload[:max(0, len(payload)-int(payload[len(payload)-1]))]
	}
	gap := f.count > 0 && h.SequenceNumber != f.seq+1
	u := f.unitLocked(ns, gap)
	if !u.looked {
		u.stamp, u.arrival = h.Timestamp, arrival
	}
	f.seq = h.SequenceNumber
	f.lookLocked(u, payload)
	if h.Marker {
		u.whole = true
		u.torn = u.torn || u.open
	}
}

// unitLocked is the picture of a packet. A gap before the packet tore the last
// picture unless that was whole, and this one unless it begins here.
func (f *rtpFlow) unitLocked(ns int64, gap bool) *rtpUnit {
	first := f.count == 0
	if !first {
		last := &f.units[(f.count-1)%unitsKept]
		if last.ns == ns {
			last.torn = last.torn || gap
			return last
		}
		last.torn = last.torn || gap && !last.whole
	}
	u := &f.units[f.count%unitsKept]
	*u = rtpUnit{ns: ns, missed: gap, torn: gap || first} // lookLocked may know better
	f.count++
	return u
}

// findLocked is the number of the picture of a stamp in ns, -1 if it isn't known.
func (f *rtpFlow) findLocked(ns int64) int {
	for i := f.count - 1; i >= max(0, f.count-unitsKept); i-- {
		if f.units[i%unitsKept].ns == ns {
			return i
		}
	}
	return -1
}

// decode tells whether a picture may go to the decoder: it is whole, and so is
// all that it refers to.
func (f *rtpFlow) decode(ns int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.findLocked(ns)
	if i < 0 {
		return false // nothing of it came by
	}
	u := &f.units[i%unitsKept]
	f.missedLocked(i)
	switch {
	case u.torn:
		f.broken = true
	case f.broken && (u.key || u.start && !f.begun):
		f.broken, f.leading, f.from = false, u.random, u.ns
	case f.leading && u.leading || u.ns < f.from && !f.seen:
		f.lostLocked(u)
		return false
	default:
		f.leading = f.leading && u.ahead
	}
	if f.broken {
		f.lostLocked(u)
		return false
	}
	if u.key {
		f.keyed = i
	}
	f.begun, u.fed = true, true
	if slices.Contains(f.accused, ns) {
		f.accused = f.accused[:0] // the others are of pictures before it
		f.distrustLocked(i)
	}
	return true
}

// missedLocked looks for what should have come before unit i.
func (f *rtpFlow) missedLocked(i int) {
	for ; f.next < i; f.next++ {
		if f.next >= f.count-unitsKept && f.units[f.next%unitsKept].torn { // so torn that nothing was left of it
			f.broken = true
			f.lostLocked(&f.units[f.next%unitsKept])
		}
	}
	f.next = i + 1
	if u := &f.units[i%unitsKept]; u.missed {
		f.broken = true
		if !u.torn && i > f.count-unitsKept && f.units[(i-1)%unitsKept].whole {
			f.lostLocked(&rtpUnit{}) // one at least
		}
	}
}

// lostLocked counts a picture that is thrown away, once; those before the first
// that can be decoded were never asked for.
func (f *rtpFlow) lostLocked(u *rtpUnit) {
	if f.begun && !u.counted {
		u.counted = true
		f.lost++
	}
}

// fed says that a picture went to the decoder without asking. If it shouldn't
// have, nothing that comes out is trusted.
func (f *rtpFlow) fed(ns int64) {
	if f.decode(ns) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.findLocked(ns); i >= 0 {
		f.units[i%unitsKept].fed = true
		f.distrustLocked(i)
	}
}

// trusted tells whether the next picture may be decoded if no packet is missing.
func (f *rtpFlow) trusted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.broken && !f.leading && f.suspect < 0
}

// show tells whether a picture that comes out of the decoder may be handed
// over. It may not once the decoder has left one out or found it wrong, until the
// next key picture.
func (f *rtpFlow) show(ns int64, corrupt bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.findLocked(ns)
	if i < 0 {
		return false
	}
	u := &f.units[i%unitsKept]
	u.shown = true
	for j := max(0, f.count-unitsKept); j < f.count; j++ {
		if o := &f.units[j%unitsKept]; o.fed && !o.shown && o.ns < u.ns {
			o.shown = true
			if f.seen { // it may begin later than at the first that it is given
				f.lostLocked(o)
				f.distrustLocked(j)
			}
		}
	}
	f.seen = true
	if corrupt {
		f.distrustLocked(i)
	}
	if u.key && i > f.suspect {
		f.suspect = -1
	}
	if f.suspect >= 0 && i >= f.suspect {
		f.lostLocked(u)
		return false
	}
	return true
}

// damaged says that the decoder complains about a picture.
func (f *rtpFlow) damaged(ns int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.findLocked(ns); i >= 0 && i < f.next {
		f.distrustLocked(i)
	} else if len(f.accused) < unitsKept {
		f.accused = append(f.accused, ns)
	}
}

// distrustLocked keeps back what comes out of the decoder from unit i on, and
// gives it nothing more, until the next key picture.
func (f *rtpFlow) distrustLocked(i int) {
	if f.suspect < 0 || i < f.suspect {
		f.suspect = i
	}
	f.broken = f.broken || f.keyed <= i
}

// complaints are parts of what libav says when it fills in for what it can't
// decode, or refers to a picture that it hasn't got.
var complaints = []string{"concealing", "error while decoding", "decode_slice_header", "Error parsing NAL", "Invalid NAL",
	"Missing reference", "reference picture missing", "Could not find ref", "non-existing", "corrupt"}

// complaint tells whether a decoder's message means that a picture is wrong.
func complaint(text string) bool {
	return slices.ContainsFunc(complaints, func(part string) bool { return strings.Contains(text, part) })
}

// taken is when a picture was taken by the camera's clocks, ns: by its RTP
// clock, of any origin, and by its reports since 1970, 0 without any. arrival is
// when its first packet came, on our monotonic clock.
func (f *rtpFlow) taken(ns int64) (camera, wall, arrival int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.findLocked(ns)
	if i < 0 || f.units[i%unitsKept].arrival <= 0 {
		return 0, 0, 0, false
	}
	u := &f.units[i%unitsKept]
	if f.report.ntp != 0 {
		wall = f.report.ntp + int64(int32(u.stamp-f.report.stamp))*1e9/f.clock
	}
	return ns, wall, u.arrival, true
}

// reported notes a sender report (RFC 3550 section 6.4.1).
func (f *rtpFlow) reported(packet []byte) {
	if len(packet) < 20 || packet[0]>>6 != 2 || packet[1] != 200 {
		return
	}
	seconds, fraction := binary.BigEndian.Uint32(packet[8:]), binary.BigEndian.Uint32(packet[12:])
	if seconds == 0 {
		return // a camera without a clock
	}
	const ntpEpoch = 2208988800 // the Unix epoch in NTP's seconds
	unix := int64(seconds) - ntpEpoch
	if seconds < 1<<31 {
		unix += 1 << 32 // from 2036 on
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report = report{unix*1e9 + int64(uint64(fraction)*1e9>>32), binary.BigEndian.Uint32(packet[16:])}
}
