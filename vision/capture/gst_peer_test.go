package capture

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// peerCamera serves a pipeline by GStreamer's own RTSP server, and returns its
// host and port.
func peerCamera(t *testing.T, pipeline string, access ...string) string {
	t.Helper()
	needMedia(t)
	const python = "/usr/bin/python3" // Debian's, for which python3-gi is
	if err := exec.Command(python, "-c", "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer").Run(); err != nil {
		t.Skip("left out: gir1.2-gst-rtsp-server-1.0 or python3-gi isn't installed")
	}
	cmd := exec.Command(python, append([]string{filepath.Join("testdata", "rtspserver.py"), pipeline}, access...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		late := time.AfterFunc(2*time.Second, func() { _ = cmd.Process.Kill() }) // it may have ended
		defer late.Stop()
		_ = cmd.Wait() // how it ends doesn't matter
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server says no port: %v", err)
	}
	return "127.0.0.1:" + strings.TrimSpace(port)
}

const peerBars = "videotestsrc is-live=true pattern=smpte75 ! video/x-raw,framerate=25/1,"

// peerCodecs are what the server sends, by the name that must be told.
var peerCodecs = map[string]string{
	"h264": peerBars + "format=I420,width=322,height=242 ! x264enc tune=zerolatency key-int-max=15 bitrate=4096 ! rtph264pay name=pay0 pt=96",
	"h265": peerBars + "format=I420,width=322,height=242 ! x265enc tune=zerolatency key-int-max=15 bitrate=4096 ! rtph265pay name=pay0 pt=96",
	"jpeg": peerBars + "format=RGB,width=320,height=240 ! videoconvert ! video/x-raw,format=I420,colorimetry=1:4:0:0 ! jpegenc ! rtpjpegpay name=pay0 pt=26",
}

// bars are the colours of SMPTE's bars at three quarters, BGR.
var bars = [7][3]int{{191, 191, 191}, {0, 191, 191}, {191, 191, 0}, {0, 191, 0}, {191, 0, 191}, {0, 0, 191}, {191, 0, 0}}

func isBars(t *testing.T, f *Frame) {
	t.Helper()
	for i, want := range bars {
		at := f.Pix[20*f.Stride+3*((2*i+1)*f.Width/14):]
		for c := range 3 {
			if d := int(at[c]) - want[c]; d < -8 || d > 8 {
				t.Errorf("bar %d is % d, want % d", i, at[:3], want)
				return
			}
		}
	}
}

func TestPeerCamera(t *testing.T) {
	t.Parallel()
	needMedia(t)
	for codec, pipeline := range peerCodecs {
		for _, transport := range []string{"tcp", "udp"} {
			if !full && (codec == "h264") != (transport == "udp") {
				continue // three of the six
			}
			t.Run(codec+" over "+transport, func(t *testing.T) {
				t.Parallel()
				addr := peerCamera(t, pipeline, "user", "pass word:@/")
				cfg := config("rtsp://" + addr + "/cam")
				cfg.Transport = transport
				cfg.Credentials = write(t, t.TempDir(), "access", []byte("user:pass word:@/\n"))
				r := start(t, cfg)
				var timings []vision.Timing
				for range 5 {
					f := r.next(15 * time.Second)
					isBars(t, f)
					timings = append(timings, f.Timing)
					if age := time.Since(f.Captured); age < 0 || age > 2*time.Second {
						t.Errorf("frame %d is %v old", f.Seq, age)
					}
					f.Release()
				}
				s := r.Stats()
				if s.Width&^2 != 320 || s.Height&^2 != 240 || s.Codec != codec || s.Reader != "gstreamer" || s.Dropped.Incomplete != 0 {
					t.Errorf("stats %+v", s)
				}
				if slices.Max(timings) < vision.Stamped {
					t.Errorf("timings %v", timings)
				}
				t.Logf("%v, %+v", timings, s.Dropped)
			})
		}
	}
}

func TestPeerCameraRefuses(t *testing.T) {
	t.Parallel()
	addr := peerCamera(t, peerCodecs["h264"], "user", "right")
	r := start(t, config("rtsp://user:wrong@"+addr+"/cam"))
	eventually(t, 10*time.Second, "the refusal", func() bool { return r.Stats().State == Refused })
	if e := r.Stats().LastError; !strings.Contains(e, "refuses this user and password") || strings.Contains(e, "wrong") {
		t.Errorf("reason is %q", e)
	}
}

// A certificate that nobody vouches for must be refused: a password goes there.
func TestPeerCameraOverTLSOfNobody(t *testing.T) {
	t.Parallel()
	addr := peerCamera(t, peerCodecs["h264"], "user", "pw", selfSigned(t))
	r := start(t, config("rtsps://user:pw@"+addr+"/cam"))
	eventually(t, 15*time.Second, "the reason", func() bool { return r.Stats().LastError != "" })
	if s := r.Stats(); s.Captured != 0 || !strings.Contains(strings.ToLower(s.LastError), "certificate") {
		t.Errorf("stats %+v", s)
	}
}

func selfSigned(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, &about, &about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	return write(t, t.TempDir(), "server.pem", both)
}

// TestPeerCameraOfLongPackets: over TCP, a packet may have 65535 bytes.
func TestPeerCameraOfLongPackets(t *testing.T) {
	t.Parallel()
	addr := peerCamera(t, "videotestsrc is-live=true pattern=snow ! video/x-raw,framerate=10/1,format=I420,width=1280,height=720 ! "+
		"x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=40000 ! rtph264pay name=pay0 pt=96 mtu=65535")
	r := start(t, config("rtsp://"+addr+"/cam"))
	for range 10 {
		r.next(15 * time.Second).Release()
	}
}
