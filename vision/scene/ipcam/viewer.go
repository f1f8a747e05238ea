package ipcam

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	clock     = 90000 // RTP's ticks a second for video
	mtu       = 1400  // bytes of an RTP packet
	backlog   = 30    // pictures that a viewer may lag behind before it misses some
	reportGap = 5 * time.Second
)

// relay packs pictures into RTP once and hands them to every viewer. A viewer
// that lags misses pictures up to the next key picture.
type relay struct {
	came chan struct{} // closed when the first viewer plays

	senders sync.WaitGroup // one for each viewer that plays

	mu      sync.Mutex // protects what follows
	viewers map[*viewer]bool
	pack    rtp.Packetizer
	ssrc    uint32
	stamp   uint32
	last    time.Time // of the last picture
	report  time.Time // of the last sender report
	packets uint32
	octets  uint32
	over    bool
}

func newRelay() *relay {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	r := &relay{came: make(chan struct{}), viewers: map[*viewer]bool{}, ssrc: binary.BigEndian.Uint32(b[:])}
	r.pack = rtp.NewPacketizerWithOptions(mtu, &codecs.H264Payloader{}, rtp.NewRandomSequencer(), clock,
		rtp.WithSSRC(r.ssrc), rtp.WithPayloadType(96), rtp.WithTimestamp(0))
	return r
}

// packed is one access unit as it goes over the line, reports included.
type packed struct {
	bytes []byte
	key   bool
}

// publish sends an access unit to all viewers, stamped with the time since the
// one before it.
func (r *relay) publish(u AccessUnit) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.last.IsZero() {
		ticks := uint32(now.Sub(r.last).Seconds() * clock)
		r.pack.SkipSamples(ticks)
		r.stamp += ticks
	}
	r.last = now
	p := packed{key: u.Key}
	if now.Sub(r.report) > reportGap {
		r.report = now
		p.bytes = interleave(p.bytes, 1, r.senderReportLocked(now))
	}
	for _, pkt := range r.pack.Packetize(u.Data, 0) {
		b, err := pkt.Marshal()
		if err != nil {
			return fmt.Errorf("pack H.264 for RTP: %w", err)
		}
		r.packets++
		r.octets += uint32(len(pkt.Payload))
		p.bytes = interleave(p.bytes, 0, b)
	}
	for v := range r.viewers {
		v.offerLocked(p)
	}
	return nil
}

// interleave frames a packet for the RTSP connection (RFC 2326 section 10.12).
func interleave(to []byte, channel byte, pkt []byte) []byte {
	to = append(to, '$', channel, byte(len(pkt)>>8), byte(len(pkt)))
	return append(to, pkt...)
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

// viewer is one RTSP connection.
type viewer struct {
	conn net.Conn
	set  bool // SETUP was done

	write sync.Mutex // one message at a time on conn

	from  *relay      // nil unless it plays
	queue chan packed // from.mu protects its closing
	lost  bool        // pictures were missed: only a key picture is of use; from.mu
}

// reply answers a request.
func (v *viewer) reply(r request, status, header, body string) error {
	if body != "" {
		header += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return v.send([]byte("RTSP/1.0 " + status + "\r\nCSeq: " + r.header.Get("CSeq") + "\r\n" + header + "\r\n" + body))
}

func (v *viewer) send(b []byte) error {
	v.write.Lock()
	defer v.write.Unlock()
	if err := v.conn.SetWriteDeadline(time.Now().Add(slowViewer)); err != nil {
		return err
	}
	_, err := v.conn.Write(b)
	return err
}

// join lets the viewer play from the next key picture on.
func (v *viewer) join(r *relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.viewers[v] || r.over {
		return
	}
	v.from, v.queue, v.lost = r, make(chan packed, backlog), true
	r.viewers[v] = true
	select {
	case <-r.came:
	default:
		close(r.came)
	}
	queue := v.queue
	r.senders.Go(func() {
		for p := range queue {
			if v.send(p.bytes) != nil {
				v.conn.Close() // its talk ends, and with it the viewer
				return
			}
		}
	})
}

// leave ends playing.
func (v *viewer) leave() {
	if v.from == nil {
		return
	}
	v.from.mu.Lock()
	defer v.from.mu.Unlock()
	if v.from.viewers[v] {
		delete(v.from.viewers, v)
		close(v.queue)
	}
}

// offerLocked queues a picture; the relay's mutex is held.
func (v *viewer) offerLocked(p packed) {
	if v.lost && !p.key {
		return
	}
	select {
	case v.queue <- p:
		v.lost = false
	default:
		v.lost = true
	}
}
