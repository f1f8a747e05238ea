package picture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// digests reads a list as sha256sum writes it: file name to digest.
func digests(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			t.Fatalf("%s: line %q", path, line)
		}
		m[name] = sum
	}
	return m
}

func TestSamplesAreLibjpegsOnCOCO(t *testing.T) {
	root := os.Getenv("SIGHTLINE_REALDATA")
	if root == "" {
		t.Skip("SIGHTLINE_REALDATA isn't set: 129 pictures of COCO left out")
	}
	same(t, digests(t, "testdata/coco129.sha256"), filepath.Join(root, "coco129", "images"), 129)
}

func TestSamplesAreLibjpegs(t *testing.T) {
	same(t, digests(t, "testdata/jpeg.sha256"), "testdata/jpeg", 100)
}

// same decodes all files of the list and compares the digests of their pixels.
func same(t *testing.T, want map[string]string, dir string, atLeast int) {
	t.Helper()
	if len(want) < atLeast {
		t.Fatalf("%d digests, want %d", len(want), atLeast)
	}
	for name, sum := range want {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		d := jpegDecoder{adobe: -1}
		d.data = data
		if _, err := d.decode(); err != nil {
			t.Errorf("%s: the decoder gives it up: %v", name, err)
			continue
		}
		f, err := Decode(data, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := sha256.Sum256(f.Pix); hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s: pixels differ from OpenCV's", name)
		}
	}
}

func readJPEG(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/jpeg", name+".jpg"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// behind gives the place behind the first marker of this kind.
func behind(t testing.TB, data []byte, mark byte) int {
	t.Helper()
	i := bytes.Index(data, []byte{0xff, mark})
	if i < 0 {
		t.Fatalf("no marker %#x", mark)
	}
	return i + 2
}

// put overwrites bytes of a copy.
func put(data []byte, at int, v ...byte) []byte {
	return slices.Replace(bytes.Clone(data), at, at+len(v), v...)
}

// without drops all segments of this kind.
func without(t testing.TB, data []byte, mark byte) []byte {
	for bytes.Contains(data, []byte{0xff, mark}) {
		at := behind(t, data, mark)
		n := int(data[at])<<8 | int(data[at+1])
		data = slices.Delete(bytes.Clone(data), at-2, at+n)
	}
	return data
}

// ended cuts a file and sets the end marker.
func ended(data []byte, at int) []byte {
	return append(bytes.Clone(data[:at]), 0xff, markEOI)
}

// doubled repeats a segment.
func doubled(t testing.TB, data []byte, mark byte) []byte {
	at := behind(t, data, mark)
	n := int(data[at])<<8 | int(data[at+1])
	return slices.Insert(bytes.Clone(data), at-2, data[at-2:at+n]...)
}

func TestBrokenJPEG(t *testing.T) {
	base, steps, marked := readJPEG(t, "420-37x27"), readJPEG(t, "420-steps"), readJPEG(t, "420-restarts")
	apart, gray := readJPEG(t, "420-apart"), readJPEG(t, "gray")
	sos, dht, rst := behind(t, base, markSOS), behind(t, base, markDHT), behind(t, marked, markRST0)
	first := behind(t, apart, markSOS)
	second := first + behind(t, apart[first:], markSOS) - 2
	scan := gray[behind(t, gray, markSOS)-2 : len(gray)-2]
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"no end marker", base[:len(base)-2], "ends before its end marker: unexpected EOF"},
		{"cut data", base[:len(base)-60], "of blocks: the data end early: unexpected EOF"},
		{"cut data, ended", ended(base, len(base)-60), "the data end early: unexpected EOF"},
		{"cut in a band", ended(steps, len(steps)-30), "the data end early: unexpected EOF"},
		{"cut in a segment", base[:sos+5], "segment of 12 bytes: unexpected EOF"},
		{"no scan", ended(base, sos-2), "no data before the end marker"},
		{"one component", ended(apart, second), "no data for component 1"},
		{"no quantisation", without(t, base, markDQT), "quantisation table 0 is missing"},
		{"no codes", without(t, base, markDHT), "scan of component 1 without its Huffman table"},
		{"too many codes", put(base, dht+3, 3, 0, 0), "codes too many of 1 bits"},
		{"frame twice", doubled(t, base, markSOF0), "a second frame header"},
		{"strange component", put(base, sos+3, 77), "scan of component 77, which the frame doesn't have"},
		{"component twice", put(base, sos+5, 1), "scan has component 1 twice"},
		{"restart out of order", put(marked, rst-1, markRST0+3), "marker 0xd3 stands for the restart marker 0xd0"},
		{"too many scans", ended(slices.Concat(gray[:len(gray)-2], bytes.Repeat(scan, 256)), len(gray)-2+256*len(scan)), "more than 256 scans"},
	} {
		_, err := Decode(c.data, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", c.name, err, c.want)
		}
	}
}

