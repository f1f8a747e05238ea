package modelfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
)

const models = "../../../vision/infer/testdata/"

func testFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(models + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWeightsBesideTheModel: they are taken from the model's own folder, wherever
// that is, and from nowhere else.
func TestWeightsBesideTheModel(t *testing.T) {
	model, data := testFile(t, "external.onnx"), testFile(t, "external.onnx.data")
	whole, err := Read(models + "external.onnx")
	if outside, later := infer.External(whole); err != nil || later != nil || outside != nil {
		t.Fatalf("it still needs %q: %v, %v", outside, err, later)
	}
	if b, err := Read(models + "rows.onnx"); err != nil || !bytes.Equal(b, testFile(t, "rows.onnx")) {
		t.Errorf("a whole model isn't read as it is: %v", err)
	}
	dir := t.TempDir()
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("elsewhere.data", data)
	put("a/model.onnx", model)
	refused := func(want string) {
		t.Helper()
		if _, err := Read(dir + "/a/model.onnx"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error about %q", err, want)
		}
	}
	refused("external.onnx.data is not beside the model: put it there")
	link := filepath.Join(dir, "a/external.onnx.data")
	if err := os.Symlink("../elsewhere.data", link); err != nil {
		t.Fatal(err)
	}
	refused("external.onnx.data is a link")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	put("a/external.onnx.data", data[:100])
	refused("the file is cut, or of another model")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(link, 0o755); err != nil {
		t.Fatal(err)
	}
	refused("a file of at most")

	fsys := fstest.MapFS{"net/m.onnx": {Data: model}, "net/external.onnx.data": {Data: data}}
	b, err := ReadBundle(fsys, bundle.Model{File: "net/m.onnx", SHA256: Digest(model)})
	if err != nil || !bytes.Equal(b, whole) {
		t.Errorf("in a bundle: %v", err)
	}
	if _, err := ReadBundle(fsys, bundle.Model{File: "net/m.onnx", SHA256: Digest(data)}); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("another digest: %v", err)
	}
}

// TestManifestsWordsAreKnown: each word that a manifest may have means something
// to a model, and the other way about.
func TestManifestsWordsAreKnown(t *testing.T) {
	for key, words := range map[string][]string{
		"colour": {string(infer.BGR), string(infer.RGB), string(infer.Gray)}, "resize": {string(infer.Letterbox), string(infer.Stretch), string(infer.Crop)},
		"anchor":        {string(infer.Centre), string(infer.TopLeft)},
		"interpolation": {string(infer.Linear), string(infer.Area), string(infer.Bilinear), string(infer.Bicubic), string(infer.Nearest)},
		"activation":    {string(infer.NoActivation), string(infer.Sigmoid), string(infer.Softmax)},
	} {
		for _, word := range append(words, "nonsense") {
			line := "  input: {" + key + ": " + word + "}\n"
			if key == "activation" {
				line = "  " + key + ": " + word + "\n"
			}
			_, faults := bundle.ParseFaulty([]byte("manifest: 1\nname: a\nversion: 1\nmodel:\n  file: m\n  sha256: " + strings.Repeat("a", 64) + "\n  family: f\n" + line))
			if (len(faults) > 0) != (word == "nonsense") {
				t.Errorf("%s: %s: %v", key, word, faults)
			}
		}
	}
	for _, p := range infer.Presets() {
		line := p.Input.On(infer.Input{})
		_, faults := bundle.ParseFaulty([]byte("manifest: 1\nname: a\nversion: 1\nmodel:\n  file: m\n  sha256: " + strings.Repeat("a", 64) + "\n  family: f\n  input: {" + line.Line() + "}\n"))
		if len(faults) > 0 {
			t.Errorf("preset %s of %s: {%s}: %v", p.Name, p.Family, line.Line(), faults)
		}
	}
}

func TestOptions(t *testing.T) {
	pad := uint8(7)
	got := Options(bundle.Model{Family: "f", Labels: []bundle.Label{{Name: "a"}, {Name: "b"}}, Size: []int{640, 480}, Activation: "none",
		Confidence: 0.1, NMS: 0.2, MaxDetections: 3, Pixel: 0.4, MinArea: 5,
		Input: bundle.Input{Colour: "bgr", Scale: 0.00392157, Mean: []float64{1}, Std: []float64{2}, Resize: "crop", Interpolation: "area", Anchor: "centre", Pad: &pad, Crop: 0.9}})
	want := infer.Options{Family: "f", Labels: []string{"a", "b"}, Width: 640, Height: 480, Activation: infer.NoActivation,
		Confidence: 0.1, NMS: 0.2, MaxDetections: 3, Pixel: 0.4, MinArea: 5,
		Input: infer.Override{Colour: infer.BGR, Scale: 0.00392157, Mean: []float64{1}, Std: []float64{2}, Resize: infer.Crop, Interpolation: infer.Area, Anchor: infer.Centre, Pad: &pad, CropShare: 0.9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := Options(bundle.Model{Input: bundle.Input{Scale: float64(float32(1.0 / 255))}}).Input.Scale; s != 1.0/255 {
		t.Errorf("1/255 as float32 has it becomes %v", s)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string][2]int{"": {}, "640x480": {640, 480}, "1×2": {1, 2}} {
		if w, h, err := Size(text); err != nil || [2]int{w, h} != want {
			t.Errorf("%q: %d, %d, %v", text, w, h, err)
		}
	}
	for _, text := range []string{"640", "x", "640x", "0x1", "-1x5", "1x2x3", "1x 2", "ax4", "99999999999999999999x1"} {
		if w, h, err := Size(text); err == nil {
			t.Errorf("%q is %d×%d", text, w, h)
		}
	}
}
