package main

import (
	"math"
	"slices"
	"time"
)

// jitter is how unevenly pictures came: the standard deviation of the intervals,
// the 99th percentile of their distance from the median, and the longest, ms.
func jitter(came []time.Time) (deviation, p99, longest float64) {
	gaps := make([]float64, 0, len(came)-1)
	sum := 0.0
	for i := 1; i < len(came); i++ {
		gap := ms(came[i].Sub(came[i-1]))
		gaps = append(gaps, gap)
		sum += gap
	}
	mean, squares := sum/float64(len(gaps)), 0.0
	for _, g := range gaps {
		squares += (g - mean) * (g - mean)
	}
	slices.Sort(gaps)
	median := gaps[len(gaps)/2]
	longest = gaps[len(gaps)-1]
	for i, g := range gaps {
		gaps[i] = math.Abs(g - median)
	}
	slices.Sort(gaps)
	return math.Sqrt(squares / float64(len(gaps))), gaps[min(int(math.Ceil(0.99*float64(len(gaps))))-1, len(gaps)-1)], longest
}

// drift is by how much faster the camera's clock runs than ours, in millionths,
// with half its 95 % interval: the slope of a line through camera time over
// arrival (least squares). It needs ten pictures with stamps.
func drift(stamps []time.Duration, came []time.Time) (ppm, half float64, ok bool) {
	var x, y []float64
	for i, s := range stamps {
		if s != 0 {
			x = append(x, came[i].Sub(came[0]).Seconds())
			y = append(y, (s - stamps[0]).Seconds())
		}
	}
	n := float64(len(x))
	if n < 10 {
		return 0, 0, false
	}
	var mx, my, sxx, sxy float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	if sxx == 0 {
		return 0, 0, false
	}
	slope, rest := sxy/sxx, 0.0
	for i := range x {
		d := y[i] - my - slope*(x[i]-mx)
		rest += d * d
	}
	return (slope - 1) * 1e6, 1.96 * math.Sqrt(rest/(n-2)/sxx) * 1e6, true
}
