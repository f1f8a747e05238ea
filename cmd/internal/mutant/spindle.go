package mutant

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
)

// Sizes of a drawn spindle, pixels.
const (
	spindleW, spindleH = 1130, 460
	pitch              = 190.0
	slope              = -0.18 // down for each pixel to the right
	maxPits            = 4
)

// DrawSpindles writes JPEG pictures of ball-screw threads, every third without a
// pit, as vision/models/pitting/draw.py makes them, into a folder below dir, and
// gives their slash-separated paths relative to dir. The same seed gives the same
// pictures.
func DrawSpindles(dir, folder string, seed uint64, pictures int) ([]string, error) {
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
		return nil, fmt.Errorf("draw spindles: %w", err)
	}
	var names []string
	for n := range pictures {
		rnd := rand.New(rand.NewPCG(seed, uint64(n)))
		grey := threads(rnd)
		for range min(n%3, 1) * (1 + rnd.IntN(maxPits)) {
			pit(grey, rnd)
		}
		b, err := coloured(grey)
		if err != nil {
			return nil, fmt.Errorf("draw spindles: %w", err)
		}
		name := path.Join(folder, fmt.Sprintf("spindle-%d-%02d.jpg", seed, n))
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), b, 0o644); err != nil {
			return nil, fmt.Errorf("draw spindles: %w", err)
		}
		names = append(names, name)
	}
	return names, nil
}

// threads are grey levels from 0 to 1.3: flanks with their shine, brushed along.
func threads(rnd *rand.Rand) []float64 {
	brushed := noise(rnd, 40, 0.8)
	grey := make([]float64, spindleW*spindleH)
	for i := range grey {
		x, y := float64(i%spindleW), float64(i/spindleW)
		across := math.Mod(math.Mod(y-slope*x, pitch)+pitch, pitch) / pitch
		flank := 0.35 + 0.45*math.Pow(math.Sin(math.Pi*across), 2) - 0.25*math.Exp(-math.Pow((across-0.1)/0.05, 2))
		shine := 0.25*math.Exp(-math.Pow((x-0.12*spindleW)/60, 2)) + 0.35*math.Exp(-math.Pow((x-0.9*spindleW)/70, 2))
		grey[i] = flank + shine*flank + 0.04*brushed[i]
	}
	return grey
}

// pit puts a rough dark hole of 5 to 35 pixels somewhere in a thread's track.
func pit(grey []float64, rnd *rand.Rand) {
	size := 5 * math.Pow(7, rnd.Float64())
	x := (0.05 + 0.9*rnd.Float64()) * spindleW
	y := math.Mod((0.3+0.4*rnd.Float64())*pitch+slope*x+4*pitch, pitch) + pitch
	ragged := noise(rnd, size/6+1, size/6+1)
	reach := int(3*size) + 2
	for py := max(int(y)-reach, 0); py < min(int(y)+reach, spindleH); py++ {
		for px := max(int(x)-reach, 0); px < min(int(x)+reach, spindleW); px++ {
			i := py*spindleW + px
			far := math.Hypot((float64(px)-x)/1.5, float64(py)-y) - size*(1+0.25*ragged[i])
			soft := 1 / (1 + math.Exp(2*far))
			grey[i] *= 1 - soft*(0.7-0.25*rnd.Float64()-0.15*ragged[i])
		}
	}
}

// noise is smooth normal noise of the spread 1.
func noise(rnd *rand.Rand, sx, sy float64) []float64 {
	v := make([]float64, spindleW*spindleH)
	for i := range v {
		v[i] = rnd.NormFloat64()
	}
	out := make([]float64, len(v))
	for _, pass := range []struct {
		sigma        float64
		n, step      int // of a line
		lines, apart int
	}{{sx, spindleW, 1, spindleH, spindleW}, {sy, spindleH, spindleW, spindleW, 1}} {
		for range 2 { // two boxes are nearly a bell
			for l := range pass.lines {
				box(out[l*pass.apart:], v[l*pass.apart:], pass.n, pass.step, int(pass.sigma*1.22+0.5))
			}
			v, out = out, v
		}
	}
	var squares float64
	for _, x := range v {
		squares += x * x
	}
	spread := math.Sqrt(squares / float64(len(v)))
	for i := range v {
		v[i] /= spread
	}
	return v
}

// box writes to a line of n values, which are step apart, the sums of those r before
// to r behind each.
func box(to, from []float64, n, step, r int) {
	sum := 0.0
	for i := range min(r, n) {
		sum += from[i*step]
	}
	for i := range n {
		if i+r < n {
			sum += from[(i+r)*step]
		}
		if i-r > 0 {
			sum -= from[(i-r-1)*step]
		}
		to[i*step] = sum
	}
}

// coloured is the picture in the tone of steel.
func coloured(grey []float64) ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, spindleW, spindleH))
	level := func(g, full float64) uint8 { return uint8(max(0, min(255, g*full))) }
	for i, g := range grey {
		img.SetRGBA(i%spindleW, i/spindleW, color.RGBA{level(g, 215), level(g, 195), level(g, 150), 255})
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 85})
	return b.Bytes(), err
}
