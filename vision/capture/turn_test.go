package capture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// gridPNG is a picture whose pixels tell their places: blue is x, green is y.
func gridPNG(t *testing.T, w, h int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{R: 7, G: uint8(y), B: uint8(x), A: 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// places checks that a frame's pixels come from where from says.
func places(t *testing.T, f *vision.Frame, from func(x, y int) (int, int)) {
	t.Helper()
	for y := range f.Height {
		for x := range f.Width {
			wx, wy := from(x, y)
			if p := f.Pix[y*f.Stride+3*x:]; int(p[0]) != wx || int(p[1]) != wy || p[2] != 7 {
				t.Fatalf("%s: at %d,%d is %v, want what was at %d,%d", f.Name, x, y, p[:3], wx, wy)
			}
		}
	}
}

func TestPicturesAreTurned(t *testing.T) {
	dir := t.TempDir()
	for i, size := range [][2]int{{60, 40}, {80, 50}, {60, 40}, {200, 120}} {
		write(t, dir, fmt.Sprintf("%d.png", i), gridPNG(t, size[0], size[1]))
	}
	cfg := config(dir)
	cfg.Rotate, cfg.Mirror, cfg.ROI = 90, "horizontal", [4]int{10, 5, 30, 50}
	cfg.Slots = 2
	r := start(t, cfg)
	n := 0
	r.all(func(f *Frame) {
		if n++; f.Width != 30 || f.Height != 50 || f.Seq != uint64(n) || f.Name == "" || !f.Valid() {
			t.Errorf("frame %d %s is %dx%d", f.Seq, f.Name, f.Width, f.Height)
			return
		}
		h := map[string]int{"0.png": 40, "1.png": 50, "2.png": 40, "3.png": 120}[f.Name]
		w := map[string]int{"0.png": 60, "1.png": 80, "2.png": 60, "3.png": 200}[f.Name]
		places(t, &f.Frame, func(x, y int) (int, int) { return w - 1 - (y + 5), h - 1 - (x + 10) })
	})
	if <-r.done; n != 4 || r.err != nil || r.Stats().Width != 30 {
		t.Errorf("%d frames, %v, %+v", n, r.err, r.Stats())
	}
}

// A picture that the ROI doesn't fit is left out by itself: those around it are
// none of its business.
func TestPictureTooSmallForItsROIIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	for i, w := range []int{60, 20, 60} {
		write(t, dir, fmt.Sprintf("%d.png", i), gridPNG(t, w, 40))
	}
	cfg := config(dir)
	cfg.ROI = [4]int{10, 10, 40, 20}
	r := start(t, cfg)
	var names []string
	r.all(func(f *Frame) {
		names = append(names, f.Name)
		places(t, &f.Frame, func(x, y int) (int, int) { return x + 10, y + 10 })
	})
	const want = "picture 1.png: roi of 40x20 at 10,10 doesn't lie inside the picture of 20x40: choose it anew"
	if s := r.Stats(); fmt.Sprint(names) != "[0.png 2.png]" || s.Dropped.Unreadable != 1 || s.LastError != want {
		t.Errorf("%v, %+v", names, s)
	}
}

const lensFile = `image_width: 160
image_height: 120
camera_matrix: {rows: 3, cols: 3, data: [150, 0, 80, 0, 150, 60, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.05, 0, 0, 0]}
`

func TestTurningThatCantBe(t *testing.T) {
	dir := t.TempDir()
	lens := write(t, t.TempDir(), "lens.yaml", []byte(lensFile))
	write(t, dir, "0.png", gridPNG(t, 60, 40))
	for want, change := range map[string]func(*Config){
		"roi of 10x10 at 55,0 doesn't lie inside the picture of 60x40":                                           func(c *Config) { c.ROI = [4]int{55, 0, 10, 10} },
		"calibration " + lens + " is for pictures of 160x120, and for others of that shape, but these are 60x40": func(c *Config) { c.Calibration = lens },
		"calibration /nowhere/lens.yaml: no such file or directory":                                              func(c *Config) { c.Calibration = "/nowhere/lens.yaml" },
		"calibration " + filepath.Join(dir, "0.png") + ": it can't be read as a calibration":                     func(c *Config) { c.Calibration = filepath.Join(dir, "0.png") },
	} {
		cfg := config(dir)
		change(&cfg)
		c, err := New(cfg) // a file that is no calibration is told before anything starts
		if err == nil {
			err = c.Run(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A camera whose lens is known: straight out of the worker, its size on every
// frame and in what is told of it.
func TestCameraIsUndistortedAndTurned(t *testing.T) {
	m, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: snow{}, Width: 320, Height: 240, Rate: 50})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(m)
	t.Cleanup(srv.CloseClientConnections)
	background(t, m.Run)
	pincushion := strings.Replace(lensFile, "-0.3, 0.05", "0.3, 0", 1) // leaves black corners
	cfg := config(srv.URL)
	cfg.Calibration = write(t, t.TempDir(), "lens.yaml", []byte(pincushion))
	cfg.Rotate, cfg.ROI = 270, [4]int{0, 0, 200, 300}
	r := start(t, cfg)
	for range 5 {
		f := r.next(10 * time.Second)
		if f.Width != 200 || f.Height != 300 {
			t.Errorf("%dx%d", f.Width, f.Height)
		}
		if first, middle := f.Pix[0], f.Pix[150*f.Stride+3*100]; first != 0 || middle < 240 {
			t.Errorf("the corner is %d, the middle %d", first, middle)
		}
		f.Release()
	}
	// The stream changes: what no longer fits ends the reading, and is no frame.
	if err := m.Resize(160, 120); err != nil {
		t.Fatal(err)
	}
	const want = "roi of 200x300 at 0,0 doesn't lie inside the picture of 120x160 (rotated by 270°): choose it anew"
	eventually(t, 10*time.Second, "the change to be told", func() bool {
		s := r.Stats()
		return s.State == Failed && strings.Contains(s.LastError, want)
	})
	if err := m.Resize(320, 240); err != nil {
		t.Fatal(err)
	}
	f := r.next(10 * time.Second)
	for f.Seq <= 6 { // from before
		f.Release()
		f = r.next(10 * time.Second)
	}
	if f.Width != 200 || f.Height != 300 || f.Pix[0] != 0 {
		t.Errorf("after the change %dx%d", f.Width, f.Height)
	}
	f.Release()
}

type snow struct{}

func (snow) Frame(_ int, dst *vision.Frame) error {
	for i := range dst.Pix {
		dst.Pix[i] = 250
	}
	return nil
}

// A watched folder looks for its pictures beside Read, and hears of verdicts.
func TestWatchedFolderIsTurned(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Watch, cfg.Done, cfg.Mirror, cfg.ROI = true, "delete", "vertical", [4]int{0, 0, 60, 40}
	r := start(t, cfg)
	put := func(name string, w, h int) {
		t.Helper()
		if err := os.Rename(write(t, t.TempDir(), name, gridPNG(t, w, h)), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	put("small.png", 20, 20)
	eventually(t, 20*time.Second, "what the ROI doesn't fit to be left out", func() bool { return r.Stats().Dropped.Unreadable == 1 })
	for i := range 3 {
		name := fmt.Sprintf("%d.png", i)
		put(name, 60, 40+i)
		f := r.next(20 * time.Second)
		if f.Name != name {
			t.Errorf("%s, want %s", f.Name, name)
		}
		places(t, &f.Frame, func(x, y int) (int, int) { return x, 40 + i - 1 - y })
		f.Release()
		r.feed.Done(name)
		eventually(t, 10*time.Second, "the picture to be deleted", func() bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return os.IsNotExist(err)
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "small.png")); err != nil || r.Stats().Restarts != 0 {
		t.Errorf("what nobody has judged: %v, %+v", err, r.Stats())
	}
}

// plates is a reader of gray pictures whose pixels tell their places.
type plates struct {
	sizes   [][2]int
	decoded int
	closed  bool
}

func (p *plates) Read(room roomFunc) (shot, error) {
	if len(p.sizes) == 0 {
		return shot{}, io.EOF
	}
	w, h := p.sizes[0][0], p.sizes[0][1]
	p.sizes = p.sizes[1:]
	s := shot{taken: taken{Width: w, Height: h, Gray: true, Mono: 11, Media: 12, Timing: vision.Stamped, Key: "k"}, skipped: 3, stale: 4, incomplete: 5}
	mem, err := room(w * h)
	if err != nil {
		return s, err
	}
	if mem == nil { // nothing more is known then
		return shot{empty: true, skipped: 3}, nil
	}
	p.decoded++
	for i := range w * h {
		mem[i] = byte(i%w + 16*(i/w))
	}
	return s, nil
}

func (p *plates) Close() { p.closed = true }

type shutter struct {
	plates
	fired int
}

func (s *shutter) Fire() error { s.fired++; return nil }

func (s *shutter) Expose(d time.Duration, woe func(error)) { woe(errors.New(d.String())) }

// lamp exposes, and can do nothing else.
type lamp struct{ plates }

func (*lamp) Expose(d time.Duration, woe func(error)) { woe(errors.New(d.String())) }

type desk struct {
	plates
	done string
}

func (d *desk) Done(name string) (bool, error) { d.done = name; return true, nil }

func TestGrayIsTurnedAndAllElseKept(t *testing.T) {
	p := &plates{sizes: [][2]int{{7, 5}, {7, 5}, {16, 9}}}
	desc := opened{Width: 7, Height: 5}
	r, err := turn(p, &desc, Options{Rotate: 180, ROI: [4]int{1, 1, 5, 3}})
	if err != nil {
		t.Fatal(err)
	}
	if desc.Width != 5 || desc.Height != 3 {
		t.Errorf("announced as %dx%d", desc.Width, desc.Height)
	}
	slot := make([]byte, 15)
	for _, size := range [][2]int{{7, 5}, {7, 5}, {16, 9}} {
		clear(slot)
		s, err := r.Read(func(bytes int) ([]byte, error) {
			if bytes != 15 {
				t.Errorf("a slot of %d bytes is asked for", bytes)
			}
			return slot, nil
		})
		want := shot{taken: taken{Width: 5, Height: 3, Gray: true, Mono: 11, Media: 12, Timing: vision.Stamped, Key: "k"}, skipped: 3, stale: 4, incomplete: 5}
		if err != nil || s != want {
			t.Errorf("%+v, %v, want %+v", s, err, want)
		}
		for i, v := range slot {
			x, y := size[0]-1-(i%5+1), size[1]-1-(i/5+1)
			if int(v) != x+16*y {
				t.Errorf("%v: pixel %d is %d, want %d", size, i, v, x+16*y)
			}
		}
	}
	if _, err := r.Read(nil); !errors.Is(err, io.EOF) {
		t.Errorf("error is %v", err)
	}
	if r.Close(); !p.closed {
		t.Error("the reader wasn't closed")
	}
}

func TestNothingIsDecodedWithoutASlot(t *testing.T) {
	p := &plates{sizes: [][2]int{{8, 6}, {8, 6}, {8, 6}, {4, 4}, {4, 4}}}
	r, err := turn(p, &opened{}, Options{Rotate: 90})
	if err != nil {
		t.Fatal(err)
	}
	slot := make([]byte, 48)
	var free []byte
	var fault error
	room := func(int) ([]byte, error) { return free, fault } // a worker's is always the same one, too
	for n, empty := range []bool{false, true, false, true, true} {
		if free = slot; empty {
			free = nil
		}
		s, err := r.Read(room)
		if err != nil || s.empty != empty || s.skipped != 3 {
			t.Errorf("picture %d: %+v, %v", n, s, err)
		}
	}
	if p.decoded != 3 { // that one has another size is only known once it is there
		t.Errorf("%d pictures were decoded, want 3", p.decoded)
	}
	fault = errors.New("gone")
	p.sizes = [][2]int{{4, 4}, {8, 6}}
	for range 2 {
		if _, err := r.Read(room); !errors.Is(err, fault) {
			t.Errorf("error is %v", err)
		}
	}
}

func TestWhatAReaderCanDoShowsThrough(t *testing.T) {
	p := &plates{}
	if r, err := turn(p, &opened{}, Options{Rate: 5}); r != reader(p) || err != nil {
		t.Errorf("without anything to do: %v, %v", r, err)
	}
	wrap := func(r reader) reader {
		t.Helper()
		r, err := turn(r, &opened{}, Options{Rotate: 90})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	both := func(r reader) (fires, finishes bool) {
		_, fires = r.(firer)
		_, finishes = r.(finisher)
		return fires, finishes
	}
	if fires, finishes := both(wrap(p)); fires || finishes {
		t.Error("a reader that can neither seems to")
	}
	s := &shutter{}
	r := wrap(s)
	if fires, finishes := both(r); !fires || finishes {
		t.Errorf("fires %v, finishes %v", fires, finishes)
	}
	if err := r.(firer).Fire(); err != nil || s.fired != 1 {
		t.Errorf("fired %d times: %v", s.fired, err)
	}
	for _, r := range []reader{r, wrap(&lamp{})} {
		var heard error
		if e, ok := r.(exposer); ok {
			e.Expose(time.Second, func(err error) { heard = err })
		}
		if heard == nil || heard.Error() != "1s" {
			t.Errorf("%T: an exposure of a second reached the reader as %v", r, heard)
		}
	}
	if fires, _ := both(wrap(&lamp{})); fires {
		t.Error("a reader that can't fire seems to")
	}
	d := &desk{}
	r = wrap(d)
	if fires, finishes := both(r); fires || !finishes {
		t.Errorf("fires %v, finishes %v", fires, finishes)
	}
	if gone, err := r.(finisher).Done("a.png"); !gone || err != nil || d.done != "a.png" {
		t.Errorf("done with %q: %v, %v", d.done, gone, err)
	}
}

func TestReaderIsClosedWhenItCantBeTurned(t *testing.T) {
	for want, opts := range map[string]Options{
		"no such file":       {Calibration: filepath.Join(t.TempDir(), "none.yaml")},
		"doesn't lie inside": {ROI: [4]int{0, 0, 100, 100}},
		"rotate must be":     {Rotate: 45},
	} {
		p := &plates{}
		if r, err := turn(p, &opened{Width: 64, Height: 48}, opts); r != nil || err == nil || !strings.Contains(err.Error(), want) || !p.closed {
			t.Errorf("%v, %v, closed %v; want %q", r, err, p.closed, want)
		}
	}
}
