package quality

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

const (
	flickerLen   = 128 // frames that are looked at together
	flickerEvery = 32  // frames
	flickerFirst = 4   // slowest swing, in flickerLen frames; slower ones look like the day
	flickerShare = 0.6 // of all swinging that must be at one rate
	flickerRate  = 8.0 // frames a second, at least
	flickerGap   = 8   // frames that may be missing in a row
	flickerSlow  = 16  // frames that the mean brightness follows in
)

// flicker watches for light that swings at one rate, everywhere in the
// picture at once or, with a rolling shutter, in bands. The rate that is seen
// is the lamp's less the nearest multiple of the frame rate.
type flicker struct {
	hold
	mean   [tileRows * tileCols]float64 // of each tile, slow; 0: none yet
	swing  [tileRows][flickerLen]float32
	n      int // frames in swing so far, the missing included
	looked int
	seq    uint64
	stride uint64    // between the numbers of two frames that we are shown
	guess  uint64    // the last difference
	rate   float64   // of the swings, a second
	wave   []float64 // Hann window, then sine: flickerLen of each
}

func (k *flicker) begin() {
	*k = flicker{wave: make([]float64, 2*flickerLen), stride: 1}
	k.detail = k.say
	for i := range flickerLen {
		k.wave[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/flickerLen)
		k.wave[flickerLen+i] = math.Sin(2 * math.Pi * float64(i) / flickerLen)
	}
}

func (k *flicker) gap() {
	k.n, k.looked = 0, 0
	k.mean = [tileRows * tileCols]float64{}
	k.hold.doubt()
}

// look takes one frame's tiles.
func (k *flicker) look(m *Monitor, f *vision.Frame) {
	missing := k.missing(f.Seq)
	if missing > flickerGap {
		k.gap()
		missing = 0
	}
	for range missing {
		k.put(&[tileRows]float32{})
	}
	var row [tileRows]float32
	for b := range row {
		row[b] = k.band(m.grid.tile[b*tileCols:][:tileCols], k.mean[b*tileCols:][:tileCols])
	}
	k.put(&row)
	if k.looked++; k.looked%flickerEvery != 0 || k.n < flickerLen {
		return
	}
	fps := 1 / max(m.every.Seconds(), 1e-4)
	amplitude, share, bin := k.line()
	k.rate = float64(bin) / flickerLen * fps
	bad := amplitude >= m.cfg.Swing && share >= flickerShare && fps >= flickerRate
	good := amplitude < 0.8*m.cfg.Swing || share < 0.7*flickerShare
	k.hold.is(f.Captured, bad, good, m.cfg.FlickerAfter, m.cfg.Leave)
	k.value, k.limit = amplitude, m.cfg.Swing
}

func (k *flicker) say(v float64) string {
	return fmt.Sprintf("the brightness swings by ±%.0f %% about %.1f times a second: set the exposure to a multiple of the mains' half period, or change the lamp", 100*v, k.rate)
}

// missing is how many frames that we would have been shown weren't.
func (k *flicker) missing(seq uint64) int {
	d := seq - k.seq
	if k.seq == 0 || seq <= k.seq {
		d = k.stride
	}
	k.seq = seq
	if d == k.guess {
		k.stride = d // twice the same: we are shown every d-th
	}
	k.guess = d
	return int(min((d+k.stride/2)/k.stride, flickerGap+2)) - 1
}

func (k *flicker) put(row *[tileRows]float32) {
	for b, v := range row {
		k.swing[b][k.n%flickerLen] = v
	}
	k.n++
}

// band is by how much the tiles of one band all differ from their means in
// the same direction: what passes by changes some more than others.
func (k *flicker) band(tiles []int, means []float64) float32 {
	var r [tileCols]float32
	n := 0
	for i, v := range tiles {
		is := float64(v) / perTile
		if means[i] == 0 {
			means[i] = max(is, 1e-3)
		}
		swing := is/means[i] - 1
		means[i] += (is - means[i]) / flickerSlow
		if means[i] < 8 || means[i] > clipped-5 {
			continue // no light to swing, or none that could be seen to
		}
		at := n
		for ; at > 0 && r[at-1] > float32(swing); at-- {
			r[at] = r[at-1]
		}
		r[at] = float32(swing)
		n++
	}
	if n < tileCols/2 {
		return 0
	}
	lo, hi := r[1], r[n-2]
	switch {
	case lo > 0:
		return lo
	case hi < 0:
		return hi
	}
	return 0
}

// line finds the strongest swing: its amplitude, its share of all swinging,
// and its rate in swings over flickerLen frames.
func (k *flicker) line() (amplitude, share float64, bin int) {
	var power [flickerLen/2 + 2]float64
	total := 0.0
	for b := range tileRows {
		k.spectrum(b, &power)
	}
	for i := flickerFirst - 1; i <= flickerLen/2; i++ {
		total += power[i]
		if i >= flickerFirst && power[i] > power[bin] {
			bin = i
		}
	}
	if total == 0 {
		return 0, 0, 0
	}
	peak := power[bin-1] + power[bin] + power[bin+1]
	scale := 4.0
	if bin >= flickerLen/2-1 { // at half the frame rate both sides fold into one
		scale = 2 * math.Sqrt2
	}
	return scale / flickerLen * math.Sqrt(peak/1.5/tileRows), peak / total, bin
}

func (k *flicker) spectrum(band int, power *[flickerLen/2 + 2]float64) {
	var x [flickerLen]float64
	for i := range x {
		x[i] = float64(k.swing[band][(k.n+i)%flickerLen]) * k.wave[i]
	}
	sine := k.wave[flickerLen:][:flickerLen]
	for bin := flickerFirst - 1; bin <= flickerLen/2; bin++ {
		re, im := 0.0, 0.0
		at := 0
		for _, v := range x {
			re += v * sine[(at+flickerLen/4)%flickerLen]
			im += v * sine[at%flickerLen]
			at += bin
		}
		power[bin] += re*re + im*im
	}
}
