package infer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// coloured is a gray frame with three equal channels.
func coloured(f *vision.Frame) *vision.Frame {
	stride := 3*f.Width + 7
	out := &vision.Frame{Pix: make([]byte, stride*f.Height), Width: f.Width, Height: f.Height, Stride: stride, Format: vision.BGR24}
	for y := range f.Height {
		for x := range f.Width {
			v := f.Pix[y*f.Stride+x]
			copy(out.Pix[y*stride+3*x:], []byte{v, v, v})
		}
	}
	return out
}

// A camera's gray picture is to a model what the same one in colour is, for
// every kind of input, and also where the two alternate in one tensor.
func TestGrayFrameIsAColourlessOne(t *testing.T) {
	inputs := map[string]Input{"gray": {Colour: Gray, Scale: 1.0 / 255, Resize: Stretch},
		"gray letterbox": {Colour: Gray, Scale: 1, Resize: Letterbox, Anchor: Centre, Pad: 114},
		"with mean":      {Colour: RGB, Scale: 1.0 / 255, Mean: [3]float64{.485, .456, .406}, Std: [3]float64{.229, .224, .225}, Resize: Stretch}}
	for _, family := range Families() {
		inputs[string(family)] = family.defaults().Input
	}
	for _, how := range []Interpolation{Linear, Area, Bilinear, Bicubic, Nearest} {
		inputs["crop "+string(how)] = Input{Colour: RGB, Scale: 1.0 / 255, Mean: [3]float64{.485, .456, .406}, Resize: Crop, Interpolation: how, CropShare: 0.8}
		inputs["letterbox "+string(how)] = Input{Colour: Gray, Scale: 1, Resize: Letterbox, Anchor: Centre, Pad: 114, Interpolation: how}
	}
	n := 0
	for name, in := range inputs {
		for _, size := range [][4]int{{640, 360, 64, 64}, {64, 64, 64, 64}, {192, 96, 64, 32}, {97, 31, 64, 96}, {1, 1, 32, 32}, {5, 300, 33, 65}} {
			in.Width, in.Height = size[2], size[3]
			f := NewFiller(in)
			blob := f.NewBlob()
			gray := picture(size[0], size[1], vision.Gray8, uint32(n))
			place, err := f.Fill(blob, gray)
			if err != nil {
				t.Fatal(err)
			}
			first := slices.Clone(blob.Data)
			same, err := f.Fill(blob, coloured(gray))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(first, blob.Data) || place != same {
				t.Errorf("%s, %v: the gray frame's tensor isn't the coloured one's", name, size)
			}
			if _, err := f.Fill(blob, gray); err != nil || !slices.Equal(first, blob.Data) {
				t.Errorf("%s, %v: after the coloured one the gray frame's tensor is another (%v)", name, size, err)
			}
			n++
		}
	}
	t.Logf("%d tensors", n)
}

// A model of one plane sees a gray frame of its own size as it is.
func TestGrayPixelsReachAGrayModelUnchanged(t *testing.T) {
	f := NewFiller(Input{Width: 77, Height: 53, Colour: Gray, Scale: 1, Resize: Stretch})
	blob, frame := f.NewBlob(), picture(77, 53, vision.Gray8, 5)
	if len(blob.Data) != 77*53 {
		t.Fatalf("%d values", len(blob.Data))
	}
	if _, err := f.Fill(blob, frame); err != nil {
		t.Fatal(err)
	}
	for y := range 53 {
		for x := range 77 {
			if got, want := blob.Data[y*77+x], float32(frame.Pix[y*frame.Stride+x]); got != want {
				t.Fatalf("at %d,%d is %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestFillRefusesGrayFramesThatDontFit(t *testing.T) {
	f := NewFiller(YOLOX.defaults().Input)
	frame := picture(32, 24, vision.Gray8, 1)
	frame.Format = vision.BGR24 // three times as many pixels as are there
	if _, err := f.Fill(f.NewBlob(), frame); err == nil {
		t.Error("a gray frame was taken for one in colour")
	}
}

// The format goes with the frame to the worker process.
func TestWorkerTakesGrayFrames(t *testing.T) {
	w := start(t, testConfig(t, "testdata/fastestdet.onnx", Options{Confidence: 0.01}))
	ctx := within(t, 30*time.Second)
	gray := picture(640, 360, vision.Gray8, 3)
	colour := coloured(gray)
	pool := shared(t, gray, colour)
	a, err := w.Infer(ctx, gray, pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.Infer(ctx, colour, pool, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Detections) == 0 {
		t.Error("nothing was seen")
	}
	if diff := cmp.Diff(b, a, sameResult); diff != "" {
		t.Errorf("the gray frame's result (-colour +gray):\n%s", diff)
	}
	wrong := *gray
	wrong.Format, wrong.Stride = vision.BGR24, 3*gray.Width
	wrong.Height = 3 * gray.Height // more than the slot has
	if _, err := w.Infer(ctx, &wrong, pool, 0); err == nil {
		t.Error("a frame larger than its slot was taken")
	}
}

func BenchmarkFillGray(b *testing.B) {
	for _, g := range [][3]int{{1920, 1080, 640}, {1280, 720, 640}, {640, 360, 416}} {
		for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
			b.Run(fmt.Sprintf("%dx%d-%d/%d", g[0], g[1], g[2], 8*format.Channels()), func(b *testing.B) {
				in := YOLOv8.defaults().Input
				in.Width, in.Height = g[2], g[2]
				f := NewFiller(in)
				blob, frame := f.NewBlob(), noise(g[0], g[1], format, 1)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := f.Fill(blob, frame); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
