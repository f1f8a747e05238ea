package coco

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

//go:embed testdata/masks.json
var masksJSON []byte

// golden is what testdata/masks.py took from pycocotools.
type golden struct {
	Polygons []struct {
		W, H     int
		Polygons [][]float64
		Counts   string
		Area     int
		Box      [4]float64
	}
	Bitmaps []struct {
		W, H   int
		Pixels string
		Counts string
		List   []uint32
		Area   int
		Box    [4]float64
	}
	IoUs []struct {
		W, H        int
		A, B, Union string
		IoU, Crowd  float64
		Both        int
	}
	Boxes []struct {
		A, B       [4]float64
		IoU, Crowd float64
	}
	Real []struct {
		File                string
		Images, Annotations int
		SHA256              string
		Pixels              int
	}
}

func masks(t testing.TB) (g golden) {
	t.Helper()
	if err := json.Unmarshal(masksJSON, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func bounds(r RLE) [4]float64 {
	x, y, w, h := r.Bounds()
	return [4]float64{float64(x), float64(y), float64(w), float64(h)}
}

func TestPolygonsAsPycocotoolsHasThem(t *testing.T) {
	g := masks(t)
	for i, c := range g.Polygons {
		r, err := FromPolygons(c.Polygons, c.W, c.H)
		if err != nil {
			t.Errorf("polygons %d: %v", i, err)
			continue
		}
		if r.String() != c.Counts || r.Area() != c.Area || bounds(r) != c.Box {
			t.Errorf("polygons %d, %d×%d: %q, %d pixels in %v, want %q, %d in %v", i, c.W, c.H, r, r.Area(), bounds(r), c.Counts, c.Area, c.Box)
		}
		if err := r.Check(); err != nil {
			t.Errorf("polygons %d: %v", i, err)
		}
	}
	if len(g.Polygons) < 100 {
		t.Errorf("only %d sets of polygons", len(g.Polygons))
	}
}

func TestBitmapsAsPycocotoolsHasThem(t *testing.T) {
	for i, c := range masks(t).Bitmaps {
		inside := make([]bool, len(c.Pixels))
		for j := range inside {
			inside[j] = c.Pixels[j] == '1'
		}
		r, err := FromPixels(inside, c.W, c.H)
		if err != nil {
			t.Fatal(err)
		}
		if r.String() != c.Counts || r.Area() != c.Area || bounds(r) != c.Box {
			t.Errorf("bitmap %d: %q, %d pixels in %v, want %q, %d in %v", i, r, r.Area(), bounds(r), c.Counts, c.Area, c.Box)
		}
		back, err := ParseRLE(c.Counts, c.W, c.H)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.List, back.Counts); diff != "" {
			t.Errorf("bitmap %d: counts (-want +got)\n%s", i, diff)
		}
		if diff := cmp.Diff(inside, back.Pixels()); diff != "" {
			t.Errorf("bitmap %d: pixels (-want +got)\n%s", i, diff)
		}
		if diff := cmp.Diff(vision.MaskOf(inside, c.W, c.H), back.Mask()); diff != "" {
			t.Errorf("bitmap %d: mask (-want +got)\n%s", i, diff)
		}
		again, err := FromMask(back.Mask(), c.W, c.H)
		if diff := cmp.Diff(back, again); err != nil || diff != "" {
			t.Errorf("bitmap %d by its mask: %v (-want +got)\n%s", i, err, diff)
		}
	}
}

func TestIoUAsPycocotoolsHasIt(t *testing.T) {
	for i, c := range masks(t).IoUs {
		a, err := ParseRLE(c.A, c.W, c.H)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseRLE(c.B, c.W, c.H)
		if err != nil {
			t.Fatal(err)
		}
		u, err := a.Union(b)
		if err != nil {
			t.Fatal(err)
		}
		if a.IoU(b, false) != c.IoU || a.IoU(b, true) != c.Crowd || a.Both(b) != c.Both || u.String() != c.Union {
			t.Errorf("pair %d: IoU %v, of a crowd %v, %d in both, union %q, want %+v", i, a.IoU(b, false), a.IoU(b, true), a.Both(b), u, c)
		}
	}
	for i, c := range masks(t).Boxes {
		if got, crowd := BoxIoU(c.A, c.B, false), BoxIoU(c.A, c.B, true); math.Abs(got-c.IoU) > 1e-15 || math.Abs(crowd-c.Crowd) > 1e-15 {
			t.Errorf("boxes %d: IoU %v, of a crowd %v, want %+v", i, got, crowd, c)
		}
	}
}

// Every polygon and every crowd of four real sets, pixel for pixel.
func TestRealAnnotations(t *testing.T) {
	root := os.Getenv("SIGHTLINE_REALDATA")
	if root == "" {
		t.Skip("left out: SIGHTLINE_REALDATA isn't set")
	}
	for _, c := range masks(t).Real {
		f, err := Read(filepath.Join(root, c.File))
		if err != nil {
			t.Error(err)
			continue
		}
		digest, pixels := sha256.New(), 0
		for i := range f.Annotations {
			r, err := f.Mask(&f.Annotations[i])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(digest, "%d %s\n", f.Annotations[i].ID, r); err != nil {
				t.Fatal(err)
			}
			pixels += r.Area()
		}
		got := hex.EncodeToString(digest.Sum(nil))
		if len(f.Images) != c.Images || len(f.Annotations) != c.Annotations || pixels != c.Pixels || got != c.SHA256 {
			t.Errorf("%s: %d images, %d annotations, %d pixels, digest %s, want %+v", c.File, len(f.Images), len(f.Annotations), pixels, got, c)
		}
	}
}

func TestDamagedRunLengths(t *testing.T) {
	for _, c := range []struct{ counts, want string }{
		{"", "counts: 12 pixels of the picture of 4×3 have no run"},
		{"`", "counts: character 2: the string ends within a number"},
		{"\x7f", `counts: character 1: '\x7f' isn't of run lengths`},
		{"5 7", `counts: character 2: ' ' isn't of run lengths`},
		{"=", "counts: run 1 is 13 pixels, of which the picture of 4×3 has 12 left"},
		{"57O", "counts: run 3 is -1 pixels, of which the picture of 4×3 has 0 left"},
		{"56", "counts: 1 pixels of the picture of 4×3 have no run"},
		{"oooooooo", "counts: character 8: a number of more than 7 characters"},
	} {
		_, err := ParseRLE(c.counts, 4, 3)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.counts, err, c.want)
		}
	}
	if _, err := ParseRLE("", 70000, 1); err == nil {
		t.Error("a picture of 70000 pixels a side was taken")
	}
}

