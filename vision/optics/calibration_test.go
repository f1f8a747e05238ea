package optics

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// a calibration of ROS, to be spoilt.
const good = `image_width: 640
image_height: 480
camera_name: left
camera_matrix:
  rows: 3
  cols: 3
  data: [500, 0, 320, 0, 500, 240, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.3, 0.1, 0.001, -0.002, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [400, 0, 320, 0, 0, 400, 240, 0, 0, 0, 1, 0]
`

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "cam.yaml")
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadsWhatROSWrites(t *testing.T) {
	c := read(t, write(t, good))
	want := Calibration{Width: 640, Height: 480, path: c.path, camera: matrix{500, 500, 320, 240},
		result: matrix{400, 400, 320, 240}, d: [12]float64{-.3, .1, .001, -.002}}
	if *c != want {
		t.Errorf("got %+v, want %+v", *c, want)
	}
}

func TestBadCalibrations(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q isn't there to be changed", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for text, want := range map[string]string{
		"":                                    "image_width and image_height are 0 and 0",
		"\x00\xff\xfe garbage [":              "give the YAML file that ROS's camera_calibration or OpenCV's sample writes",
		"<?xml version=\"1.0\"?>\n<a>x</a>\n": "give the YAML file",
		"[1, 2, 3]":                           "give the YAML file",
		strings.Repeat("[", 5000):             "nested too deep",
		strings.Repeat("- ", 5000):            "nested too deep",
		"a: &x [1]\nb: *x\n":                  "has a meaning in YAML",
		"camera_matrix:\n  data: !x\na: 0\n":  `"!x" has a meaning in YAML`, // the decoder falls over it
		swap("image_width: 640", "image_width: 640.5"):               "image_width and image_height are 640.5 and 480: write the size",
		swap("image_width: 640", "image_width: -640"):                "are -640 and 480",
		swap("image_width: 640", "image_width: 1e300"):               "are 1e+300 and 480",
		swap("image_width: 640", "image_width: wide"):                `"wide" is no number`,
		swap("image_height: 480\n", ""):                              "are 640 and 0",
		swap("camera_matrix", "matrix"):                              "camera_matrix is missing",
		swap("[500, 0, 320", "[0, 0, 320"):                           "camera_matrix has a focal length of 0 and 500 pixels: the camera isn't calibrated yet",
		swap("[500, 0, 320", "[-500, 0, 320"):                        "focal length of -500",
		swap("[500, 0, 320", "[.NaN, 0, 320"):                        "camera_matrix holds NaN: the calibration has failed, repeat it",
		swap("[500, 0, 320", "[.inf, 0, 320"):                        "camera_matrix holds +Inf",
		swap("[500, 0, 320", "[500, 3, 320"):                         "calibrate without skew",
		swap("[500, 0, 320", "[500, 320"):                            "camera_matrix has 8 numbers, not 3 rows of 3",
		swap("data: [500, 0, 320, 0, 500, 240, 0, 0, 1]", "data: 5"): "calibration",
		swap("[-0.3, 0.1, 0.001, -0.002, 0]", "[-0.3, 0.1, 0.001]"):  "distortion_coefficients has 3 numbers: the model plumb_bob has 4 or 5",
		swap("-0.3, 0.1", ".nan, 0.1"):                               "distortion_coefficients holds NaN",
		swap("distortion_coefficients", "other"):                     "distortion_coefficients is missing",
		swap("plumb_bob", "rational_polynomial"):                     "has 5 numbers: the model rational_polynomial has 8 or 12 or 14",
		swap("plumb_bob", "equidistant"):                             "has 5 numbers: the model equidistant has 4",
		swap("plumb_bob", "thin_lens"):                               `distortion_model is "thin_lens": plumb_bob, rational_polynomial, equidistant, fisheye are known`,
		swap("[1, 0, 0, 0, 1", "[0.9, 0.1, 0, 0, 1"):                 "rectification_matrix isn't the identity",
		swap("[1, 0, 0, 0, 1, 0, 0, 0, 1]", "[1]"):                   "rectification_matrix isn't the identity",
		swap("[400, 0, 320, 0", "[0, 0, 320, 0"):                     "projection_matrix has a focal length of 0",
		swap("[400, 0, 320, 0, 0", "[400, 0, 320"):                   "projection_matrix has 10 numbers, not 3 rows of 4",
		strings.Replace(swap("plumb_bob", "rational_polynomial"), "[-0.3, 0.1, 0.001, -0.002, 0]", "[1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0.1, 0]", 1): "tilted sensor",
	} {
		path := write(t, text)
		_, err := ReadCalibration(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "calibration "+path+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: error is %v, want %q", text, err, want)
		}
	}
}

