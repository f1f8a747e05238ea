package ipcam

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	clock       = 90000 // RTP's ticks a second for video
	mtu         = 1400  // bytes of an RTP packet
	payloadType = 96
	queued      = 30 // pictures that a viewer may lag behind before it misses some
	maxBacklog  = 250
	reportGap   = 5 * time.Second
)

// relay packs pictures into RTP once and hands them to every viewer. A viewer
// that lags misses pictures up to the next key picture.
type relay struct {
	control *Control
	ssrc    uint32
	came    chan struct{} // closed when the first viewer plays

	senders sync.WaitGroup // one for each viewer that plays

	mu      sync.Mutex // protects what follows
	viewers map[*viewer]bool
	codec   Codec // of the newest picture
	payload rtp.Payloader
	seq     uint16
	stamp   uint32
	past    []packed  // for scripts that send a backlog
	last    time.Time // of the last picture
	report  time.Time // of the last sender report
	packets uint32
	octets  uint32
	over    bool

	script *Script // that dice are for
	dice   *rand.Rand
}

func newRelay(codec Codec, control *Control) *relay {
	var b [6]byte
	_, _ = crand.Read(b[:]) // never fails
	r := &relay{control: control, came: make(chan struct{}), viewers: map[*viewer]bool{},
		ssrc: binary.BigEndian.Uint32(b[:]), seq: binary.BigEndian.Uint16(b[4:])}
	r.codeLocked(codec)
	return r
}

// codeLocked begins to send another codec.
func (r *relay) codeLocked(c Codec) {
	r.codec, r.payload = c, &codecs.H264Payloader{}
	if c == H265 {
		r.payload = &codecs.H265Payloader{}
	}
}

// sends is the codec of the newest picture.
func (r *relay) sends() Codec {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.codec
}

// packed is one access unit in RTP packets, reports included, each framed for
// the RTSP connection (RFC 2326 section 10.12).
type packed struct {
	bytes []byte
	key   bool
}

// add appends a packet: channel 0 is RTP, 1 is RTCP.
func (p *packed) add(channel byte, pkt []byte) {
	p.bytes = append(append(p.bytes, '$', channel, byte(len(pkt)>>8), byte(len(pkt))), pkt...)
}

// each calls f for every packet.
func (p packed) each(f func(channel byte, pkt []byte)) {
	for b := p.bytes; len(b) > 0; {
		end := 4 + int(binary.BigEndian.Uint16(b[2:]))
		f(b[1], b[4:end])
		b = b[end:]
	}
}

// publish sends an access unit to all viewers, stamped with the time since the
// one before it.
func (r *relay) publish(u AccessUnit) error {
	script := r.control.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if script != r.script {
		r.script, r.dice = script, rand.New(rand.NewPCG(script.Seed, 0))
		r.past = nil
	}
	if u.Codec != r.codec {
		r.codeLocked(u.Codec)
	}
	now := time.Now()
	if !r.last.IsZero() {
		r.stamp += uint32(now.Sub(r.last).Seconds() * clock)
	}
	r.last = now
	p, err := r.packLocked(u, now, script)
	if err != nil {
		return err
	}
	if r.past = append(r.past, p); script.Backlog <= 0 {
		r.past = r.past[:0]
	} else if n := min(script.Backlog, maxBacklog) + keyEvery; len(r.past) > n {
		r.past = r.past[len(r.past)-n:]
	}
	if script.Silent {
		return nil
	}
	for v := range r.viewers {
		v.offerLocked(p)
	}
	return nil
}

// packLocked makes packets as the script wants them.
func (r *relay) packLocked(u AccessUnit, now time.Time, script *Script) (packed, error) {
	p := packed{key: u.Key}
	gap := script.ReportEvery
	if gap <= 0 {
		gap = reportGap
	}
	if now.Sub(r.report) > gap && !script.NoReports {
		r.report = now
		p.add(1, r.senderReportLocked(now.Add(script.ReportSkew)))
	}
	parts := r.payload.Payload(mtu-12, u.Data) // beside the header
	var lost uint64
	for i, part := range parts {
		pkt := rtp.Packet{Payload: part, Header: rtp.Header{Version: 2, PayloadType: payloadType,
			SequenceNumber: r.seq, Timestamp: r.stamp, SSRC: r.ssrc, Marker: i == len(parts)-1}}
		r.seq++
		r.packets++
		r.octets += uint32(len(part))
		if script.LoseEvery > 0 && r.packets%uint32(script.LoseEvery) == 0 || script.Loss > 0 && r.dice.Float64() < script.Loss {
			lost++
			continue
		}
		if script.Garbage > 0 && r.dice.Float64() < script.Garbage {
			for i := range part {
				part[i] = byte(r.dice.Uint32())
			}
		}
		b, err := pkt.Marshal()
		if err != nil {
			return p, fmt.Errorf("pack %v for RTP: %w", u.Codec, err)
		}
		p.add(0, b)
	}
	if lost > 0 {
		r.control.lost(lost)
	}
	return p, nil
}

// burstLocked are the pictures of the past with which a new viewer begins.
func (r *relay) burstLocked() []packed {
	script := r.control.now()
	if script != r.script || script.Backlog <= 0 || script.Silent {
		return nil
	}
	begin := -1
	for i, p := range r.past {
		if p.key && (begin < 0 || len(r.past)-i >= script.Backlog) {
			begin = i
		}
	}
	if begin < 0 {
		return nil
	}
	return r.past[begin:]
}

// ntpEpoch is the Unix epoch in NTP's seconds.
const ntpEpoch = 2208988800

// senderReportLocked is an RTCP SR (RFC 3550 section 6.4.1) without reports on
// reception.
func (r *relay) senderReportLocked(now time.Time) []byte {
	b := []byte{0x80, 200, 0, 6}
	b = binary.BigEndian.AppendUint32(b, r.ssrc)
	b = binary.BigEndian.AppendUint32(b, uint32(now.Unix()+ntpEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(uint64(now.Nanosecond())<<32/uint64(time.Second)))
	b = binary.BigEndian.AppendUint32(b, r.stamp)
	b = binary.BigEndian.AppendUint32(b, r.packets)
	return binary.BigEndian.AppendUint32(b, r.octets)
}

// end tells the viewers that nothing more comes, and waits until what they
// have queued is sent, at most so long.
func (r *relay) end(ctx context.Context, most time.Duration) {
	r.mu.Lock()
	r.over = true
	for v := range r.viewers {
		close(v.queue)
	}
	clear(r.viewers)
	r.mu.Unlock()
	sent := make(chan struct{})
	go func() {
		r.senders.Wait()
		close(sent)
	}()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-sent:
	case <-t.C:
	case <-ctx.Done():
	}
}
