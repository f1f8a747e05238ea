package infer

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// The plain and the C passes of the filters give the same, up and down by any
// factor, for pictures of the extremes of black and white as well.
func TestFilterPassesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	n := 0
	for _, sizes := range [][2]int{{1, 1}, {1, 40}, {2, 1}, {3, 2}, {17, 33}, {33, 17}, {64, 48}, {640, 224}, {1000, 3}, {3000, 2}, {9000, 7}, {16, 160}} {
		for _, how := range []Interpolation{Bilinear, Bicubic} {
			in := Input{Width: sizes[1], Height: sizes[1], Colour: BGR, Scale: 1, Resize: Stretch}
			k := newFilter(how, in.lay(sizes[0], sizes[0]), 3)
			for round := range 3 {
				src := make([]byte, 3*sizes[0])
				paint := func(b []byte) {
					for i := range b {
						if b[i] = byte(r.Uint32()); round > 0 {
							b[i] = -(b[i] & 1)
						}
					}
				}
				paint(src)
				plain, fast := make([]byte, 3*sizes[1]), make([]byte, 3*sizes[1])
				k.along3Go(plain, src)
				k.along3(fast, src)
				if !bytes.Equal(plain, fast) {
					t.Errorf("%s of %d to %d along: the passes differ", how, sizes[0], sizes[1])
				}
				paint(k.ring)
				for y := range sizes[1] {
					first, weights := k.down.at(y)
					k.blendGo(plain, first, weights)
					k.blend(fast, first, weights)
					if !bytes.Equal(plain, fast) {
						t.Errorf("%s of %d to %d, row %d: the passes differ", how, sizes[0], sizes[1], y)
						break
					}
				}
				n++
			}
		}
	}
	t.Logf("%d pictures", n)
}

// BenchmarkFilterPasses has the C passes beside the plain ones.
func BenchmarkFilterPasses(b *testing.B) {
	in := Input{Width: 640, Height: 640, Colour: BGR, Scale: 1, Resize: Stretch}
	k, frame := newFilter(Bilinear, in.lay(1920, 1080), 3), noise(1920, 1080, vision.BGR24, 1)
	dst := make([]byte, len(k.sum))
	for name, run := range map[string]func(){
		"along/plain": func() { k.along3Go(dst, frame.Pix[:5760]) },
		"along/c":     func() { k.along3(dst, frame.Pix[:5760]) },
		"blend/plain": func() { first, w := k.down.at(300); k.blendGo(dst, first, w) },
		"blend/c":     func() { first, w := k.down.at(300); k.blend(dst, first, w) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run()
			}
		})
	}
}
