package capture

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// gvAddress is where Aravis' fake camera runs. It binds the port of GigE Vision,
// so there is one at a time, over all programs: who has the lock may have it.
const (
	gvAddress = "127.0.0.1"
	gvLock    = "@sightline-fake-gv-camera"
)

var oneGV sync.Mutex

// full tells whether the tests may take their time.
var full = os.Getenv("SIGHTLINE_FAULTS") == "full"

func needFull(t *testing.T) {
	t.Helper()
	if !full {
		t.Skip("left out: SIGHTLINE_FAULTS isn't full")
	}
}

// gvCamera is Aravis' fake GigE Vision camera, a process.
type gvCamera struct {
	t    *testing.T
	args []string
	cmd  *exec.Cmd
}

// needGV starts the fake camera, or leaves the test out.
func needGV(t *testing.T, args ...string) *gvCamera {
	t.Helper()
	needMedia(t)
	if _, err := exec.LookPath("arv-fake-gv-camera-0.8"); err != nil {
		t.Skip("left out: no arv-fake-gv-camera-0.8 (Debian's aravis-tools)")
	}
	oneGV.Lock()
	t.Cleanup(oneGV.Unlock)
	eventually(t, time.Minute, "the port of GigE Vision is ours", func() bool {
		lock, err := net.Listen("unix", gvLock)
		if err == nil {
			t.Cleanup(func() { lock.Close() })
		}
		return err == nil
	})
	g := &gvCamera{t: t, args: append([]string{"-i", gvAddress}, args...)}
	t.Cleanup(g.kill) // also when it doesn't start
	g.start()
	return g
}

// start waits until the camera answers; another package's tests may have the port.
func (g *gvCamera) start() {
	g.t.Helper()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		if g.cmd != nil {
			g.kill()
		}
		g.cmd = exec.Command("arv-fake-gv-camera-0.8", g.args...)
		if err := g.cmd.Start(); err != nil {
			g.t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = g.cmd.Wait() // how it ended doesn't matter
			close(ended)
		}()
		for time.Now().Before(until) {
			select {
			case <-ended: // the port is taken
			default:
				if _, err := controlled(gvAddress); err == nil && g.owns() {
					return
				}
				continue
			}
			break
		}
	}
	g.t.Fatal("the fake camera doesn't start")
}

// owns tells that it is this process that answers.
func (g *gvCamera) owns() bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", g.cmd.Process.Pid))
	return len(fds) > 5 // its sockets are bound one after the other
}

func (g *gvCamera) kill() {
	_ = g.cmd.Process.Kill() // it may be dead
	eventually(g.t, 5*time.Second, "the fake camera to end", func() bool { return g.cmd.ProcessState != nil })
}

func (g *gvCamera) signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// slide checks the fake camera's picture, a diagonal ramp that moves by one with
// each picture of the camera, and returns how far it is.
func slide(t *testing.T, f *Frame) int {
	t.Helper()
	if f.Format != vision.Gray8 || f.Stride != f.Width {
		t.Fatalf("format %v, stride %d", f.Format, f.Stride)
	}
	at := int(f.Pix[0])
	for i, v := range f.Pix {
		if int(v) != (at+i%f.Width+i/f.Width)%255 {
			t.Fatalf("frame %d is torn at %d,%d: %d, in a ramp from %d", f.Seq, i%f.Width, i/f.Width, v, at)
		}
	}
	return at
}

// slides checks that pictures and numbers of frames go on alike, so that each
// picture of the camera is counted once.
func slides(t *testing.T, r *running, frames int, each func(*Frame)) {
	t.Helper()
	var at int
	var seq uint64
	for i := range frames {
		f := r.next(10 * time.Second)
		now := slide(t, f)
		if step := (now - at + 255) % 255; i > 0 && step != int((f.Seq-seq)%255) {
			t.Errorf("the camera went on by %d, the count by %d (%+v)", step, f.Seq-seq, r.Stats().Dropped)
		}
		at, seq = now, f.Seq
		if each != nil {
			each(f)
		}
		f.Release()
	}
}

