package score

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// exactPixels is up to how many pixels every score is kept and sorted; beyond
// them scores are counted in bins.
const exactPixels = 1 << 22

// binBits are the bits of a score that choose its bin: sign, exponent and the
// highest 13 of the 23 of the fraction. Scores that differ by more than one part
// in 8,192 are in different bins.
const binBits = 22

// Maps gathers anomaly maps: one score for each pixel of many pictures. Up to
// exactPixels it takes 12 bytes a bad pixel and 4 a good one, beyond that at most
// 100 MB, however many come. The zero value is ready.
type Maps struct {
	good    []uint32 // keys of pixels; nil once there are bins
	bad     []pixel
	bins    *bins
	regions []int // sizes, pixels
	n       int64 // pixels
}

// A pixel is one of a bad region.
type pixel struct {
	key    uint32
	region uint32
	size   uint32 // of the region
}

// bins count pixels by the upper bits of their keys. Memory that no score reaches
// is never touched, and costs nothing.
type bins struct {
	good, bad []int64
	share     []float64 // of regions, in regions
}

// PixelScores is what Maps gives, each 0 to 1.
type PixelScores struct {
	AUROC float64 `json:"auroc"` // as Curve's, a pixel at a time
	// AUPRO is the area under the mean overlap of regions (connected bad pixels,
	// corners included, each of the same weight) over the share of good pixels
	// that are called bad, up to FPR, divided by FPR (Bergmann et al., CVPR 2020;
	// every step of the curve, straight lines between). Anomalib's AUPRO draws every
	// region's curve anew through as many points as the whole one has, and so may
	// differ in the third digit, more where there are few different scores.
	AUPRO       float64 `json:"aupro"`
	FPR         float64 `json:"fpr"`               // up to which, 0.3 in the literature
	AP          float64 `json:"average_precision"` // as Curve's
	F1          float64 `json:"f1_max"`            // as Curve's
	F1Threshold float64 `json:"f1_threshold"`
	Pixels      int64   `json:"pixels"`
	Regions     int     `json:"regions"`
	// AUROCError and AUPROError bound by how much the two may be off because scores
	// share a bin; 0 where every score was sorted. AP and F1 are those of scores
	// rounded to their bins.
	AUROCError float64 `json:"auroc_error"`
	AUPROError float64 `json:"aupro_error"`
}

// Add takes one picture's map, row by row: w·h scores, the higher the worse, and
// the pixels that are bad. Scores are finite.
func (m *Maps) Add(scores []float32, bad []bool, w, h int) error {
	if w <= 0 || h <= 0 || len(scores) != w*h || len(bad) != w*h {
		return fmt.Errorf("add a map: %d scores and %d pixels of truth for %d×%d", len(scores), len(bad), w, h)
	}
	for i, s := range scores {
		if s-s != 0 { // not a number, or infinite
			return fmt.Errorf("add a map: the score at %d, %d is %v", i%w, i/w, s)
		}
	}
	label, sizes := components(bad, w, h)
	if m.bins == nil && m.n+int64(w*h) > exactPixels {
		m.toBins()
	}
	for i, s := range scores {
		k := key(s)
		switch l := label[i]; {
		case l < 0 && m.bins != nil:
			m.bins.good[k>>(32-binBits)]++
		case l < 0:
			m.good = append(m.good, k)
		case m.bins != nil:
			m.bins.add(k, sizes[l])
		default:
			m.bad = append(m.bad, pixel{k, uint32(len(m.regions)) + uint32(l), uint32(sizes[l])})
		}
	}
	m.n += int64(w * h)
	m.regions = append(m.regions, sizes...)
	return nil
}

// key orders as the scores do.
func key(s float32) uint32 {
	b := math.Float32bits(s + 0) // -0 is 0
	if b>>31 == 1 {
		return ^b
	}
	return b | 1<<31
}

// scoreOf turns key round.
func scoreOf(k uint32) float32 {
	if k>>31 == 1 {
		return math.Float32frombits(k &^ (1 << 31))
	}
	return math.Float32frombits(^k)
}

func (b *bins) add(k uint32, size int) {
	b.bad[k>>(32-binBits)]++
	b.share[k>>(32-binBits)] += 1 / float64(size)
}

