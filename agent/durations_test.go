package agent

import (
	"testing"
	"time"
)

func TestQuantilesOfTheNewest(t *testing.T) {
	var d durations
	for i := range keepDurations + 100 {
		d.add(time.Duration(i))
	}
	for _, c := range []struct {
		n        int
		p50, p99 time.Duration
	}{
		{1, keepDurations + 99, keepDurations + 99},
		{100, keepDurations + 49, keepDurations + 98},
		{200, keepDurations - 1, keepDurations + 97},
		{0, 100 + keepDurations/2 - 1, 100 + keepDurations*99/100},
	} {
		if p50, p99 := d.quantiles(c.n); p50 != c.p50 || p99 != c.p99 {
			t.Errorf("newest %d: p50 %d, p99 %d, want %d and %d", c.n, p50, p99, c.p50, c.p99)
		}
	}
}
