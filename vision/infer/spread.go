package infer

import (
	"slices"
	"time"
)

// Stage is a part of a frame's way through its worker.
type Stage int

// The stages, in their order.
const (
	StageWait   Stage = iota // nobody works on it: for a seat, for the frame before it, on the way
	StagePre                 // frame to tensor
	StageRun                 // the model alone
	StageDecode              // output to what is answered

	stages
)

// String is the stage's name, as metrics have it.
func (s Stage) String() string {
	return [...]string{"wait", "pre", "run", "decode"}[s]
}

// Stages tells how long frames that had a result took in each Stage.
type Stages [stages]Spread

// Spread tells how long something took, over all times that it was done. It is
// not safe for concurrent use.
type Spread struct {
	Count uint64
	Sum   time.Duration

	counts [len(edges) + 1]uint64 // that took at most the edge of that index; the last: longer than all
}

// edges are ten to a decade, at the preferred numbers of ISO 3, which hold 1, 2.5 and 5:
// a quantile is at most a quarter off, and metrics can have bounds that people read.
var edges = func() (all [7 * 10]time.Duration) {
	unit := 10 * time.Microsecond
	for n := range all {
		all[n] = unit * [...]time.Duration{100, 125, 160, 200, 250, 315, 400, 500, 630, 800}[n%10] / 100
		if n%10 == 9 {
			unit *= 10
		}
	}
	return all
}()

// Add counts one more.
func (s *Spread) Add(d time.Duration) {
	s.Count++
	s.Sum += d
	n, _ := slices.BinarySearch(edges[:], d)
	s.counts[n]++
}

// Merge counts what another one counted.
func (s *Spread) Merge(o *Spread) {
	s.Count += o.Count
	s.Sum += o.Sum
	for n, c := range o.counts {
		s.counts[n] += c
	}
}

// Upto is how many took no longer than d, which must be 1, 1.25, 1.6, 2, 2.5, 3.15, 4,
// 5, 6.3 or 8 times a power of ten from 10 µs to 80 s.
func (s *Spread) Upto(d time.Duration) uint64 {
	n, found := slices.BinarySearch(edges[:], d)
	if !found {
		panic("BUG: no edge of a spread is " + d.String())
	}
	sum := uint64(0)
	for _, c := range s.counts[:n+1] {
		sum += c
	}
	return sum
}

// Quantile is what the share q of them, 0 to 1, took at most, to a quarter; 0 without any.
func (s *Spread) Quantile(q float64) time.Duration {
	left := q * float64(s.Count)
	low := time.Duration(0)
	for n, c := range s.counts[:len(edges)] {
		if c > 0 && float64(c) >= left {
			return low + time.Duration(max(left, 0)/float64(c)*float64(edges[n]-low))
		}
		left -= float64(c)
		low = edges[n]
	}
	if s.Count == 0 {
		return 0
	}
	return low
}

// Merge counts what another one counted.
func (s *Stages) Merge(o *Stages) {
	for n := range s {
		s[n].Merge(&o[n])
	}
}