func TestMaskOutsideOfThePicture(t *testing.T) {
	full := &vision.Mask{X: -2, Y: -1, W: 4, H: 3, Runs: []uint32{0, 12}}
	r, err := FromMask(full, 5, 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint32{0, 2, 1, 2, 10}, r.Counts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, m := range []*vision.Mask{nil, {X: 9, Y: 9, W: 2, H: 2, Runs: []uint32{0, 4}}, {X: 0, Y: 0, W: -1, H: 2}} {
		if r, err := FromMask(m, 5, 3); err != nil || r.Area() != 0 || r.Check() != nil {
			t.Errorf("%+v: %v, %v, want no pixels", m, r, err)
		}
	}
	if _, err := FromMask(&vision.Mask{W: 1 << 20, H: 1 << 20}, 5, 3); err == nil {
		t.Error("a mask of 2^40 pixels was taken")
	}
	left, right := &vision.Mask{W: 2, H: 3, Runs: []uint32{0, 6}}, Empty(5, 3)
	if r, _ := FromMask(left, 5, 3); !cmp.Equal(r.Counts, []uint32{0, 6, 9}) || right.Area() != 0 {
		t.Errorf("the left columns are %v", r.Counts)
	}
}

func TestUnionOfMasks(t *testing.T) {
	masks := []*vision.Mask{{X: 0, Y: 0, W: 2, H: 2, Runs: []uint32{0, 4}}, nil, {X: 1, Y: 1, W: 2, H: 2, Runs: []uint32{0, 4}}}
	r, err := FromMasks(masks, 4, 3)
	if diff := cmp.Diff(RLE{4, 3, []uint32{0, 2, 1, 3, 1, 2, 3}}, r); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if _, err := r.Union(Empty(3, 4)); err == nil {
		t.Error("masks of different pictures were joined")
	}
}

func FuzzParseRLE(f *testing.F) {
	for _, c := range masks(f).Bitmaps {
		f.Add(c.Counts, uint16(c.W), uint16(c.H))
	}
	f.Add("oooooooo", uint16(4), uint16(3))
	f.Fuzz(func(t *testing.T, counts string, w, h uint16) {
		r, err := ParseRLE(counts, int(w), int(h))
		if err != nil {
			return
		}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		again, err := ParseRLE(r.String(), r.W, r.H)
		if diff := cmp.Diff(r, again); err != nil || diff != "" {
			t.Fatalf("%v (-want +got)\n%s", err, diff)
		}
		if r.W*r.H > 1<<16 {
			return
		}
		m, err := FromMask(r.Mask(), r.W, r.H)
		if err != nil || m.Area() != r.Area() || m.Both(r) != r.Area() || bounds(m) != bounds(r) {
			t.Fatalf("by its mask: %v, %v of %v", err, m, r)
		}
	})
}
