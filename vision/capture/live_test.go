package capture

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// ramp paints frame n in the gray 2n (mod 256), the lower half of the picture
// in its opposite.
type ramp struct{}

func (ramp) Frame(n int, dst *vision.Frame) error {
	half := len(dst.Pix) / 2
	for i := range dst.Pix {
		dst.Pix[i] = byte(2 * n)
		if i >= half {
			dst.Pix[i] = ^byte(2 * n)
		}
	}
	return nil
}

// whole checks that a frame of ramp is one picture, not two halves or an old
// rest. What video encoders make of its flat halves sums up to 4 to 9 less
// (1,200 frames each of x264 and x265), a JPEG to the same.
func whole(t *testing.T, f *Frame) {
	t.Helper()
	top, bottom := int(f.Pix[0]), int(f.Pix[len(f.Pix)-1])
	if d := top + bottom - 255; d < -12 || d > 8 {
		t.Errorf("frame %d of %dx%d: top %d and bottom %d aren't of one picture", f.Seq, f.Width, f.Height, top, bottom)
	}
}

// background runs f until the test ends.
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

// mjpegCamera is a camera behind a gate, whose address it returns.
func mjpegCamera(t *testing.T, w, h int, rate float64) (*ipcam.Gate, string) {
	t.Helper()
	m, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: ramp{}, Width: w, Height: h, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(m)
	t.Cleanup(srv.CloseClientConnections)
	background(t, m.Run)
	return gate(t, strings.TrimPrefix(srv.URL, "http://"))
}

func gate(t *testing.T, target string) (*ipcam.Gate, string) {
	t.Helper()
	g, err := ipcam.NewGate(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g, g.Addr()
}

func set(t *testing.T, g *ipcam.Gate, f ipcam.Fault) {
	t.Helper()
	if err := g.Set(f); err != nil {
		t.Fatal(err)
	}
}

func TestLiveCameraGivesTheNewestFrame(t *testing.T) {
	_, addr := mjpegCamera(t, 320, 240, 100)
	r := start(t, config("http://"+addr+"/"))
	first := r.next(10 * time.Second)
	defer first.Release()
	if age := time.Since(first.Captured); age < 0 || age > 2*time.Second {
		t.Errorf("the first frame is %v old", age)
	}
	// Nobody takes frames for a while; then comes the newest, not the next.
	eventually(t, 5*time.Second, "20 frames", func() bool { return r.Stats().Captured > first.Seq+20 })
	f := r.next(time.Second)
	defer f.Release()
	if f.Seq < first.Seq+15 {
		t.Errorf("frame %d after %d, more than 20 came", f.Seq, first.Seq)
	}
	whole(t, f)
	s := r.Stats()
	if s.Dropped.Overwritten == 0 || s.State != Streaming || s.Codec != "mjpeg" || s.Width != 320 {
		t.Errorf("stats %+v", s)
	}
	if s.Rate < 1 || s.Rate > 150 { // a busy machine draws fewer
		t.Errorf("rate is measured as %.1f/s, the camera has 100", s.Rate)
	}
}

func TestConsumerThatKeepsEverySlotIsNoSilentCamera(t *testing.T) {
	t.Parallel()
	_, addr := mjpegCamera(t, 160, 120, 50)
	cfg := config("http://" + addr + "/")
	cfg.Slots, cfg.Silence = 2, 300*time.Millisecond
	r := start(t, cfg)
	a, b := r.next(10*time.Second), r.next(10*time.Second)
	began := time.Now()
	eventually(t, 10*time.Second, "frames dropped for want of a slot, longer than a silent camera may be", func() bool {
		return r.Stats().Dropped.NoSlot > 3 && time.Since(began) > 4*cfg.Silence
	})
	if s := r.Stats(); s.Restarts != 0 || s.State != Streaming {
		t.Errorf("stats %+v", s)
	}
	a.Release()
	b.Release()
	r.next(5 * time.Second).Release()
}

// faults are what happens to a connection; each must be seen and outlived.
func TestLiveCameraFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault ipcam.Fault
		state State  // seen in between
		want  string // in LastError
	}{
		{"refuses", ipcam.Refuse, Failed, "connection refused"},
		{"cuts", ipcam.Cut, Failed, "closed the"},
		{"resets", ipcam.Reset, Failed, ""},
		{"freezes", ipcam.Freeze, Silent, ""},
		{"freezes for long", ipcam.Freeze, Failed, "stopped sending"},
		{"sends noise", ipcam.Garbage, Failed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, addr := mjpegCamera(t, 160, 120, 50)
			r := start(t, config("http://user:secret@"+addr+"/"))
			before := r.next(10 * time.Second)
			before.Release()
			hurt := func() {
				tries, began := r.Stats().Restarts, time.Now()
				set(t, g, c.fault)
				eventually(t, 8*time.Second, "the fault to be seen", func() bool {
					s := r.Stats()
					return (s.State == c.state || s.Restarts > tries) && strings.Contains(s.LastError, c.want)
				})
				if d := time.Since(began); c.state == Silent && d > 2300*time.Millisecond {
					t.Errorf("seen after %v", d)
				}
				if e := r.Stats().LastError; strings.Contains(e, "secret") {
					t.Errorf("the password is shown: %s", e)
				}
			}
			back(t, r, hurt, func() { set(t, g, ipcam.None) }, before.Seq)
		})
	}
}

