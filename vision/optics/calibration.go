package optics

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// Limits of a calibration file. OpenCV's samples write every corner that they
// have found into it.
const (
	maxFile  = 1 << 20 // bytes
	maxWords = 100_000
	maxNest  = 16
	maxSide  = 1 << 16 // pixels
)

// Calibration is what a calibration file says of a camera and its lens. It
// holds for pictures of the size that it was made with, and for those of the same
// shape at another resolution, whose matrix is scaled as for pictures that were
// resized: a camera that rather cuts out a part of its sensor then needs a
// calibration of its own.
//
// Where the distortion folds over, as polynomials do beyond the corners that a
// board has been in, the result is black; OpenCV shows the picture a second time
// there, mirrored. A calibration that folds so early that it says nothing of a
// quarter of the camera's picture is refused.
type Calibration struct {
	Width  int // pixels
	Height int // pixels

	path    string // for messages
	fisheye bool
	camera  matrix
	result  matrix // of the undistorted picture
	d       [12]float64
}

// ReadCalibration reads a calibration file: the YAML of ROS's camera_info, or
// what OpenCV's samples write through FileStorage. Its errors name the file and say
// what to do.
func ReadCalibration(path string) (*Calibration, error) {
	fail := func(err error) (*Calibration, error) { return nil, fmt.Errorf("calibration %s: %w", path, err) }
	text, err := readFile(path)
	if err != nil {
		return fail(err)
	}
	c, err := parse(text)
	if err != nil {
		return fail(err)
	}
	c.path = path
	return c, nil
}