// Every file cut anywhere must give an error, and none a panic.
func TestCutJPEG(t *testing.T) {
	for _, name := range []string{"420-37x27", "444-progressive-37x27", "422-restarts", "440-steps", "gray", "rgb"} {
		data := readJPEG(t, name)
		for n := 3; n < len(data)-1; n++ {
			if _, err := Decode(data[:n], nil); err == nil {
				t.Errorf("%s cut to %d of %d bytes is taken", name, n, len(data))
			}
		}
	}
}

// Junk that libjpeg skips is skipped: before markers and after the last scan.
func TestJunkInJPEG(t *testing.T) {
	base := readJPEG(t, "420-37x27")
	want, err := Decode(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	dqt, end := behind(t, base, markDQT)-2, len(base)-2
	for name, data := range map[string][]byte{
		"bytes before a table": slices.Insert(bytes.Clone(base), dqt, 1, 2, 0xff, 0, 3),
		"fill bytes":           slices.Insert(bytes.Clone(base), dqt, 0xff, 0xff, 0xff),
		"after the scan":       slices.Insert(bytes.Clone(base), end, 1, 2, 3, 0xff, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9),
		"a last restart":       slices.Insert(bytes.Clone(base), end, 0xff, markRST0),
		"after the end":        append(bytes.Clone(base), "trailer"...),
	} {
		got, err := Decode(data, nil)
		if err != nil || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s: %v, or other pixels", name, err)
		}
	}
}

