package rest

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/sightline-edge/sightline/sync/wire"
)

// TestNoNumber: whatever a record has for numbers, JSON has it.
func TestNoNumber(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	r := FromWire(1, &wire.Result{
		Score: nan, Box: &wire.Box{X: nan, Y: inf, W: -inf, H: 3},
		Evidence:     []*wire.Evidence{{Score: inf, Box: &wire.Box{X: nan}}},
		Measurements: []*wire.Measurement{{Value: math.NaN(), Limit: math.Inf(1)}, {Value: math.Inf(-1), Limit: 0.5}},
	})
	text, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	const most = math.MaxFloat32
	if want := (Box{0, most, -most, 3}); back.Box != want || back.Score != 0 || back.Evidence[0].Score != most {
		t.Errorf("got %s", text)
	}
	if m := back.Measurements; m[0].Value != 0 || m[0].Limit != math.MaxFloat64 || m[1].Value != -math.MaxFloat64 || m[1].Limit != 0.5 {
		t.Errorf("got %s", text)
	}
}
