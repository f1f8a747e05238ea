package rollout

import (
	"errors"
	"slices"
	"testing"

	"github.com/sightline-edge/sightline/fleet/store"
)

// TestWave is what a wave's devices mean for its rollout.
func TestWave(t *testing.T) {
	of := func(states ...string) (t tally) {
		for _, s := range states {
			d := &device{presence: store.Online}
			switch d.State = s; s {
			case "away":
				d.State, d.presence = Staged, store.Offline
			case "idle":
				d.State, d.Reason = Probation, "idle"
			case "forgiven":
				d.State, d.Forgiven = Failed, true
			}
			t.add(d)
		}
		return t
	}
	strict := Conditions{Success: 100}
	tolerant := Conditions{Success: 50, MaxFailures: Limit{25, true}, MaxSilent: Limit{N: 1}}
	for i, tt := range []struct {
		c       Conditions
		wave    tally
		earlier tally
		want    verdict
		why     string
	}{
		{strict, of(Proven, Proven), of(), advance, ""},
		{strict, of(Proven, Probation), of(), stay, "waits for 1 device at work"},
		{strict, of(Proven, Proving, Assigned), of(), stay, "waits for 2 devices at work"},
		{strict, of(WaitsOperator, WaitsOperator, WaitsWindow), of(), stay, "waits for an operator's OK on 2 devices, the window of 1 device"},
		{strict, of("away", "idle"), of(), stay, "waits for parts on 1 device, 1 device that can't be reached"},
		{strict, of(Proven, Failed), of(), halt, "1 device failed, at most 0 may"},
		{strict, of(Proven, Lying), of(), halt, "1 device failed, at most 0 may"},
		{strict, of(Proven, Silent), of(), halt, "1 device is silent, at most 0 may be"},
		{strict, of(Proven), of(Failed), halt, "1 device failed, at most 0 may"}, // proven once, and rolled back since
		{strict, of(Proven, "forgiven"), of(), advance, ""},
		{strict, of(Proven, NoStations, Gone), of(), advance, ""},
		{strict, of(NoStations), of(), advance, ""},
		{strict, of(), of(), advance, ""},
		{tolerant, of(Proven, Staged), of(), advance, ""},
		{tolerant, of(Staged, Staged, Proven), of(), stay, "waits for 2 devices at work"},
		{tolerant, of(Failed), of(), halt, "1 device failed, at most 0 may"}, // a quarter of one device is none
		{tolerant, of(Failed, Proven, Proven, Staged), of(), advance, ""},
		{tolerant, of(Failed, Failed, Proven, Staged), of(), halt, "2 devices failed, at most 1 may"},
		{tolerant, of(Failed, Failed, Proven, Staged), of(Proven, Proven, Proven, Proven), advance, ""},
		{tolerant, of(Silent, Proven), of(), advance, ""},
		{tolerant, of(Silent, Silent), of(), halt, "2 devices are silent, at most 1 may be"},
	} {
		sofar := tt.wave
		sofar.counted, sofar.failed, sofar.silent = sofar.counted+tt.earlier.counted, sofar.failed+tt.earlier.failed, sofar.silent+tt.earlier.silent
		if got, why := decide(tt.c, tt.wave, sofar); got != tt.want || why != tt.why {
			t.Errorf("%d: got %v, %q, want %v, %q", i, got, why, tt.want, tt.why)
		}
	}
}

func TestWaveSizes(t *testing.T) {
	for _, tt := range []struct {
		text    string
		devices int
		want    []int // nil for an error
	}{
		{"1,all", 10, []int{1, 9}}, {"1,10%,all", 200, []int{1, 20, 179}}, {"all", 3, []int{3}}, {"1, 1%, all", 10, []int{1, 1, 8}},
		{"1,all", 1, []int{1}}, {"5,all", 3, []int{3}}, {"100%,all", 7, []int{7}}, {"1,50%,50%,all", 4, []int{1, 2, 1}},
		{"", 3, nil}, {"1,2", 3, nil}, {"all,1", 3, nil}, {"all,all", 3, nil}, {"0,all", 3, nil}, {"-1,all", 3, nil}, {"0%,all", 3, nil},
		{"101%,all", 3, nil}, {"x,all", 3, nil}, {"1,,all", 3, nil}, {"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,all", 3, nil},
	} {
		got, err := Waves(tt.text, tt.devices)
		if !slices.Equal(got, tt.want) || (tt.want == nil) != errors.Is(err, ErrRequest) {
			t.Errorf("%q of %d: got %v, %v, want %v", tt.text, tt.devices, got, err, tt.want)
		}
	}
}
