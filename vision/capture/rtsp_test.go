package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

func needFFmpeg(t *testing.T) {
	t.Helper()
	needMedia(t)
	if !ipcam.HaveFFmpeg() {
		t.Skip("left out: no ffmpeg program")
	}
}

func drawn(t *testing.T, w, h int, rate float64) ipcam.Stream {
	t.Helper()
	s, err := ipcam.Drawn(ipcam.Drawing{Drawer: ramp{}, Width: w, Height: h, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rtspCamera runs an RTSP camera behind a gate.
func rtspCamera(t *testing.T, c ipcam.RTSP) (*ipcam.Gate, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return c.Serve(ctx, ln) })
	return gate(t, ln.Addr().String())
}

func TestRTSPCamera(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	d, addr := barcodeCamera(t, ipcam.H264, 25, ipcam.RTSP{User: "user", Password: "secret"})
	began := time.Now()
	r := start(t, config(strings.Replace(addr, "//", "//user:secret@", 1)))
	var last *Frame
	for range 30 {
		f := r.next(10 * time.Second)
		if _, err := d.read(f); err != nil {
			t.Errorf("frame %d: %v", f.Seq, err)
		}
		if last != nil {
			if f.Seq <= last.Seq || !f.Captured.After(last.Captured) {
				t.Errorf("frame %d at %v after %d at %v", f.Seq, f.Captured, last.Seq, last.Captured)
			}
			last.Release()
		} else {
			t.Logf("first frame after %v by %s", time.Since(began).Round(time.Millisecond), r.Stats().Reader)
		}
		last = f
	}
	last.Release()
	if s := r.Stats(); s.Rate < 5 || s.Rate > 32 || s.Width != 320 || s.Height != 240 {
		t.Errorf("stats %+v", s)
	}
}

func TestRTSPWithoutGStreamersPlugins(t *testing.T) {
	needFFmpeg(t)
	for _, v := range []string{"GST_PLUGIN_SYSTEM_PATH_1_0", "GST_PLUGIN_PATH_1_0"} {
		t.Setenv(v, t.TempDir())
	}
	t.Setenv("GST_REGISTRY_1_0", filepath.Join(t.TempDir(), "registry"))
	_, addr := rtspCamera(t, ipcam.RTSP{Stream: drawn(t, 320, 240, 25), Rate: 25})
	r := start(t, config("rtsp://"+addr+"/cam"))
	eventually(t, 20*time.Second, "the reason", func() bool { return strings.Contains(r.Stats().LastError, "gstreamer1.0-libav") })
	if s := r.Stats(); s.Captured != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestRTSPFaults(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	for _, c := range []struct {
		name  string
		fault ipcam.Fault
		state State
	}{
		{"refuses", ipcam.Refuse, Failed},
		{"cuts", ipcam.Cut, Failed},
		{"freezes", ipcam.Freeze, Silent},
		{"freezes for long", ipcam.Freeze, Failed},
		{"sends noise", ipcam.Garbage, Silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, addr := rtspCamera(t, ipcam.RTSP{Stream: drawn(t, 320, 240, 25)})
			r := start(t, config("rtsp://"+addr+"/cam"))
			f := r.next(10 * time.Second)
			f.Release()
			hurt := func() {
				tries, began := r.Stats().Restarts, time.Now()
				set(t, g, c.fault)
				eventually(t, 12*time.Second, "the fault to be seen", func() bool {
					s := r.Stats()
					return s.State == c.state || s.Restarts > tries
				})
				t.Logf("seen after %v: %s", time.Since(began).Round(time.Millisecond), r.Stats().LastError)
				if d := time.Since(began); c.state == Silent && c.fault == ipcam.Freeze && d > 2300*time.Millisecond {
					t.Errorf("seen after %v", d)
				}
			}
			back(t, r, hurt, func() { set(t, g, ipcam.None) }, f.Seq)
		})
	}
}

func TestRTSPReasons(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	_, addr := rtspCamera(t, ipcam.RTSP{Stream: drawn(t, 320, 240, 25), Path: "/cam", User: "u", Password: "p"})
	web := strings.TrimPrefix(answers(t, "text/html", 200, "hello"), "http://")
	for _, c := range []struct{ name, source, want string }{
		{"no password", "rtsp://" + addr + "/cam", "unauthorised (401)"},
		{"wrong password", "rtsp://u:wrong@" + addr + "/cam", "refuses this user and password"},
		{"wrong path", "rtsp://u:p@" + addr + "/other", "404"},
		{"nobody there", "rtsp://127.0.0.1:1/cam", "connection refused"},
		{"no RTSP", "rtsp://" + web + "/cam", "RTSP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, config(c.source))
			eventually(t, 15*time.Second, "the reason", func() bool { return r.Stats().LastError != "" })
			if e := r.Stats().LastError; !strings.Contains(e, c.want) || strings.Contains(e, "wrong") {
				t.Errorf("reason is %q, want %q", e, c.want)
			}
		})
	}
}

