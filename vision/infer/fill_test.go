package infer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// picture computes the pixels that testdata/fill.py computes alike; the stride
// is wider than the row, so that a wrong one shows.
func picture(w, h int, format vision.PixelFormat, seed uint32) *vision.Frame {
	c := format.Channels()
	stride := w*c + 5
	f := &vision.Frame{Pix: make([]byte, stride*(h-1)+w*c), Width: w, Height: h, Stride: stride, Format: format}
	for i := range w * h * c {
		v := uint32(i)*2654435761 + seed
		v ^= v >> 15
		v *= 0x2C1B3C6D
		v ^= v >> 12
		f.Pix[i/(w*c)*stride+i%(w*c)] = byte(v)
	}
	return f
}

func tensorHash(data []float32) string {
	b := make([]byte, 0, 4*len(data))
	for _, v := range data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])[:16]
}

type fillGolden struct {
	Family string
	Frame  [3]int
	Tensor [2]int
	Seed   uint32
	SHA256 string
}

func (g fillGolden) input() Input {
	in := Family(g.Family).defaults().Input
	if g.Family == "gray" {
		in = Input{Colour: Gray, Scale: 1.0 / 255, Resize: Stretch}
	}
	in.Width, in.Height = g.Tensor[0], g.Tensor[1]
	return in
}

func (g fillGolden) frame() *vision.Frame {
	format := vision.BGR24
	if g.Frame[2] == 1 {
		format = vision.Gray8
	}
	return picture(g.Frame[0], g.Frame[1], format, g.Seed)
}

func fillGoldens(t *testing.T) []fillGolden {
	t.Helper()
	b, err := os.ReadFile("testdata/fill.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []fillGolden
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFillIsBitExactToOpenCV(t *testing.T) {
	for _, g := range fillGoldens(t) {
		f := NewFiller(g.input())
		blob, frame := f.NewBlob(), g.frame()
		if _, err := f.Fill(blob, frame); err != nil {
			t.Fatal(err)
		}
		if got := tensorHash(blob.Data); got != g.SHA256 {
			t.Errorf("%s %v → %v: tensor's hash is %s, OpenCV's is %s", g.Family, g.Frame, g.Tensor, got, g.SHA256)
		}
		if g.Family == "gray" {
			continue
		}
		fast := slices.Clone(blob.Data)
		f.resampleGo(blob.Data, frame.Pix, frame.Stride)
		if !slices.Equal(fast, blob.Data) {
			t.Errorf("%s %v → %v: the plain and the C pass differ", g.Family, g.Frame, g.Tensor)
		}
	}
}

func TestFillWithMeanAndDeviation(t *testing.T) {
	in := Input{Width: 40, Height: 30, Colour: RGB, Scale: 1.0 / 255, Mean: [3]float64{.485, .456, .406}, Std: [3]float64{.229, .224, .225}, Resize: Stretch}
	f := NewFiller(in)
	blob, frame := f.NewBlob(), picture(40, 30, vision.BGR24, 9)
	if _, err := f.Fill(blob, frame); err != nil {
		t.Fatal(err)
	}
	for c := range 3 {
		for _, at := range [][2]int{{0, 0}, {39, 0}, {17, 12}, {39, 29}} {
			v := frame.Pix[at[1]*frame.Stride+3*at[0]+2-c]
			want := float32((float64(v)/255 - in.Mean[c]) / in.Std[c])
			if got := blob.Data[c*1200+at[1]*40+at[0]]; math.Abs(float64(got-want)) > 1e-6 {
				t.Errorf("plane %d at %v is %v, want %v", c, at, got, want)
			}
		}
	}
}

func TestPaddingIsLaidAgainWhenTheFrameChanges(t *testing.T) {
	in := YOLOv8.defaults().Input
	in.Width, in.Height = 64, 64
	f := NewFiller(in)
	blob := f.NewBlob()
	for _, size := range [][2]int{{128, 20}, {20, 128}, {128, 20}, {64, 64}, {13, 128}} {
		frame := picture(size[0], size[1], vision.BGR24, 3)
		if _, err := f.Fill(blob, frame); err != nil {
			t.Fatal(err)
		}
		fresh := NewFiller(in)
		want := fresh.NewBlob()
		if _, err := fresh.Fill(want, frame); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(blob.Data, want.Data) {
			t.Errorf("frame of %v: a used tensor differs from a fresh one", size)
		}
	}
}

func TestFillRefusesFramesThatDontFit(t *testing.T) {
	f := NewFiller(YOLOX.defaults().Input)
	for name, change := range map[string]func(*vision.Frame){
		"short pixels": func(f *vision.Frame) { f.Pix = f.Pix[:len(f.Pix)-1] },
		"no width":     func(f *vision.Frame) { f.Width = 0 },
		"small stride": func(f *vision.Frame) { f.Stride = f.Width },
		"no format":    func(f *vision.Frame) { f.Format = 0 },
		"too wide":     func(f *vision.Frame) { f.Width, f.Height, f.Stride = 40000, 1, 120000; f.Pix = make([]byte, 120000) },
	} {
		frame := picture(32, 24, vision.BGR24, 1)
		change(frame)
		if _, err := f.Fill(f.NewBlob(), frame); err == nil {
			t.Errorf("%s: the frame was taken", name)
		}
	}
}

func TestPlacement(t *testing.T) {
	for _, c := range []struct {
		in   Input
		w, h int
		want string
	}{
		{Input{Width: 640, Height: 640, Resize: Letterbox, Anchor: Centre}, 1920, 1080, "640x360+0+140"},
		{Input{Width: 640, Height: 640, Resize: Letterbox, Anchor: Centre}, 1077, 1920, "359x640+140+0"},
		{Input{Width: 640, Height: 640, Resize: Letterbox, Anchor: Centre}, 10, 9000, "1x640+319+0"},
		{Input{Width: 416, Height: 416, Resize: Letterbox, Anchor: TopLeft}, 641, 360, "416x233+0+0"},
		{Input{Width: 352, Height: 352, Resize: Stretch}, 10, 20, "352x352+0+0"},
	} {
		at, _ := c.in.place(c.w, c.h)
		if got := fmt.Sprintf("%dx%d+%d+%d", at.w, at.h, at.x, at.y); got != c.want {
			t.Errorf("%d×%d lies at %s, want %s", c.w, c.h, got, c.want)
		}
	}
}

func TestUsualScalesTakeTheFastPath(t *testing.T) {
	for _, family := range Families() {
		in := family.defaults().Input
		if f := NewFiller(in); f.hi == 0 && in.Std == [3]float64{} && in.Mean == [3]float64{} {
			t.Errorf("%s: values come from the table", family)
		}
	}
	if f := NewFiller(Input{Width: 8, Height: 8, Colour: RGB, Scale: 1.0 / 255, Std: [3]float64{.2, .2, .2}}); f.hi != 0 {
		t.Error("a scaled tensor takes the path of plain division")
	}
}
