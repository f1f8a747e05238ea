package capture

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// numbered draws a number of 16 bits as stripes, black or white, with the
// opposite below: whatever is torn, stale or mixed up shows, whatever codec it
// went through. It remembers when it drew which number.
type numbered struct {
	mu     sync.Mutex // protects what follows
	n      int
	total  int
	drawn  [4096]time.Time // by number
	number [4096]int
}

const stripes = 16

// Frame draws the next number; which frame the camera calls it is all the same.
func (d *numbered) Frame(_ int, dst *vision.Frame) error {
	d.mu.Lock()
	d.n = (d.n + 1) & (1<<stripes - 1)
	n := d.n
	d.total++
	d.drawn[n%len(d.drawn)], d.number[n%len(d.drawn)] = time.Now(), n
	d.mu.Unlock()
	row := func(y, bits int) []byte {
		b := dst.Pix[y*dst.Stride : y*dst.Stride+3*dst.Width]
		for x := range dst.Width {
			v := byte(30)
			if bits>>(x*stripes/dst.Width)&1 == 1 {
				v = 220
			}
			b[3*x], b[3*x+1], b[3*x+2] = v, v, v
		}
		return b
	}
	top := row(0, n)
	bottom := row(dst.Height-1, ^n)
	for y := 1; y < dst.Height-1; y++ {
		if y < dst.Height/2 {
			copy(dst.Pix[y*dst.Stride:], top)
		} else {
			copy(dst.Pix[y*dst.Stride:], bottom)
		}
	}
	return nil
}

// read finds the number of a picture; it isn't whole unless every sample of
// each stripe says the same.
func (d *numbered) read(f *vision.Frame) (n int, whole bool) {
	whole = true
	ch := f.Format.Channels()
	for i := range stripes {
		x := (2*i + 1) * f.Width / (2 * stripes)
		bit := -1
		for s := range 12 {
			v := f.Pix[(2*s+1)*f.Height/24*f.Stride+x*ch]
			b := 0
			if v >= 125 {
				b = 1
			}
			if s >= 6 {
				b = 1 - b
			}
			if v > 95 && v < 155 || bit >= 0 && b != bit {
				whole = false
			}
			bit = b
		}
		n |= bit << i
	}
	return n, whole
}

// count is how many pictures were drawn.
func (d *numbered) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total
}

// when tells when a number was drawn.
func (d *numbered) when(n int) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := n % len(d.drawn)
	return d.drawn[i], d.number[i] == n && !d.drawn[i].IsZero()
}

// rig is a camera under test with everything that can happen to it, read as
// the agent reads it.
type rig struct {
	name string
	draw *numbered
	gate *ipcam.Gate

	mjpeg *ipcam.MJPEG // one of the two
	deny  atomic.Bool  // of mjpeg
	ctl   *ipcam.Control
	play  *ipcam.Switch
	codec ipcam.Codec
	large bool // the size it has now

	oldest time.Duration // that a frame may be when it is handed over

	udp         bool
	credentials string         // file
	leak        syscall.Signal // makes its worker grow; 0: nothing does
	*running

	mu    sync.Mutex // protects what follows
	last  sight
	ages  []time.Duration // from when a frame came to when it was handed over
	late  time.Duration   // the longest from when a picture was drawn to when it is said to have been taken
	whole uint64          // frames that were handed over, all of them whole and fresh unless the test has failed
	wrong int             // that weren't, told so far
}

// sight is one frame that was handed over.
type sight struct {
	seq             uint64
	number          int
	width           int
	captured, drawn time.Time
}

// Sizes of the pictures. Stripes are 10 and 12 pixels wide.
const (
	rigWidth, rigHeight     = 160, 120
	rigWidth2, rigHeight2   = 192, 144
	rigRate                 = 25
	rigUser, rigPassword    = "user", "secret"
	maxAge                  = 2 * time.Second // of a frame that is handed over
	patience                = 3               // times as much, on a machine that has more to do
	shownWrong              = 5               // of each camera
	shortSilence            = 600 * time.Millisecond
	leakLife                = time.Minute
	credentialsLine         = rigUser + ":" + rigPassword + "\n"
	rigPath, rigPathMissing = "/cam", "/none"
)

// newRig makes a rig's common parts; the camera comes with httpRig or rtspRig.
func newRig(t *testing.T, name string) *rig {
	t.Helper()
	r := &rig{name: name, draw: &numbered{}, credentials: filepath.Join(t.TempDir(), "credentials")}
	r.renew(t)
	return r
}

