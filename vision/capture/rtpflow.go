package capture

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/pion/rtp"
)

// Sizes of rtpFlow's memories.
const (
	unitsKept    = 128 // pictures between the network and the decoder, or in it
	arrivalsKept = 256 // pictures in the jitter buffer besides
)

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

	arrivals [arrivalsKept]rtpArrival
	came     int // arrivals so far

	units   [unitsKept]rtpUnit
	count   int    // units so far; the newest is count-1
	seq     uint16 // of the last packet
	stamp   uint32 // of the last packet
	ticks   int64  // the same without wrapping
	next    int    // the unit that should go to the decoder next
	inBand  bool   // parameter sets come before key pictures
	broken  bool   // what comes refers to something that was lost
	leading bool   // decoding began anew at a picture whose leading ones refer back
	from    int64  // ticks at which decoding began; what is shown before it isn't decodable
	begun   bool   // a picture was let through
	seen    bool   // a picture came out of the decoder
	suspect int    // unit from which on the decoder's pictures are not to be trusted, -1 for none
	keyed   int    // key unit that was fed last
	lost    uint64 // pictures thrown away

	report report
}

// rtpArrival is when the first packet of a picture came.
type rtpArrival struct {
	stamp uint32
	at    int64 // CLOCK_MONOTONIC, ns
}

// rtpUnit is one coded picture, that is, the packets of one stamp.
type rtpUnit struct {
	ticks   int64
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
}

// report is a camera's RTCP sender report.
type report struct {
	ntp   int64 // ns since 1970
	stamp uint32
}

// firstTicks is where the unrolled stamps begin: far enough from 0 to go back.
const firstTicks = 1 << 33

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

// packets is how many pictures the network has brought, at least in part.
func (f *rtpFlow) packets() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.came
}

// arrive notes a packet as it comes from the network, in any order.
func (f *rtpFlow) arrive(packet []byte, now int64) {
	if len(packet) < 12 {
		return
	}
	stamp := binary.BigEndian.Uint32(packet[4:])
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := f.came - 1; i >= max(0, f.came-8); i-- { // packets of one picture come close together
		if f.arrivals[i%arrivalsKept].stamp == stamp {
			return
		}
	}
	f.arrivals[f.came%arrivalsKept] = rtpArrival{stamp, now}
	f.came++
}

// pass notes a packet as it leaves the jitter buffer, in order, and gives the
// stamp in ns, unrolled, by which the picture will be known from now on; -1 for
// what no decoder should see.
func (f *rtpFlow) pass(packet []byte) int64 {
	var h rtp.Header
	n, err := h.Unmarshal(packet)
	if err != nil {
		return -1
	}
	payload := packet[n:]
	if h.Padding && len(payload) > 0 {
		payload = payload[:max(0, len(payload)-int(payload[len(payload)-1]))]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clock <= 0 {
		return -1
	}
	gap := f.count > 0 && h.SequenceNumber != f.seq+1
	u := f.unitLocked(h.Timestamp, gap)
	f.seq = h.SequenceNumber
	known := f.lookLocked(u, payload)
	if h.Marker {
		u.whole = true
		u.torn = u.torn || u.open
	}
	if !known {
		return -1
	}
	return f.nanos(u.ticks)
}

// unitLocked is the picture of a packet. A gap before the packet tore the last
// picture unless that was whole, and this one unless it begins here.
func (f *rtpFlow) unitLocked(stamp uint32, gap bool) *rtpUnit {
	if f.count > 0 && stamp == f.stamp {
		u := &f.units[(f.count-1)%unitsKept]
		u.torn = u.torn || gap
		return u
	}
	first := f.count == 0
	if first {
		f.ticks = firstTicks + int64(stamp)
	} else {
		last := &f.units[(f.count-1)%unitsKept]
		last.torn = last.torn || gap && !last.whole
		f.ticks += int64(int32(stamp - f.stamp))
		if f.ticks < firstTicks/2 {
			f.ticks += firstTicks
		}
	}
	f.stamp = stamp
	u := &f.units[f.count%unitsKept]
	*u = rtpUnit{ticks: f.ticks, missed: gap, torn: gap || first} // lookLocked may know better
	f.count++
	return u
}

// nanos is a stamp in ns.
func (f *rtpFlow) nanos(ticks int64) int64 {
	return ticks/f.clock*1e9 + ticks%f.clock*1e9/f.clock
}

// findLocked is the number of the picture of a stamp in ns, -1 if it isn't known.
func (f *rtpFlow) findLocked(ns int64) int {
	if f.clock <= 0 {
		return -1
	}
	for i := f.count - 1; i >= max(0, f.count-unitsKept); i-- {
		if f.nanos(f.units[i%unitsKept].ticks) == ns {
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
		f.broken = true
		f.lostLocked(1)
		return false
	}
	u := &f.units[i%unitsKept]
	f.missedLocked(i)
	switch {
	case u.torn:
		f.broken = true
	case f.broken && (u.key || u.start && !f.begun):
		f.broken, f.leading, f.from = false, u.random, u.ticks
	case f.leading && u.leading || u.ticks < f.from && !f.seen:
		f.lostLocked(1)
		return false
	default:
		f.leading = f.leading && u.ahead
	}
	if f.broken {
		f.lostLocked(1)
		return false
	}
	if u.key {
		f.keyed = i
	}
	f.begun, u.fed = true, true
	return true
}

// missedLocked looks for what should have come before unit i.
func (f *rtpFlow) missedLocked(i int) {
	for ; f.next < i; f.next++ {
		if f.next >= f.count-unitsKept && f.units[f.next%unitsKept].torn { // so torn that nothing was left of it
			f.broken = true
			f.lostLocked(1)
		}
	}
	f.next = i + 1
	if u := &f.units[i%unitsKept]; u.missed {
		f.broken = true
		if !u.torn && i > f.count-unitsKept && f.units[(i-1)%unitsKept].whole {
			f.lostLocked(1) // at least
		}
	}
}

// lostLocked counts pictures that are thrown away; those before the first that
// can be decoded were never asked for.
func (f *rtpFlow) lostLocked(n uint64) {
	if f.begun {
		f.lost += n
	}
}

// show tells whether a picture that comes out of the decoder may be handed
// over. It may not once the decoder has left one out or found it wrong, until the
// next key picture.
func (f *rtpFlow) show(ns int64, corrupt bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.findLocked(ns)
	if i < 0 {
		f.lostLocked(1)
		return false
	}
	u := &f.units[i%unitsKept]
	u.shown = true
	for j := max(0, f.count-unitsKept); j < f.count; j++ {
		if o := &f.units[j%unitsKept]; o.fed && !o.shown && o.ticks < u.ticks {
			o.shown = true
			if f.seen { // it may begin later than at the first that it is given
				f.lostLocked(1)
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
		f.lostLocked(1)
		return false
	}
	return true
}

// damaged says that the decoder complains about the picture that it was given last.
func (f *rtpFlow) damaged() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next > 0 {
		f.distrustLocked(f.next - 1)
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
	if f.clock <= 0 {
		return 0, 0, 0, false
	}
	stamp := uint32(ns/1e9*f.clock + (ns%1e9*f.clock+5e8)/1e9) // wraps as RTP's does
	for i := f.came - 1; i >= max(0, f.came-arrivalsKept); i-- {
		a := f.arrivals[i%arrivalsKept]
		if a.stamp != stamp {
			continue
		}
		if f.report.ntp != 0 {
			wall = f.report.ntp + int64(int32(stamp-f.report.stamp))*1e9/f.clock
		}
		return ns, wall, a.at, true
	}
	return 0, 0, 0, false
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
