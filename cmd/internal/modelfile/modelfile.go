// Package modelfile reads a model as the commands find it: a file or a bundle's,
// with the weights that lie beside it, and what a manifest says of it.
package modelfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
)

// Read reads a model that lies in a plain file, with its weights inside.
func Read(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > infer.MaxModel {
		return nil, fmt.Errorf("it has %d bytes: a file of at most %d is read", st.Size(), infer.MaxModel)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return infer.Inline(data, beside(os.DirFS(filepath.Dir(file)), "."))
}

// ReadBundle reads the model of a bundle's folder, with its weights inside, after
// its file was compared with what the manifest says.
func ReadBundle(fsys fs.FS, m bundle.Model) ([]byte, error) {
	data, err := fs.ReadFile(fsys, m.File)
	if err != nil {
		return nil, err
	}
	if digest := Digest(data); digest != m.SHA256 {
		return nil, fmt.Errorf("%s has sha256 %.8s…, the manifest says %.8s…: the bundle is damaged or was changed", m.File, digest, m.SHA256)
	}
	return Whole(fsys, m.File, data)
}

// Whole gives the model of a bundle's folder with its weights inside.
func Whole(fsys fs.FS, file string, data []byte) ([]byte, error) {
	return infer.Inline(data, beside(fsys, path.Dir(file)))
}

// Digest is the SHA-256 of some bytes, in hex.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// beside reads files of a folder that a model names, and follows no links: they
// could lead out of it.
func beside(fsys fs.FS, dir string) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		at := dir
		var st fs.FileInfo
		for part := range strings.SplitSeq(name, "/") {
			at = path.Join(at, part)
			var err error
			if st, err = fs.Lstat(fsys, at); errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s is not beside the model: put it there, under that name", name)
			} else if err != nil {
				return nil, err
			}
			if st.Mode()&fs.ModeSymlink != 0 {
				return nil, fmt.Errorf("%s is a link: put the file itself beside the model", name)
			}
		}
		if !st.Mode().IsRegular() || st.Size() > infer.MaxModel {
			return nil, fmt.Errorf("%s has %d bytes: a file of at most %d is read", name, st.Size(), infer.MaxModel)
		}
		return fs.ReadFile(fsys, at)
	}
}

// Options is what a manifest says about its model.
func Options(m bundle.Model) infer.Options {
	o := infer.Options{
		Family: m.Family, Confidence: m.Confidence, NMS: m.NMS, MaxDetections: m.MaxDetections,
		Activation: infer.Activation(m.Activation), Pixel: m.Pixel, MinArea: m.MinArea,
		Input: infer.Override{
			Colour: infer.Colour(m.Input.Colour), Scale: scale(m.Input.Scale), Mean: m.Input.Mean, Std: m.Input.Std,
			Resize: infer.Resize(m.Input.Resize), Anchor: infer.Anchor(m.Input.Anchor), Pad: m.Input.Pad,
			Interpolation: infer.Interpolation(m.Input.Interpolation), CropShare: m.Input.Crop,
		},
	}
	if len(m.Size) == 2 {
		o.Width, o.Height = m.Size[0], m.Size[1]
	}
	for _, l := range m.Labels {
		o.Labels = append(o.Labels, l.Name)
	}
	return o
}

// scale takes what is 1/255 but for float32's rounding for what it is meant as:
// the tools compute with the exact one.
func scale(s float64) float64 {
	if float32(s) == float32(1.0/255) {
		return 1.0 / 255
	}
	return s
}

// Size reads WIDTHxHEIGHT, as 640x480; "" is 0 and 0.
func Size(text string) (width, height int, err error) {
	if text == "" {
		return 0, 0, nil
	}
	w, h, _ := strings.Cut(strings.ReplaceAll(text, "×", "x"), "x")
	if n, err := fmt.Sscanf(w+" "+h, "%d %d", &width, &height); n != 2 || err != nil || fmt.Sprintf("%d %d", width, height) != w+" "+h || width < 1 || height < 1 {
		return 0, 0, fmt.Errorf("%q: must be WIDTHxHEIGHT in pixels, as 640x480", text)
	}
	return width, height, nil
}
