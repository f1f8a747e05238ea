package ipcam

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/picture"
)

// With ffmpeg as the viewer: what it decodes is what was drawn.
func TestCodecsAndTransports(t *testing.T) {
	needFFmpeg(t)
	for _, codec := range []Codec{H264, H265} {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(codec.String()+" "+transport, func(t *testing.T) {
				t.Parallel()
				stream, err := Drawn(Drawing{Drawer: &counter{}, Width: 320, Height: 240, Rate: 40, Codec: codec})
				if err != nil {
					t.Fatal(err)
				}
				addr, _ := serve(t, RTSP{Stream: stream, Codec: codec, Path: "/cam", Wait: true})
				got := pullBy(t, transport, "rtsp://"+addr+"/cam", 20)
				if len(got) != 20 {
					t.Fatalf("%d pictures, want 20", len(got))
				}
				for i := 1; i < len(got); i++ {
					if got[i] < got[i-1] {
						t.Fatalf("picture %d has gray %d after %d", i, got[i], got[i-1])
					}
				}
			})
		}
	}
}

func TestSwitch(t *testing.T) {
	t.Parallel()
	sw := NewSwitch(fake(H264, 100, 5*time.Millisecond))
	addr, _ := serve(t, RTSP{Stream: sw.Play})
	sdp := func() string {
		_, _, body := dial(t, addr).do("DESCRIBE", "")
		return body
	}
	v := dial(t, addr)
	v.play()
	if p := v.media(); p.Payload[0] != 1 {
		t.Fatalf("payload % x isn't H.264", p.Payload[:4])
	}
	if s := sdp(); !strings.Contains(s, "H264/90000") {
		t.Fatal(s)
	}
	sw.To(fake(H265, 100, 5*time.Millisecond))
	seq, stamp := v.media().SequenceNumber, uint32(0)
	for p := v.media(); p.Payload[0] != 1<<1; p = v.media() {
		if seq++; p.SequenceNumber != seq || p.PayloadType != payloadType || p.Timestamp < stamp {
			t.Fatalf("packet %+v after %d", p.Header, seq-1)
		}
		stamp = p.Timestamp
	}
	if s := sdp(); !strings.Contains(s, "H265/90000") {
		t.Error(s)
	}
}

func TestStillAndResize(t *testing.T) {
	t.Parallel()
	still := &Still{Drawer: &counter{}}
	m, err := NewMJPEG(Drawing{Drawer: still, Width: 64, Height: 48, Rate: 100})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(m)
	t.Cleanup(srv.Close)
	background(t, m.Run)
	parts := view(t, srv.URL)
	next := func() *vision.Frame {
		t.Helper()
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		f, err := picture.Decode(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &f
	}
	// find passes over pictures until one is as wanted.
	find := func(what string, want func(*vision.Frame) bool) *vision.Frame {
		t.Helper()
		for range 200 {
			if f := next(); want(f) {
				return f
			}
		}
		t.Fatalf("200 pictures, and none %s", what)
		return nil
	}
	last, same := next(), 0
	still.Hold(true)
	find("was the same for the fifth time", func(f *vision.Frame) bool {
		if same++; f.Pix[0] != last.Pix[0] {
			last, same = f, 0
		}
		return same == 5
	})
	still.Hold(false)
	find("was a new one", func(f *vision.Frame) bool { return f.Pix[0] != last.Pix[0] })
	if err := m.Resize(0, 10); err == nil {
		t.Error("resize to 0x10: accepted")
	}
	still.Hold(true) // of the same pixels as before, otherwise laid out
	if err := m.Resize(48, 64); err != nil {
		t.Fatal(err)
	}
	find("had the new size", func(f *vision.Frame) bool { return f.Width == 48 && f.Height == 64 })
}