func TestFilesThatArent(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "no such file or directory",
		dir:                             "not a regular file",
		pipe:                            "not a regular file",
		write(t, strings.Repeat("a: 1\n", 2_000_000)): "it has more than 1048576 bytes: this is no calibration",
	} {
		if _, err := ReadCalibration(path); err == nil || !strings.Contains(err.Error(), "calibration "+path+": "+want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

// The largest file that is taken mustn't keep a camera from being read.
func TestLargestFileIsReadSoon(t *testing.T) {
	var b strings.Builder
	b.WriteString(good + "image_points:\n  rows: 1\n  cols: 90000\n  data: [0")
	for range 45_000 {
		b.WriteString(", 3.2015625e+02")
	}
	b.WriteString("]\n")
	path := write(t, b.String())
	began := time.Now()
	read(t, path)
	t.Logf("%d bytes: %v", b.Len(), time.Since(began))
	if d := time.Since(began); d > 5*time.Second { // a quarter of a second, alone
		t.Errorf("%d bytes took %v", b.Len(), d)
	}
}

func fold(t *testing.T, k1 string) *Calibration {
	t.Helper()
	text := strings.Replace(good, "[-0.3, 0.1, 0.001, -0.002, 0]", "["+k1+", 0, 0, 0, 0]", 1)
	return read(t, write(t, text))
}

// Beyond the fold of the polynomial nothing is shown; OpenCV shows the picture
// again.
func TestFoldedCornersAreBlack(t *testing.T) {
	c := fold(t, "-0.42") // r - 0.42 r³ turns at r = 0.891, 356 pixels in the result
	src := drawn(640, 480, vision.BGR24, 1)
	for i := range src.Pix {
		src.Pix[i] = 200
	}
	got := apply(t, Config{Calibration: c}, src)
	for _, p := range []struct {
		x, y int
		want byte
	}{{320, 240, 200}, {320, 40, 200}, {5, 240, 200}, {10, 5, 0}, {630, 470, 0}, {320 + 261, 240 + 238, 200}, {320 + 269, 240 + 238, 0}} {
		if v := got.Pix[p.y*got.Stride+3*p.x]; v != p.want {
			t.Errorf("at %d,%d is %d, want %d", p.x, p.y, v, p.want)
		}
	}
}

func TestFoldsTooSoon(t *testing.T) {
	o, err := New(Config{Calibration: fold(t, "-2")})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.Size(640, 480); err == nil || !strings.Contains(err.Error(), "cam.yaml: beyond 136 pixels from the middle its distortion folds the picture over, so that it says nothing of 81 % of it: calibrate the camera again") {
		t.Errorf("error is %v", err)
	}
}

// A rational model may have a pole, beyond which the picture comes from the other
// side.
func TestPoleIsAFold(t *testing.T) {
	text := strings.Replace(good, "[-0.3, 0.1, 0.001, -0.002, 0]", "[0, 0, 0, 0, 0, -3, 0, 0]", 1) // at r = 0.577, 231 pixels in the result
	c := read(t, write(t, strings.Replace(text, "plumb_bob", "rational_polynomial", 1)))
	src := drawn(640, 480, vision.BGR24, 1)
	for i := range src.Pix {
		src.Pix[i] = 200
	}
	got := apply(t, Config{Calibration: c}, src)
	for _, p := range []struct {
		x, y int
		want byte
	}{{320, 240, 200}, {320, 340, 200}, {320, 460, 0}, {4, 4, 0}, {60, 240, 0}} {
		if v := got.Pix[p.y*got.Stride+3*p.x]; v != p.want {
			t.Errorf("at %d,%d is %d, want %d", p.x, p.y, v, p.want)
		}
	}
}

func FuzzCalibration(f *testing.F) {
	f.Add([]byte(good))
	for _, name := range []string{"four", "fisheye", "thin_prism", "rational_polynomial", "equidistant"} {
		b, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	src, mem := drawn(32, 24, vision.BGR24, 1), make([]byte, 32*24*3)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(string(text))
		if err != nil {
			return
		}
		c.Width, c.Height = 32, 24
		o, err := New(Config{Calibration: c, Mirror: "horizontal"})
		if err != nil {
			t.Fatal(err)
		}
		_ = o.Apply(&vision.Frame{Pix: mem}, src) // may be refused, but must end
	})
}
