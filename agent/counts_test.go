package agent

import (
	"math"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

func TestYieldHasWilsonsInterval(t *testing.T) {
	for _, c := range []struct {
		good, all       int
		value, low, hig float64
	}{
		{0, 10, 0, 0, 0.2775},
		{10, 10, 1, 0.7225, 1},
		{2381, 2412, 0.98715, 0.9818, 0.9909},
	} {
		y := yieldOf(c.good, c.all)
		for name, d := range map[string]float64{"value": y.Value - c.value, "low": y.Low - c.low, "high": y.High - c.hig} {
			if math.Abs(d) > 0.0001 {
				t.Errorf("%d of %d: %s is off by %v", c.good, c.all, name, d)
			}
		}
	}
	if y := yieldOf(0, 0); !math.IsNaN(y.Value) || y.Parts != 0 {
		t.Errorf("no parts: yield is %+v, want NaN", y)
	}
}

func TestHourForgetsWhatIsOlder(t *testing.T) {
	var c counts
	start := time.Now()
	for i := range 120 {
		v := vision.Pass
		if i%10 == 0 {
			v = vision.None
		}
		c.add(start.Add(time.Duration(i)*time.Minute), v, time.Duration(i)*time.Millisecond)
	}
	h := c.hour(start.Add(119 * time.Minute))
	if h.Pass != 55 || h.None != 6 || h.Yield.Parts != 61 || c.total[vision.Pass] != 108 {
		t.Errorf("hour is %+v, total %v", h, c.total)
	}
	if h.P50 != 89*time.Millisecond || h.P99 != 119*time.Millisecond {
		t.Errorf("p50 %v, p99 %v", h.P50, h.P99)
	}
	if h.PerMinute < 1 || h.PerMinute > 1.05 {
		t.Errorf("%v parts a minute, want about 1", h.PerMinute)
	}
}