func (m *Maps) toBins() {
	const n = 1 << binBits
	m.bins = &bins{make([]int64, n), make([]int64, n), make([]float64, n)}
	for _, k := range m.good {
		m.bins.good[k>>(32-binBits)]++
	}
	for _, p := range m.bad {
		m.bins.add(p.key, int(p.size))
	}
	m.good, m.bad = nil, nil
}

// Scores measures what was added; AU-PRO up to the false positive rate fpr, more
// than 0 and at most 1. It is an error without good or without bad pixels.
func (m *Maps) Scores(fpr float64) (PixelScores, error) {
	if !(fpr > 0 && fpr <= 1) {
		return PixelScores{}, fmt.Errorf("score maps: the false positive rate up to which is %v: more than 0 and at most 1 is needed (0.3 is usual)", fpr)
	}
	s := m.steps()
	if m.n == 0 {
		return PixelScores{}, errors.New("score maps: there are none")
	}
	plain := func(yield func(step) bool) { s(func(t regionStep) bool { return yield(t.step) }) }
	bad, good := totals(plain)
	if err := both("pixels", bad, good); err != nil {
		return PixelScores{}, fmt.Errorf("score maps: %w", err)
	}
	out := PixelScores{FPR: fpr, Pixels: m.n, Regions: len(m.regions)}
	out.AUROC, out.AUROCError = auroc(plain, bad, good)
	out.AP = averagePrecision(plain, bad)
	out.F1, out.F1Threshold = bestF1(plain, bad)
	out.AUPRO, out.AUPROError = aupro(s, good, len(m.regions), fpr)
	if m.bins == nil {
		out.AUROCError, out.AUPROError = 0, 0
	}
	return out, nil
}

// A regionStep also has the bad pixels' shares of their regions, in regions.
type regionStep struct {
	step
	share float64
}

// steps go from the highest score to the lowest.
func (m *Maps) steps() func(func(regionStep) bool) {
	if m.bins != nil {
		return m.bins.steps
	}
	slices.Sort(m.good)
	slices.SortFunc(m.bad, func(a, b pixel) int {
		if a.key != b.key {
			if a.key < b.key {
				return -1
			}
			return 1
		}
		return int(a.region) - int(b.region)
	})
	return func(yield func(regionStep) bool) {
		i, j := len(m.good)-1, len(m.bad)-1
		for i >= 0 || j >= 0 {
			var k uint32
			if i >= 0 {
				k = m.good[i]
			}
			if j >= 0 {
				k = max(k, m.bad[j].key)
			}
			t := regionStep{step: step{score: float64(scoreOf(k))}}
			for ; i >= 0 && m.good[i] == k; i-- {
				t.good++
			}
			for ; j >= 0 && m.bad[j].key == k; j-- {
				t.bad++
				t.share += 1 / float64(m.bad[j].size)
			}
			if !yield(t) {
				return
			}
		}
	}
}

func (b *bins) steps(yield func(regionStep) bool) {
	for i := len(b.good) - 1; i >= 0; i-- {
		if b.good[i]|b.bad[i] == 0 {
			continue
		}
		low := uint32(i) << (32 - binBits) // the lowest score of the bin
		if !yield(regionStep{step{float64(scoreOf(low)), b.bad[i], b.good[i]}, b.share[i]}) {
			return
		}
	}
}

// aupro integrates the mean overlap over the false positive rate up to fpr, with
// straight lines between the steps, and divides by fpr. unsure bounds the error
// if the things of a step aren't really equal.
func aupro(s func(func(regionStep) bool), good int64, regions int, fpr float64) (area, unsure float64) {
	var fp int64
	var share float64
	for t := range s {
		x0, y0 := float64(fp)/float64(good), share/float64(regions)
		fp, share = fp+t.good, share+t.share
		x1, y1 := float64(fp)/float64(good), min(share/float64(regions), 1)
		if x1 >= fpr {
			if x1 > x0 {
				at := y0 + (y1-y0)*(fpr-x0)/(x1-x0)
				area += (fpr - x0) * (y0 + at) / 2
				unsure += (fpr - x0) * (y1 - y0)
			}
			break
		}
		area += (x1 - x0) * (y0 + y1) / 2
		unsure += (x1 - x0) * (y1 - y0) / 2
	}
	return area / fpr, unsure / fpr
}
