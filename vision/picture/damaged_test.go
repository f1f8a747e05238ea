package picture

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A file that was cut anywhere is refused, unless what is missing tells nothing of
// the picture; so is a PNG with any bit turned, as everything in it is summed up.
func TestDamagedPictures(t *testing.T) {
	for _, name := range []string{"rgb.png", "gray16.png", "palette4-interlaced.png", "rgb16-key.png", "lossy-5x5.webp", "lossless.webp", "rgb.bmp", "palette.bmp", "420-5x5.jpg", "420-progressive.jpg"} {
		data, err := os.ReadFile(filepath.Join("testdata/golden", name))
		if err != nil {
			t.Fatal(err)
		}
		whole, err := Decode(data, nil)
		if err != nil {
			t.Fatal(err)
		}
		refused, taken := 0, 0
		try := func(what string, at int, damaged []byte) {
			got, err := Decode(damaged, nil)
			switch {
			case err != nil:
				refused++
			case got.Width != whole.Width || got.Height != whole.Height || !bytes.Equal(got.Pix, whole.Pix):
				t.Errorf("%s, %s at %d: another picture is taken", name, what, at)
			default:
				taken++
			}
		}
		for n := 0; n < len(data); n += 1 + len(data)/400 {
			try("cut", n, data[:n])
		}
		if filepath.Ext(name) == ".png" {
			for at := range data {
				turned := bytes.Clone(data)
				turned[at] ^= 1 << (at % 8)
				try("turned", at, turned)
			}
		}
		t.Logf("%s: %d refused, %d told nothing of the picture", name, refused, taken)
		if refused < taken {
			t.Errorf("%s: only %d of %d were refused", name, refused, refused+taken)
		}
	}
}
