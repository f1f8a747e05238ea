package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// closeness is how far pixels may be from OpenCV's. Those of four components
// are image/jpeg's, whose inverse transform rounds differently from libjpeg's
// now and then; everything else is exact.
func closeness(name string) int {
	if strings.HasSuffix(name, "cmyk.jpg") {
		return 3
	}
	return 0
}

func TestDecodesAsOpenCV(t *testing.T) {
	wants, err := filepath.Glob("testdata/golden/*.want.png")
	if err != nil || len(wants) < 50 {
		t.Fatalf("%d goldens: %v", len(wants), err)
	}
	for _, w := range wants {
		name := strings.TrimSuffix(w, ".want.png")
		t.Run(filepath.Base(name), func(t *testing.T) {
			want := golden(t, w)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(data, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.Width != want.Bounds().Dx() || got.Height != want.Bounds().Dy() || !got.Valid() {
				t.Fatalf("%dx%d, want %v", got.Width, got.Height, want.Bounds())
			}
			worst, sum := difference(&got, want)
			if worst > closeness(name) || float64(sum) > 0.1*float64(len(got.Pix)) {
				t.Errorf("differs by up to %d, %.3f on average", worst, float64(sum)/float64(len(got.Pix)))
			}
		})
	}
}

func golden(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func difference(f *vision.Frame, want image.Image) (worst, sum int) {
	for y := range f.Height {
		for x := range f.Width {
			r, g, b, _ := want.At(x, y).RGBA()
			p := f.Pix[y*f.Stride+3*x:]
			for i, v := range []uint32{b, g, r} {
				d := int(p[i]) - int(v>>8)
				d = max(d, -d)
				worst, sum = max(worst, d), sum+d
			}
		}
	}
	return worst, sum
}

func TestDecodesIntoTheCallersMemory(t *testing.T) {
	data := drawnJPEG(t, 40, 30)
	mem := make([]byte, 40*30*3+50)
	f, err := Decode(data, func(w, h int) ([]byte, error) {
		if w != 40 || h != 30 {
			t.Errorf("room is asked for %dx%d", w, h)
		}
		return mem, nil
	})
	if err != nil || &f.Pix[0] != &mem[0] || len(f.Pix) != 40*30*3 {
		t.Errorf("decoded elsewhere: %v", err)
	}
	full := errors.New("full")
	if _, err := Decode(data, func(int, int) ([]byte, error) { return nil, full }); !errors.Is(err, full) {
		t.Errorf("error is %v", err)
	}
	if _, err := Decode(data, func(int, int) ([]byte, error) { return mem[:10], nil }); err == nil || !strings.Contains(err.Error(), "3600 are needed") {
		t.Errorf("error is %v", err)
	}
}

func drawnJPEG(t testing.TB, w, h int) []byte {
	t.Helper()
	b, err := EncodeJPEG(gradient(w, h), Encoding{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gradient(w, h int) *vision.Frame {
	f := &vision.Frame{Pix: make([]byte, (w*3+5)*h), Width: w, Height: h, Stride: w*3 + 5, Format: vision.BGR24}
	for y := range h {
		for x := range w {
			copy(f.Pix[y*f.Stride+3*x:], []byte{byte(x * 255 / w), byte(y * 255 / h), 128})
		}
	}
	return f
}

// hugePNG has a good header and nothing behind it.
func hugePNG(w, h uint32) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	ihdr = append(binary.BigEndian.AppendUint32(ihdr, h), 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
}

func TestBadPictures(t *testing.T) {
	good := drawnJPEG(t, 64, 64)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "no JPEG, PNG, BMP or WebP"},
		{"text", []byte("hello, this is no picture"), "no JPEG, PNG, BMP or WebP"},
		{"GIF", []byte("GIF89a\x01\x00\x01\x00"), "no JPEG, PNG, BMP or WebP"},
		{"cut header", good[:100], "decode jpeg picture: header: unexpected EOF"},
		{"cut data", good[:len(good)-40], "decode jpeg picture of 64x64: "},
		{"too wide", hugePNG(20001, 5), "size 20001x5 is more than 20000 pixels a side"},
		{"too large", hugePNG(20000, 20000), "or 1024 MiB"},
		{"empty", hugePNG(0, 5), "decode png picture: header"},
		{"just not too large", hugePNG(18000, 18000), "decode png picture of 18000x18000: asked for room"},
	} {
		_, err := Decode(c.data, func(w, h int) ([]byte, error) {
			if w > 64 {
				return nil, errors.New("asked for room")
			}
			return make([]byte, w*h*3), nil
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", c.name, err, c.want)
		}
	}
}

func TestStat(t *testing.T) {
	data, err := os.ReadFile("testdata/golden/exif6.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Stat(data); err != nil || got != (Info{"jpeg", 27, 37, 6}) {
		t.Errorf("%+v, %v", got, err)
	}
	if !Known(data[:12]) || Known([]byte("RIFF????WAVE")) || Known(nil) {
		t.Error("Known takes sound for a picture, or no picture for one")
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      *vision.Frame
		e      Encoding
		w, h   int
		corner [3]byte // first pixel of the result
	}{
		{"whole", gradient(64, 48), Encoding{Quality: 95}, 64, 48, [3]byte{0, 0, 128}},
		{"cropped", gradient(64, 48), Encoding{Quality: 95, Crop: image.Rect(32, 24, 48, 200)}, 16, 24, [3]byte{127, 127, 128}},
		{"scaled", gradient(640, 480), Encoding{Quality: 95, MaxSide: 100}, 100, 75, [3]byte{0, 1, 128}},
		{"not enlarged", gradient(64, 48), Encoding{MaxSide: 100}, 64, 48, [3]byte{0, 0, 128}},
		{"thin", gradient(500, 2), Encoding{MaxSide: 50}, 50, 1, [3]byte{2, 64, 128}},
		{"gray", &vision.Frame{Pix: bytes.Repeat([]byte{77}, 100), Width: 10, Height: 10, Stride: 10, Format: vision.Gray8}, Encoding{}, 10, 10, [3]byte{77, 77, 77}},
	} {
		b, err := EncodeJPEG(c.f, c.e)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := Decode(b, nil)
		if err != nil || got.Width != c.w || got.Height != c.h {
			t.Errorf("%s: %dx%d, want %dx%d (%v)", c.name, got.Width, got.Height, c.w, c.h, err)
			continue
		}
		for i, v := range c.corner {
			if d := int(got.Pix[i]) - int(v); d < -8 || d > 8 {
				t.Errorf("%s: first pixel is %v, want about %v", c.name, got.Pix[:3], c.corner)
				break
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	if _, err := EncodeJPEG(&vision.Frame{Width: 5, Height: 5, Stride: 15, Format: vision.BGR24}, Encoding{}); err == nil {
		t.Error("a frame without pixels was encoded")
	}
	if _, err := EncodeJPEG(gradient(10, 10), Encoding{Crop: image.Rect(20, 20, 30, 30)}); err == nil {
		t.Error("a crop outside of the frame was encoded")
	}
}

// The averages must be those of the pixels under each new one.
func TestShrinkAverages(t *testing.T) {
	f := gradient(8, 4)
	got := shrink(f, 4, 2)
	for y := range 2 {
		for x := range 4 {
			for k := range 3 {
				sum := 0
				for _, p := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
					sum += int(f.Pix[(2*y+p[1])*f.Stride+3*(2*x+p[0])+k])
				}
				if want := byte((sum + 2) / 4); got.Pix[y*got.Stride+3*x+k] != want {
					t.Fatalf("pixel %d,%d channel %d is %d, want %d", x, y, k, got.Pix[y*got.Stride+3*x+k], want)
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/golden/*[0-9a-z].[jpbw][pnme][gpb]*")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range files {
		if b, err := os.ReadFile(p); err == nil && !strings.Contains(p, "want") {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if info, err := Stat(b); err != nil || info.Width*info.Height > 1<<20 {
			return // the limits have their own test; this one is to be quick
		}
		if m, err := Decode(b, nil); err == nil && !m.Valid() {
			t.Errorf("a frame of %dx%d with %d bytes", m.Width, m.Height, len(m.Pix))
		}
	})
}

func BenchmarkDecodeJPEG(b *testing.B) {
	for _, s := range [][2]int{{640, 360}, {1920, 1080}} {
		data := drawnJPEG(b, s[0], s[1])
		mem := make([]byte, s[0]*s[1]*3)
		b.Run(fmt.Sprintf("%dx%d", s[0], s[1]), func(b *testing.B) {
			b.SetBytes(int64(len(mem)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(data, func(int, int) ([]byte, error) { return mem, nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%dx%d/bare", s[0], s[1]), func(b *testing.B) {
			b.SetBytes(int64(len(mem)))
			for b.Loop() {
				if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeJPEG(b *testing.B) {
	for _, e := range []Encoding{{}, {MaxSide: 640}, {MaxSide: 160}} {
		f := gradient(1280, 720)
		b.Run(fmt.Sprintf("1280x720/side%d", e.MaxSide), func(b *testing.B) {
			b.SetBytes(int64(len(f.Pix)))
			for b.Loop() {
				if _, err := EncodeJPEG(f, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
