package ipcam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/picture"
)

// counter paints frame n in the gray 2n+10 and remembers how far it came.
type counter struct{ drawn atomic.Int64 }

func (c *counter) Frame(n int, dst *vision.Frame) error {
	c.drawn.Add(1)
	for i := range dst.Pix {
		dst.Pix[i] = byte(2*n + 10)
	}
	return nil
}

// number reads back which frame a picture is.
func number(t *testing.T, jpeg []byte) int {
	t.Helper()
	f, err := picture.Decode(jpeg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return int(f.Pix[0]-9) / 2 // JPEG may be off by one
}

// background runs f until the test ends and checks its error.
func background(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func mjpeg(t *testing.T, d *counter, rate float64) (*MJPEG, string) {
	t.Helper()
	m, err := NewMJPEG(Drawing{Drawer: d, Width: 320, Height: 240, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	m.Wait = true
	srv := httptest.NewServer(m)
	t.Cleanup(srv.Close)
	background(t, m.Run)
	return m, srv.URL
}

func view(t *testing.T, url string) *multipart.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	_, p, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	return multipart.NewReader(res.Body, p["boundary"])
}

func TestMJPEGGivesFramesAtTheRate(t *testing.T) {
	t.Parallel()
	d := &counter{}
	_, url := mjpeg(t, d, 50)
	parts := view(t, url)
	began := time.Now()
	last := -1
	for last < 25 {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if n := number(t, b); n <= last {
			t.Fatalf("frame %d after %d", n, last)
		} else if last = n; strconv.Itoa(len(b)) != p.Header.Get("Content-Length") {
			t.Fatalf("%d bytes, told %s", len(b), p.Header.Get("Content-Length"))
		}
	}
	if d := time.Since(began); d < 450*time.Millisecond {
		t.Errorf("frame 25 of 50/s came after %v", d)
	}
}

func TestSlowViewerLosesFramesAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	d := &counter{}
	m, url := mjpeg(t, d, 100)
	slow, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprintf(slow, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") // and never reads
	parts := view(t, url)
	for range 60 {
		if _, err := parts.NextPart(); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.drawn.Load(); got < 60 || got > 200 {
		t.Errorf("%d frames drawn for 60 seen: not once for all viewers", got)
	}
	slow.Close()
	_ = m
}

func TestNothingIsDrawnWithoutViewers(t *testing.T) {
	d := &counter{}
	m, err := NewMJPEG(Drawing{Drawer: d, Width: 32, Height: 32, Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Run(ctx); err != nil || d.drawn.Load() != 0 {
		t.Errorf("run: %v, %d frames drawn", err, d.drawn.Load())
	}
}

type failing struct{}

func (failing) Frame(int, *vision.Frame) error { return errors.New("out of paint") }

func TestBadDrawings(t *testing.T) {
	for _, d := range []Drawing{
		{}, {Drawer: failing{}, Width: 32, Rate: 25}, {Drawer: failing{}, Width: 32, Height: 32},
	} {
		if _, err := NewMJPEG(d); err == nil {
			t.Errorf("%+v: accepted", d)
		}
	}
	if _, err := Drawn(Drawing{Drawer: failing{}, Width: 33, Height: 32, Rate: 25}); err == nil {
		t.Error("odd size: accepted")
	}
	m, err := NewMJPEG(Drawing{Drawer: failing{}, Width: 32, Height: 32, Rate: 25})
	if err != nil {
		t.Fatal(err)
	}
	defer m.hub.view()()
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "frame 0: out of paint") {
		t.Errorf("run: %v", err)
	}
}

func needFFmpeg(t *testing.T) {
	t.Helper()
	if !HaveFFmpeg() {
		t.Skip("left out: no ffmpeg program")
	}
}

// serve runs an RTSP camera on a port of its own.
func serve(t *testing.T, c RTSP) (addr string, done chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done = make(chan struct{})
	background(t, func(ctx context.Context) error {
		defer close(done)
		return c.Serve(ctx, ln)
	})
	return ln.Addr().String(), done
}

// pull reads a stream with ffmpeg as an independent peer and returns the gray
// of each picture.
func pull(t *testing.T, url string, frames int) []byte {
	t.Helper()
	return pullBy(t, "tcp", url, frames)
}

func pullBy(t *testing.T, transport, url string, frames int) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	args := []string{"-v", "error", "-rtsp_transport", transport, "-i", url, "-vf", "scale=1:1", "-pix_fmt", "gray", "-fps_mode", "passthrough", "-f", "rawvideo"}
	if frames > 0 {
		args = append(args, "-frames:v", strconv.Itoa(frames))
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", append(args, "-")...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("ffmpeg: %v: %s", err, said.String())
	}
	return out
}

func TestRTSPDrawnCamera(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	stream, err := Drawn(Drawing{Drawer: &counter{}, Width: 320, Height: 240, Rate: 50})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serve(t, RTSP{Stream: stream, Rate: 50, Path: "/cam", Wait: true})
	got := pull(t, "rtsp://"+addr+"/cam", 30)
	if len(got) != 30 {
		t.Fatalf("%d pictures, want 30", len(got))
	}
	for i := 1; i < len(got); i++ {
		if got[i] < got[i-1] {
			t.Fatalf("picture %d has gray %d after %d", i, got[i], got[i-1])
		}
	}
	if got[29] < got[0]+2*20 {
		t.Errorf("gray went from %d to %d over 30 pictures: they don't go on", got[0], got[29])
	}
}

// recording makes a video of n frames whose gray rises.
func recording(t *testing.T, n, rate, w, h int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "video.mp4")
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", fmt.Sprintf("%dx%d", w, h),
		"-r", strconv.Itoa(rate), "-i", "-", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-pix_fmt", "yuv420p", path)
	var in bytes.Buffer
	f := &vision.Frame{Pix: make([]byte, w*h*3)}
	for i := range n {
		_ = (&counter{}).Frame(i, f) // never fails
		in.Write(f.Pix)
	}
	cmd.Stdin = &in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	return path
}

func TestRTSPRecordingPlaysOnceAndHangsUp(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	addr, done := serve(t, RTSP{Stream: Recording(recording(t, 40, 40, 160, 120), false), Wait: true})
	if got := pull(t, "rtsp://"+addr+"/any", 0); len(got) != 40 {
		t.Errorf("%d pictures, want 40", len(got))
	}
	<-done
}

func TestRTSPRefusesStrangersAndNonsense(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	c := RTSP{Stream: Recording(recording(t, 20, 20, 160, 120), true), Path: "/cam", User: "u", Password: "p"}
	addr, _ := serve(t, c)
	if got := pull(t, "rtsp://u:p@"+addr+"/cam", 5); len(got) != 5 {
		t.Errorf("%d pictures, want 5", len(got))
	}
	for _, url := range []string{"rtsp://" + addr + "/cam", "rtsp://u:wrong@" + addr + "/cam", "rtsp://u:p@" + addr + "/other"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", url).CombinedOutput(); err == nil {
			t.Errorf("%s: accepted: %s", url, out)
		}
		cancel()
	}
	for _, junk := range []string{"GET / HTTP/1.1\r\n\r\n", "PLAY rtsp://x/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n", "\x00\x01\x02\r\n", "$"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, junk)
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("%q: %v", junk, err)
		}
		conn.Close()
	}
}

