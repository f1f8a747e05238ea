package ipcam

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// fake is a stream without an encoder: access units of so many bytes, every
// tenth a key picture, as fast as every says.
func fake(codec Codec, bytes int, every time.Duration) Stream {
	return func(ctx context.Context, emit func(AccessUnit) error) error {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			nal := []byte{1} // a slice
			if codec == H265 {
				nal = []byte{1 << 1, 1}
			}
			u := append([]byte{0, 0, 0, 1}, nal...)
			for len(u) < bytes {
				u = append(u, 0xaa)
			}
			if err := emit(AccessUnit{Data: u, Codec: codec, Key: n%10 == 0}); err != nil {
				return err
			}
		}
	}
}

// scripted serves a fake stream under a control.
func scripted(t *testing.T, s Script, c RTSP) (*Control, string) {
	t.Helper()
	c.Control = &Control{}
	c.Control.Set(s)
	if c.Stream == nil {
		c.Stream = fake(H264, 3000, 5*time.Millisecond)
	}
	addr, _ := serve(t, c)
	return c.Control, addr
}

func TestUDP(t *testing.T) {
	t.Parallel()
	_, addr := scripted(t, Script{}, RTSP{})
	var ports [2]net.PacketConn
	for i := range ports {
		p, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		_ = p.SetReadDeadline(time.Now().Add(20 * time.Second)) // an error is told by the read
		ports[i] = p
	}
	c := dial(t, addr)
	local := func(p net.PacketConn) int { return p.LocalAddr().(*net.UDPAddr).Port }
	mine := fmt.Sprintf("client_port=%d-%d", local(ports[0]), local(ports[1]))
	s, h, _ := c.do("SETUP", "Transport: RTP/AVP/UDP;unicast;"+mine+"\r\n")
	var a, b int
	_, theirs, _ := strings.Cut(h.Get("Transport"), "server_port=")
	if _, err := fmt.Sscanf(theirs, "%d-%d", &a, &b); s != "200 OK" || err != nil || a%2 != 0 || b != a+1 || !strings.Contains(h.Get("Transport"), mine) {
		t.Fatalf("SETUP: %s, %s", s, h.Get("Transport"))
	}
	if s, _, _ := c.do("PLAY", ""); s != "200 OK" {
		t.Fatal(s)
	}
	buf := make([]byte, 2000)
	n, from, err := ports[1].ReadFrom(buf)
	if err != nil || n < 28 || buf[1] != 200 || from.(*net.UDPAddr).Port != b {
		t.Fatalf("RTCP of %d bytes from %v: %v", n, from, err)
	}
	pictures := 0
	for seq := -1; pictures < 20; {
		n, from, err := ports[0].ReadFrom(buf)
		if err != nil || from.(*net.UDPAddr).Port != a {
			t.Fatalf("RTP from %v: %v", from, err)
		}
		p := parse(t, buf[:n])
		if seq >= 0 && p.SequenceNumber != uint16(seq+1) {
			t.Fatalf("packet %d after %d", p.SequenceNumber, seq)
		}
		seq = int(p.SequenceNumber)
		if p.Marker {
			pictures++
		}
	}
	if s, _, _ := c.do("TEARDOWN", ""); s != "200 OK" {
		t.Fatal(s)
	}
}

func TestTransportsThatAreRefused(t *testing.T) {
	ctl, addr := scripted(t, Script{NoUDP: true}, RTSP{})
	udp, tcp := "RTP/AVP;unicast;client_port=5000-5001", "RTP/AVP/TCP;unicast;interleaved=0-1"
	setup := func(offer string) string {
		s, h, _ := dial(t, addr).do("SETUP", "Transport: "+offer+"\r\n")
		transport, _, _ := strings.Cut(h.Get("Transport"), ";")
		return strings.TrimSpace(s[:3] + " " + transport)
	}
	for _, c := range []struct {
		s           Script
		offer, want string
	}{
		{Script{NoUDP: true}, udp, "461"},
		{Script{NoUDP: true}, udp + "," + tcp, "200 RTP/AVP/TCP"},
		{Script{NoTCP: true}, tcp, "461"},
		{Script{NoTCP: true}, tcp + ", " + udp, "200 RTP/AVP"},
		{Script{}, "RTP/AVP;multicast", "461"},
		{Script{}, "RTP/AVP;unicast;client_port=0-70000", "461"},
		{Script{}, "RAW/RAW", "461"},
		{Script{}, udp, "200 RTP/AVP"},
	} {
		ctl.Set(c.s)
		if got := setup(c.offer); got != c.want {
			t.Errorf("%+v: %s: %s, want %s", c.s, c.offer, got, c.want)
		}
	}
}

func TestLoss(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s        Script
		min, max float64 // share of packets that miss
	}{
		{Script{}, 0, 0},
		{Script{LoseEvery: 10}, .09, .11},
		{Script{Loss: .2, Seed: 7}, .1, .3},
	} {
		ctl, addr := scripted(t, c.s, RTSP{})
		v := dial(t, addr)
		v.play()
		first := v.media().SequenceNumber
		got, last := 1, first
		for last-first < 300 {
			last = v.media().SequenceNumber
			got++
		}
		share := 1 - float64(got)/float64(last-first+1)
		if lost := ctl.Counts().Lost; share < c.min || share > c.max || (lost > 0) != (c.max > 0) {
			t.Errorf("%+v: share %.3f of packets is lost, %d counted", c.s, share, lost)
		}
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	ctl, addr := scripted(t, Script{Backlog: 30}, RTSP{Stream: fake(H264, 500, 20*time.Millisecond)})
	for began := time.Now(); time.Since(began) < time.Second; { // until there is a past
		v := dial(t, addr)
		v.play()
		v.media()
	}
	// span is how long the first pictures took to come, and to be taken.
	span := func() (came, taken time.Duration) {
		v := dial(t, addr)
		began := time.Now()
		v.play()
		first := v.media().Timestamp
		for range 28 {
			v.media()
		}
		last := v.media().Timestamp
		return time.Since(began), time.Duration(last-first) * time.Second / clock
	}
	if came, taken := span(); came > taken {
		t.Errorf("30 pictures of %v came within %v: no backlog", taken, came)
	}
	ctl.Set(Script{})
	if came, taken := span(); came < taken {
		t.Errorf("30 pictures of %v came within %v: a backlog that nobody wants", taken, came)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	skewed := func(want time.Duration) {
		t.Helper()
		_, addr := scripted(t, Script{ReportSkew: want, ReportEvery: 10 * time.Millisecond}, RTSP{})
		v := dial(t, addr)
		v.play()
		at, stamp := v.report()
		if skew := time.Until(at); (skew - want).Abs() > 250*time.Millisecond {
			t.Errorf("skew is %v, want %v", skew, want)
		}
		at2, stamp2 := v.report()
		ticks := time.Duration(stamp2-stamp) * time.Second / clock
		if d := at2.Sub(at); (d-ticks).Abs() > 5*time.Millisecond || d <= 0 {
			t.Errorf("reports are %v apart, their pictures %v", d, ticks)
		}
	}
	skewed(0)
	skewed(700 * time.Millisecond)
	skewed(time.Until(time.Unix(0, 0)))
	_, addr := scripted(t, Script{NoReports: true}, RTSP{})
	v := dial(t, addr)
	v.play()
	for range 100 {
		if channel, b := v.packet(); channel != 0 {
			t.Fatalf("RTCP % x", b)
		}
	}
}
