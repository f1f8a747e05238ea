package agent

import (
	"slices"
	"time"
)

// keepDurations is over how many of the newest frames quantiles are told.
const keepDurations = 1 << 13

// durations keeps the newest measurements. It is not safe for concurrent use.
type durations struct {
	ring []time.Duration
	next int
}

func (d *durations) add(v time.Duration) {
	if len(d.ring) < keepDurations {
		d.ring = append(d.ring, v)
		return
	}
	d.ring[d.next] = v
	d.next = (d.next + 1) % keepDurations
}

// quantiles are over the newest n measurements, all of them for 0.
func (d *durations) quantiles(n int) (p50, p99 time.Duration) {
	sorted := slices.Clone(d.newest(n))
	slices.Sort(sorted)
	return Quantile(sorted, 0.50), Quantile(sorted, 0.99)
}

// newest are at least the newest n measurements in any order, without a copy
// where they lie together.
func (d *durations) newest(n int) []time.Duration {
	end := len(d.ring)
	if end == keepDurations {
		end = d.next
	}
	switch {
	case n == 0 || n >= len(d.ring):
		return d.ring
	case n <= end:
		return d.ring[end-n : end]
	}
	return slices.Concat(d.ring[:end], d.ring[len(d.ring)-(n-end):])
}