func TestRecordingThatIsNone(t *testing.T) {
	needFFmpeg(t)
	err := Recording("/nonexistent.mp4", false)(t.Context(), func(AccessUnit) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("error is %v", err)
	}
}

func TestSplitAtDelimiters(t *testing.T) {
	unit := func(kind byte) []byte {
		return append([]byte{0, 0, 0, 1, 9, 0x10}, 0, 0, 1, kind, 1, 2, 3, 0, 0, 3, 1)
	}
	var in []byte
	for _, k := range []byte{5, 1, 1, 5} {
		in = append(in, unit(k)...)
	}
	var keys []bool
	err := H264.split(iotest{bytes.NewReader(in)}, func(u AccessUnit) error {
		if !bytes.HasPrefix(u.Data, []byte{0, 0, 0, 1, 9}) || len(u.Data) != len(unit(1)) {
			t.Errorf("unit is % x", u.Data)
		}
		keys = append(keys, u.Key)
		return nil
	})
	if err != nil || fmt.Sprint(keys) != "[true false false true]" {
		t.Errorf("keys %v, error %v", keys, err)
	}
}

// iotest reads one byte at a time.
type iotest struct{ r io.Reader }

func (r iotest) Read(b []byte) (int, error) { return r.r.Read(b[:1]) }

func FuzzSplit(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 0x10, 0, 0, 1, 0x65, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := H264.split(bytes.NewReader(b), func(u AccessUnit) error { n += len(u.Data); return nil })
		if err != nil || n != len(b) {
			t.Errorf("%d of %d bytes came out: %v", n, len(b), err)
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("OPTIONS rtsp://x/cam RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("$\x00\x00\x01a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newServer(RTSP{User: "u", Password: "p"})
		defer s.udp.close()
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(b) // a closed pipe is the server's answer
			far.Close()
		}()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		s.talk(t.Context(), near)
	})
}
