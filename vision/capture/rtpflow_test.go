package capture

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// coded is a picture as an encoder makes it: NAL units of these kinds, the last
// one a slice that needs several packets.
type coded struct {
	kinds []byte
	stamp uint32
}

// annexB writes the units; of H.264 the kind is all of the header, of H.265 half.
func (c coded) annexB(codec string) []byte {
	var b []byte
	for i, kind := range c.kinds {
		b = append(b, 0, 0, 0, 1)
		if codec == "h265" {
			b = append(b, kind<<1, 1)
		} else {
			b = append(b, 0x60|kind)
		}
		size := 20
		if i == len(c.kinds)-1 {
			size = 3500
		}
		for j := range size {
			v := 0x80 | byte(j%100+1) // begins its picture, and holds no start code
			if j == 0 && kind == avcSEI {
				v = 6 // a recovery point
			}
			b = append(b, v)
		}
	}
	return b
}

// packets are three for the slice, as pion cuts it, and one or more before.
func (c coded) packets(codec string, seq *uint16) [][]byte {
	var payloader rtp.Payloader = &codecs.H264Payloader{}
	if codec == "h265" {
		payloader = &codecs.H265Payloader{}
	}
	parts := payloader.Payload(1388, c.annexB(codec))
	var all [][]byte
	for i, part := range parts {
		p := rtp.Packet{Payload: part, Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: *seq, Timestamp: c.stamp, Marker: i == len(parts)-1}}
		*seq++
		b, err := p.Marshal()
		if err != nil {
			panic(err)
		}
		all = append(all, b)
	}
	return all
}

var kindsOf = map[string]map[byte][]byte{ // by what they are called below
	"h264": {'I': {7, 8, 5}, 'P': {1}, 'R': {6, 1}},
	"h265": {'I': {32, 33, 34, 19}, 'P': {1}, 'C': {32, 33, 34, 21}, 'l': {8}, 'd': {6}},
}

// flowOf plays pictures, less the packets of lose ("picture.packet", or picture
// alone for all of it; one with ~ comes as another NAL unit), and tells which go to the decoder. Like GStreamer's
// depayloaders it gives a picture on at its last packet, or at the next picture's first.
func flowOf(codec, pictures string, start uint32, lose ...string) (f *rtpFlow, decoded string) {
	f = newRTPFlow()
	f.describe(codec, 90000, 0)
	seq := uint16(65530)
	waiting, pending := int64(-1), rune(0)
	give := func() {
		if waiting >= 0 {
			if f.decode(waiting) {
				decoded += string(pending)
			} else {
				decoded += "-"
			}
		}
		waiting = -1
	}
	for i, kind := range pictures {
		c := coded{kindsOf[codec][byte(kind)], start + uint32(i)*3600}
		for j, p := range c.packets(codec, &seq) {
			if slices.Contains(lose, fmt.Sprint(i)) || slices.Contains(lose, fmt.Sprintf("%d.%d", i, j)) {
				continue
			}
			if slices.Contains(lose, fmt.Sprintf("%d.%d~", i, j)) {
				p[12] = 1 << 1 // another slice
				if codec == "h264" {
					p[12] = avcSlice
				}
			}
			ns := int64(i) * 40e6
			f.pass(p, ns, 1, 0)
			if waiting >= 0 && ns != waiting {
				give()
			}
			waiting, pending = ns, kind
			if p[1]&0x80 != 0 {
				give()
			}
		}
	}
	give()
	return f, decoded
}

