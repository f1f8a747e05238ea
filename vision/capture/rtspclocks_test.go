package capture

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// TestRTSPClocks: a camera's time of day is believed once it has gone with ours
// for some seconds, and no longer than that.
func TestRTSPClocks(t *testing.T) {
	start, ours := monotonic(), time.Now().UnixNano()-monotonic()
	for _, c := range []struct {
		name   string
		lag    time.Duration // by which the pictures are old when they come, by the camera's time of day
		frames int
		leap   time.Duration // of that clock, before the last two seconds
		want   vision.Timing
	}{
		{"goes with ours", 300 * time.Millisecond, 250, 0, vision.Synced},
		{"is the same", 0, 250, 0, vision.Synced},
		{"has just begun", 300 * time.Millisecond, 100, 0, vision.Stamped},
		{"is fast", -50 * time.Millisecond, 250, 0, vision.Stamped},
		{"is slow", 1100 * time.Millisecond, 250, 0, vision.Stamped},
		{"was set forward", 900 * time.Millisecond, 250, 500 * time.Millisecond, vision.Stamped},
		{"was set back", 300 * time.Millisecond, 250, -time.Second, vision.Stamped},
	} {
		var clocks rtspClocks
		var mono, arrival int64
		var how vision.Timing
		for i := range c.frames {
			arrival = start + int64(i)*40*ms
			lag := c.lag
			if i >= c.frames-50 {
				lag -= c.leap
			}
			mono, how = clocks.at(stamped{int64(i) * 40 * ms, arrival + ours - lag.Nanoseconds(), arrival, true})
			if mono > arrival {
				t.Fatalf("%s: picture %d is of the future", c.name, i)
			}
		}
		want := arrival
		if c.want == vision.Synced {
			want -= c.lag.Nanoseconds()
		}
		if off := mono - want; how != c.want || off < -5*ms || off > 5*ms {
			t.Errorf("a clock that %s: %v, want %v; %v off", c.name, how, c.want, time.Duration(off))
		}
	}
	var none rtspClocks
	if _, how := none.at(stamped{1, 0, start, true}); how != vision.Stamped {
		t.Errorf("without reports: %v", how)
	}
}
