package optics

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/picture"
)

// drawn computes the pixels that testdata/remap.py computes alike.
func drawn(w, h int, format vision.PixelFormat, seed uint32) *vision.Frame {
	c := format.Channels()
	f := &vision.Frame{Pix: make([]byte, w*h*c), Width: w, Height: h, Stride: w * c, Format: format}
	for i := range f.Pix {
		v := uint32(i)*2654435761 + seed
		v ^= v >> 15
		v *= 0x2C1B3C6D
		v ^= v >> 12
		f.Pix[i] = byte(v)
	}
	return f
}

// golden is what OpenCV makes of a calibration of testdata.
type golden struct {
	Name   string
	Seed   uint32
	BGR    string
	Gray   string
	Places [][4]float64 // x, y in the undistorted picture, u, v in the camera's
}

func goldens(t *testing.T) []golden {
	t.Helper()
	b, err := os.ReadFile("testdata/remap.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(b, &all); err != nil || len(all) < 8 {
		t.Fatalf("%d goldens: %v", len(all), err)
	}
	return all
}

func read(t *testing.T, path string) *Calibration {
	t.Helper()
	c, err := ReadCalibration(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func short(pix []byte) string {
	sum := sha256.Sum256(pix)
	return hex.EncodeToString(sum[:])[:16]
}

// apply gives the result in memory of its own.
func apply(t *testing.T, cfg Config, src *vision.Frame) *vision.Frame {
	t.Helper()
	o, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, h, err := o.Size(src.Width, src.Height)
	if err != nil {
		t.Fatal(err)
	}
	dst := &vision.Frame{Pix: make([]byte, w*h*src.Format.Channels())}
	for i := range dst.Pix {
		dst.Pix[i] = 0xaa // what is left out shows
	}
	if err := o.Apply(dst, src); err != nil {
		t.Fatal(err)
	}
	if dst.Width != w || dst.Height != h || dst.Format != src.Format || !dst.Valid() {
		t.Fatalf("%dx%d of format %d, want %dx%d", dst.Width, dst.Height, dst.Format, w, h)
	}
	return dst
}

func TestPlacesAreOpenCVs(t *testing.T) {
	for _, g := range goldens(t) {
		c := read(t, "testdata/"+g.Name+".yaml")
		l, err := c.lens(c.Width, c.Height)
		if err != nil {
			t.Fatal(err)
		}
		worst := 0.0
		for _, p := range g.Places {
			u, v, ok := l.source(p[0], p[1])
			if !ok {
				t.Errorf("%s: %v is folded over", g.Name, p)
			}
			worst = max(worst, math.Abs(u-p[2]), math.Abs(v-p[3]))
		}
		if worst > 0.001 {
			t.Errorf("%s: %d places differ by up to %.4f pixels", g.Name, len(g.Places), worst)
		}
		t.Logf("%s: worst %.5f", g.Name, worst)
	}
}

func TestPixelsAreOpenCVs(t *testing.T) {
	for _, g := range goldens(t) {
		c := read(t, "testdata/"+g.Name+".yaml")
		for format, want := range map[vision.PixelFormat]string{vision.BGR24: g.BGR, vision.Gray8: g.Gray} {
			got := apply(t, Config{Calibration: c}, drawn(c.Width, c.Height, format, g.Seed))
			if h := short(got.Pix); h != want {
				t.Errorf("%s, %d channels: hash is %s, OpenCV's is %s", g.Name, format.Channels(), h, want)
			}
		}
	}
}

// The same of real pictures, whose matrix is scaled.
func TestPicturesAreOpenCVs(t *testing.T) {
	root := os.Getenv("SIGHTLINE_REALDATA")
	if root == "" {
		t.Skip("SIGHTLINE_REALDATA isn't set: no real pictures")
	}
	list, err := os.Open("testdata/coco129.sha256")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	c := read(t, "testdata/plumb_bob.yaml")
	n, same := 0, 0
	for lines := bufio.NewScanner(list); lines.Scan(); n++ {
		want, name, _ := strings.Cut(lines.Text(), " ")
		data, err := os.ReadFile(filepath.Join(root, "coco129", "images", name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := picture.Decode(data, nil)
		if err != nil {
			t.Fatal(err)
		}
		x, y := float64(f.Width)/float64(c.Width), float64(f.Height)/float64(c.Height)
		own := *c
		own.Width, own.Height = f.Width, f.Height
		own.camera, own.result = c.camera.scaled(x, y), c.result.scaled(x, y)
		if short(apply(t, Config{Calibration: &own}, &f).Pix) == want {
			same++
		} else {
			t.Errorf("%s (%dx%d) differs", name, f.Width, f.Height)
		}
	}
	t.Logf("%d of %d pictures are OpenCV's to the bit", same, n)
}