func TestRTPFlow(t *testing.T) {
	for _, c := range []struct {
		name, codec, pictures string
		lose                  []string
		want                  string
		lost                  uint64
	}{
		{"all comes", "h264", "IPPPIPP", nil, "IPPPIPP", 0},
		{"all comes", "h265", "IPPPIPP", nil, "IPPPIPP", 0},
		{"joined between key pictures", "h264", "PPIPP", nil, "--IPP", 0},
		{"a middle packet", "h264", "IPPPIPP", []string{"1.1"}, "I---IPP", 3},
		{"a first packet", "h264", "IPPPIPP", []string{"1.0"}, "I---IPP", 3},
		{"a last packet", "h264", "IPPPIPP", []string{"1.2"}, "I---IPP", 3},
		{"a last packet and all of the next", "h264", "IPPPIPP", []string{"1.2", "2"}, "I--IPP", 2},
		{"a whole picture", "h264", "IPPPIPP", []string{"2"}, "IP-IPP", 2},
		{"a whole picture before a key one", "h264", "IPPPIPP", []string{"3"}, "IPPIPP", 1},
		{"the end of one and the beginning of the next", "h265", "IPPPIPP", []string{"1.2", "2.0"}, "I---IPP", 3},
		{"parameter sets of a key picture", "h264", "IPPIPPIP", []string{"3.0"}, "IPP---IP", 3},
		{"parameter sets of a key picture", "h265", "IPPIPPIP", []string{"3.0"}, "IPP---IP", 3},
		{"a slice of a key picture", "h265", "IPPIPPIP", []string{"3.2"}, "IPP---IP", 3},
		{"nothing, but another unit lies among its fragments", "h264", "IPPPIPP", []string{"1.1~"}, "I---IPP", 3},
		{"nothing, but another unit lies among its fragments", "h265", "IPPPIPP", []string{"1.1~"}, "I---IPP", 3},
		{"recovery points begin a stream", "h264", "PRPPRPP", nil, "-RPPRPP", 0},
		{"and mend nothing after a loss", "h264", "PRPPRPP", []string{"2.1"}, "-R-----", 5},
		{"leading pictures of a CRA are whole", "h265", "CllPCll", nil, "C--PCll", 2},
		{"leading pictures of a CRA after a loss", "h265", "IPPCldlPP", []string{"1.1"}, "I--C-d-PP", 4},
	} {
		f, got := flowOf(c.codec, c.pictures, 1<<32-4*3600, c.lose...)
		if got != c.want || f.thrown() != c.lost {
			t.Errorf("%s, %s without %v: decoded %s, %d thrown away, want %s and %d", c.codec, c.pictures, c.lose, got, f.thrown(), c.want, c.lost)
		}
	}
}

// TestRTPFlowBehindTheDecoder: what it leaves out, or complains about, taints
// what follows.
func TestRTPFlowBehindTheDecoder(t *testing.T) {
	const pictures = "IPPPIPP"
	for _, c := range []struct {
		name     string
		leftOut  int // -1: none
		complain bool
		want     string
	}{
		{"all comes out", -1, false, "IPPPIPP"},
		{"one is left out", 1, false, "I--IPP"},
		{"the decoder complains about the last", -1, true, "IPPPIP-"},
	} {
		f, decoded := flowOf("h264", pictures, 0)
		if decoded != pictures {
			t.Fatalf("decoded %s", decoded)
		}
		if c.complain {
			f.damaged(int64(len(pictures)-1) * 40e6)
		}
		got := ""
		for i, kind := range pictures {
			if i == c.leftOut {
				continue
			}
			if f.show(int64(i)*40e6, false) {
				got += string(kind)
			} else {
				got += "-"
			}
		}
		if got != c.want {
			t.Errorf("%s: shown %s, want %s", c.name, got, c.want)
		}
	}
}

// TestRTPFlowKnowsWhen: arrival and report belong to the right picture, over wraps.
func TestRTPFlowKnowsWhen(t *testing.T) {
	f := newRTPFlow()
	f.describe("h264", 90000, 25)
	report := make([]byte, 28)
	report[0], report[1] = 0x80, 200
	binary.BigEndian.PutUint32(report[8:], 2208988800+1_800_000_000)
	binary.BigEndian.PutUint32(report[12:], 1<<31) // half a second
	seq := uint16(0)
	for i := range 20_000 {
		stamp := uint32(i) * 123_457
		c := coded{[]byte{7, 8, 5}, stamp}
		p := c.packets("h264", &seq)[0]
		ns := int64(i) * 1e6
		f.pass(p, ns, int64(i)+1, 0)
		if i%1000 == 0 {
			binary.BigEndian.PutUint32(report[16:], stamp-9000)
			f.reported(report)
			_, wall, arrival, ok := f.taken(ns)
			if !ok || arrival != int64(i)+1 || wall != 1_800_000_000_600_000_000 {
				t.Fatalf("picture %d came at %d (%v), by its camera at %d", i, arrival, ok, wall)
			}
		}
	}
	if _, _, _, ok := f.taken(12345); ok {
		t.Error("a picture that never came has a time")
	}
}

func FuzzRTPFlow(f *testing.F) {
	seq := uint16(0)
	for _, codec := range []string{"h264", "h265"} {
		for _, p := range (coded{[]byte{7, 8, 5}, 9}).packets(codec, &seq) {
			f.Add(codec == "h265", p)
		}
	}
	f.Fuzz(func(t *testing.T, is265 bool, packets []byte) {
		flow := newRTPFlow()
		flow.describe("h264", 90000, 0)
		if is265 {
			flow.describe("h265", 90000, 0)
		}
		for len(packets) > 0 { // each behind a byte with its length
			n := min(int(packets[0])+1, len(packets))
			p := packets[1:n]
			packets = packets[n:]
			ns := int64(len(packets) / 100)
			flow.reported(p)
			flow.pass(p, ns, 1, uint16(len(p)%2))
			flow.decode(ns)
			flow.show(ns, len(p)%7 == 0)
			flow.taken(ns)
		}
	})
}