func gvConfig(o Options) Config {
	c := config("aravis:" + gvAddress)
	c.Options = o
	return c
}

func TestGenICamGray(t *testing.T) {
	t.Parallel()
	needGV(t)
	r := start(t, gvConfig(Options{Format: "mono8", Rate: 100}))
	const frames = 40
	var last vision.Frame
	var stamp time.Duration
	slides(t, r, frames, func(f *Frame) {
		if f.Width != 512 || f.Height != 512 || f.Timing != vision.Stamped {
			t.Errorf("frame of %dx%d, time %v", f.Width, f.Height, f.Timing)
		}
		if age := time.Since(f.Captured); age < 0 || age > 5*time.Second || !f.Captured.After(last.Captured) {
			t.Errorf("frame %d is %v old, %v after the last", f.Seq, age, f.Captured.Sub(last.Captured))
		}
		// The camera's clock is ours, so its steps are those of Captured but for
		// what the first frames are late.
		if d := f.Captured.Sub(last.Captured) - (f.Stamp - stamp); last.Width > 0 && d.Abs() > 50*time.Millisecond {
			t.Errorf("frame %d: %v by the camera, %v by us", f.Seq, f.Stamp-stamp, f.Captured.Sub(last.Captured))
		}
		last, stamp = f.Frame, f.Stamp
	})
	s := r.Stats()
	if s.Reader != "aravis" || s.Codec != "Mono8" || math.Abs(s.AnnouncedRate-100) > 1 {
		t.Errorf("stats %+v", s)
	}
	t.Logf("%d frames, %.1f/s, %v of CPU a frame", s.Captured, s.Rate, (r.CPU() / time.Duration(s.Captured)).Round(time.Microsecond))
}

// jet is the fake camera's colour for a level, blue first; within 4 of it.
func jet(level int) [3]int {
	c := func(v int) int { return min(max(v, 0), 255) }
	return [3]int{min(c(132+4*level), c(255-4*(level-95))), min(c(4*(level-31)), c(255-4*(level-159))), min(c(4*(level-95)), c(255-4*(level-223)))}
}

// likeJet is the share of pixels that are near the jet picture which fits best.
func likeJet(f *Frame, swapped bool) float64 {
	best := 0.0
	for from := range 255 {
		near, all := 0, 0
		for y := 1; y < f.Height-1; y += 3 {
			for x := 1; x < f.Width-1; x += 7 {
				want, p := jet((from+x+y)%255), f.Pix[y*f.Stride+3*x:]
				if swapped {
					want[0], want[2] = want[2], want[0]
				}
				all++
				if max(abs(want[0]-int(p[0])), abs(want[1]-int(p[1])), abs(want[2]-int(p[2]))) <= 10 {
					near++
				}
			}
		}
		best = max(best, float64(near)/float64(all))
	}
	return best
}

func abs(v int) int { return max(v, -v) }

func TestGenICamColour(t *testing.T) {
	t.Parallel()
	needGV(t)
	formats := []string{"RGB8", "BayerGB8", "BayerGR8", "BayerRG8", "BayerBG8"}
	if !full {
		formats = formats[1:2]
	}
	for _, format := range formats {
		// Aravis 0.8.26 draws BayerRG8 and BayerBG8 with red and blue the wrong
		// way round; TestBayerPatterns has the standard's patterns.
		swapped := format == "BayerRG8" || format == "BayerBG8"
		r := start(t, gvConfig(Options{Format: format, Width: 96, Height: 64, Rate: 100}))
		f := r.next(10 * time.Second)
		if f.Format != vision.BGR24 || f.Width != 96 || f.Height != 64 {
			t.Errorf("%s: %v %dx%d", format, f.Format, f.Width, f.Height)
		} else if like := likeJet(f, swapped); like < 0.95 {
			t.Errorf("%s: %.0f%% of the pixels have the right colour", format, 100*like)
		}
		f.Release()
		r.stop()
		<-r.done
	}
}