// What the decoder doesn't do goes to image/jpeg.
func TestRareJPEGGoesElsewhere(t *testing.T) {
	cmyk, err := os.ReadFile("testdata/golden/cmyk.jpg")
	if err != nil {
		t.Fatal(err)
	}
	subRGB := put(without(t, readJPEG(t, "420-37x27"), markAPP0), 0) // by its ids red, green, blue
	sof, sos := behind(t, subRGB, markSOF0), behind(t, subRGB, markSOS)
	for i, id := range []byte("RGB") {
		subRGB = put(put(subRGB, sof+8+3*i, id), sos+3+2*i, id)
	}
	for name, data := range map[string][]byte{"CMYK": cmyk, "RGB with subsampling": subRGB} {
		d := jpegDecoder{adobe: -1}
		d.data = data
		if _, err := d.decode(); !errors.Is(err, errElsewhere) {
			t.Errorf("%s: error is %v", name, err)
		}
		if _, err := Decode(data, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzJPEG(f *testing.F) {
	files, err := filepath.Glob("testdata/jpeg/*.jpg")
	if err != nil || len(files) == 0 {
		f.Fatal("no JPEGs", err)
	}
	for _, p := range files {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if info, err := Stat(b); err != nil || info.Format != "jpeg" || info.Width*info.Height > 1<<18 {
			return
		}
		d := jpegDecoder{adobe: -1}
		d.data = b
		got, err := d.decode()
		if err != nil {
			return
		}
		want, err := jpeg.Decode(bytes.NewReader(b))
		if err != nil || d.odd() {
			return
		}
		compareLuma(t, luma(got), luma(want))
	})
}

// odd tells files in which image/jpeg is known to go its own way: restart
// markers in scans of one component, tables that change between scans, and
// codes that mean more than an end of block in a sequential picture.
func (d *jpegDecoder) odd() bool {
	for _, h := range d.ac {
		for i := 1; h != nil && !d.progressive && i < 15; i++ {
			if bytes.IndexByte(h.syms[:], byte(i<<4)) >= 0 {
				return true
			}
		}
	}
	for i := range d.comps {
		if c := &d.comps[i]; c.quant != d.quant[c.table] {
			return true
		}
	}
	return d.interval > 0 || !d.progressive && d.scans > len(d.comps)
}

// luma gives the plane of Y, or the only one.
func luma(m image.Image) *image.Gray {
	switch m := m.(type) {
	case *image.Gray:
		return m
	case *image.YCbCr:
		return &image.Gray{Pix: m.Y, Stride: m.YStride, Rect: m.Rect}
	}
	return nil
}

// compareLuma compares the whole blocks in which neither has been limited to
// 0 or 255: coefficients that are too large for an 8-bit picture overflow, and
// differently so.
func compareLuma(t *testing.T, got, want *image.Gray) {
	t.Helper()
	if (got == nil) != (want == nil) {
		t.Fatal("one is of YCbCr, the other isn't")
	}
	if got == nil {
		return
	}
	if got.Rect != want.Rect {
		t.Fatalf("size %v, image/jpeg has %v", got.Rect, want.Rect)
	}
	for by := 0; by+8 <= got.Rect.Max.Y; by += 8 {
		for bx := 0; bx+8 <= got.Rect.Max.X; bx += 8 {
			worst, limited := 0, false
			for i := range 64 {
				g, w := got.GrayAt(bx+i&7, by+i>>3).Y, want.GrayAt(bx+i&7, by+i>>3).Y
				limited = limited || g == 0 || g == 255 || w == 0 || w == 255
				worst = max(worst, int(g)-int(w), int(w)-int(g))
			}
			if worst > 4 && !limited {
				t.Fatalf("luma of the block at %d,%d differs by %d", bx, by, worst)
			}
		}
	}
}

// Pictures of all kinds of contents that image/jpeg encodes.
func TestCloseToImageJPEG(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		m := image.NewRGBA(image.Rect(0, 0, 1+r.IntN(70), 1+r.IntN(70)))
		mean, noise := r.IntN(256), 1+r.IntN(128)
		for i := range m.Pix {
			m.Pix[i] = byte(min(max(mean+r.IntN(2*noise)-noise, 0), 255))
		}
		var in image.Image = m
		if r.IntN(4) == 0 {
			in = &image.Gray{Pix: m.Pix, Stride: m.Rect.Dx(), Rect: m.Rect}
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, in, &jpeg.Options{Quality: 1 + r.IntN(100)}); err != nil {
			t.Fatal(err)
		}
		got, err := decodeJPEG(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		want, err := jpeg.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		compareLuma(t, luma(got), luma(want))
	}
}

// oneBlock is a gray picture of 8×8 whose data are zeros. The only code of its
// tables is the bit 0: no difference for DC, the symbol given for AC.
func oneBlock(frame, ac byte) []byte {
	b := append([]byte{0xff, 0xd8, 0xff, markDQT, 0, 67, 0}, bytes.Repeat([]byte{1}, 64)...)
	b = append(b, 0xff, frame, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0)
	for i, sym := range []byte{0, ac} {
		b = append(b, 0xff, markDHT, 0, 20, byte(i<<4), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, sym)
	}
	if frame == markSOF2 {
		b = append(b, 0xff, markSOS, 0, 8, 1, 1, 0, 0, 0, 0, 0) // DC, and a byte of data
		b = append(b, 0xff, markSOS, 0, 8, 1, 1, 0, 1, 63, 0, 0, 0, 0)
	} else {
		b = append(b, 0xff, markSOS, 0, 8, 1, 1, 0, 0, 63, 0, 0, 0)
	}
	return append(b, 0xff, markEOI)
}

func TestCoefficientsBehindTheLast(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame byte
		ac    byte
		ok    bool
	}{
		{"fifteen zeros and a value, four times", markSOF0, 0xf1, false},
		{"and in a band", markSOF2, 0xf1, false},
		{"only zeros, four times sixteen", markSOF0, 0xf0, true}, // libjpeg takes it for the end
		{"zeros in a band", markSOF2, 0xf0, true},
		{"end of block", markSOF0, 0, true},
	} {
		data := oneBlock(c.frame, c.ac)
		f, err := Decode(data, nil)
		if c.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "a coefficient behind the last") {
			t.Errorf("%s: error is %v", c.name, err)
		}
		if c.ok && !bytes.Equal(f.Pix, bytes.Repeat([]byte{128}, 192)) {
			t.Errorf("%s: pixels are %v", c.name, f.Pix)
		}
	}
}
