package sched

import (
	"maps"
	"slices"
	"time"
)

// floor is the pressure that counts: it rises at once and falls late.
type floor struct {
	level  float64
	source string

	under  time.Time // since when the level has been lower; zero: it isn't
	peak   float64   // the highest since then
	peaker string
}

// From which pressure on a class stands at a step at least.
var floors = [...]struct {
	level              float64
	bestEffort, normal Step
}{
	{1, Nothing, Nothing},
	{0.9, Nothing, Smaller},
	{0.75, Nothing, Slower},
	{0.65, Smaller, Full},
	{0.5, Slower, Full},
}

func (f *floor) step(c Class) Step {
	for _, row := range floors {
		if f.level >= row.level {
			switch c {
			case BestEffort:
				return row.bestEffort
			case Normal:
				return row.normal
			}
		}
	}
	return Full
}

func (f *floor) set(now time.Time, pressure map[string]float64, calm time.Duration) {
	level, source := 0.0, ""
	for _, s := range slices.Sorted(maps.Keys(pressure)) {
		if pressure[s] > level {
			level, source = pressure[s], s
		}
	}
	switch {
	case level >= f.level:
		f.level, f.source, f.under = level, source, time.Time{}
	case f.under.IsZero():
		f.under, f.peak, f.peaker = now, level, source
	default:
		if level > f.peak {
			f.peak, f.peaker = level, source
		}
		if now.Sub(f.under) >= calm {
			f.level, f.source, f.under = f.peak, f.peaker, time.Time{}
		}
	}
}