// A picture of the old size, a torn or a grey one must never come out.
func TestRTSPStreamThatChangesItsSize(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	small, large := drawn(t, 320, 180, 25), drawn(t, 640, 360, 25)
	change := errors.New("change")
	part := func(ctx context.Context, s ipcam.Stream, n int, emit func(ipcam.AccessUnit) error) error {
		err := s(ctx, func(u ipcam.AccessUnit) error {
			if n--; n < 0 {
				return change
			}
			return emit(u)
		})
		if errors.Is(err, change) || ctx.Err() != nil {
			return nil
		}
		return err
	}
	_, addr := rtspCamera(t, ipcam.RTSP{Wait: true, Stream: func(ctx context.Context, emit func(ipcam.AccessUnit) error) error {
		for ctx.Err() == nil {
			for _, s := range []ipcam.Stream{large, small} {
				if err := part(ctx, s, 50, emit); err != nil {
					return err
				}
			}
		}
		return nil
	}})
	r := start(t, config("rtsp://"+addr+"/cam"))
	seen := map[string]int{}
	for range 135 {
		f := r.next(10 * time.Second)
		seen[fmt.Sprintf("%dx%d", f.Width, f.Height)]++
		whole(t, f)
		f.Release()
	}
	t.Logf("%v, %d restarts, by %s", seen, r.Stats().Restarts, r.Stats().Reader)
	if len(seen) != 2 || seen["320x180"] < 15 || seen["640x360"] < 15 {
		t.Errorf("sizes %v, want both", seen)
	}
}

// encoded makes a recording with ffmpeg.
func encoded(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("ffmpeg", append(append([]string{"-v", "error"}, args...), path)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	return path
}

func TestRecordingCutInTheMiddle(t *testing.T) {
	needFFmpeg(t)
	path := encoded(t, "v.mp4", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-frames:v", "250", "-c:v", "libx264", "-preset", "ultrafast", "-movflags", "+faststart")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, config(write(t, t.TempDir(), "cut.mp4", b[:len(b)/2])))
	n := 0
	r.all(func(*Frame) { n++ })
	<-r.done
	if s := r.Stats(); r.err != nil || n < 60 || n > 200 || !strings.Contains(s.Cut, "of 250 frames") {
		t.Errorf("%d frames, run: %v, stats %+v", n, r.err, s)
	}
	moovLast := encoded(t, "v.mp4", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-frames:v", "50", "-c:v", "libx264", "-preset", "ultrafast")
	if b, err = os.ReadFile(moovLast); err != nil {
		t.Fatal(err)
	}
	r = start(t, config(write(t, t.TempDir(), "headless.mp4", b[:len(b)/2])))
	<-r.done
	if r.err == nil || !strings.Contains(r.err.Error(), "cut before its index") {
		t.Errorf("run: %v", r.err)
	}
}

func TestRecordingsOfOtherKinds(t *testing.T) {
	needFFmpeg(t)
	src := []string{"-f", "lavfi", "-i", "testsrc=size=322x242:rate=30", "-frames:v", "60", "-pix_fmt", "yuv420p"}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"bframes.mp4", []string{"-c:v", "libx264", "-bf", "3"}},
		{"mjpeg.avi", []string{"-c:v", "mjpeg"}},
		{"mpeg4.mkv", []string{"-c:v", "mpeg4", "-bf", "2"}},
		{"transport.ts", []string{"-c:v", "libx264", "-bf", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, config(encoded(t, c.name, append(append([]string{}, src...), c.args...)...)))
			n, last := 0, time.Duration(-1)
			r.all(func(f *Frame) {
				if n++; f.Media <= last || f.Width != 322 || f.Height != 242 {
					t.Errorf("frame %d of %dx%d at %v after %v", n, f.Width, f.Height, f.Media, last)
				}
				last = f.Media
			})
			if n != 60 {
				t.Errorf("%d frames, want 60", n)
			}
			if want := 59 * time.Second / 30; (last - want).Abs() > 100*time.Millisecond {
				t.Errorf("the last is at %v, want %v", last, want)
			}
		})
	}
}

func TestRealtimePlaysByTheClockAndDrops(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	path := encoded(t, "v.mp4", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=50", "-frames:v", "75", "-c:v", "libx264", "-preset", "ultrafast")
	cfg := config(path)
	cfg.Realtime = true
	r := start(t, cfg)
	first := r.next(10 * time.Second)
	began := first.Captured
	var last *Frame
	eventually(t, 10*time.Second, "frames that nobody took", func() bool { return r.Stats().Dropped.Overwritten > 20 })
	r.all(func(f *Frame) {
		if off := (f.Captured.Sub(began) - f.Media).Abs(); off > 200*time.Millisecond {
			t.Errorf("frame at %v was shown after %v", f.Media, f.Captured.Sub(began))
		}
		last = f
	})
	first.Release()
	if s := r.Stats(); s.Captured != 75 || last == nil || last.Seq != 75 || r.feed.Stats().Delivered+s.Dropped.Overwritten+s.Dropped.NoSlot != 75 {
		t.Errorf("stats %+v", s)
	}
}
