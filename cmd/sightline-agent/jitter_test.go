package main

import (
	"math"
	"testing"
	"time"
)

func TestJitter(t *testing.T) {
	at := time.Now()
	came := []time.Time{at}
	for _, ms := range []int{40, 40, 60, 20, 40, 40} {
		at = at.Add(time.Duration(ms) * time.Millisecond)
		came = append(came, at)
	}
	deviation, p99, longest := jitter(came)
	if math.Abs(deviation-math.Sqrt(800.0/6)) > 0.01 || p99 != 20 || longest != 60 {
		t.Errorf("deviation %v, p99 %v, longest %v", deviation, p99, longest)
	}
}

// TestDrift: the camera's clock runs 150 millionths fast and its pictures come up
// to 6 ms late; frames without a stamp are passed over.
func TestDrift(t *testing.T) {
	began := time.Now()
	var stamps []time.Duration
	var came []time.Time
	for n := range 3000 {
		real := time.Duration(n) * 40 * time.Millisecond
		stamps = append(stamps, time.Hour+time.Duration(float64(real)*1.00015))
		came = append(came, began.Add(real+time.Duration(n%7)*time.Millisecond))
	}
	stamps[5] = 0
	ppm, half, ok := drift(stamps, came)
	if !ok || math.Abs(ppm-150) > half || half > 5 {
		t.Errorf("%v ± %v ppm, %v", ppm, half, ok)
	}
	if _, _, ok := drift(stamps[:9], came[:9]); ok {
		t.Error("nine pictures tell a drift")
	}
	if _, _, ok := drift(make([]time.Duration, 3000), came); ok {
		t.Error("pictures without stamps tell a drift")
	}
}