// renew writes the credentials again, as someone does who corrects them.
func (r *rig) renew(t *testing.T) {
	tmp := r.credentials + ".new"
	if err := os.WriteFile(tmp, []byte(credentialsLine), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(tmp, r.credentials); err != nil {
		t.Error(err)
	}
}

func httpRig(t *testing.T, name string, silence time.Duration) *rig {
	t.Helper()
	r := newRig(t, name)
	var err error
	if r.mjpeg, err = ipcam.NewMJPEG(ipcam.Drawing{Drawer: r.draw, Width: rigWidth, Height: rigHeight, Rate: rigRate}); err != nil {
		t.Fatal(err)
	}
	r.mjpeg.Quality = 95
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		if r.deny.Load() || user != rigUser || subtle.ConstantTimeCompare([]byte(password), []byte(rigPassword)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="camera"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		r.mjpeg.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	background(t, r.mjpeg.Run)
	r.gate, _ = gate(t, strings.TrimPrefix(srv.URL, "http://"))
	cfg := config("http://" + rigUser + ":" + rigPassword + "@" + r.gate.Addr() + rigPath)
	r.leak, cfg.MemoryMB = syscall.SIGUSR1, 64
	r.start(t, cfg, silence)
	return r
}

func (r *rig) start(t *testing.T, cfg Config, silence time.Duration) {
	t.Helper()
	cfg.Silence, cfg.Credentials = silence, r.credentials
	cfg.Log = nil // faults by the hundred
	r.oldest = maxAge
	if silence != DefaultSilence {
		r.oldest *= patience
	}
	r.running = start(t, cfg)
	background(t, func(ctx context.Context) error { r.watch(t, ctx); return nil })
}

func rtspRig(t *testing.T, name, transport string, silence time.Duration) *rig {
	t.Helper()
	r := newRig(t, name)
	r.ctl, r.udp = &ipcam.Control{}, transport == "udp"
	r.play = ipcam.NewSwitch(r.stream(t))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	camera := ipcam.RTSP{Stream: r.play.Play, Rate: rigRate, Path: rigPath, User: rigUser, Password: rigPassword, Control: r.ctl}
	background(t, func(ctx context.Context) error { return camera.Serve(ctx, ln) })
	r.gate, _ = gate(t, ln.Addr().String())
	cfg := config("rtsp://" + r.gate.Addr() + rigPath)
	cfg.Transport = transport
	if HaveMedia { // else the worker isn't this program
		r.leak, cfg.MemoryMB = syscall.SIGUSR2, 300
	}
	r.start(t, cfg, silence)
	return r
}

// stream is what the camera sends as it is set now.
func (r *rig) stream(t *testing.T) ipcam.Stream {
	d := ipcam.Drawing{Drawer: r.draw, Width: rigWidth, Height: rigHeight, Rate: rigRate, Codec: r.codec}
	if r.large {
		d.Width, d.Height = rigWidth2, rigHeight2
	}
	s, err := ipcam.Drawn(d)
	if err != nil {
		t.Error(err)
	}
	return s
}

// watch takes frames as a station does, and looks at each; again when the next
// one has come, as nobody may have touched it until then.
func (r *rig) watch(t *testing.T, ctx context.Context) {
	var held *Frame
	for {
		f, err := r.feed.Next(ctx)
		if held != nil {
			if n, whole := r.draw.read(&held.Frame); !whole || n != r.sight().number {
				t.Errorf("%s: frame %d has changed while it was held", r.name, held.Seq)
			}
			held.Release()
		}
		if err != nil {
			return
		}
		r.look(t, f)
		held = f
	}
}

func (r *rig) look(t *testing.T, f *Frame) {
	now := time.Now()
	n, whole := r.draw.read(&f.Frame)
	drawn, known := r.draw.when(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last
	r.last = sight{f.Seq, n, f.Width, f.Captured, drawn}
	r.ages = append(r.ages, now.Sub(f.Captured))
	r.whole++
	if known {
		r.late = max(r.late, f.Captured.Sub(drawn))
	}
	bad := func(format string, args ...any) {
		if r.wrong++; r.wrong <= shownWrong {
			t.Errorf("%s: frame %d of %dx%d: "+format, append([]any{r.name, f.Seq, f.Width, f.Height}, args...)...)
		}
	}
	switch {
	case !whole || !known:
		bad("it isn't whole: read as number %#x", n)
	case now.Sub(drawn) > r.oldest || now.Sub(f.Captured) > r.oldest:
		bad("it was drawn %v ago and says %v", now.Sub(drawn), now.Sub(f.Captured))
	case f.Captured.After(now):
		bad("it is from the future, by %v", f.Captured.Sub(now))
	case last.seq == 0:
	case f.Seq <= last.seq || !f.Captured.After(last.captured):
		bad("number and time go from %d at %v to %d at %v", last.seq, last.captured, f.Seq, f.Captured)
	case !drawn.After(last.drawn):
		bad("a picture from %v before the one before it", last.drawn.Sub(drawn))
	}
}

func (r *rig) sight() sight {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// takeAges gives the ages of the frames since the last call.
func (r *rig) takeAges() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.ages
	r.ages = nil
	return a
}

// leaked are the bytes by which signals make a worker grow, beyond what its rig
// allows it.
var leaked = map[os.Signal]int{syscall.SIGUSR1: 100e6, syscall.SIGUSR2: 400e6}

// leak makes this worker grow for a while when it is told to.
func leak() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		grown := make([]byte, leaked[<-told])
		for i := 0; i < len(grown); i += 4096 {
			grown[i] = 1
		}
		<-time.After(leakLife)
		runtime.KeepAlive(grown)
	}()
}