// backLimit is how soon a camera that has recovered must show pictures again.
const backLimit = 5 * time.Second

// back hurts a camera, heals it and checks that fresh frames come within backLimit. hurt
// waits until the fault is seen. A machine that is busy with other tests may be late once.
func back(t *testing.T, r *running, hurt, heal func(), seq uint64) {
	t.Helper()
	for try := 1; ; try++ {
		hurt()
		began := time.Now()
		heal()
		seq = r.fresh(t, began, seq)
		took := time.Since(began)
		t.Logf("back after %v, %d restarts", took.Round(time.Millisecond), r.Stats().Restarts)
		switch {
		case took <= backLimit:
			return
		case try == 2:
			t.Errorf("back after %v, twice more than %v", took, backLimit)
			return
		}
		t.Log("once more, as the machine may have been busy")
	}
}

// fresh takes frames until one was captured since then, and gives its number.
func (r *running) fresh(t *testing.T, since time.Time, seq uint64) uint64 {
	t.Helper()
	for {
		f := r.next(2 * backLimit)
		if f.Seq <= seq {
			t.Errorf("frame %d after %d", f.Seq, seq)
		}
		seq = f.Seq
		fresh := f.Captured.After(since)
		f.Release()
		if fresh {
			return seq
		}
	}
}

func TestCameraThatNeverComes(t *testing.T) {
	t.Parallel()
	g, addr := mjpegCamera(t, 160, 120, 50)
	set(t, g, ipcam.Refuse)
	r := start(t, config("http://"+addr+"/"))
	refused := func() {
		tries := r.Stats().Restarts
		set(t, g, ipcam.Refuse)
		eventually(t, 10*time.Second, "three tries", func() bool { return r.Stats().Restarts >= tries+2 })
	}
	refused()
	if s := r.Stats(); s.Captured != 0 || !strings.Contains(s.LastError, "connection refused") {
		t.Errorf("stats %+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); err == nil {
		t.Error("a frame came")
	}
	back(t, r, refused, func() { set(t, g, ipcam.None) }, 0)
}

func (r *running) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats.pid
}

func TestWorkerKilledOrStopped(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			_, addr := mjpegCamera(t, 160, 120, 50)
			cfg := config("http://" + addr + "/")
			cfg.Silence = 500 * time.Millisecond
			r := start(t, cfg)
			held := r.next(10 * time.Second)
			want := bytes.Clone(held.Pix)
			cpu := r.CPU()
			kill := func() {
				if err := syscall.Kill(r.pid(), sig); err != nil {
					t.Fatal(err)
				}
			}
			back(t, r, kill, func() {}, held.Seq)
			if !bytes.Equal(want, held.Pix) {
				t.Error("a frame that was held has changed")
			}
			held.Release()
			if now := r.CPU(); now < cpu {
				t.Errorf("CPU went back from %v to %v", cpu, now)
			}
		})
	}
}

