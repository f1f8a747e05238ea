package infer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

type toolGolden struct {
	Frame         [3]int
	Tensor        [2]int
	Seed          uint32
	Colour        Colour
	Interpolation Interpolation
	Resize        Resize
	Share         float64
	SHA256        string
}

func (g toolGolden) String() string {
	return fmt.Sprintf("%s %s of %v to %s %v (share %v)", g.Interpolation, g.Resize, g.Frame, g.Colour, g.Tensor, g.Share)
}

func (g toolGolden) input() Input {
	return Input{Width: g.Tensor[0], Height: g.Tensor[1], Colour: g.Colour, Scale: 1, Resize: g.Resize,
		Interpolation: g.Interpolation, CropShare: g.Share}
}

func (g toolGolden) frame() *vision.Frame {
	return fillGolden{Frame: g.Frame, Seed: g.Seed}.frame()
}

// levels are a tensor's values as grey levels.
func levels(data []float32) []byte {
	out := make([]byte, len(data))
	for i, v := range data {
		out[i] = byte(v)
	}
	return out
}

func TestFillIsBitExactToTheTools(t *testing.T) {
	b, err := os.ReadFile("testdata/fill_tools.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []toolGolden
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	exact := map[string]int{}
	frames := map[string]*vision.Frame{} // each serves many
	for _, g := range all {
		frame := fmt.Sprint(g.Frame, g.Seed)
		if frames[frame] == nil {
			frames[frame] = g.frame()
		}
		f := NewFiller(g.input())
		blob := f.NewBlob()
		if _, err := f.Fill(blob, frames[frame]); err != nil {
			t.Fatal(g, err)
		}
		sum := sha256.Sum256(levels(blob.Data))
		if got := hex.EncodeToString(sum[:])[:16]; got != g.SHA256 {
			t.Errorf("%v: the levels' hash is %s, the tool's is %s", g, got, g.SHA256)
			continue
		}
		exact[fmt.Sprint(g.Interpolation, " ", g.Resize)]++
	}
	t.Logf("equal to the last bit: %v", exact)
}

// Frames of one size take no memory after the first.
func TestFillTakesNoMemory(t *testing.T) {
	for _, how := range []Interpolation{Linear, Area, Bilinear, Bicubic, Nearest} {
		for _, colour := range []Colour{RGB, Gray} {
			for _, size := range [][2]int{{130, 90}, {96, 96}, {20, 30}} {
				f := NewFiller(Input{Width: 48, Height: 48, Colour: colour, Scale: 1, Resize: Stretch, Interpolation: how})
				blob, frame := f.NewBlob(), picture(size[0], size[1], vision.BGR24, 1)
				if n := testing.AllocsPerRun(5, func() {
					if _, err := f.Fill(blob, frame); err != nil {
						t.Fatal(err)
					}
				}); n != 0 {
					t.Errorf("%s of %v to %s: %v allocations a frame", how, size, colour, n)
				}
			}
		}
	}
}