func readFile(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe mustn't keep us
	if err != nil {
		return "", bare(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", bare(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", bare(err)
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("it has more than %d bytes: this is no calibration, or leave the found points out of it", maxFile)
	}
	return string(b), nil
}

// bare is an error without the path, which ours begin with.
func bare(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// file is both kinds of file; what else they hold is passed over.
type file struct {
	Width         number `yaml:"image_width"`
	Height        number `yaml:"image_height"`
	Camera        *table `yaml:"camera_matrix"`
	Model         string `yaml:"distortion_model"` // ROS
	Fisheye       number `yaml:"fisheye_model"`    // OpenCV: 1
	Distortion    *table `yaml:"distortion_coefficients"`
	Rectification *table `yaml:"rectification_matrix"`
	Projection    *table `yaml:"projection_matrix"`
}

type table struct {
	Data []number `yaml:"data"`
}

// number takes what both kinds of file write, as "1." and ".Nan"; 0 where nothing
// stands.
type number float64

// UnmarshalYAML reads the number's text.
func (n *number) UnmarshalYAML(text []byte) error {
	s := strings.ToLower(strings.TrimSpace(string(text)))
	v, err := strconv.ParseFloat(strings.TrimPrefix(s, "."), 64) // .nan, .inf
	if plain, e := strconv.ParseFloat(s, 64); e == nil {
		v, err = plain, nil
	}
	if err != nil {
		return fmt.Errorf("%q is no number", strings.TrimSpace(string(text)))
	}
	*n = number(v)
	return nil
}

// parse reads a file's text. Its errors don't name the file.
func parse(text string) (*Calibration, error) {
	if strings.HasPrefix(text, "%YAML:1.0") { // OpenCV's own writing of the directive
		text = "#" + text[1:]
	}
	text = strings.ReplaceAll(text, "!!opencv-matrix", "")
	if err := check(text); err != nil {
		return nil, err
	}
	var f file
	if err := yaml.Unmarshal([]byte(text), &f); err != nil {
		return nil, noCalibration(plainFault(err))
	}
	c := &Calibration{}
	var err error
	if c.Width, c.Height, err = f.size(); err != nil {
		return nil, err
	}
	if c.camera, err = f.Camera.camera("camera_matrix", 3); err != nil {
		return nil, err
	}
	if c.fisheye, c.d, err = f.distortion(); err != nil {
		return nil, err
	}
	c.result = c.camera
	if f.Projection != nil {
		if c.result, err = f.Projection.camera("projection_matrix", 4); err != nil {
			return nil, err
		}
	}
	return c, f.Rectification.identity()
}

func noCalibration(err error) error {
	return fmt.Errorf("it can't be read as a calibration: %w: give the YAML file that ROS's camera_calibration or OpenCV's sample writes", err)
}

// check refuses YAML that is costly to understand.
func check(text string) error {
	words := lexer.Tokenize(text)
	if len(words) > maxWords {
		return noCalibration(fmt.Errorf("it has %d words, at most %d are read", len(words), maxWords))
	}
	nest, entries, line, keys := 0, 0, 0, 0
	for _, w := range words {
		if w.Position.Line != line {
			line, entries = w.Position.Line, 0
		}
		switch w.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.MappingKeyType, token.DirectiveType:
			return noCalibration(at(w, fmt.Sprintf("%q has a meaning in YAML that a calibration has no use for", w.Value)))
		case token.SequenceStartType, token.MappingStartType:
			nest++
		case token.SequenceEndType, token.MappingEndType:
			nest--
		case token.SequenceEntryType:
			entries++
		case token.MappingValueType:
			keys++
		}
		if nest > maxNest || entries > maxNest || keys > 1000 {
			return noCalibration(at(w, "it is nested too deep, or has too many keys"))
		}
	}
	return nil
}

func at(w *token.Token, what string) error {
	return fmt.Errorf("line %d, column %d: %s", w.Position.Line, w.Position.Column, what)
}

// plainFault is a decoder's error in one line.
func plainFault(err error) error {
	var fault yaml.Error
	if errors.As(err, &fault) && fault.GetToken() != nil && fault.GetToken().Position != nil {
		return at(fault.GetToken(), fault.GetMessage())
	}
	return err
}

func (f *file) size() (w, h int, err error) {
	whole := func(v number) bool { return v >= 1 && v <= maxSide && v == number(math.Trunc(float64(v))) }
	if !whole(f.Width) || !whole(f.Height) {
		return 0, 0, fmt.Errorf("image_width and image_height are %v and %v: write the size in pixels of the pictures that the camera was calibrated with", f.Width, f.Height)
	}
	return int(f.Width), int(f.Height), nil
}

// finite gives a table's numbers.
func (t *table) finite(name string) ([]float64, error) {
	if t == nil {
		return nil, fmt.Errorf("%s is missing: give the YAML file that ROS's camera_calibration or OpenCV's sample writes", name)
	}
	out := make([]float64, len(t.Data))
	for i, v := range t.Data {
		if out[i] = float64(v); math.IsNaN(out[i]) || math.Abs(out[i]) > maxValue {
			return nil, fmt.Errorf("%s holds %v: the calibration has failed, repeat it", name, v)
		}
	}
	return out, nil
}

// maxValue is more than a real calibration has.
const maxValue = 1e9

// camera reads fx 0 cx, 0 fy cy, 0 0 1, of rows that may have a fourth column.
func (t *table) camera(name string, columns int) (matrix, error) {
	v, err := t.finite(name)
	if err != nil {
		return matrix{}, err
	}
	if len(v) != 3*columns {
		return matrix{}, fmt.Errorf("%s has %d numbers, not 3 rows of %d", name, len(v), columns)
	}
	row := func(n int) []float64 { return v[n*columns:] }
	m := matrix{row(0)[0], row(1)[1], row(0)[2], row(1)[2]}
	switch {
	case m.fx < minFocal || m.fy < minFocal:
		return matrix{}, fmt.Errorf("%s has a focal length of %v and %v pixels: the camera isn't calibrated yet", name, m.fx, m.fy)
	case row(0)[1] != 0 || row(1)[0] != 0 || row(2)[0] != 0 || row(2)[1] != 0 || row(2)[2] != 1:
		return matrix{}, fmt.Errorf("%s isn't fx 0 cx, 0 fy cy, 0 0 1: calibrate without skew", name)
	}
	return m, nil
}

// minFocal in pixels is less than any lens has, and no division by it overflows.
const minFocal = 1e-3

// identity refuses a rotation, which belongs to a pair of cameras.
func (t *table) identity() error {
	if t == nil {
		return nil
	}
	v, err := t.finite("rectification_matrix")
	if err != nil {
		return err
	}
	for i, got := range v {
		want := 0.0
		if i%4 == 0 {
			want = 1
		}
		if len(v) != 9 || math.Abs(got-want) > 1e-6 {
			return errors.New("rectification_matrix isn't the identity: pairs of cameras aren't rectified, calibrate this camera by itself")
		}
	}
	return nil
}