// TestWorkerOfAFileKilled: the next worker goes on behind the last picture, so
// that each is given once; whole passes of a loop are leapt over.
func TestWorkerOfAFileKilled(t *testing.T) {
	const pictures = 7
	dir := t.TempDir()
	for i := range pictures {
		write(t, dir, fmt.Sprintf("%d.jpg", i), jpegOf(t, plain(64, 48, 7)))
	}
	cfg := config(dir)
	cfg.Slots, cfg.Loop = 2, true
	r := start(t, cfg)
	for n := range 4 * pictures {
		f := r.next(10 * time.Second)
		if want := fmt.Sprintf("%d.jpg", n%pictures); filepath.Base(f.Name) != want || f.Seq != uint64(n+1) {
			t.Fatalf("picture %d is %s with number %d, want %s", n, f.Name, f.Seq, want)
		}
		if n%10 == 3 {
			if err := syscall.Kill(r.pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		f.Release()
	}
	if s := r.Stats(); s.Restarts != 3 {
		t.Errorf("%d restarts, want 3", s.Restarts)
	}
}

// answers is an HTTP camera that sends exactly these bytes, then waits.
func answers(t *testing.T, contentType string, status int, body ...string) string {
	t.Helper()
	quit := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		if contentType == "" {
			w.Header()["Content-Type"] = nil // or it would be guessed
		}
		w.WriteHeader(status)
		for _, b := range body {
			_, _ = w.Write([]byte(b)) // a viewer that left is fine
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-quit:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(sync.OnceFunc(func() { close(quit) }))
	return srv.URL
}

func TestHostileMJPEG(t *testing.T) {
	t.Parallel()
	pic := string(jpegOf(t, plain(64, 48, 77)))
	part := func(head string) string { return head + "\r\n\r\n" + pic + "\r\n" }
	for _, c := range []struct {
		name, contentType string
		body              []string
	}{
		{"no lengths", "multipart/x-mixed-replace; boundary=b", []string{part("--b\r\nContent-Type: image/jpeg"), part("--b")}},
		{"quoted boundary with dashes", `multipart/x-mixed-replace;boundary="--b"`, []string{part("--b\r\nContent-Length: 5")}},
		{"boundary that never comes", "multipart/x-mixed-replace; boundary=other", []string{part("--b"), part("--b")}},
		{"malformed content type", "multipart/x-mixed-replace; boundary=--a b\"c", []string{part("--b")}},
		{"no boundary, no type", "", []string{pic, pic}},
		{"lies about the length", "multipart/x-mixed-replace; boundary=b", []string{part("--b\r\nContent-Length: 999999999"), part("--b\r\nContent-Length: -1")}},
		{"junk before and between", "multipart/x-mixed-replace; boundary=b", []string{"\xff\xff\xd8\x00\xff\xd8 hello", pic, "\xff\xd8\xff", pic}},
		{"a cut picture first", "multipart/x-mixed-replace; boundary=b", []string{pic[:len(pic)/2], part("--b"), part("--b")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, config(answers(t, c.contentType, 200, c.body...)))
			f := r.next(10 * time.Second)
			defer f.Release()
			if f.Width != 64 || f.Pix[0] != 77 {
				t.Errorf("frame of %dx%d, gray %d", f.Width, f.Height, f.Pix[0])
			}
		})
	}
}

func TestAnswersThatAreNoStream(t *testing.T) {
	t.Parallel()
	pic := string(jpegOf(t, plain(64, 48, 77)))
	for _, c := range []struct {
		name, contentType string
		status            int
		want              string
	}{
		{"unauthorised", "text/html", 401, "unauthorised (401)"},
		{"not found", "text/html", 404, "404 Not Found"},
		{"a page", "text/html; charset=utf-8", 200, "gives text/html, not an MJPEG stream"},
		{"one picture", "image/jpeg", 200, "a single picture (image/jpeg)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, config(answers(t, c.contentType, c.status, pic)))
			eventually(t, 10*time.Second, "the reason", func() bool { return strings.Contains(r.Stats().LastError, c.want) })
		})
	}
}

func TestSpeakerOfAnotherProtocol(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { ln.Close() })()
		for {
			c, err := ln.Accept()
			if err != nil {
				return nil
			}
			fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
			c.Close()
		}
	})
	r := start(t, config("http://"+ln.Addr().String()))
	eventually(t, 10*time.Second, "a reason", func() bool { return r.Stats().LastError != "" })
	t.Log(r.Stats().LastError)
}
