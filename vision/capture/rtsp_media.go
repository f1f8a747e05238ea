//go:build cgo && (media || gocv)

package capture

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// udpJitter is how long packets over UDP wait for others that were overtaken.
// Over TCP there is nothing to wait for.
const udpJitter = 100 * time.Millisecond

// rtspChains are the elements that decode what cameras send. What is lost on the
// way never reaches them (rtpFlow); a picture that they find wrong by themselves
// they keep.
var rtspChains = map[string]string{
	"h264": "rtph264depay name=depay ! video/x-h264,stream-format=byte-stream,alignment=au ! h264parse ! avdec_h264 output-corrupt=false discard-corrupted-frames=true",
	"h265": "rtph265depay name=depay ! video/x-h265,stream-format=byte-stream,alignment=au ! h265parse ! avdec_h265 output-corrupt=false discard-corrupted-frames=true",
	"jpeg": "rtpjpegdepay name=depay ! jpegdec",
}

// headsRoom holds the longest packet, 65535 bytes over TCP, and its gst_head: one
// that doesn't fit would never be taken out, nor anything behind it.
const headsRoom = 128 << 10

// rtspStream is what GStreamer's threads tell of an RTSP camera.
type rtspStream struct {
	flow *rtpFlow

	order sync.Mutex // protects heads: packets are shown to flow by two threads, but in order
	heads [headsRoom]byte

	mu    sync.Mutex // protects what follows
	codec string     // of the stream that is read, "" while there is none
	err   error
}

// openRTSP reads a camera that was found to answer.
func openRTSP(ctx context.Context, o order) (reader, opened, error) {
	u, err := url.Parse(o.At)
	if err != nil {
		return nil, opened{}, errors.New("the address can't be read")
	}
	var user, password string
	if who := o.access(u); who != nil {
		user = who.Username()
		password, _ = who.Password()
	}
	u.User = nil
	s := &rtspStream{flow: newRTPFlow()}
	udp, latency := o.Options.Transport == "udp", time.Duration(0)
	if udp {
		latency = udpJitter
	}
	p, err := rtspPipe(s, u.String(), user, password, udp, latency, max(o.read(), dialTimeout))
	if err != nil {
		return nil, opened{}, lacking(err.Error())
	}
	return startReader(&gstReader{ctx: ctx, pipe: p, stream: s, wait: o.read()})
}

// lacking says what to install for an element that isn't there.
func lacking(why string) error {
	return fmt.Errorf("the camera answers, but GStreamer can't read it: %s: are gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad and gstreamer1.0-libav installed?", why)
}

// describe is told of every video stream and takes the first.
func (s *rtspStream) describe(name string, clock int, rate string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	codec := strings.ToLower(name)
	if s.codec != "" {
		return false
	}
	if rtspChains[codec] == "" || clock <= 0 {
		s.err = fmt.Errorf("the camera sends %.40q, which isn't read: set it to H.264, H.265 or JPEG", name)
		return false
	}
	s.codec, s.err = codec, nil
	fps, err := strconv.ParseFloat(rate, 64)
	if err != nil || !(fps > 0 && fps < 1e4) {
		fps = 0
	}
	s.flow.describe(codec, clock, fps)
	return true
}

func (s *rtspStream) chain() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rtspChains[s.codec]
}

func (s *rtspStream) missing(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = lacking(why)
}

func (s *rtspStream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
