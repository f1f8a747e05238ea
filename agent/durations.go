package agent

import (
	"slices"
	"time"
)

// keepDurations is over how many of the newest frames quantiles are told.
const keepDurations = 1 << 16

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

func (d *durations) quantiles() (p50, p99 time.Duration) {
	sorted := slices.Sorted(slices.Values(d.ring))
	return Quantile(sorted, 0.50), Quantile(sorted, 0.99)
}