// logged collects what workers say.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

func TestGenICamSettings(t *testing.T) {
	t.Parallel()
	needFull(t)
	needGV(t)
	var said logged
	c := gvConfig(Options{Width: 100, Height: 40, Exposure: 20 * time.Millisecond, Gain: 1.4, Rate: 50})
	c.Log = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := start(t, c)
	f := r.next(10 * time.Second)
	defer f.Release()
	// The fake camera multiplies by 1 + gain + log10(exposure/10 ms), its gain
	// being a whole number.
	scale, off := 2+math.Log10(2), 0
	best := len(f.Pix)
	for from := range 255 {
		off = 0
		for i, v := range f.Pix {
			if d := float64(v) - min(255, math.Floor(float64((from+i%100+i/100)%255)*scale)); math.Abs(d) > 1 {
				off++
			}
		}
		best = min(best, off)
	}
	if f.Width != 100 || f.Height != 40 || best > 0 {
		t.Errorf("%dx%d, %d pixels aren't as bright as gain and exposure make them", f.Width, f.Height, best)
	}
	eventually(t, 5*time.Second, "word of the rounded gain", func() bool { return said.has("the camera takes Gain 1 for 1.4") })
}

// withoutFeatures is the fake camera's own description without some of its features.
func withoutFeatures(t *testing.T, features ...string) string {
	t.Helper()
	xml, err := exec.Command("arv-tool-0.8", "-a", gvAddress, "genicam").Output()
	if err != nil {
		t.Skipf("left out: arv-tool-0.8 (Debian's aravis-tools-cli): %v", err)
	}
	s := string(xml)
	s = s[strings.Index(s, "<?xml"):]
	for _, f := range features {
		s = strings.ReplaceAll(s, `"`+f+`"`, `"No`+f+`"`)
		s = strings.ReplaceAll(s, `>`+f+`<`, `>No`+f+`<`)
	}
	return write(t, t.TempDir(), "camera.xml", []byte(s))
}

func TestGenICamRefusals(t *testing.T) {
	t.Parallel()
	g := needGV(t)
	refused := func(o Options, want string) {
		t.Helper()
		r := start(t, gvConfig(o))
		eventually(t, 10*time.Second, want, func() bool { return strings.Contains(r.Stats().LastError, want) || r.Stats().Captured > 0 })
		if got := r.Stats().LastError; !strings.Contains(got, want) {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
		r.stop()
		<-r.done
	}
	const offers = "BayerBG8, BayerGB8, BayerGR8, BayerRG8, Mono8, RGB8"
	refused(Options{Format: "Mono16"}, "format Mono16 isn't read here; of what is, the camera offers "+offers)
	refused(Options{Format: "BGR8"}, "format BGR8: the camera hasn't got it; it offers "+offers)
	refused(Options{Width: 4096, Height: 64}, "size 4096x64: the sensor has 2048x2048 pixels")
	if !full {
		return
	}
	refused(Options{Trigger: "Line7"}, "trigger Line7: the camera hasn't got it; its TriggerSource offers Line0, Software")
	refused(Options{Exposure: 20 * time.Second}, "exposure: 2e+07 µs is out of the camera's range, 10 to 1e+07 µs")
	refused(Options{Gain: 11}, "gain: 11 is out of the camera's range, 0 to 10")
	file := withoutFeatures(t, "GainRaw", "ExposureTimeAbs", "AcquisitionFrameRate", "TriggerSoftware")
	g.kill()
	g.args = append(g.args, "-g", file)
	g.start()
	refused(Options{Gain: 1}, "gain: the camera has no feature Gain")
	refused(Options{Exposure: time.Millisecond}, "exposure: the camera has no feature ExposureTime")
	refused(Options{Rate: 10}, "rate: the camera has no feature AcquisitionFrameRate")
	refused(Options{Trigger: "software"}, "trigger software: the camera has no feature TriggerSoftware")
}
